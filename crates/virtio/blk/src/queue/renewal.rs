//! What the control half of a device with several queues asks of one, and the queue that is made of one after its reset.

use virtio_core::{DmaSegments, QueueNotifier, QueueSetup};

use crate::shared_config::SharedConfig;
use crate::{Completion, RequestQueue};

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// What the transport has to tell the device, without the vector.
    pub(crate) fn setup(&self) -> QueueSetup {
        self.ring.setup()
    }

    /// Whether the queue was reset, and is not in use again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.identity.is_stopped
    }

    /// Takes requests no more, or again.
    pub(crate) fn set_stopped(&mut self, is_stopped: bool) {
        self.identity.is_stopped = is_stopped;
        self.set_waiting(self.waiting);
    }

    /// Whether the queue was started with the control half that has `shared`.
    pub(crate) fn belongs_to(&self, shared: &SharedConfig) -> bool {
        self.identity
            .config
            .as_ref()
            .is_some_and(|view| shared.is_seen_by(view))
    }

    /// Makes the queue anew in its memory: every request that was still in it goes to `each`. Counts go on. Interrupts are
    /// suppressed.
    ///
    /// # Safety
    ///
    /// That of [`give_back`](Self::give_back).
    pub(crate) unsafe fn renew(self, each: impl FnMut(Completion<B, K>)) -> Self {
        let limits = self.limits;
        // SAFETY: the caller keeps the same contract.
        let (mut parts, counters) = unsafe { self.give_back(each) };
        parts.ring.zero();
        Self {
            counters,
            ..Self::new(parts, &limits)
        }
    }
}
