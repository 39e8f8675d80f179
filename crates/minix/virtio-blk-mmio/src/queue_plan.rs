//! How large a queue to ask for: what is wanted first, and what will do when memory is short.

use virtio_core::QueueSize;

/// The ways, best first: whether with tables, and descriptors at most.
///
/// A chain may not be longer than the queue, in a table or not. So 128 descriptors with tables are for the longest requests,
/// 64 segments of clients' memory, and 64 are for as many requests as there are.
const WAYS: [(bool, u32); 5] = [(true, 128), (true, 64), (false, 128), (false, 64), (false, 16)];

/// One way to lay the queue out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whether requests have tables of their own: more requests with more segments, in more memory.
    pub(crate) indirect: bool,
    /// Descriptors at most.
    pub(crate) queue: QueueSize,
}

/// The ways to lay the queue out, each taking less contiguous memory than the one before: from 128 descriptors with tables,
/// which is some 140 KiB, down to 16 without, which is three pages.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    bound: QueueSize,
    next: usize,
}

impl Plan {
    /// The best first, none with more than `bound` descriptors.
    pub(crate) const fn new(bound: QueueSize) -> Self {
        Self { bound, next: 0 }
    }

    /// The way that is to be tried.
    pub(crate) fn step(&self) -> Step {
        let (indirect, most) = WAYS[self.next];
        Step {
            indirect,
            queue: QueueSize::at_most(most).map_or(self.bound, |most| most.min(self.bound)),
        }
    }

    /// Goes on to the next way that is another one; `false` if there is none.
    pub(crate) fn step_down(&mut self) -> bool {
        let before = self.step();
        while self.next + 1 < WAYS.len() {
            self.next += 1;
            if self.step() != before {
                return true;
            }
        }
        false
    }

    /// Whether a device that does not know tables does better with a later way: it needs several descriptors for each
    /// request.
    pub(crate) fn is_too_small_without_tables(&self) -> bool {
        let mut later = self.clone();
        self.step().indirect
            && core::iter::from_fn(|| later.step_down().then(|| later.step()))
                .any(|step| step.queue > self.step().queue)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn steps(bound: u16) -> Vec<(bool, u16)> {
        let mut plan = Plan::new(QueueSize::new(bound).unwrap());
        let mut steps = Vec::new();
        loop {
            let step = plan.step();
            steps.push((step.indirect, step.queue.get()));
            if !plan.step_down() {
                // It stays with the last one.
                assert_eq!(plan.step(), step);
                return steps;
            }
        }
    }

    #[test]
    fn the_ways_get_smaller_and_none_is_tried_twice() {
        let plain = [(false, 64), (false, 16)];
        assert_eq!(steps(256), steps(128));
        assert_eq!(steps(128)[..3], [(true, 128), (true, 64), (false, 128)]);
        assert_eq!(steps(128)[3..], plain);
        assert_eq!(steps(64), [(true, 64), (false, 64), (false, 16)]);
        assert_eq!(steps(16), [(true, 16), (false, 16)]);
        assert_eq!(steps(4), [(true, 4), (false, 4)]);
    }

    #[test]
    fn without_tables_more_descriptors_are_wanted_if_there_are_more() {
        let plan = |bound| Plan::new(QueueSize::new(bound).unwrap());
        assert!(!plan(256).is_too_small_without_tables());
        assert!(!plan(64).is_too_small_without_tables());
        let mut down = plan(256);
        assert!(down.step_down() && down.is_too_small_without_tables());
        assert!(down.step_down() && !down.is_too_small_without_tables());
    }
}
