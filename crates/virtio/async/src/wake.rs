//! Keeping a waker in memory that is under a lock.
//!
//! A waker is code of the executor. Making or dropping one can do anything, up to dropping a task that uses the same disk. So neither is done
//! while the lock is held.

use core::mem;
use core::task::Waker;

/// The waker of the task that polls, ready to be kept.
pub(crate) struct Registration<'w> {
    waker: &'w Waker,
    /// A copy, made before the lock is taken.
    fresh: Option<Waker>,
    /// What was replaced, to be dropped after the lock.
    old: Option<Waker>,
}

impl<'w> Registration<'w> {
    pub(crate) fn new(waker: &'w Waker) -> Self {
        Self {
            waker,
            fresh: None,
            old: None,
        }
    }

    /// Gets ready for one [`keep`](Self::keep). Outside of the lock.
    pub(crate) fn prepare(&mut self) {
        drop(self.old.take());
        self.fresh.get_or_insert_with(|| self.waker.clone());
    }

    /// Has `place` wake this task.
    pub(crate) fn keep(&mut self, place: &mut Option<Waker>) {
        let is_kept = place.as_ref().is_some_and(|kept| kept.will_wake(self.waker));
        if !is_kept && self.fresh.is_some() {
            self.old = mem::replace(place, self.fresh.take());
        }
    }

    /// Empties `place`, which does not wake any task then.
    pub(crate) fn clear(&mut self, place: &mut Option<Waker>) {
        if place.is_some() {
            self.old = place.take();
        }
    }
}
