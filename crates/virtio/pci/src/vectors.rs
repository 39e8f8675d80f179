//! Which event gets which vector.

use virtio_core::{InterruptVector, QueueIndex};

/// Shares a number of vectors among the queues of a device and its configuration changes.
///
/// With enough of them each queue has its own, and configuration changes have vector 0. With fewer, queues share, and with one,
/// all share that. Without any, everything comes by INTx, which a device uses only while MSI-X is off: a table that was opened is
/// [closed](crate::PciTransport::close_msix) then.
///
/// ```
/// use virtio_core::{InterruptVector, QueueIndex};
/// use virtio_pci::VectorPlan;
///
/// let plan = VectorPlan::new(3, 4); // four queues on a device with three vectors
/// assert_eq!(plan.config(), Some(InterruptVector(0)));
/// assert_eq!(plan.queue(QueueIndex(0)), Some(InterruptVector(1)));
/// assert_eq!(plan.queue(QueueIndex(3)), Some(InterruptVector(2)));
///
/// let fewer = plan.fewer().unwrap(); // the device has refused one of them
/// assert_eq!(fewer.queue(QueueIndex(3)), Some(InterruptVector(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VectorPlan {
    /// Vectors in use: at most one more than queues.
    vectors: u16,
}

impl VectorPlan {
    /// The plan for `queues` queues and at most `vectors` vectors: as many as the device has and the kernel can give.
    pub const fn new(vectors: u16, queues: u16) -> Self {
        let wanted = queues.saturating_add(1);
        Self {
            vectors: if vectors < wanted { vectors } else { wanted },
        }
    }

    /// Everything by INTx, or polled.
    pub const fn without_vectors() -> Self {
        Self { vectors: 0 }
    }

    /// How many vectors are used. Their numbers start at 0.
    pub const fn vectors(self) -> u16 {
        self.vectors
    }

    /// The vector of configuration changes; `None`: INTx.
    pub const fn config(self) -> Option<InterruptVector> {
        match self.vectors {
            0 => None,
            _ => Some(InterruptVector(0)),
        }
    }

    /// The vector of a queue; `None`: INTx.
    pub const fn queue(self, queue: QueueIndex) -> Option<InterruptVector> {
        match self.vectors {
            0 => None,
            1 => Some(InterruptVector(0)),
            n => Some(InterruptVector(1 + queue.0 % (n - 1))),
        }
    }

    /// The next plan to try if the device refuses a vector (`PCI-D-35`): one for all queues and one for the configuration, then one
    /// for all, then none, for which MSI-X is [closed](crate::PciTransport::close_msix). `None` after that.
    pub const fn fewer(self) -> Option<Self> {
        let vectors = match self.vectors {
            0 => return None,
            n @ (1 | 2) => n - 1,
            _ => 2,
        };
        Some(Self { vectors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(plan: VectorPlan, queues: u16) -> (Option<u16>, [Option<u16>; 4]) {
        let queue = |n| (n < queues).then(|| plan.queue(QueueIndex(n)).map(|v| v.0)).flatten();
        (plan.config().map(|v| v.0), [0, 1, 2, 3].map(queue))
    }

    #[test]
    fn with_enough_vectors_each_queue_has_its_own() {
        let (config, queues) = vectors(VectorPlan::new(2048, 4), 4);
        assert_eq!(config, Some(0));
        assert_eq!(queues, [Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(VectorPlan::new(2048, 4).vectors(), 5);
    }

    // Shows PCI-D-32.
    #[test]
    fn with_fewer_vectors_queues_share() {
        assert_eq!(vectors(VectorPlan::new(3, 4), 4), (Some(0), [1, 2, 1, 2].map(Some)));
        assert_eq!(vectors(VectorPlan::new(2, 4), 4), (Some(0), [1; 4].map(Some)));
        assert_eq!(vectors(VectorPlan::new(1, 4), 4), (Some(0), [0; 4].map(Some)));
        assert_eq!(vectors(VectorPlan::new(0, 4), 4), (None, [None; 4]));
    }

    // Shows PCI-D-31, PCI-D-35.
    #[test]
    fn a_refused_plan_goes_down_to_none() {
        let mut plan = VectorPlan::new(9, 8);
        let mut seen = std::vec![plan.vectors()];
        while let Some(fewer) = plan.fewer() {
            plan = fewer;
            seen.push(plan.vectors());
        }
        assert_eq!(seen, [9, 2, 1, 0]);
        assert_eq!(plan, VectorPlan::without_vectors());
    }

    #[test]
    fn no_plan_uses_a_vector_that_it_does_not_have() {
        for vectors in 0..20 {
            for queues in 0..20 {
                let plan = VectorPlan::new(vectors, queues);
                for queue in 0..queues {
                    assert!(plan.queue(QueueIndex(queue)).is_none_or(|v| v.0 < plan.vectors()));
                }
            }
        }
        assert_eq!(
            VectorPlan::new(u16::MAX, u16::MAX).queue(QueueIndex(u16::MAX)),
            Some(InterruptVector(1 + u16::MAX % (u16::MAX - 1)))
        );
    }
}
