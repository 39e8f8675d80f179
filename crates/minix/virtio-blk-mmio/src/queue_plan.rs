//! How large a queue to ask for: what is wanted first, and what will do when memory is short.

use virtio_core::QueueSize;

/// The layouts, best first: whether with tables, and descriptors at most.
///
/// A chain may not be longer than the queue, in a table or not. So 128 descriptors with tables are for the longest requests,
/// 64 segments of clients' memory, and 64 are for as many requests as there are.
const LAYOUTS: [(bool, u32); 5] = [(true, 128), (true, 64), (false, 128), (false, 64), (false, 16)];

/// A layout of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLayout {
    /// Whether requests have tables of their own: more requests with more segments, in more memory.
    pub(crate) indirect: bool,
    /// Descriptors at most.
    pub(crate) queue: QueueSize,
}

/// The layouts, each taking less contiguous memory than the one before: from 128 descriptors with tables,
/// which is some 140 KiB, down to 16 without, which is three pages.
#[derive(Clone, Debug)]
pub(crate) struct QueuePlan {
    bound: QueueSize,
    next: usize,
}

impl QueuePlan {
    /// The best first, none with more than `bound` descriptors.
    pub(crate) const fn new(bound: QueueSize) -> Self {
        Self { bound, next: 0 }
    }

    /// The layout that is to be tried.
    pub(crate) fn layout(&self) -> QueueLayout {
        let (indirect, most) = LAYOUTS[self.next];
        QueueLayout {
            indirect,
            queue: QueueSize::at_most(most).map_or(self.bound, |most| most.min(self.bound)),
        }
    }

    /// Goes on to the next layout that is another one; `false` if there is none.
    pub(crate) fn step_down(&mut self) -> bool {
        let before = self.layout();
        while self.next + 1 < LAYOUTS.len() {
            self.next += 1;
            if self.layout() != before {
                return true;
            }
        }
        false
    }

    /// Whether a device that does not know tables does better with a later layout: it needs several descriptors for each
    /// request.
    pub(crate) fn is_too_small_without_tables(&self) -> bool {
        let mut later = self.clone();
        self.layout().indirect
            && core::iter::from_fn(|| later.step_down().then(|| later.layout()))
                .any(|step| step.queue > self.layout().queue)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn steps(bound: u16) -> Vec<(bool, u16)> {
        let mut plan = QueuePlan::new(QueueSize::new(bound).unwrap());
        let mut steps = Vec::new();
        loop {
            let step = plan.layout();
            steps.push((step.indirect, step.queue.get()));
            if !plan.step_down() {
                // It stays with the last one.
                assert_eq!(plan.layout(), step);
                return steps;
            }
        }
    }

    #[test]
    fn layouts_get_smaller_and_none_is_tried_twice() {
        let plain = [(false, 64), (false, 16)];
        assert_eq!(steps(256), steps(128));
        assert_eq!(steps(128)[..3], [(true, 128), (true, 64), (false, 128)]);
        assert_eq!(steps(128)[3..], plain);
        assert_eq!(steps(64), [(true, 64), (false, 64), (false, 16)]);
        assert_eq!(steps(16), [(true, 16), (false, 16)]);
        assert_eq!(steps(4), [(true, 4), (false, 4)]);
    }

    #[test]
    fn without_tables_more_descriptors_are_taken_if_offered() {
        let plan = |bound| QueuePlan::new(QueueSize::new(bound).unwrap());
        assert!(!plan(256).is_too_small_without_tables());
        assert!(!plan(64).is_too_small_without_tables());
        let mut down = plan(256);
        assert!(down.step_down() && down.is_too_small_without_tables());
        assert!(down.step_down() && !down.is_too_small_without_tables());
    }
}
