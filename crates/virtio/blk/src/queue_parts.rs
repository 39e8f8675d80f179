//! What a request queue is made of, and where the queues of a start are kept.

use virtio_blk_proto::{BlkConfig, BlkFeatures, ConfigSnapshot};
use virtio_core::{Dma, DmaError, DmaSegments, InterruptVector, QueueIndex, QueueNotifier};
use virtqueue::{CreateError, DmaRing, QueueOptions};

use crate::shared_config::ConfigView;
use crate::slot_memory::SlotMemory;
use crate::{InitError, Limits, RequestQueue};

/// Bytes of a cache line, or more.
pub(crate) const CACHE_LINE: usize = 64;

/// How far a [reset](crate::DeviceControl::reset_queue) of the queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is none: the device uses the queue.
    InUse,
    /// The device was asked for a reset, and was not seen to be done with it. It may be using the queue.
    Asked,
    /// The device has let go of the queue, and has not taken it into use again.
    Reset,
}

/// What a queue knows of itself and does not need for each request.
#[derive(Debug)]
pub(crate) struct QueueIdentity {
    pub(crate) index: QueueIndex,
    pub(crate) vector: Option<InterruptVector>,
    pub(crate) options: QueueOptions,
    /// What the device offered.
    pub(crate) offered: BlkFeatures,
    /// What was accepted.
    pub(crate) accepted: BlkFeatures,
    /// Data segments of a request that there is room for in the tables.
    pub(crate) max_segments: u16,
    /// Device requests that came back before the last reset of the queue.
    pub(crate) returned: u64,
    pub(crate) stage: Stage,
    /// How it learns of a new configuration, if its control half may be elsewhere.
    pub(crate) config: Option<ConfigView>,
}

impl QueueIdentity {
    /// The limits of a device with that configuration, of a disk that had the limits `before`.
    pub(crate) fn limits(&self, config: &ConfigSnapshot, before: &Limits) -> Limits {
        let config = BlkConfig::read(config, self.offered);
        Limits::new(&config, self.offered, self.accepted, self.max_segments).on_live_queue(before)
    }
}

/// The parts of a request queue, without its tables: these are large, and are made in their final place.
pub(crate) struct QueueParts<D> {
    pub(crate) identity: QueueIdentity,
    pub(crate) ring: DmaRing,
    pub(crate) slots: SlotMemory,
    pub(crate) doorbell: D,
}

/// Where the queues of a start are kept until the device is live.
pub(crate) trait QueuePlaces<D> {
    /// Whether the control half may end up elsewhere than the queues.
    const SEPARATE: bool;

    /// How many queues there is room for.
    fn count(&self) -> u16;

    /// Keeps the next queue, of a disk with these limits.
    fn put(&mut self, parts: QueueParts<D>, limits: &Limits);

    /// Gives the memory of all queues back.
    ///
    /// # Safety
    ///
    /// The device was reset after it was told of any of them, or was told of none.
    unsafe fn release(&mut self, dma: &mut impl Dma);

    /// Forgets all queues. The device may be using their memory.
    fn leak(&mut self);
}

impl<D> QueuePlaces<D> for Option<QueueParts<D>> {
    const SEPARATE: bool = false;

    fn count(&self) -> u16 {
        1
    }

    #[inline(never)]
    fn put(&mut self, parts: QueueParts<D>, _limits: &Limits) {
        *self = Some(parts);
    }

    unsafe fn release(&mut self, dma: &mut impl Dma) {
        if let Some(parts) = self.take() {
            dma.release(parts.ring.into_region());
            dma.release(parts.slots.into_region());
        }
    }

    fn leak(&mut self) {
        *self = None;
    }
}

/// Places of a caller, and how many of them are taken.
pub(crate) struct CallersPlaces<'p, D, B, K, const N: usize> {
    places: &'p mut [Option<RequestQueue<D, B, K, N>>],
    taken: usize,
}

impl<'p, D, B, K, const N: usize> CallersPlaces<'p, D, B, K, N> {
    /// All of `places`, which are emptied.
    pub(crate) fn new(places: &'p mut [Option<RequestQueue<D, B, K, N>>]) -> Self {
        places.iter_mut().for_each(|place| *place = None);
        Self { places, taken: 0 }
    }
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> QueuePlaces<D> for CallersPlaces<'_, D, B, K, N> {
    const SEPARATE: bool = true;

    fn count(&self) -> u16 {
        u16::try_from(self.places.len()).unwrap_or(u16::MAX)
    }

    fn put(&mut self, parts: QueueParts<D>, limits: &Limits) {
        if let Some(place) = self.places.get_mut(self.taken) {
            *place = Some(RequestQueue::new(parts, limits));
            self.taken += 1;
        }
    }

    unsafe fn release(&mut self, dma: &mut impl Dma) {
        for queue in self.places.iter_mut().filter_map(Option::take) {
            // SAFETY: the caller keeps the same contract. Nothing was submitted.
            unsafe { queue.take_apart(dma, |_| {}) };
        }
    }

    fn leak(&mut self) {
        self.places.iter_mut().for_each(|place| *place = None);
    }
}

/// Allocates rings and slots of a queue. None of them shares a cache line with memory of another queue.
///
/// # Errors
///
/// [`InitError::Dma`] and [`InitError::Ring`]; nothing is kept then.
pub(crate) fn allocate(options: &QueueOptions, dma: &mut impl Dma) -> Result<(DmaRing, SlotMemory), InitError> {
    let offsets = options.offsets();
    let ring_layout = offsets.memory().ok_or(DmaError::UnsupportedLayout)?;
    let ring_layout = ring_layout
        .align_to(CACHE_LINE)
        .map_err(|_| DmaError::UnsupportedLayout)?;
    let slot_layout = SlotMemory::layout(options.size).ok_or(DmaError::UnsupportedLayout)?;

    let ring = DmaRing::new(offsets, dma.allocate(ring_layout)?).map_err(|region| {
        dma.release(region);
        CreateError::BadMemory
    })?;
    let slots = dma.allocate(slot_layout).and_then(|region| {
        SlotMemory::new(options.size, region).map_err(|region| {
            dma.release(region);
            DmaError::UnsupportedLayout
        })
    });
    match slots {
        Ok(slots) => Ok((ring, slots)),
        Err(error) => {
            dma.release(ring.into_region());
            Err(error.into())
        }
    }
}
