//! How long to wait for a register: a count, or a function of the caller.

/// Waits between two looks at a register that has not changed yet.
///
/// The crates that read registers know no clock, so the caller says when to give up: by a count of looks ([`PollLimit`]) or by a
/// function, which can compare a clock with a deadline, sleep, or let another task run.
///
/// ```
/// use std::time::{Duration, Instant};
/// use virtio_core::{PollLimit, Wait};
///
/// let deadline = Instant::now() + Duration::from_millis(1);
/// let mut until_then = || Instant::now() < deadline;
/// let waits: [&mut dyn Wait; 2] = [&mut PollLimit(3), &mut until_then];
/// for wait in waits {
///     while wait.wait() {}
/// }
/// ```
pub trait Wait {
    /// Lets some time pass. Returns `false` to give up.
    fn wait(&mut self) -> bool;
}

impl<F: FnMut() -> bool> Wait for F {
    fn wait(&mut self) -> bool {
        self()
    }
}

/// A number of register reads.
///
/// As a [`Wait`] it is the number of further looks after the first one. Without a clock it says little about time; with one, a
/// deadline is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PollLimit(pub u32);

impl PollLimit {
    /// Takes one read out of the limit. Returns whether there was one left.
    #[inline]
    pub fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

impl Default for PollLimit {
    /// A million reads: many milliseconds on any machine, and an end on a broken one.
    fn default() -> Self {
        Self(1_000_000)
    }
}

impl Wait for PollLimit {
    fn wait(&mut self) -> bool {
        core::hint::spin_loop();
        self.take()
    }
}
