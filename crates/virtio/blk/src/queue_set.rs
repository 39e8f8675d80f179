//! The queues of a device as one, for the harts of a kernel.

use core::cell::RefCell;

use virtio_core::{DmaSegments, InterruptVector, QueueNotifier};
use virtqueue::DeviceFault;

use crate::{Completion, QueueCounters, Rejected, Request, RequestQueue, SubmitError};

/// Exclusive access to a queue that harts share: the lock of a kernel.
///
/// On a kernel with one hart, a `RefCell` is enough. A lock that an interrupt handler takes must keep that interrupt off its hart
/// while it is held.
pub trait QueueLock {
    /// The [`RequestQueue`] in the lock.
    type Queue;

    /// Runs `work` with exclusive access to the queue.
    fn with<R>(&self, work: impl FnOnce(&mut Self::Queue) -> R) -> R;
}

impl<Q> QueueLock for RefCell<Q> {
    type Queue = Q;

    fn with<R>(&self, work: impl FnOnce(&mut Q) -> R) -> R {
        work(&mut self.borrow_mut())
    }
}

/// The queues of a device for the harts of a kernel: each hart has one, and uses another one if that is full.
///
/// The queues are those of [`DeviceControl::start`](crate::DeviceControl::start), each in a lock. Hart *n* has queue *n*; with fewer
/// queues than harts, harts share. As long as a hart finds room in its own queue, it touches nothing that other harts write.
///
/// A request of another hart can come into any queue, and completes there. So a hart that waits for interrupts [drains](Self::drain) its
/// queue once at the beginning, which asks for them, even if it submits nothing; and one that polls does not stop polling.
///
/// ```
/// use core::cell::RefCell;
/// use virtio_blk::{QueueSet, Request};
/// # use virtio_blk::{DeviceControl, DeviceQueue, DiskOptions, Vectors};
/// # use virtio_blk_model::{Model, ModelConfig, ModelRegisters, feature};
/// # use virtio_core::{DmaBuffer, PollLimit};
/// # let model = Model::new(ModelConfig { queues: 2, ..ModelConfig::modern().offer(feature::MQ) });
/// # let transport = virtio_mmio::probe(model.registers()).device().unwrap();
/// # let (mut dma, mut wait) = (model.dma(), PollLimit::default());
/// # type Queue = DeviceQueue<virtio_mmio::MmioTransport<ModelRegisters>, DmaBuffer, u32, 16>;
/// # let mut places: [Option<Queue>; 2] = [None, None];
/// # let options = DiskOptions::default();
/// # let control = DeviceControl::start(transport, &mut dma, &options, Vectors::NONE, &mut wait, &mut places).unwrap();
/// # let this_hart = || 0;
/// let queues: Vec<_> = places.into_iter().flatten().map(RefCell::new).collect();
/// let set = QueueSet::new(&queues, this_hart, |_hart, _vector| { /* route the interrupt to that hart */ })
///     .expect("there are queues");
/// set.submit(Request::flush(7)).expect("there is room");
/// set.notify();
/// # model.process(9);
/// assert_eq!(set.poll(|done| assert_eq!(done.token, 7)), Ok(1));
/// ```
///
/// Copies are handles to the same queues.
#[derive(Debug)]
pub struct QueueSet<'q, L, H> {
    queues: &'q [L],
    first: &'q L,
    /// Some queues have the same vector.
    shares_vectors: bool,
    hart: H,
}

// Not derived: a lock cannot be copied.
impl<L, H: Clone> Clone for QueueSet<'_, L, H> {
    fn clone(&self) -> Self {
        Self {
            hart: self.hart.clone(),
            ..*self
        }
    }
}

impl<L, H: Copy> Copy for QueueSet<'_, L, H> {}

impl<'q, L, H, D, B, K, const N: usize> QueueSet<'q, L, H>
where
    L: QueueLock<Queue = RequestQueue<D, B, K, N>>,
    H: Fn() -> usize,
    D: QueueNotifier,
    B: DmaSegments,
{
    /// A set of `queues`. `hart` answers the number of the hart that asks.
    ///
    /// `None` without a queue, and if not all of them are of the same start of one device: a request that spills over must not get
    /// to another disk.
    ///
    /// `assign` is called for each queue with a vector. It routes the interrupt of that vector to the hart with that number.
    pub fn new(queues: &'q [L], hart: H, mut assign: impl FnMut(usize, InterruptVector)) -> Option<Self> {
        let first = queues.first()?;
        let device = first.with(|queue| queue.device());
        if queues.iter().any(|queue| queue.with(|queue| queue.device()) != device) {
            return None;
        }
        let vector_of = |queue: &L| queue.with(|queue| queue.vector());
        let mut shares_vectors = false;
        for (hart, queue) in queues.iter().enumerate() {
            if let Some(vector) = vector_of(queue) {
                shares_vectors |= queues
                    .iter()
                    .skip(hart + 1)
                    .any(|other| vector_of(other) == Some(vector));
                assign(hart, vector);
            }
        }
        Some(Self {
            queues,
            first,
            shares_vectors,
            hart,
        })
    }

    /// The place of the caller's queue.
    #[inline]
    fn own_place(&self) -> usize {
        (self.hart)().checked_rem(self.queues.len()).unwrap_or(0)
    }

    /// The caller's queue.
    #[inline]
    fn own(&self) -> &'q L {
        self.queues.get(self.own_place()).unwrap_or(self.first)
    }

    /// Takes a request into the queue of this hart, or, if that is full or [stopped](SubmitError::Stopped), into the one with the
    /// fewest requests, or into any with room. A request that goes to the queue of another hart is published at once, and completes there.
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::submit`]; [`SubmitError::QueueFull`] if no queue has room, and one may have later.
    #[inline]
    pub fn submit(&self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        match self.own().with(|queue| queue.submit(request)) {
            Err(rejected) if matches!(rejected.error, SubmitError::QueueFull | SubmitError::Stopped) => {
                self.spill(rejected)
            }
            answer => answer,
        }
    }

    /// Takes a request that this hart's queue did not take.
    #[cold]
    #[inline(never)]
    fn spill(&self, mut rejected: Rejected<B, K>) -> Result<(), Rejected<B, K>> {
        let own = self.own_place();
        let others = || self.queues.iter().enumerate().filter(|&(place, _)| place != own);
        let least = others().min_by_key(|(_, queue)| queue.with(|queue| queue.in_flight()));
        let rest = others().filter(|&(place, _)| least.is_none_or(|(first, _)| place != first));
        let mut is_full = rejected.error == SubmitError::QueueFull;
        for (_, queue) in least.into_iter().chain(rest) {
            let answer = queue.with(|queue| {
                queue.submit(rejected.request)?;
                queue.notify();
                Ok(())
            });
            rejected = match answer {
                Ok(()) => return Ok(()),
                Err(rejected) => rejected,
            };
            is_full |= rejected.error == SubmitError::QueueFull;
        }
        if is_full {
            rejected.error = SubmitError::QueueFull;
        }
        Err(rejected)
    }

    /// Publishes what this hart has submitted to its queue; see [`RequestQueue::notify`].
    #[inline]
    pub fn notify(&self) -> bool {
        self.own().with(RequestQueue::notify)
    }

    /// Polls the queue of this hart; see [`RequestQueue::poll`]. `each` runs in the lock.
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::poll`].
    #[inline]
    pub fn poll(&self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.own().with(|queue| queue.poll(each))
    }

    /// Polls the queue of this hart and asks for an interrupt; see [`RequestQueue::drain`]. `each` runs in the lock.
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::poll`].
    pub fn drain(&self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.own().with(|queue| queue.drain(each))
    }

    /// Follows up an interrupt by `vector`: drains the queues that have it. `each` runs in their locks. Returns how many
    /// requests completed.
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::poll`]. All the queues are drained, and the first error is returned.
    pub fn on_interrupt(
        &self,
        vector: InterruptVector,
        mut each: impl FnMut(Completion<B, K>),
    ) -> Result<u32, DeviceFault> {
        let mut drain = |queue: &L| {
            queue.with(|queue| match queue.vector() {
                Some(own) if own == vector => queue.on_interrupt(&mut each).map(Some),
                _ => Ok(None),
            })
        };
        // The queue of this hart first: mostly it is the only one, and no other is touched.
        let mut drained = drain(self.own());
        if self.shares_vectors || drained == Ok(None) {
            let own = self.own_place();
            let others = self.queues.iter().enumerate().filter(|&(place, _)| place != own);
            for (_, queue) in others {
                let answer = drain(queue);
                drained = drained.and_then(|before| Ok(Some(before.unwrap_or(0).wrapping_add(answer?.unwrap_or(0)))));
            }
        }
        drained.map(|count| count.unwrap_or(0))
    }

    /// Requests in all queues.
    pub fn in_flight(&self) -> usize {
        let loads = self.queues.iter().map(|queue| queue.with(|queue| queue.in_flight()));
        loads.map(usize::from).sum()
    }

    /// What all queues have counted together.
    pub fn counters(&self) -> QueueCounters {
        self.queues.iter().fold(QueueCounters::default(), |mut sum, queue| {
            sum += &queue.with(|queue| queue.counters());
            sum
        })
    }

    /// The queues in their locks, for what the set does not do.
    pub fn queues(&self) -> &'q [L] {
        self.queues
    }
}
