//! What a driver may ask of a transport: MMIO registers, PCI capabilities, a model in a test.

use core::fmt;

use crate::{
    DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, InterruptVector, QueueIndex, QueueSetup,
    QueueSetupError, ResetError, Wait,
};

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

/// Rings the doorbell of one queue. It can live on another hart than the transport.
pub trait QueueNotifier {
    /// Tells the device that the queue has new buffers.
    ///
    /// `next_available` is the available index just published. It only reaches the device if NOTIFICATION_DATA was
    /// accepted (`NOTF-N-02`), and then a device may go by it alone: a driver that accepts the feature passes nothing else, and
    /// hands its notifier to no other code.
    /// Everything stored to memory before is visible to the device first.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`] if the doorbell can tell. A store to a register cannot: then the answer is always `Ok`, and the device is
    /// found to be gone by a register that is read.
    fn notify(&self, next_available: u16) -> Result<(), DeviceGone>;
}

/// The registers of a VirtIO device.
///
/// Implementations do what they are told and check nothing but their own medium; the order of calls is the business
/// of [`Init`](crate::Init). Multi-byte configuration fields are little-endian on the wire and native here.
///
/// # A device that is gone
///
/// A device can be taken off its bus at any moment. From then on its registers read as all ones, and stores vanish. Whatever
/// reads a register answers [`DeviceGone`] then. All ones can be the value of a register, too, so an implementation that
/// sees them looks at a register that never reads so on a device that is there; a value that is not all ones costs nothing more.
///
/// # Safety
///
/// Drivers trust their transport as they trust the bus: when [`reset`](Self::reset) has answered `Ok` or
/// [`ResetError::Gone`], or [`disable_queue`](Self::disable_queue) `Ok` or [`QueueSetupError::Gone`], they free memory that the
/// device had. An implementation promises that
///
/// * a status of 0 is only reported when the device has finished its reset and uses no memory any more;
/// * `disable_queue` only answers `Ok` when the device has let go of that queue;
/// * [`DeviceGone`], [`ResetError::Gone`] and [`QueueSetupError::Gone`] are only answered when the device is cut off from memory
///   for good: it makes no access any more, and none of before is still under way. A device that comes back later, in the same
///   place, is another one: it knows no queue;
/// * the device is told of queues by [`enable_queue`](Self::enable_queue) alone, and of exactly what its caller said;
/// * as long as the value exists, nothing but it and its notifiers makes that device do anything. So a transport is not `Clone`,
///   and with a shared reference to it safe code can read and no more.
pub unsafe trait Transport {
    /// The doorbell of one queue.
    type Notifier: QueueNotifier;

    /// The generation of the interface.
    fn interface(&self) -> Interface;

    /// The kind of the device.
    fn device_type(&self) -> DeviceType;

    /// The vendor that made it; a number without further meaning.
    fn vendor(&self) -> u32;

    /// The features of the transport's own range that it supports. A driver must not accept others (`FEAT-D-06`).
    fn supported_features(&self) -> Features;

    /// Reads the device status. Later memory accesses are ordered after this read.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn status(&self) -> Result<DeviceStatus, DeviceGone>;

    /// Writes the device status. Writing [`DeviceStatus::RESET`] starts a reset.
    fn write_status(&mut self, status: DeviceStatus);

    /// Reads what the device offers: every word the interface is sure to have.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn offered_features(&mut self) -> Result<Features, DeviceGone>;

    /// Writes what the driver accepts.
    fn write_accepted_features(&mut self, accepted: Features);

    /// The most descriptors the device takes in `queue`; zero if there is no such queue.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone>;

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

    /// Disables one queue and waits until the device has stopped it (`MMIO-D-18`, `MMIO-D-19`). Between two looks it
    /// asks `wait`.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::NotReady`] if the transport or the device cannot do it, or `wait` gave up; only a reset helps then.
    /// [`QueueSetupError::Gone`] if there is no device any more.
    fn disable_queue(&mut self, queue: QueueIndex, wait: &mut dyn Wait) -> Result<(), QueueSetupError>;

    /// The doorbell of `queue`, for a driver that accepted the features `accepted`.
    ///
    /// It takes an exclusive reference, because with a shared one the registers of a device can be read and no more.
    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier;

    /// Routes configuration changes to a vector of their own, or to none, and reads back that the device has taken it.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::VectorRefused`] where there are no vectors, or the device refused this one.
    fn set_config_vector(&mut self, vector: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        match vector {
            None => Ok(()),
            Some(_) => Err(QueueSetupError::VectorRefused),
        }
    }

    /// Why the device raised its interrupt. Memory read after this is as new as the interrupt.
    ///
    /// A line tells its causes by a register. Where reading it clears them (PCI), the answer is given once. A vector tells
    /// its causes by what was routed to it, without a register. A device that is gone shows every cause, so that its driver
    /// reads the configuration and learns of it.
    fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses;

    /// Acknowledges `causes`. Answers whether a cause that came in between may be lost by that: only then the driver has to look
    /// at the used ring and the configuration again (`MMIO-N-12`).
    fn acknowledge_interrupt(&mut self, source: InterruptSource, causes: InterruptCauses) -> bool;

    /// The counter that changes whenever the configuration does; `None` where the interface has none.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn config_generation(&self) -> Result<Option<u32>, DeviceGone>;

    /// Reads an 8-bit configuration field at byte `offset`.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone>;

    /// Reads a 16-bit configuration field; `offset` is even.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone>;

    /// Reads a 32-bit configuration field, or half of a 64-bit one; `offset` is a multiple of four.
    ///
    /// # Errors
    ///
    /// [`DeviceGone`].
    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone>;

    /// Writes an 8-bit configuration field at byte `offset`.
    fn write_config_u8(&mut self, offset: u16, value: u8);

    /// Names the registers that can be read without an effect, with their values, for a dump.
    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64));

    /// Resets the device and waits until it says so (`INIT-D-05`). Between two looks at the status it asks `wait`.
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] if `wait` gave up: the device may still be using memory. [`ResetError::Gone`] if there is no
    /// device any more, and so none that uses memory.
    fn reset(&mut self, wait: &mut dyn Wait) -> Result<(), ResetError> {
        self.write_status(DeviceStatus::RESET);
        while self.status()? != DeviceStatus::RESET {
            if !wait.wait() {
                return Err(ResetError::TimedOut);
            }
        }
        Ok(())
    }
}
