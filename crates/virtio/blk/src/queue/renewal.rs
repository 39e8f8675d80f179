//! What the control half of a device with several queues asks of one, and the queue that is made of one after its reset.

use virtio_core::{DmaSegments, QueueNotifier, QueueSetup};

use crate::queue_parts::Stage;
use crate::shared_config::{ConfigView, SharedConfig};
use crate::{Completion, RequestQueue};

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// What the transport has to tell the device, without the vector.
    pub(crate) fn setup(&self) -> QueueSetup {
        self.ring.setup()
    }

    /// How far a reset of the queue has come.
    pub(crate) fn stage(&self) -> Stage {
        self.identity.stage
    }

    /// Takes note of how far a reset of the queue has come. Requests are taken only if there is none.
    pub(crate) fn set_stage(&mut self, stage: Stage) {
        self.identity.stage = stage;
        self.set_waiting(self.waiting);
    }

    /// Tells queues of different devices, or of different starts, apart as long as they exist.
    pub(crate) fn device(&self) -> Option<usize> {
        self.identity.config.as_ref().map(ConfigView::address)
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
