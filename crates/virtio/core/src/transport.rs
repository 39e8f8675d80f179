//! What a driver may ask of its way to the device: MMIO registers, PCI capabilities, a model in a test.

use core::fmt;

use bitflags::bitflags;

use crate::{DeviceStatus, Features, InterruptVector, QueueIndex, QueueSetup, QueueSetupError};

/// The kind of a device, as the specification numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceType(pub u32);

impl DeviceType {
    /// No device: the window or slot is empty.
    pub const NONE: Self = Self(0);
    /// A block device.
    pub const BLOCK: Self = Self(2);
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which generation of the interface a transport speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Interface {
    /// Before version 1.0: 32 feature bits, no FEATURES_OK, one contiguous ring of fixed layout.
    Legacy,
    /// Version 1.0 and later.
    Modern,
}

bitflags! {
    /// Why a device raised its interrupt (`MMIO-N-11`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct InterruptCauses: u32 {
        /// The device has used buffers of some queue.
        const USED_BUFFER = 1;
        /// The configuration or the device status has changed.
        const CONFIG_CHANGE = 2;
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for InterruptCauses {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "InterruptCauses({=u32:#x})", self.bits());
    }
}

/// How many times registers may be read while waiting for something.
///
/// The crates below the images know no clock, so bounds on waiting are counts the caller chooses. One unit is one read of one
/// register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PollLimit(pub u32);

impl PollLimit {
    /// Takes one read out of the limit; whether there was one left.
    #[inline]
    pub fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

impl Default for PollLimit {
    /// A million reads: many milliseconds on any machine, and an end on a broken one.
    fn default() -> Self {
        Self(1_000_000)
    }
}

/// The device did not report status 0 in time after a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("the device did not finish its reset in time")]
pub struct ResetTimeout;

/// Rings the doorbell of one queue. It can live on another hart than the transport.
pub trait QueueNotifier {
    /// Tells the device that the queue has new buffers.
    ///
    /// `next_available` is the available index just published. It only reaches the device if NOTIFICATION_DATA was
    /// accepted (`NOTF-N-02`), and then a device may go by it alone: a driver that accepts the feature passes nothing else, and
    /// hands its notifier to no other code. Everything stored to memory before is visible to the device first.
    fn notify(&self, next_available: u16);
}

/// The registers of a VirtIO device.
///
/// Implementations do what they are told and check nothing but their own medium; the order of calls is the business
/// of [`Init`](crate::Init). Multi-byte configuration fields are little-endian on the wire and native here.
///
/// # Safety
///
/// Drivers trust their transport as they trust the bus: when [`reset`](Self::reset) or
/// [`disable_queue`](Self::disable_queue) has answered `Ok`, they free memory that the device had. An
/// implementation promises that
///
/// * a status of 0 is only reported when the device has finished its reset and uses no memory any more;
/// * `disable_queue` only answers `Ok` when the device has let go of that queue;
/// * the device is told of queues by [`enable_queue`](Self::enable_queue) alone, and of exactly what its caller said;
/// * as long as the value exists, nothing but it and its notifiers makes that device do anything. So a transport is not `Clone`,
///   and with a shared reference to it safe code can look and no more.
pub unsafe trait Transport {
    /// The doorbell of one queue.
    type Notifier: QueueNotifier;

    /// The generation of the interface.
    fn interface(&self) -> Interface;

    /// What kind of device this is.
    fn device_type(&self) -> DeviceType;

    /// The vendor that made it; a number without further meaning.
    fn vendor(&self) -> u32;

    /// The features of the transport's own range that it supports. A driver must not accept others (`FEAT-D-06`).
    fn supported_features(&self) -> Features;

    /// Reads the device status.
    fn status(&self) -> DeviceStatus;

    /// Writes the device status. Writing [`DeviceStatus::RESET`] starts a reset.
    fn write_status(&mut self, status: DeviceStatus);

    /// Reads what the device offers: every word the interface is sure to have.
    fn offered_features(&mut self) -> Features;

    /// Writes what the driver accepts.
    fn write_accepted_features(&mut self, accepted: Features);

    /// The most descriptors the device takes in `queue`; zero if there is no such queue.
    fn max_queue_size(&mut self, queue: QueueIndex) -> u32;

    /// Tells the device where a queue lies and takes it into use.
    ///
    /// # Errors
    ///
    /// See [`QueueSetupError`]; the queue is not in use then.
    ///
    /// # Safety
    ///
    /// From now on the device reads and writes memory on its own. Until the device was reset or the queue disabled:
    ///
    /// * the three parts named in `setup` stay allocated, zeroed at first, and are touched as a virtqueue only;
    /// * every buffer made available in them is memory that the device may access, and that no other code accesses until the
    ///   device has returned it;
    /// * with NOTIFICATION_DATA, the queue's notifier is told published indices only.
    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError>;

    /// Disables one queue and reads back that the device has stopped it (`MMIO-D-18`, `MMIO-D-19`).
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::NotReady`] if the transport or the device cannot do it; only a reset helps then.
    fn disable_queue(&mut self, queue: QueueIndex) -> Result<(), QueueSetupError>;

    /// The doorbell of `queue`, for a driver that accepted the features `accepted`.
    ///
    /// That takes the owner of the transport: with a shared reference a device can be looked at and no more.
    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier;

    /// Routes configuration changes to a vector of their own.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::VectorRefused`] where there are no vectors, or the device refused this one.
    fn set_config_vector(&mut self, vector: InterruptVector) -> Result<(), QueueSetupError> {
        let _ = vector;
        Err(QueueSetupError::VectorRefused)
    }

    /// Why the device raised its interrupt. Memory read after this is as new as the interrupt.
    ///
    /// Where reading clears the cause (PCI), the answer is given once.
    fn interrupt_causes(&mut self) -> InterruptCauses;

    /// Acknowledges `causes`. Look at the used ring again afterwards: a completion may have come in between
    /// (`MMIO-N-12`).
    fn acknowledge_interrupt(&mut self, causes: InterruptCauses);

    /// The counter that changes whenever the configuration does; `None` where the interface has none.
    fn config_generation(&self) -> Option<u32>;

    /// Reads an 8-bit configuration field at byte `offset`.
    fn read_config_u8(&self, offset: u16) -> u8;

    /// Reads a 16-bit configuration field; `offset` is even.
    fn read_config_u16(&self, offset: u16) -> u16;

    /// Reads a 32-bit configuration field, or half of a 64-bit one; `offset` is a multiple of four.
    fn read_config_u32(&self, offset: u16) -> u32;

    /// Writes an 8-bit configuration field at byte `offset`.
    fn write_config_u8(&mut self, offset: u16, value: u8);

    /// Names the registers that can be read without an effect, with their values, for a dump.
    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64));

    /// Resets the device and waits until it says so (`INIT-D-05`).
    ///
    /// # Errors
    ///
    /// [`ResetTimeout`] after `limit` reads of a status that is not zero. The device may still be using memory then.
    fn reset(&mut self, limit: PollLimit) -> Result<(), ResetTimeout> {
        self.write_status(DeviceStatus::RESET);
        for _ in 0..limit.0 {
            if self.status() == DeviceStatus::RESET {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(ResetTimeout)
    }
}
