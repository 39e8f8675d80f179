//! The end of a queue: its requests are given back, and then its memory, or another queue is made of it.

use core::mem::ManuallyDrop;

use virtio_core::{Dma, DmaSegments, QueueNotifier};

use crate::chain_token::ChainToken;
use crate::queue_parts::QueueParts;
use crate::split_requests::SplitRequests;
use crate::{Completion, IoError, QueueCounters, RequestQueue};

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// Takes the queue apart: every request that was still in it goes to `each`, and the memory back to `dma`, where it came from.
    /// Returns what was counted.
    ///
    /// # Safety
    ///
    /// That of [`give_back`](Self::give_back).
    pub(crate) unsafe fn take_apart(
        self,
        dma: &mut (impl Dma + ?Sized),
        each: impl FnMut(Completion<B, K>),
    ) -> QueueCounters {
        // SAFETY: the caller keeps the same contract.
        let (parts, counters) = unsafe { self.give_back(each) };
        dma.release(parts.ring.into_region());
        dma.release(parts.slots.into_region());
        counters
    }

    /// Takes the queue apart: every request that was still in it goes to `each`.
    ///
    /// First come those that the device had finished and no poll had taken yet, with their own results, checked like any
    /// completion. The others follow as aborted, in the order in which they were submitted, so that a caller who submits
    /// them [again](Completion::into_request) as they come keeps the order. A transfer with parts that had not been sent is
    /// aborted, even if all parts that had been sent were done.
    ///
    /// # Safety
    ///
    /// The device this queue was started on has let go of it: by a reset of the device or of the queue, because it is
    /// [gone](virtio_core::ResetError::Gone), or because it was never told of the queue.
    pub(super) unsafe fn give_back(mut self, mut each: impl FnMut(Completion<B, K>)) -> (QueueParts<D>, QueueCounters) {
        // After a lie nothing more of the ring is believed; it has been counted, and the rest is aborted.
        let _ = self.take_each(&mut each);
        let mut counters = self.counters();
        self.identity.returned = self.returned();
        let mut abort = |completion: Completion<B, K>| {
            counters.completed(completion.operation.kind(), completion.bytes, true);
            each(completion);
        };
        let mut splits = ManuallyDrop::into_inner(self.splits);
        // No request was taken while another was being sent, so each part stands for its request in the order of submission.
        let ring = ManuallyDrop::into_inner(self.ring).into_memory(|token| match token {
            ChainToken::Whole(whole) => abort(whole.complete(Err(IoError::Aborted))),
            ChainToken::Part(part) => splits.abort(part.request()).into_iter().for_each(&mut abort),
        });
        // What is left waits with no part in flight, and nothing was submitted after it.
        SplitRequests::<B, K>::numbers()
            .filter_map(|number| splits.abort(number))
            .for_each(abort);
        let parts = QueueParts {
            identity: self.identity,
            ring,
            slots: self.slots,
            doorbell: self.doorbell,
        };
        (parts, counters)
    }
}
