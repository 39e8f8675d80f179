//! A device that was reset, while its queues are coming back.

use core::fmt;

use virtio_core::{Dma, DmaSegments, QueueNotifier};

use crate::shared_config::SharedConfig;
use crate::{Completion, InterruptCounters, QueueCounters, RequestQueue};

/// A device that was reset by [`DeviceControl::shut_down`](crate::DeviceControl::shut_down). It uses no memory any more.
///
/// Its queues may be on other harts, and come back in any order. Until a queue is back, it can be used as before, but the device
/// answers nothing. A queue that was dropped has leaked its memory and requests, and never comes back:
/// [`abandon`](Self::abandon) goes on without it.
pub struct ResetDevice<T> {
    transport: T,
    /// The memory that the queues of this start look at, by which they are known. Without it no queue is released.
    shared: Option<SharedConfig>,
    /// Queues that are not back.
    missing: u16,
    interrupts: InterruptCounters,
}

/// A queue of another device, or of an earlier start.
#[derive(thiserror::Error)]
#[error("the queue does not belong to this start of the device")]
pub struct ForeignQueue<Q>(
    /// The queue, untouched.
    pub Q,
);

impl<Q> fmt::Debug for ForeignQueue<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignQueue").finish_non_exhaustive()
    }
}

/// Not all queues are back.
#[derive(thiserror::Error)]
#[error("{} queues are not back", device.missing)]
pub struct MissingQueues<T> {
    /// The device, to go on with.
    pub device: ResetDevice<T>,
}

impl<T> fmt::Debug for MissingQueues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MissingQueues").field("device", &self.device).finish()
    }
}

impl<T> ResetDevice<T> {
    pub(crate) fn new(transport: T, shared: Option<SharedConfig>, missing: u16, interrupts: InterruptCounters) -> Self {
        Self {
            transport,
            shared,
            missing,
            interrupts,
        }
    }

    /// How many queues are not back.
    pub fn missing(&self) -> u16 {
        self.missing
    }

    /// Takes a queue of this device back: every request that was still in it goes to `each`, exactly once, and its memory to
    /// `dma`, where it came from. Returns what the queue has counted.
    ///
    /// First come the requests that the device had finished before the reset, with their results; then the others as
    /// [aborted](crate::IoError::Aborted), in the order in which they were submitted to this queue.
    ///
    /// # Errors
    ///
    /// [`ForeignQueue`] with the queue, if it does not belong to this start of this device. Nothing was done to it.
    #[expect(clippy::result_large_err, reason = "there is no heap to box the queue on")]
    pub fn release<D: QueueNotifier, B: DmaSegments, K, const N: usize>(
        &mut self,
        queue: RequestQueue<D, B, K, N>,
        dma: &mut (impl Dma + ?Sized),
        each: impl FnMut(Completion<B, K>),
    ) -> Result<QueueCounters, ForeignQueue<RequestQueue<D, B, K, N>>> {
        if !self.shared.as_ref().is_some_and(|shared| queue.belongs_to(shared)) {
            return Err(ForeignQueue(queue));
        }
        // Each queue of a start is there once.
        self.missing = self.missing.saturating_sub(1);
        // SAFETY: the queue was started with the control half that had this shared memory, which nothing else can have had since
        // then. Its transport has reported the end of a reset or of the device, and has been used for nothing since.
        Ok(unsafe { queue.take_apart(dma, each) })
    }

    /// Ends the shutdown. Returns the transport, on which the device can be started again, and what was counted.
    ///
    /// # Errors
    ///
    /// [`MissingQueues`] if not all queues are back.
    pub fn finish(mut self, dma: &mut (impl Dma + ?Sized)) -> Result<(T, InterruptCounters), MissingQueues<T>> {
        if self.missing > 0 {
            return Err(MissingQueues { device: self });
        }
        if let Some(shared) = self.shared.take() {
            shared.release(dma);
        }
        Ok((self.transport, self.interrupts))
    }

    /// Ends the shutdown without the queues that are not back. Their memory and their requests are lost. So are 128 bytes of memory
    /// that all queues look at, because a queue that was dropped cannot be told from one that is still used.
    pub fn abandon(self) -> (T, InterruptCounters) {
        (self.transport, self.interrupts)
    }
}

impl<T> fmt::Debug for ResetDevice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetDevice")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}
