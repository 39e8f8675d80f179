//! The control half of the driver: status, configuration, write cache, interrupts, reset.

use core::fmt;

use virtio_blk_proto::{BlkConfig, BlkFeatures, ConfigSnapshot, Sector, WRITEBACK_OFFSET};
use virtio_core::{
    ConfigError, DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, ResetError,
    Transport, Wait,
};

use crate::configuration::{blk_features, read_config};
use crate::counters::InterruptCounters;
use crate::shared_config::SharedConfig;
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
    #[error("the device is gone")]
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
    /// The limits now in force.
    pub limits: Limits,
    /// The capacity before, if it has changed.
    pub resized_from: Option<Sector>,
    /// The device asks for a reset: what is in flight may never complete (`INIT-D-04`).
    pub needs_reset: bool,
}

/// What an interrupt was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interrupt {
    /// How many requests were completed. [`DeviceControl::on_interrupt`] does not know, and says 0.
    pub completions: u32,
    /// The configuration, if it was announced to have changed and could be read.
    pub config: Option<ConfigChange>,
    /// A change was announced, and the configuration did not stand still for long enough to be read. What was in force stays
    /// in force. The next interrupt tries again; so does [`DeviceControl::refresh_config`].
    pub config_due: bool,
}

/// The control half of a live block device: everything but its queues.
pub struct DeviceControl<T> {
    pub(crate) transport: T,
    pub(crate) offered: Features,
    pub(crate) accepted: Features,
    pub(crate) config: ConfigSnapshot,
    pub(crate) limits: Limits,
    /// Data segments of a request that there is room for in the tables of every queue.
    pub(crate) max_segments: u16,
    /// How many queues were started.
    pub(crate) queues: u16,
    /// What the queues see of the configuration, if they may be elsewhere.
    pub(crate) shared: Option<SharedConfig>,
    config_limit: PollLimit,
    /// A change of the configuration was announced that could not be read yet.
    config_due: bool,
    pub(crate) interrupts: InterruptCounters,
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
            max_segments: 0,
            queues: 1,
            shared: None,
            config_limit: options.config_limit,
            config_due: false,
            interrupts: InterruptCounters::default(),
        }
    }

    /// The features that the device offered.
    pub fn offered_features(&self) -> Features {
        self.offered
    }

    /// The features that were accepted.
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
    /// without interrupts nothing announces it. So look now and then while requests are in flight and none comes back. Once this
    /// has answered that the device is gone, the queues of [`start`](Self::start) answer it, too.
    pub fn liveness(&self) -> Liveness {
        self.or_gone(self.transport.status())
            .map_or(Liveness::Gone, Liveness::of)
    }

    /// Lets the queues know that there is no device any more, if they may be elsewhere.
    #[cold]
    pub(crate) fn tell_gone(&self) {
        if crate::QUEUES
            && let Some(shared) = &self.shared
        {
            shared.device_gone();
        }
    }

    /// The same answer. The queues are told if it is the end of the device.
    fn or_gone<V>(&self, answer: Result<V, DeviceGone>) -> Result<V, DeviceGone> {
        answer.inspect_err(|_| self.tell_gone())
    }

    /// Why the device interrupted by `source`. Follow it up, then [acknowledge](Self::acknowledge_interrupt) it.
    pub fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses {
        self.transport.interrupt_causes(source)
    }

    /// Follows up an interrupt of a device whose queues are elsewhere: reads the causes and the configuration, if that has changed,
    /// has the queues looked at, and acknowledges. For the line, and for the vector of the configuration;
    /// [`RequestQueue::on_interrupt`](crate::RequestQueue::on_interrupt) follows up that of a queue.
    ///
    /// `used` is called when queues may have used buffers: it [drains](crate::RequestQueue::drain) those that share this source, or
    /// wakes the harts that do. It returns whether there was something. It is called once more if a cause may have come in between
    /// that will not interrupt again (`MMIO-N-12`).
    ///
    /// A device that is gone shows in the queues, which find out by themselves.
    pub fn on_interrupt(&mut self, source: InterruptSource, mut used: impl FnMut() -> bool) -> Interrupt {
        self.follow_up(source, |_| used())
    }

    /// [`on_interrupt`](Self::on_interrupt). `used` is told before each look at the queues whether the configuration was looked at,
    /// and what was found.
    pub(crate) fn follow_up(
        &mut self,
        source: InterruptSource,
        mut used: impl FnMut(Option<&Result<ConfigChange, ConfigError>>) -> bool,
    ) -> Interrupt {
        let causes = self.transport.interrupt_causes(source);
        let config_changed = causes.contains(InterruptCauses::CONFIG_CHANGE);
        // One limit for both looks.
        let mut limit = self.config_limit;
        let mut seen = Interrupt::default();
        // The configuration first, so that requests sent while draining keep to the new limits.
        let found = (config_changed || self.config_due).then(|| self.pick_up_config(&mut seen.config, &mut limit));
        let mut had_something = used(found.as_ref());
        if self.transport.acknowledge_interrupt(source, causes) {
            let found = config_changed.then(|| self.pick_up_config(&mut seen.config, &mut limit));
            had_something |= used(found.as_ref());
        }
        seen.config_due = self.config_due;
        self.interrupts.taken += 1;
        self.interrupts.spurious += u64::from(!had_something && !config_changed);
        seen
    }

    /// Reads the configuration for an interrupt; adds to what was `seen` of this change before.
    fn pick_up_config(
        &mut self,
        seen: &mut Option<ConfigChange>,
        limit: &mut PollLimit,
    ) -> Result<ConfigChange, ConfigError> {
        let mut change = self.refresh_within(limit)?;
        if let Some(earlier) = *seen {
            change.resized_from = earlier
                .resized_from
                .or(change.resized_from)
                .filter(|&before| before != change.limits.capacity);
        }
        *seen = Some(change);
        Ok(change)
    }

    /// The interrupts that were followed up by [`Disk::on_interrupt`](crate::Disk::on_interrupt) or
    /// [`on_interrupt`](Self::on_interrupt) so far.
    pub fn interrupt_counters(&self) -> InterruptCounters {
        self.interrupts
    }

    /// Tells the device that `causes` were followed up. Answers whether the queues and the configuration have to be looked at once
    /// more, since a cause that came in between may be lost.
    pub fn acknowledge_interrupt(&mut self, source: InterruptSource, causes: InterruptCauses) -> bool {
        self.transport.acknowledge_interrupt(source, causes)
    }

    /// Reads the configuration again, as after a change interrupt (`BLK-D-11`, `CFG-N-03`).
    ///
    /// The queues of [`start`](Self::start) find the new limits by themselves; see [`RequestQueue`](crate::RequestQueue).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unstable`] if it never stood still within the [limit](DiskOptions::config_limit) chosen at start; the old
    /// one stays in force. [`ConfigError::Gone`] if there is no device any more; the queues find out as they do of new limits.
    pub fn refresh_config(&mut self) -> Result<ConfigChange, ConfigError> {
        self.refresh_within(&mut self.config_limit.clone())
    }

    /// [`refresh_config`](Self::refresh_config) out of a limit that others use, too.
    fn refresh_within(&mut self, limit: &mut PollLimit) -> Result<ConfigChange, ConfigError> {
        let offered = blk_features(self.offered);
        self.config_due = true;
        let read = read_config(&self.transport, limit, offered).and_then(|config| {
            Ok((
                config,
                self.transport.status()?.contains(DeviceStatus::DEVICE_NEEDS_RESET),
            ))
        });
        if let Err(ConfigError::Gone) = read {
            self.tell_gone();
        }
        let (config, needs_reset) = read?;
        self.config_due = false;
        let before = self.limits.capacity;
        let told = BlkConfig::read(&config, offered);
        let limits =
            Limits::new(&told, offered, blk_features(self.accepted), self.max_segments).on_live_queue(&self.limits);
        self.config = config;
        if let Some(shared) = &mut self.shared {
            shared.publish(&config);
        }
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
    /// [`DeviceGone`], only on a device with a switch: the answer is in one of its registers.
    pub fn write_cache(&self) -> Result<WriteCache, DeviceGone> {
        let accepted = blk_features(self.accepted);
        let write_back = if accepted.contains(BlkFeatures::CONFIG_WCE) {
            self.or_gone(self.transport.read_config_u8(WRITEBACK_OFFSET))? != 0
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
        self.or_gone(self.transport.status())?;
        Ok(())
    }

    /// How many queues were started.
    pub fn queues(&self) -> u16 {
        self.queues
    }

    /// Resets the device.
    pub(crate) fn reset(&mut self, wait: &mut dyn Wait) -> Result<(), ResetError> {
        self.transport.reset(wait)
    }

    /// The transport of a device that has no queue, or whose queue is gone or leaked.
    pub(crate) fn into_transport(self) -> T {
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
