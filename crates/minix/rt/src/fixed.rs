//! Memory at a fixed address, handed out once.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static value that [`take`](Self::take) hands out once, for as long as the program runs.
///
/// The kernel reads the tables of grants and of asynchronous messages at any time, so they must not move.
pub struct Fixed<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through one exclusive reference only, whichever thread that goes to; hence `Send`.
unsafe impl<T: Send> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    /// A value that is not taken yet.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The value; `None` from the second time on.
    #[expect(
        clippy::mut_from_ref,
        reason = "the flag sees to it that there is one such reference ever"
    )]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the flag was not set, so this is the only reference there ever is; it is valid as long as the static.
        Some(unsafe { &mut *self.value.get() })
    }
}

impl<T> fmt::Debug for Fixed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_handed_out_once() {
        static NUMBER: Fixed<u32> = Fixed::new(7);
        let number = NUMBER.take().expect("it is not taken yet");
        *number += 1;
        assert_eq!(*number, 8);
        assert!(NUMBER.take().is_none());
    }
}
