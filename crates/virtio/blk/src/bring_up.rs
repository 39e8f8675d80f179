//! Bring-up: initialisation, features, configuration, and the request queues.

use core::fmt;

use virtio_blk_proto::zoned::ZonedModel;
use virtio_blk_proto::{BlkConfig, BlkFeatures};
use virtio_core::init::Negotiated;
use virtio_core::{
    DeviceStatus, DeviceType, Dma, FeatureChoice, Features, Init, Interface, QueueIndex, QueueSetup, QueueSize,
    ResetError, Transport, Wait,
};
use virtqueue::{Chains, QueueOptions, RingLayout};

use crate::configuration::{blk_features, read_config};
use crate::queue_parts::{QueueIdentity, QueueParts, QueuePlaces, Stage, allocate};
use crate::shared_config::SharedConfig;
use crate::{DeviceControl, DiskOptions, InitError, Limits, RequestQueue, SUPPORTED_COMMON, Vectors};

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

/// A request queue of a device with a transport `T`.
pub type DeviceQueue<T, B, K, const N: usize> = RequestQueue<<T as Transport>::Notifier, B, K, N>;

impl<T: Transport> DeviceControl<T> {
    pub(crate) fn failed(self, error: InitError) -> StartError<T> {
        StartError {
            error,
            transport: self.into_transport(),
        }
    }

    /// Brings the device up, and puts its queues into `places`. Each has room for `capacity` descriptors at most.
    pub(crate) fn bring_up<P: QueuePlaces<T::Notifier>>(
        &mut self,
        dma: &mut (impl Dma + ?Sized),
        options: &DiskOptions,
        capacity: usize,
        vectors: Vectors<'_>,
        wait: &mut dyn Wait,
        places: &mut P,
    ) -> Result<(), InitError> {
        let kind = self.transport.device_type();
        if kind != DeviceType::BLOCK {
            return Err(InitError::NotBlock(kind));
        }
        let wanted = places.count();
        let mut init = Init::begin(&mut self.transport, wait)?.acknowledge().driver()?;
        self.offered = init.offered_features();
        let offered = blk_features(self.offered);
        let choice = FeatureChoice {
            supported: choose(self.offered, options, wanted, init.peek())?,
            required: Features::empty(),
        };
        let mut init = init.negotiate(choice)?;
        self.accepted = init.accepted_features();
        let accepted = blk_features(self.accepted);

        let interface = init.device().interface();
        match read_config(init.device(), &mut options.config_limit.clone(), offered) {
            Ok(config) => self.config = config,
            Err(error) => return Err(error.into()),
        }
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
        self.limits = Limits::new(&config, offered, accepted, u16::MAX);
        self.shared = P::shared(dma)?;
        let count = queue_count(&config, accepted, wanted);
        if crate::QUEUES {
            self.queues = count;
        }
        let set_up = SetUp {
            options,
            capacity,
            vectors,
            interface,
            offered: self.offered,
            accepted: self.accepted,
            shared: self.shared.as_ref(),
        };
        let mut is_told = false;
        let live = set_up
            .queues(&mut init, count, dma, places, &mut self.limits, &mut is_told)
            .and_then(|()| init.finish().map_err(InitError::from));
        if let Err(error) = live {
            // Also if DRIVER_OK was not set: a device that was told addresses it did not take may think about them for longer,
            // and the caller, who gets the transport back, can write any status to it.
            let given_up = if is_told {
                reset_after_trouble(&mut self.transport, wait, error)
            } else {
                Ok(error)
            };
            let error = given_up.inspect_err(|_| places.leak())?;
            // SAFETY: if the device was told of a queue, it has finished a reset since, or is gone.
            unsafe { places.release(dma) };
            if let Some(shared) = self.shared.take() {
                shared.release(dma);
            }
            return Err(error);
        }
        self.max_segments = self.limits.max_segments;
        info!(
            "block device live: {} sectors, features {:#x}, {} queues",
            config.capacity.get(),
            self.accepted.low(),
            self.queues
        );
        Ok(())
    }
}

/// How many queues to start: what is wanted, if the device has it, and at least one if any is wanted.
fn queue_count(config: &BlkConfig, accepted: BlkFeatures, wanted: u16) -> u16 {
    if !crate::QUEUES {
        return 1;
    }
    let has_many = accepted.contains(BlkFeatures::MQ);
    config.num_queues.filter(|_| has_many).unwrap_or(1).max(1).min(wanted)
}

/// What the queues of a start have in common.
struct SetUp<'s> {
    options: &'s DiskOptions,
    /// Descriptors of a queue at most.
    capacity: usize,
    vectors: Vectors<'s>,
    interface: Interface,
    offered: Features,
    accepted: Features,
    shared: Option<&'s SharedConfig>,
}

impl SetUp<'_> {
    /// Sets all queues up. `limits` are those of the device, and become those of the queue with the fewest segments. Sets `is_told`
    /// when the device learns of memory.
    fn queues<T: Transport>(
        &self,
        init: &mut Init<'_, T, Negotiated>,
        count: u16,
        dma: &mut (impl Dma + ?Sized),
        places: &mut impl QueuePlaces<T::Notifier>,
        limits: &mut Limits,
        is_told: &mut bool,
    ) -> Result<(), InitError> {
        if count == 0 {
            return Err(InitError::NoQueue);
        }
        if let Some(vector) = self.vectors.config {
            init.device().set_config_vector(Some(vector))?;
        }
        let mut fewest_segments = u16::MAX;
        let mut index = QueueIndex(0);
        loop {
            let (parts, max_segments) = self.parts(init.device(), index, dma, limits.max_segments)?;
            fewest_segments = fewest_segments.min(max_segments);
            let setup = QueueSetup {
                vector: parts.identity.vector,
                ..parts.ring.setup()
            };
            let own = Limits {
                max_segments,
                ..*limits
            };
            places.put(parts, &own);
            *is_told = true;
            // SAFETY: rings and slots were allocated from `dma`, zeroed, and are owned by the queue that is made of them, which
            // touches the rings as a virtqueue only. Every buffer it makes available is slot memory of its own, or belongs to
            // a request it owns until the device has returned it (`DmaSegments`); dropping the queue leaks both.
            unsafe { init.enable_queue(index, &setup) }?;
            index.0 += 1;
            // A driver for one queue has no loop, which is less code.
            if !crate::QUEUES || index.0 >= count {
                break;
            }
        }
        limits.max_segments = fewest_segments;
        Ok(())
    }

    /// Everything of a queue, in memory that the device does not know yet, and how many data segments its requests can have. The
    /// device takes `segments` in one request.
    fn parts<T: Transport>(
        &self,
        transport: &mut T,
        index: QueueIndex,
        dma: &mut (impl Dma + ?Sized),
        segments: u16,
    ) -> Result<(QueueParts<T::Notifier>, u16), InitError> {
        let limit = transport.max_queue_size(index)?;
        if limit == 0 {
            return Err(InitError::NoQueue);
        }
        let size = QueueSize::at_most(limit.min(self.capacity as u32)).ok_or(InitError::NoQueue)?;
        let size = size.min(self.options.max_queue_size);
        if size.get() < MIN_DESCRIPTORS {
            return Err(InitError::QueueTooSmall { size: size.get() });
        }
        // What the device does not take needs no room in tables.
        let wanted_segments = self.options.max_segments.max(1).min(segments);
        let options = queue_options(
            size,
            self.interface,
            self.accepted,
            wanted_segments,
            self.options.chains,
        );
        // Room for header and status was made sure of above.
        let max_segments = (options.max_segments() - 2).min(wanted_segments);
        let (offered, accepted) = (blk_features(self.offered), blk_features(self.accepted));
        let (ring, slots) = allocate(&options, dma)?;
        let parts = QueueParts {
            identity: QueueIdentity {
                index,
                vector: (self.vectors.queue)(index),
                options,
                returned: 0,
                stage: Stage::InUse,
                // SAFETY: the view belongs to the queue. A start that fails releases or leaks its queues before the shared
                // memory, which is released after it; after a shutdown, it is released when every queue is back.
                config: self
                    .shared
                    .map(|shared| unsafe { shared.view(offered, accepted, max_segments) }),
            },
            ring,
            slots,
            doorbell: transport.notifier(index, self.accepted),
        };
        Ok((parts, max_segments))
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
    // All bits if it is gone, which the reset finds.
    let status = transport.status().unwrap_or(DeviceStatus::all());
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
///
/// MQ is among them if more than one of `queues` is wanted.
fn choose<T: Transport>(
    offered: Features,
    options: &DiskOptions,
    queues: u16,
    transport: &T,
) -> Result<Features, InitError> {
    let wanted = options.supported() & offered;
    let mut blk = blk_features(wanted).without_unmet();
    if queues < 2 {
        blk -= BlkFeatures::MQ;
    }
    if transport.interface() == Interface::Legacy {
        // It cannot be negotiated there (`BLK-N-34`).
        blk -= BlkFeatures::ZONED;
    } else {
        blk -= BlkFeatures::LEGACY_ONLY;
    }
    if blk_features(offered).contains(BlkFeatures::ZONED) {
        let fields = BlkFeatures::ZONED | BlkFeatures::BLK_SIZE & blk_features(offered);
        let snapshot = read_config(transport, &mut options.config_limit.clone(), fields)?;
        blk = choose_zones(&BlkConfig::read(&snapshot, fields), blk)?;
    }
    let common = wanted & (SUPPORTED_COMMON | Features::RING_RESET);
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
