//! What a request queue is made of, and where the queues of a start are kept.

use virtio_core::{Dma, DmaError, InterruptVector, QueueIndex};
use virtqueue::{CreateError, DmaRing, QueueOptions};

use crate::shared_config::{ConfigView, SharedConfig};
use crate::slot_memory::SlotMemory;
use crate::{InitError, Limits};

/// Bytes of a cache line, or more.
pub(crate) const CACHE_LINE: usize = 64;

/// How far a [reset](crate::DeviceControl::reset_queue) of the queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "queues"),
    expect(dead_code, reason = "a single queue is not reset alone")
)]
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
    /// Device requests that came back before the last reset of the queue.
    pub(crate) returned: u64,
    pub(crate) stage: Stage,
    /// How it learns of a new configuration, if its control half may be elsewhere.
    pub(crate) config: Option<ConfigView>,
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
    /// What the queues share with their control half, if that may end up elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    fn shared(dma: &mut (impl Dma + ?Sized)) -> Result<Option<SharedConfig>, DmaError>;

    /// How many queues there is room for.
    fn count(&self) -> u16;

    /// Keeps the next queue, of a disk with these limits.
    fn put(&mut self, parts: QueueParts<D>, limits: &Limits);

    /// Gives the memory of all queues back.
    ///
    /// # Safety
    ///
    /// The device was reset after it was told of any of them, or was told of none.
    unsafe fn release(&mut self, dma: &mut (impl Dma + ?Sized));

    /// Forgets all queues. The device may be using their memory.
    fn leak(&mut self);
}

impl<D> QueuePlaces<D> for Option<QueueParts<D>> {
    fn shared(_: &mut (impl Dma + ?Sized)) -> Result<Option<SharedConfig>, DmaError> {
        Ok(None)
    }

    fn count(&self) -> u16 {
        1
    }

    fn put(&mut self, parts: QueueParts<D>, _limits: &Limits) {
        *self = Some(parts);
    }

    unsafe fn release(&mut self, dma: &mut (impl Dma + ?Sized)) {
        if let Some(parts) = self.take() {
            dma.release(parts.ring.into_region());
            dma.release(parts.slots.into_region());
        }
    }

    fn leak(&mut self) {
        *self = None;
    }
}

/// Allocates rings and slots of a queue. None of them shares a cache line with memory of another queue.
///
/// # Errors
///
/// [`InitError::Dma`] and [`InitError::Ring`]; nothing is kept then.
pub(crate) fn allocate(
    options: &QueueOptions,
    dma: &mut (impl Dma + ?Sized),
) -> Result<(DmaRing, SlotMemory), InitError> {
    let offsets = options.offsets();
    let ring_layout = offsets.memory().ok_or(DmaError::UnsupportedLayout)?;
    // A single queue has no neighbour.
    let align = if crate::QUEUES { CACHE_LINE } else { 1 };
    let ring_layout = ring_layout.align_to(align).map_err(|_| DmaError::UnsupportedLayout)?;
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
