//! Bring-up: initialisation, features, configuration, and one request queue.

use core::fmt;

use virtio_blk_proto::zoned::ZonedModel;
use virtio_blk_proto::{BlkConfig, BlkFeatures};
use virtio_core::{
    DeviceStatus, DeviceType, Dma, DmaError, DmaSegments, FeatureChoice, Features, Init, Interface, QueueIndex,
    QueueSize, ResetError, Transport, Wait,
};
use virtqueue::{Chains, CreateError, DmaRing, QueueOptions, RingLayout};

use crate::configuration::{blk_features, read_config};
use crate::slot_memory::SlotMemory;

use crate::{DeviceControl, DiskOptions, InitError, Limits, RequestQueue, SUPPORTED_COMMON};

/// The queue that carries requests; the only one without MQ (`BLK-N-01`).
const REQUEST_QUEUE: QueueIndex = QueueIndex(0);

/// Descriptors of the smallest request with data: header, one segment, status.
const MIN_DESCRIPTORS: u16 = 3;

/// A bring-up that failed, with the transport it was tried on.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct StartError<T> {
    /// The cause.
    pub error: InitError,
    /// The transport. Its device is marked as failed, unless it is [no block device](InitError::NotBlock),
    /// which nothing was done to, or did not finish its reset, or is gone.
    pub transport: T,
}

impl<T> fmt::Debug for StartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// A started device: the control half and the data half.
pub type Halves<T, B, K, const N: usize> = (DeviceControl<T>, DeviceQueue<T, B, K, N>);

/// The request queue of a device with a transport `T`.
pub type DeviceQueue<T, B, K, const N: usize> = RequestQueue<<T as Transport>::Notifier, B, K, N>;

/// What a request queue is made of: everything but its tables, which are large, and are made where they stay.
pub(crate) struct QueueParts<D> {
    pub(crate) options: QueueOptions,
    pub(crate) ring: DmaRing,
    pub(crate) slots: SlotMemory,
    pub(crate) doorbell: D,
}

impl<T: Transport> DeviceControl<T> {
    /// Brings a device up: initialisation, features, configuration, one request queue.
    ///
    /// Interrupts are suppressed at first; [`RequestQueue::drain`] asks for them. `wait` says how long to wait for a reset: one at
    /// the beginning, another one if a later step fails.
    ///
    /// # Errors
    ///
    /// See [`InitError`]. The transport comes back. The device then uses none of the memory, which was released; after
    /// [`InitError::Stuck`] it may, and the memory is leaked.
    pub fn start<B: DmaSegments, K, const N: usize>(
        transport: T,
        dma: &mut impl Dma,
        options: &DiskOptions,
        wait: &mut dyn Wait,
    ) -> Result<Halves<T, B, K, N>, StartError<T>> {
        let mut control = Self::new(transport, options);
        match control.bring_up(dma, options, N, wait) {
            Ok(parts) => {
                let queue = RequestQueue::new(parts, &control);
                Ok((control, queue))
            }
            Err(error) => Err(control.failed(error)),
        }
    }

    pub(crate) fn failed(self, error: InitError) -> StartError<T> {
        StartError {
            error,
            transport: self.into_transport(),
        }
    }

    /// Brings the device up. Its queue has room for `capacity` descriptors at most.
    pub(crate) fn bring_up(
        &mut self,
        dma: &mut impl Dma,
        options: &DiskOptions,
        capacity: usize,
        wait: &mut dyn Wait,
    ) -> Result<QueueParts<T::Notifier>, InitError> {
        let kind = self.transport.device_type();
        if kind != DeviceType::BLOCK {
            return Err(InitError::NotBlock(kind));
        }
        let mut init = Init::begin(&mut self.transport, wait)?.acknowledge().driver()?;
        self.offered = init.offered_features();
        let offered = blk_features(self.offered);
        let choice = FeatureChoice {
            supported: choose(self.offered, options, init.peek())?,
            required: Features::empty(),
        };
        let mut init = init.negotiate(choice)?;
        self.accepted = init.accepted_features();
        let accepted = blk_features(self.accepted);

        let interface = init.device().interface();
        self.config = read_config(init.device(), &mut options.config_limit.clone(), offered)?;
        let config = BlkConfig::read(&self.config, offered);

        if config.capacity.to_bytes().is_none() {
            return Err(InitError::BadCapacity {
                sectors: config.capacity.get(),
            });
        }

        if crate::ZONED && accepted.contains(BlkFeatures::ZONED) {
            // The device's answer may have changed.
            choose_zones(&config, accepted)?;
        }

        let limit = init.device().max_queue_size(REQUEST_QUEUE)?;
        if limit == 0 {
            return Err(InitError::NoQueue);
        }
        let size = QueueSize::at_most(limit.min(capacity as u32)).ok_or(InitError::NoQueue)?;
        let size = size.min(options.max_queue_size);
        if size.get() < MIN_DESCRIPTORS {
            return Err(InitError::QueueTooSmall { size: size.get() });
        }
        // What the device does not take needs no room in tables.
        let wanted_segments = options.max_segments.max(1).min(Limits::data_segments(&config));
        let queue_options = queue_options(size, interface, self.accepted, wanted_segments, options.chains);
        // Room for header and status was made sure of above.
        let max_segments = (queue_options.max_segments() - 2).min(wanted_segments);
        self.limits = Limits::new(&config, offered, accepted, max_segments);
        let (ring, slots) = allocate(&queue_options, dma)?;

        // SAFETY: rings and slots were allocated from `dma`, zeroed, and are owned by the queue that is made of them, which
        // touches the rings as a virtqueue only. Every buffer it makes available is slot memory of its own, or belongs to
        // a request it owns until the device has returned it (`DmaSegments`); dropping the queue leaks both.
        let live = match unsafe { init.enable_queue(REQUEST_QUEUE, &ring.setup()) } {
            Ok(()) => {
                let doorbell = init.notifier(REQUEST_QUEUE);
                init.finish().map(|_| doorbell).map_err(InitError::from)
            }
            Err(error) => {
                drop(init);
                Err(InitError::from(error))
            }
        };
        let doorbell = match live {
            Ok(doorbell) => doorbell,
            Err(error) => {
                // Also if DRIVER_OK was not set: a device that was told addresses it did not take may think about them for longer,
                // and the caller, who gets the transport back, can write any status to it. What is dropped with an error is leaked.
                let error = reset_after_trouble(&mut self.transport, wait, error)?;
                dma.release(ring.into_region());
                dma.release(slots.into_region());
                return Err(error);
            }
        };
        info!(
            "block device live: {} sectors, features {:#x}, queue of {}",
            config.capacity.get(),
            self.accepted.low(),
            size.get()
        );
        Ok(QueueParts {
            options: queue_options,
            ring,
            slots,
            doorbell,
        })
    }
}

/// Resets a device that failed with `error` after its queue was enabled, and marks it as failed (`INIT-D-18`). Returns the error
/// that the bring-up ends with: another one if the device is gone. The memory of the queue can be released then.
///
/// # Errors
///
/// [`InitError::Stuck`] if the reset does not end: the memory of the queue must not be released then.
fn reset_after_trouble<T: Transport>(
    transport: &mut T,
    wait: &mut dyn Wait,
    error: InitError,
) -> Result<InitError, InitError> {
    let Ok(status) = transport.status() else {
        return Ok(InitError::Gone);
    };
    match transport.reset(wait) {
        Ok(()) => {
            transport.write_status(DeviceStatus::FAILED);
            Ok(error)
        }
        Err(ResetError::Gone) => Ok(InitError::Gone),
        Err(ResetError::TimedOut) => Err(InitError::Stuck { status }),
    }
}

/// The features to ask for, out of `offered`.
fn choose<T: Transport>(offered: Features, options: &DiskOptions, transport: &T) -> Result<Features, InitError> {
    let wanted = options.supported() & offered;
    let mut blk = blk_features(wanted).without_unmet();
    if transport.interface() == Interface::Legacy {
        // It cannot be negotiated there (`BLK-N-34`).
        blk -= BlkFeatures::ZONED;
    }
    if blk_features(offered).contains(BlkFeatures::ZONED) {
        let fields = BlkFeatures::ZONED | BlkFeatures::BLK_SIZE & blk_features(offered);
        let snapshot = read_config(transport, &mut options.config_limit.clone(), fields)?;
        blk = choose_zones(&BlkConfig::read(&snapshot, fields), blk)?;
    }
    let common = wanted & SUPPORTED_COMMON;
    Ok(common | (Features::from_low(blk.bits()) & wanted))
}

/// Those of the features `wanted` that go with the zones of the device.
fn choose_zones(config: &BlkConfig, wanted: BlkFeatures) -> Result<BlkFeatures, InitError> {
    let Some(zones) = config.zoned.filter(|zones| zones.model != ZonedModel::None) else {
        return Ok(wanted);
    };
    let (ordinary, usable) = (
        zones.model.works_as_ordinary_disk(),
        crate::ZONED && zones.is_usable(config.block_bytes()),
    );
    match (crate::ZONED && wanted.contains(BlkFeatures::ZONED), usable) {
        (true, true) => Ok(zones.model.negotiable(wanted)),
        (false, _) | (_, false) if ordinary => Ok(wanted - BlkFeatures::ZONED),
        (true, false) => Err(InitError::BadZones {
            model: zones.model,
            zone_sectors: zones.zone_sectors,
        }),
        (false, _) => Err(InitError::NeedsZones),
    }
}

fn queue_options(
    size: QueueSize,
    interface: Interface,
    accepted: Features,
    max_segments: u16,
    chains: Chains,
) -> QueueOptions {
    let legacy = interface == Interface::Legacy;
    QueueOptions {
        size,
        layout: if legacy { RingLayout::Legacy } else { RingLayout::Modern },
        event_idx: accepted.contains(Features::EVENT_IDX),
        indirect_entries: if accepted.contains(Features::INDIRECT_DESC) {
            max_segments.saturating_add(2)
        } else {
            0
        },
        chains,
        used_len_valid: !legacy,
    }
}

/// Allocates rings and slots of a queue.
fn allocate(options: &QueueOptions, dma: &mut impl Dma) -> Result<(DmaRing, SlotMemory), InitError> {
    let offsets = options.offsets();
    let ring_layout = offsets.memory().ok_or(DmaError::UnsupportedLayout)?;
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
