//! The control half of the driver: bring-up, configuration, write cache, interrupts.

use core::fmt;

use virtio_blk_proto::zoned::ZonedModel;
use virtio_blk_proto::{BlkConfig, BlkFeatures, ConfigAccess, Sector, WRITEBACK_OFFSET};
use virtio_core::{
    ConfigReader, ConfigUnstable, DeviceStatus, DeviceType, Dma, DmaSegments, FeatureChoice, Features, Init, Interface,
    InterruptCauses, NotLive, PollLimit, QueueIndex, QueueSize, ResetTimeout, Transport, read_consistent,
};
use virtqueue::{QueueOptions, RingFormat, VirtQueue};

use crate::slot_memory::SlotMemory;
use crate::work::PartToken;
use crate::{InitError, Limits, Options, RequestQueue};

/// The queue that carries requests; the only one without MQ (`BLK-N-01`).
const REQUEST_QUEUE: QueueIndex = QueueIndex(0);

/// Descriptors of the smallest request with data: header, one segment, status.
const MIN_DESCRIPTORS: u16 = 3;

/// A bring-up that failed, with the transport it was tried on.
pub struct StartError<T> {
    /// Why.
    pub error: InitError,
    /// The transport. The device behind it is marked as failed, unless it is [no block device](InitError::NotBlock),
    /// which nothing was done to, or did not finish its reset.
    pub transport: T,
}

impl<T> fmt::Debug for StartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> core::error::Error for StartError<T> {}

impl<T> fmt::Display for StartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Whether completed writes may still sit in a volatile cache of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WriteCache {
    /// A completed write is durable.
    WriteThrough,
    /// A completed write is durable after a flush.
    WriteBack,
}

/// What one look at the status of a started device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Liveness {
    /// It is live.
    Live,
    /// It asks for a reset (DEVICE_NEEDS_RESET): what is in flight may never complete (`INIT-D-04`).
    NeedsReset,
    /// It shows FAILED, which this driver has not set.
    Failed,
    /// It is not live any more, as after a reset that this driver did not ask for. It knows of no request.
    Reset,
    /// The register reads as all ones: the device is not on the bus any more.
    Gone,
}

impl Liveness {
    /// Whether requests make sense. Anything else calls for a [`shut_down`](crate::Disk::shut_down).
    pub fn is_live(self) -> bool {
        self == Self::Live
    }

    fn of(status: DeviceStatus) -> Self {
        if status == DeviceStatus::all() {
            Self::Gone
        } else if status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            Self::NeedsReset
        } else if status.contains(DeviceStatus::FAILED) {
            Self::Failed
        } else if status.contains(DeviceStatus::DRIVER_OK) {
            Self::Live
        } else {
            Self::Reset
        }
    }
}

/// What a look at the configuration brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigChange {
    /// The limits now in force. Pass them to every queue.
    pub limits: Limits,
    /// The capacity before, if it has changed.
    pub resized_from: Option<Sector>,
    /// The device asks for a reset: what is in flight may never complete (`INIT-D-04`).
    pub needs_reset: bool,
}

/// A live block device without its queue.
pub struct BlockDevice<T> {
    transport: T,
    offered: Features,
    accepted: Features,
    config: BlkConfig,
    limits: Limits,
    poll_limit: PollLimit,
    config_limit: PollLimit,
}

/// A started device: the control half and the data half.
pub type Halves<T, B, O, const N: usize> = (BlockDevice<T>, Queue<T, B, O, N>);

/// The request queue of a device behind a transport `T`.
pub type Queue<T, B, O, const N: usize> = RequestQueue<<T as Transport>::Notifier, B, O, N>;

/// Lets the block protocol read configuration fields within a limit.
struct Fields<'r, 't, T>(&'r ConfigReader<'t, T>);

impl<T: Transport> ConfigAccess for Fields<'_, '_, T> {
    fn read_u8(&self, offset: u16) -> u8 {
        self.0.read_u8(offset)
    }

    fn read_u16(&self, offset: u16) -> u16 {
        self.0.read_u16(offset)
    }

    fn read_u32(&self, offset: u16) -> u32 {
        self.0.read_u32(offset)
    }
}

/// The part of a feature set that belongs to the block device.
fn blk_features(features: Features) -> BlkFeatures {
    BlkFeatures::from_bits_retain(features.low())
}

impl<T: Transport> BlockDevice<T> {
    /// Brings a device up: initialisation, features, configuration, one request queue.
    ///
    /// Interrupts are suppressed at first; [`RequestQueue::drain`] asks for them.
    ///
    /// # Errors
    ///
    /// See [`InitError`]. The transport comes back. The device then uses none of the memory, which was released; after
    /// [`InitError::Stuck`] it may, and the memory is leaked.
    pub fn start<B: DmaSegments, O, const N: usize>(
        mut transport: T,
        dma: &mut impl Dma,
        options: &Options,
    ) -> Result<Halves<T, B, O, N>, StartError<T>> {
        match bring_up(&mut transport, dma, options) {
            Ok((queue, live)) => Ok((
                Self {
                    transport,
                    offered: live.offered,
                    accepted: live.accepted,
                    config: live.config,
                    limits: *queue.limits(),
                    poll_limit: options.poll_limit,
                    config_limit: options.config_limit,
                },
                queue,
            )),
            Err(error) => Err(StartError { error, transport }),
        }
    }

    /// What the device offered.
    pub fn offered(&self) -> Features {
        self.offered
    }

    /// What was accepted.
    pub fn accepted(&self) -> Features {
        self.accepted
    }

    /// The configuration as last read.
    pub fn config(&self) -> &BlkConfig {
        &self.config
    }

    /// What the disk takes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The transport, for looking: with a shared reference nothing can be written to the device.
    ///
    /// ```compile_fail,E0596
    /// # use virtio_core::DmaBuffer;
    /// # use virtio_mmio::{MmioTransport, MmioWindow, RegisterAccess};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// // Where the device writes used elements. It is `unsafe`, and not even that helps.
    /// unsafe { disk.device().transport().access().write_u32(0xA0, 0x8000_0000) };
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0596
    /// # use virtio_core::{DeviceStatus, DmaBuffer, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.device().transport().write_status(DeviceStatus::RESET);
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0596
    /// # use virtio_core::{DmaBuffer, Features, QueueIndex, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.device().transport().notifier(QueueIndex(0), Features::NOTIFICATION_DATA);
    /// # }
    /// ```
    ///
    /// ```
    /// # use virtio_core::{DmaBuffer, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow, RegisterAccess};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.device().transport().access().read_u32(0x70);
    /// disk.device().transport().status();
    /// # }
    /// ```
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Whether the device is still alive, by one register read.
    ///
    /// For drivers that poll: a device that died shows nowhere in its ring. Polls find nothing, submissions are accepted, and
    /// without interrupts nothing announces it. So look now and then while requests are in flight and none comes back.
    pub fn liveness(&self) -> Liveness {
        Liveness::of(self.transport.status())
    }

    /// Why the device interrupted. Follow it up, then [acknowledge](Self::acknowledge_interrupt) it, then look at the
    /// queues once more.
    pub fn interrupt_causes(&mut self) -> InterruptCauses {
        self.transport.interrupt_causes()
    }

    /// Tells the device that `causes` were followed up.
    pub fn acknowledge_interrupt(&mut self, causes: InterruptCauses) {
        self.transport.acknowledge_interrupt(causes);
    }

    /// Reads the configuration again, as after a change interrupt (`BLK-D-11`, `CFG-N-03`).
    ///
    /// # Errors
    ///
    /// [`ConfigUnstable`] if it never stood still within the [limit](crate::Options::config_limit) chosen at start; the old
    /// one stays in force.
    pub fn refresh_config(&mut self) -> Result<ConfigChange, ConfigUnstable> {
        self.refresh_within(&mut self.config_limit.clone())
    }

    /// How many registers may be read for the configuration in one go.
    pub(crate) fn config_limit(&self) -> PollLimit {
        self.config_limit
    }

    /// [`refresh_config`](Self::refresh_config) out of a limit that others use, too.
    pub(crate) fn refresh_within(&mut self, limit: &mut PollLimit) -> Result<ConfigChange, ConfigUnstable> {
        let offered = blk_features(self.offered);
        let config = read_consistent(&self.transport, limit, |reader| {
            BlkConfig::read(&Fields(reader), offered)
        })?;
        let before = self.limits.capacity;
        let mut limits = Limits::new(&config, offered, blk_features(self.accepted), self.limits.max_segments);
        // What a live queue was laid out for stays as it is.
        limits.block_bytes = self.limits.block_bytes;
        limits.zoned = self.limits.zoned;
        self.config = config;
        self.limits = limits;
        Ok(ConfigChange {
            limits,
            resized_from: (before != limits.capacity).then_some(before),
            needs_reset: self.transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET),
        })
    }

    /// Whether there is a volatile write cache, as far as the device tells.
    ///
    /// If neither flush nor a switch was accepted, the device is taken as write-through (`BLK-D-02`), if flush alone
    /// was, as write-back (`BLK-D-03`).
    pub fn write_cache(&self) -> WriteCache {
        let accepted = blk_features(self.accepted);
        let write_back = if accepted.contains(BlkFeatures::CONFIG_WCE) {
            self.transport.read_config_u8(WRITEBACK_OFFSET) != 0
        } else {
            accepted.contains(BlkFeatures::FLUSH)
        };
        if write_back {
            WriteCache::WriteBack
        } else {
            WriteCache::WriteThrough
        }
    }

    /// Switches the write cache; whether the device has the switch.
    ///
    /// Only while no write is in flight, or its durability is undefined (`BLK-N-14`); and after switching to
    /// write-through, a flush is due before earlier writes count as durable (`BLK-D-23`).
    /// [`Disk::set_write_cache`](crate::Disk::set_write_cache) looks after the first.
    pub fn set_write_cache(&mut self, mode: WriteCache) -> bool {
        let switchable = blk_features(self.accepted).contains(BlkFeatures::CONFIG_WCE);
        if switchable {
            let value = u8::from(mode == WriteCache::WriteBack);
            self.transport.write_config_u8(WRITEBACK_OFFSET, value);
        }
        switchable
    }

    /// Resets the device. It uses no memory and answers no request afterwards.
    ///
    /// # Errors
    ///
    /// [`ResetTimeout`] if it does not say so within the poll limit chosen at start.
    pub fn reset(&mut self) -> Result<(), ResetTimeout> {
        self.transport.reset(self.poll_limit)
    }

    /// The transport back, for starting the device again. It is not reset by this.
    ///
    /// That is safe: the transport can reset the device and tell it of other queues, by `unsafe` code, but of no other memory.
    /// The queue that was started with it keeps its memory until it learns, also by `unsafe` code, that there was a reset.
    pub fn into_transport(self) -> T {
        self.transport
    }
}

impl<T> fmt::Debug for BlockDevice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDevice")
            .field("accepted", &self.accepted)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What bring-up found out.
struct Live {
    offered: Features,
    accepted: Features,
    config: BlkConfig,
}

fn bring_up<T: Transport, B: DmaSegments, O, const N: usize>(
    transport: &mut T,
    dma: &mut impl Dma,
    options: &Options,
) -> Result<(Queue<T, B, O, N>, Live), InitError> {
    let kind = transport.device_type();
    if kind != DeviceType::BLOCK {
        return Err(InitError::NotBlock(kind));
    }
    let mut init = Init::begin(transport, options.poll_limit)?.acknowledge().driver();
    let offered = init.offered();
    let choice = FeatureChoice {
        allowed: choose(offered, options, init.peek())?,
        required: Features::empty(),
    };
    let mut init = init.negotiate(choice)?;
    let accepted = init.accepted();

    let interface = init.device().interface();
    let config = read_consistent(init.device(), &mut options.config_limit.clone(), |reader| {
        BlkConfig::read(&Fields(reader), blk_features(offered))
    })?;

    if config.capacity.to_bytes().is_none() {
        return Err(InitError::BadCapacity {
            sectors: config.capacity.get(),
        });
    }

    if blk_features(accepted).contains(BlkFeatures::ZONED) {
        // The device may tell something else now.
        choose_zones(&config, blk_features(accepted))?;
    }

    let limit = init.device().max_queue_size(REQUEST_QUEUE);
    if limit == 0 {
        return Err(InitError::NoQueue);
    }
    let size = QueueSize::at_most(limit.min(N as u32)).ok_or(InitError::NoQueue)?;
    let size = size.min(options.max_queue_size);
    if size.get() < MIN_DESCRIPTORS {
        return Err(InitError::QueueTooSmall { size: size.get() });
    }
    // What the device does not take needs no room in tables.
    let wanted_segments = options.max_segments.max(1).min(Limits::data_segments(&config));
    let queue_options = queue_options(size, interface, accepted, wanted_segments);
    let memory = Memory::allocate(queue_options, dma)?;
    let Memory { ring, slots } = memory;
    // Room for header and status was made sure of above.
    let max_segments = (ring.max_segments() - 2).min(wanted_segments);
    let limits = Limits::new(&config, blk_features(offered), blk_features(accepted), max_segments);

    // SAFETY: rings and slots were allocated from `dma`, zeroed, and are owned by the queue that is returned, which
    // touches the rings as a virtqueue only. Every buffer it makes available is slot memory of its own, or belongs to
    // a request it owns until the device has returned it (`DmaSegments`); dropping the queue leaks both.
    let enabled = unsafe { init.enable_queue(REQUEST_QUEUE, &ring.setup()) };
    if let Err(error) = enabled {
        drop(init);
        // DRIVER_OK was not set, but a device that was told addresses it did not take may think about them for longer, and
        // the caller, who gets the transport back, can write any status to it.
        reset_after_trouble(transport, options.poll_limit)?;
        dma.release(ring.into_region(|_| {}));
        dma.release(slots.into_region());
        return Err(InitError::Queue(error));
    }
    let doorbell = init.device().notifier(REQUEST_QUEUE, accepted);
    let mut queue = RequestQueue::new(ring, slots, doorbell, limits);
    queue.suppress_interrupts();
    let accepted = match init.finish() {
        Ok(accepted) => accepted,
        Err(NotLive { status }) => {
            // What is dropped on the way out with an error is leaked.
            reset_after_trouble(transport, options.poll_limit)?;
            // SAFETY: the device this queue was made for has just reported that it is reset.
            unsafe { queue.abort(dma, |_| {}) };
            return Err(InitError::NotLive { status });
        }
    };
    info!(
        "block device live: {} sectors, features {:#x}, queue of {}",
        config.capacity.get(),
        accepted.low(),
        size.get()
    );
    let live = Live {
        offered,
        accepted,
        config,
    };
    Ok((queue, live))
}

/// Resets a device that has been told of its queue and went wrong, and marks it as failed (`INIT-D-18`).
///
/// # Errors
///
/// [`InitError::Stuck`] if the reset does not end: the memory of the queue must not be released then.
fn reset_after_trouble<T: Transport>(transport: &mut T, limit: PollLimit) -> Result<(), InitError> {
    let status = transport.status();
    transport
        .reset(limit)
        .map_err(|ResetTimeout| InitError::Stuck { status })?;
    transport.write_status(DeviceStatus::FAILED);
    Ok(())
}

/// The features to ask for, out of `offered`.
fn choose<T: Transport>(offered: Features, options: &Options, transport: &T) -> Result<Features, InitError> {
    let wanted = options.allowed() & offered;
    let mut blk = blk_features(wanted).without_unmet();
    if transport.interface() == Interface::Legacy {
        // It cannot be negotiated there (`BLK-N-34`).
        blk -= BlkFeatures::ZONED;
    }
    if blk_features(offered).contains(BlkFeatures::ZONED) {
        let config = read_consistent(transport, &mut options.config_limit.clone(), |reader| {
            BlkConfig::read(
                &Fields(reader),
                BlkFeatures::ZONED | BlkFeatures::BLK_SIZE & blk_features(offered),
            )
        })?;
        blk = choose_zones(&config, blk)?;
    }
    let common = wanted & crate::options::SUPPORTED_COMMON;
    Ok(common | (Features::from_low(blk.bits()) & wanted))
}

/// Those of the features `wanted` that go with the zones of the device.
fn choose_zones(config: &BlkConfig, wanted: BlkFeatures) -> Result<BlkFeatures, InitError> {
    let Some(zones) = config.zoned.filter(|zones| zones.model != ZonedModel::None) else {
        return Ok(wanted);
    };
    let (ordinary, usable) = (
        zones.model.works_as_ordinary_disk(),
        zones.is_usable(config.block_bytes()),
    );
    match (wanted.contains(BlkFeatures::ZONED), usable) {
        (true, true) => Ok(zones.model.negotiable(wanted)),
        (false, _) | (_, false) if ordinary => Ok(wanted - BlkFeatures::ZONED),
        (true, false) => Err(InitError::BadZones {
            model: zones.model,
            zone_sectors: zones.zone_sectors,
        }),
        (false, _) => Err(InitError::NeedsZones),
    }
}

fn queue_options(size: QueueSize, interface: Interface, accepted: Features, max_segments: u16) -> QueueOptions {
    let legacy = interface == Interface::Legacy;
    QueueOptions {
        size,
        format: if legacy { RingFormat::Legacy } else { RingFormat::Modern },
        event_idx: accepted.contains(Features::EVENT_IDX),
        indirect_entries: if accepted.contains(Features::INDIRECT_DESC) {
            max_segments.saturating_add(2)
        } else {
            0
        },
        used_len_valid: !legacy,
    }
}

/// The memory of a queue on its way to the device.
struct Memory<const N: usize> {
    ring: VirtQueue<PartToken, N>,
    slots: SlotMemory,
}

impl<const N: usize> Memory<N> {
    fn allocate(options: QueueOptions, dma: &mut impl Dma) -> Result<Self, InitError> {
        use virtio_core::DmaError::UnsupportedLayout;
        let too_large = InitError::Dma(UnsupportedLayout);
        let ring_layout = options.layout().memory().ok_or(too_large)?;
        let slot_layout = SlotMemory::layout(options.size).ok_or(too_large)?;

        let ring_region = dma.allocate(ring_layout).map_err(InitError::Dma)?;
        let ring = VirtQueue::new(options, ring_region).map_err(|(error, region)| {
            dma.release(region);
            InitError::Ring(error)
        })?;
        let slot_region = match dma.allocate(slot_layout) {
            Ok(region) => region,
            Err(error) => {
                dma.release(ring.into_region(|_| {}));
                return Err(InitError::Dma(error));
            }
        };
        match SlotMemory::new(options.size, slot_region) {
            Ok(slots) => Ok(Self { ring, slots }),
            Err(region) => {
                dma.release(region);
                dma.release(ring.into_region(|_| {}));
                Err(too_large)
            }
        }
    }
}
