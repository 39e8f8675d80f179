//! A value for one user at a time, without waiting.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that one caller at a time can use. A caller that finds it in use, say further up its own stack, does without.
pub(crate) struct Exclusive<T> {
    busy: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only the caller that finds `busy` unset and sets it reaches the value, until it unsets it; hence `Send`.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            busy: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `body` with the value; `None` if the value is in use.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: the flag was unset, so this is the only reference.
        let result = body(unsafe { &mut *self.value.get() });
        self.busy.store(false, Ordering::Release);
        Some(result)
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive")
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn a_user_that_comes_during_another_does_without() {
        let value = Exclusive::new(1);
        assert_eq!(format!("{value:?}"), "Exclusive { busy: false, .. }");
        let outcome = value.with(|number| {
            *number += 1;
            value.with(|_| ())
        });
        assert_eq!(outcome, Some(None));
        assert_eq!(value.with(|number| *number), Some(2), "free again");
    }
}
