//! The reset of one queue, while the others go on.

use core::fmt;

use virtio_core::{DmaSegments, Features, QueueSetup, QueueSetupError, Transport, Wait};

use crate::queue_parts::Stage;
use crate::{Completion, DeviceControl, DeviceQueue, QueueResetError};

/// A queue that was not reset, or is not in use again.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct QueueNotReset<Q> {
    /// The cause. It says what has become of the requests.
    pub error: QueueResetError,
    /// The queue.
    pub queue: Q,
}

/// The answer to a reset of a queue: the queue in any case.
pub type QueueReset<Q> = Result<Q, QueueNotReset<Q>>;

impl<Q> fmt::Debug for QueueNotReset<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueNotReset")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl QueueResetError {
    fn of<Q>(self, queue: Q) -> QueueNotReset<Q> {
        QueueNotReset { error: self, queue }
    }
}

impl<T: Transport> DeviceControl<T> {
    /// Resets one queue, for requests in it that never complete, and takes it into use again. Other queues go on (`VQR-N-02`).
    ///
    /// Every request of the queue goes to `each`, as in [`ResetDevice::release`](crate::ResetDevice::release): finished ones with
    /// their results, the others as aborted, in order of submission. [`Completion::into_request`] makes a request again, for the
    /// caller to submit. The new queue has the same memory, vector and counters; interrupts are suppressed until
    /// [`drain`](crate::RequestQueue::drain). Between two looks whether the device has let go of the queue, `wait` is asked.
    ///
    /// This takes [`DiskOptions::ring_reset`](crate::DiskOptions::ring_reset), which says why it is off by default.
    ///
    /// # Errors
    ///
    /// [`QueueNotReset`] has the cause and the queue.
    #[expect(clippy::result_large_err, reason = "there is no heap to box the queue on")]
    pub fn reset_queue<B: DmaSegments, K, const N: usize>(
        &mut self,
        mut queue: DeviceQueue<T, B, K, N>,
        wait: &mut dyn Wait,
        each: impl FnMut(Completion<B, K>),
    ) -> QueueReset<DeviceQueue<T, B, K, N>> {
        if !self.accepted.contains(Features::RING_RESET) {
            return Err(QueueResetError::Unsupported.of(queue));
        }
        if !self.shared.as_ref().is_some_and(|shared| queue.belongs_to(shared)) {
            return Err(QueueResetError::Foreign.of(queue));
        }
        let index = queue.index();
        let disabled = match queue.stage() {
            Stage::InUse => self.transport.disable_queue(index, wait),
            // It must not be asked again before it has answered (`VQR-D-01`).
            Stage::Asked => Err(QueueSetupError::NotReady),
            Stage::Reset => Ok(()),
        };
        if let Err(error) = disabled {
            queue.set_stage(Stage::Asked);
            if error == QueueSetupError::Gone {
                self.tell_gone();
                queue.device_gone();
            }
            return Err(QueueResetError::NotReset(error).of(queue));
        }
        // SAFETY: the transport has just said that the device has let go of the queue, or did so before, and the device was not told
        // of it again.
        let mut queue = unsafe { queue.renew(each) };
        let setup = QueueSetup {
            vector: queue.vector(),
            ..queue.setup()
        };
        // SAFETY: as at the start: the rings were zeroed, are owned by the queue and touched as a virtqueue only; every buffer made
        // available is slot memory of the queue, or belongs to a request it owns; dropping the queue leaks both.
        match unsafe { self.transport.enable_queue(index, &setup) } {
            Ok(()) => {
                queue.set_stage(Stage::InUse);
                Ok(queue)
            }
            Err(error) => {
                queue.set_stage(Stage::Reset);
                if error == QueueSetupError::Gone {
                    self.tell_gone();
                    queue.device_gone();
                }
                Err(QueueResetError::NotEnabled(error).of(queue))
            }
        }
    }
}
