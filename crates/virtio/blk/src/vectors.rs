//! Which interrupt vector belongs to which queue.

use virtio_core::{InterruptVector, QueueIndex};

/// The interrupt vectors of a device, on a transport that has some. Over MMIO there are none: one line serves all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vectors<'v> {
    /// The vector that announces changes of the configuration and of the device status. `None`: such changes do not interrupt.
    pub config: Option<InterruptVector>,
    /// The vectors of the queues from queue 0 on. If there are fewer than queues, they start over and are shared; if there is
    /// none, queues do not interrupt by vectors.
    pub queues: &'v [InterruptVector],
}

impl Vectors<'_> {
    /// No vector at all: interrupts come over a line, or the driver polls.
    pub const NONE: Self = Self {
        config: None,
        queues: &[],
    };

    /// The vector of a queue.
    pub(crate) fn of(&self, queue: QueueIndex) -> Option<InterruptVector> {
        let place = usize::from(queue.0).checked_rem(self.queues.len())?;
        self.queues.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_vectors_than_queues_are_shared() {
        let own = [5, 7, 9].map(InterruptVector);
        let of = |vectors: &[InterruptVector]| {
            let vectors = Vectors {
                config: None,
                queues: vectors,
            };
            [0, 1, 2, 3].map(|n| vectors.of(QueueIndex(n)).map(|vector| vector.0))
        };
        assert_eq!(of(&own), [Some(5), Some(7), Some(9), Some(5)]);
        assert_eq!(of(&own[..1]), [Some(5); 4]);
        assert_eq!(of(&[]), [None; 4]);
    }
}
