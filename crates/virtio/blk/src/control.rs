//! The control half of the driver: status, configuration, write cache, interrupts, reset.

use core::fmt;

use virtio_blk_proto::{BlkConfig, BlkFeatures, ConfigSnapshot, Sector, WRITEBACK_OFFSET};
use virtio_core::{
    ConfigError, DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, ResetError,
    Transport, Wait,
};

use crate::configuration::{blk_features, read_config};
use crate::counters::InterruptCounters;
use crate::{DiskOptions, Limits};

/// Whether completed writes may still sit in a volatile cache of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WriteCache {
    /// A completed write is durable.
    WriteThrough,
    /// A completed write is durable after a flush.
    WriteBack,
}

/// The write cache was not switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WriteCacheError {
    /// Requests are in flight: let them finish first (`BLK-N-14`).
    #[error("requests are in flight")]
    Busy,
    /// The device has no switch.
    #[error("the device's write cache cannot be switched")]
    Unsupported,
    /// There is no device any more.
    #[error("{DeviceGone}")]
    Gone,
}

impl From<DeviceGone> for WriteCacheError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

/// The state of a started device at one read of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Liveness {
    /// It is live.
    Live,
    /// It asks for a reset (DEVICE_NEEDS_RESET): what is in flight may never complete (`INIT-D-04`).
    NeedsReset,
    /// It shows FAILED, which this driver has not set.
    Failed,
    /// It is not live any more, as after a reset by other code. It has no requests.
    Reset,
    /// There is no device any more.
    Gone,
}

impl Liveness {
    /// Whether requests make sense. Any other state calls for a [`shut_down`](crate::Disk::shut_down).
    pub fn is_live(self) -> bool {
        self == Self::Live
    }

    fn of(status: DeviceStatus) -> Self {
        if status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
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

/// The result of reading the configuration again.
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

/// The control half of a live block device: everything but its queue.
pub struct DeviceControl<T> {
    pub(crate) transport: T,
    pub(crate) offered: Features,
    pub(crate) accepted: Features,
    pub(crate) config: ConfigSnapshot,
    pub(crate) limits: Limits,
    config_limit: PollLimit,
    interrupts: InterruptCounters,
}

impl<T: Transport> DeviceControl<T> {
    /// The control half of a device that is to be brought up.
    pub(crate) fn new(transport: T, options: &DiskOptions) -> Self {
        Self {
            transport,
            offered: Features::empty(),
            accepted: Features::empty(),
            config: ConfigSnapshot::default(),
            limits: Limits::default(),
            config_limit: options.config_limit,
            interrupts: InterruptCounters::default(),
        }
    }

    /// What the device offered.
    pub fn offered_features(&self) -> Features {
        self.offered
    }

    /// What was accepted.
    pub fn accepted_features(&self) -> Features {
        self.accepted
    }

    /// The configuration as last read.
    pub fn config(&self) -> BlkConfig {
        BlkConfig::read(&self.config, blk_features(self.offered))
    }

    /// The limits of the disk.
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
    /// unsafe { disk.control().transport().access().write_u32(0xA0, 0x8000_0000) };
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0596
    /// # use virtio_core::{DeviceStatus, DmaBuffer, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.control().transport().write_status(DeviceStatus::RESET);
    /// # }
    /// ```
    ///
    /// ```compile_fail,E0596
    /// # use virtio_core::{DmaBuffer, Features, QueueIndex, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.control().transport().notifier(QueueIndex(0), Features::NOTIFICATION_DATA);
    /// # }
    /// ```
    ///
    /// ```
    /// # use virtio_core::{DmaBuffer, Transport};
    /// # use virtio_mmio::{MmioTransport, MmioWindow, RegisterAccess};
    /// # type Disk = virtio_blk::Disk<MmioTransport<MmioWindow>, DmaBuffer, u32, 16>;
    /// # fn on(disk: &Disk) {
    /// disk.control().transport().access().read_u32(0x70);
    /// disk.control().transport().status();
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
        self.transport.status().map_or(Liveness::Gone, Liveness::of)
    }

    /// Why the device interrupted by `source`. Follow it up, then [acknowledge](Self::acknowledge_interrupt) it.
    pub fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses {
        self.transport.interrupt_causes(source)
    }

    /// The interrupts that were followed up by [`Disk::on_interrupt`](crate::Disk::on_interrupt) so far.
    pub fn interrupt_counters(&self) -> InterruptCounters {
        self.interrupts
    }

    /// Counts an interrupt that was followed up.
    pub(crate) fn count_interrupt(&mut self, spurious: bool) {
        self.interrupts.taken += 1;
        self.interrupts.spurious += u64::from(spurious);
    }

    /// Tells the device that `causes` were followed up. Answers whether the queues and the configuration have to be looked at once
    /// more, since a cause that came in between may be lost.
    pub fn acknowledge_interrupt(&mut self, source: InterruptSource, causes: InterruptCauses) -> bool {
        self.transport.acknowledge_interrupt(source, causes)
    }

    /// Reads the configuration again, as after a change interrupt (`BLK-D-11`, `CFG-N-03`).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unstable`] if it never stood still within the [limit](DiskOptions::config_limit) chosen at start; the old
    /// one stays in force. [`ConfigError::Gone`] if there is no device any more: tell every queue by
    /// [`RequestQueue::device_gone`](crate::RequestQueue::device_gone).
    pub fn refresh_config(&mut self) -> Result<ConfigChange, ConfigError> {
        self.refresh_within(&mut self.config_limit.clone())
    }

    /// How many registers may be read for the configuration in one go.
    pub(crate) fn config_limit(&self) -> PollLimit {
        self.config_limit
    }

    /// [`refresh_config`](Self::refresh_config) out of a limit that others use, too.
    pub(crate) fn refresh_within(&mut self, limit: &mut PollLimit) -> Result<ConfigChange, ConfigError> {
        let offered = blk_features(self.offered);
        let config = read_config(&self.transport, limit, offered)?;
        let needs_reset = self.transport.status()?.contains(DeviceStatus::DEVICE_NEEDS_RESET);
        let before = self.limits.capacity;
        let told = BlkConfig::read(&config, offered);
        let mut limits = Limits::new(&told, offered, blk_features(self.accepted), self.limits.max_segments);
        // The values that a live queue was laid out for stay.
        limits.block_bytes = self.limits.block_bytes;
        limits.zoned = self.limits.zoned;
        self.config = config;
        self.limits = limits;
        Ok(ConfigChange {
            limits,
            resized_from: (before != limits.capacity).then_some(before),
            needs_reset,
        })
    }

    /// Whether the device reports a volatile write cache.
    ///
    /// If neither flush nor a switch was accepted, the device is taken as write-through (`BLK-D-02`), if flush alone
    /// was, as write-back (`BLK-D-03`).
    ///
    /// # Errors
    ///
    /// [`DeviceGone`], seen by a device with a switch only.
    pub fn write_cache(&self) -> Result<WriteCache, DeviceGone> {
        let accepted = blk_features(self.accepted);
        let write_back = if accepted.contains(BlkFeatures::CONFIG_WCE) {
            self.transport.read_config_u8(WRITEBACK_OFFSET)? != 0
        } else {
            accepted.contains(BlkFeatures::FLUSH)
        };
        Ok(if write_back {
            WriteCache::WriteBack
        } else {
            WriteCache::WriteThrough
        })
    }

    /// Switches the write cache.
    ///
    /// Only while no write is in flight, or its durability is undefined (`BLK-N-14`); and after switching to
    /// write-through, a flush is due before earlier writes count as durable (`BLK-D-23`).
    /// [`Disk::set_write_cache`](crate::Disk::set_write_cache) looks after the first.
    ///
    /// # Errors
    ///
    /// [`WriteCacheError::Unsupported`] or [`WriteCacheError::Gone`].
    pub fn set_write_cache(&mut self, mode: WriteCache) -> Result<(), WriteCacheError> {
        if !blk_features(self.accepted).contains(BlkFeatures::CONFIG_WCE) {
            return Err(WriteCacheError::Unsupported);
        }
        let value = u8::from(mode == WriteCache::WriteBack);
        self.transport.write_config_u8(WRITEBACK_OFFSET, value);
        // A store to nothing looks like any other.
        self.transport.status()?;
        Ok(())
    }

    /// Resets the device and waits for that; between two looks at the status it asks `wait`. The device uses no memory and answers
    /// no request afterwards.
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] if `wait` gave up: the device may still be using memory. [`ResetError::Gone`] if there is no
    /// device any more: it uses no memory either.
    pub fn reset(&mut self, wait: &mut dyn Wait) -> Result<(), ResetError> {
        self.transport.reset(wait)
    }

    /// The transport back, for starting the device again. It is not reset by this.
    ///
    /// That is safe: the transport can reset the device and tell it of other queues, by `unsafe` code, but of no other memory.
    /// The queue that was started with it keeps its memory until it learns, also by `unsafe` code, that there was a reset.
    pub fn into_transport(self) -> T {
        self.transport
    }
}

impl<T> fmt::Debug for DeviceControl<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceControl")
            .field("accepted", &self.accepted)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
