//! How long an operation waits, and what happens meanwhile.

use virtio_core::PollLimit;

/// Waits between two looks at a device that has not answered yet: the caller of the driver decides how, and when to give up.
///
/// A closure is a hook: `|vain| { wait_for_interrupt(); vain < 100 }`. It can let another task run, or compare a clock with a deadline.
/// A [`PollLimit`] is a number of looks that may find nothing, and spins between them.
///
/// ```
/// use std::time::{Duration, Instant};
/// use virtio_blk_blocking::WaitHook;
///
/// // A second from the last answer of the device on.
/// let mut deadline = Instant::now();
/// let hook = move |vain: u32| {
///     if vain == 0 {
///         deadline = Instant::now() + Duration::from_secs(1);
///     }
///     std::thread::yield_now();
///     Instant::now() < deadline
/// };
/// # fn takes(_: impl WaitHook) {}
/// # takes(hook);
/// ```
pub trait WaitHook {
    /// An operation begins. For a hook that bounds whole operations.
    fn begin(&mut self) {}

    /// Lets some time pass. Returns `false` to give up.
    ///
    /// `vain` is how many looks in a row have found nothing before this one, in this operation: it is 0 after each answer of the device. A
    /// large transfer is several requests, so a hook that counts or measures from 0 on lets a slow device take its time. It goes up to
    /// [`u32::MAX`] and stays there.
    fn wait(&mut self, vain: u32) -> bool;
}

impl<F: FnMut(u32) -> bool> WaitHook for F {
    fn wait(&mut self, vain: u32) -> bool {
        self(vain)
    }
}

impl WaitHook for PollLimit {
    fn wait(&mut self, vain: u32) -> bool {
        core::hint::spin_loop();
        vain < self.0
    }
}
