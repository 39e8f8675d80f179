//! The transport proper: what `virtio-core` asks for, told to the registers.

use virtio_core::{
    DeviceGone, DeviceStatus, DeviceType, Features, Interface, InterruptCauses, InterruptSource, QueueIndex,
    QueueSetup, QueueSetupError, Transport, Wait, fence,
};

use crate::gone::{answered, look};
use crate::registers::modern::{CONFIG_GENERATION, QUEUE_READY};
use crate::registers::{
    CONFIG, DEVICE_FEATURES, DEVICE_FEATURES_SEL, DEVICE_ID, DRIVER_FEATURES, DRIVER_FEATURES_SEL, INTERRUPT_ACK,
    INTERRUPT_STATUS, MAGIC_VALUE, QUEUE_SEL, QUEUE_SIZE_MAX, Readable, Register, STATUS, VENDOR_ID, VERSION, Writable,
};
use crate::{MmioNotifier, RegisterAccess, legacy, modern, registers};

/// A VirtIO device with an MMIO window. [`probe`](crate::probe) makes one.
///
/// It owns the registers, and is not `Clone`: what one transport argues about its device ("a reset is over", "DRIVER_OK was
/// not set") no other one can make untrue.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MmioTransport<A> {
    access: A,
    interface: Interface,
    device_type: DeviceType,
}

impl<A> MmioTransport<A> {
    pub(crate) const fn new(access: A, interface: Interface, device_type: DeviceType) -> Self {
        Self {
            access,
            interface,
            device_type,
        }
    }

    /// The registers, for tools that look at more than a driver does. They can be read; writing takes an exclusive reference
    /// to them, and `unsafe`.
    pub const fn access(&self) -> &A {
        &self.access
    }

    /// Gives the registers back. The device is not reset by this.
    pub fn into_access(self) -> A {
        self.access
    }
}

impl<A: RegisterAccess> MmioTransport<A> {
    /// Writes a register that tells the device of no memory.
    fn write(&mut self, register: Register<impl Writable>, value: u32) {
        // SAFETY: every register written here is one of status, features, queue selection and interrupts. DRIVER_OK sets only
        // such queues to work as were enabled under the contract of `enable_queue`.
        unsafe { register.write(&mut self.access, value) }
    }
}

// SAFETY: the status, the ready bit and the magic value are read from the device, which `RegisterAccess` vouches for, and fenced;
// a legacy queue is never said to be disabled. The queue registers are written in `enable_queue` alone, and no other code has the
// registers.
unsafe impl<A: RegisterAccess> Transport for MmioTransport<A> {
    type Notifier = MmioNotifier<A::Doorbell>;

    fn interface(&self) -> Interface {
        self.interface
    }

    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn vendor(&self) -> u32 {
        VENDOR_ID.read(&self.access)
    }

    /// ACCESS_PLATFORM and ORDER_PLATFORM ask nothing of the registers: addresses come from the platform's
    /// [`Dma`](virtio_core::Dma), ordering from [`virtio_core::fence`]; whether to accept them is the driver's choice.
    /// NOTIFICATION_DATA has its own doorbell format here.
    ///
    /// Left out, since a driver must not accept what the transport cannot do (`FEAT-D-06`):
    ///
    /// * RING_RESET. It has a register, but QEMU (10.0.2) offers the bit over MMIO without having that register: a
    ///   queue reset would look as if it had succeeded at once while the device goes on using the memory
    ///   (`VQR-N-03`). A driver could not tell the difference, so it uses a device reset instead;
    /// * NOTIF_CONFIG_DATA, SR_IOV and ADMIN_VQ, which nothing on MMIO carries (`MMIO-N-10`, `FEAT-D-20`,
    ///   `FEAT-N-07`).
    fn supported_features(&self) -> Features {
        match self.interface {
            Interface::Legacy => Features::empty(),
            Interface::Modern => Features::ACCESS_PLATFORM
                .union(Features::ORDER_PLATFORM)
                .union(Features::NOTIFICATION_DATA),
        }
    }

    /// Memory accesses after this come after it, so that memory can be taken back once a reset is seen to be over.
    // A call, since a bring-up has many, and no other code is in a hurry.
    #[inline(never)]
    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        // The register is 32 bits wide, the status 8; the rest is reserved.
        let status = DeviceStatus::from_bits_retain(STATUS.read(&self.access) as u8);
        fence::registers_and_memory();
        if status == DeviceStatus::all() {
            look(&self.access)?;
        }
        Ok(status)
    }

    fn write_status(&mut self, status: DeviceStatus) {
        self.write(STATUS, u32::from(status.bits()));
    }

    /// The feature words that are sure to exist.
    ///
    /// A legacy device has one (`LEG-N-04`). A modern one may have more than two, but nothing says how many, and QEMU
    /// answers a selector of 2 or more with word 1 again, which would make phantom bits out of real ones
    /// (`MMIO-D-14`). No bit from 64 on has a meaning for a driver yet, so the first two are all there is to read.
    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        let interface = self.interface;
        let mut word = |index| {
            self.write(DEVICE_FEATURES_SEL, index);
            DEVICE_FEATURES.read(&self.access)
        };
        let mut last = word(0);
        let mut offered = u64::from(last);
        if interface == Interface::Modern {
            last = word(1);
            offered |= u64::from(last) << 32;
        }
        // A device that was gone before is gone now.
        answered(&self.access, last)?;
        Ok(Features::from_low(offered))
    }

    /// The words that can be read.
    fn write_accepted_features(&mut self, accepted: Features) {
        let interface = self.interface;
        let mut write = |index, word| {
            self.write(DRIVER_FEATURES_SEL, index);
            self.write(DRIVER_FEATURES, word);
        };
        write(0, accepted.low() as u32);
        if interface == Interface::Modern {
            write(1, (accepted.low() >> 32) as u32);
        }
    }

    /// Of a legacy queue that is in use this may not be asked (`LEG-N-09`); the answer is zero then.
    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone> {
        self.write(QUEUE_SEL, u32::from(queue.0));
        if self.interface == Interface::Legacy {
            let page = registers::legacy::QUEUE_PFN.read(&self.access);
            if page != 0 {
                return answered(&self.access, page).map(|_| 0);
            }
        }
        answered(&self.access, QUEUE_SIZE_MAX.read(&self.access))
    }

    /// A legacy queue must start at a multiple of [`LEGACY_PAGE_BYTES`](crate::LEGACY_PAGE_BYTES) other than zero and
    /// below 2^44, with driver area and device area exactly where the legacy layout has them; anything else is
    /// [`QueueSetupError::BadAddress`]. MMIO has no interrupt vectors, so asking for one is
    /// [`QueueSetupError::VectorRefused`].
    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        if setup.vector.is_some() {
            return Err(QueueSetupError::VectorRefused);
        }
        // SAFETY: the caller keeps the same contract.
        let enabled = unsafe {
            match self.interface {
                Interface::Legacy => legacy::enable_queue(&mut self.access, queue, setup),
                Interface::Modern => modern::enable_queue(&mut self.access, queue, setup),
            }
        };
        // No queue is enabled whose registers read as all ones. One look at the end tells what that means.
        match enabled {
            Ok(()) | Err(QueueSetupError::BadAddress) => enabled,
            Err(error) => {
                look(&self.access)?;
                Err(error)
            }
        }
    }

    /// Always refused on a legacy interface.
    ///
    /// The register for it, QueuePFN, cannot be trusted there: writing 0 to it resets the whole device in QEMU, and
    /// every other queue with it (`LEG-N-08`). A driver that wants its memory back resets the device itself and knows.
    fn disable_queue(&mut self, queue: QueueIndex, wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        match self.interface {
            Interface::Legacy => Err(QueueSetupError::NotReady),
            Interface::Modern => modern::disable_queue(&mut self.access, queue, wait),
        }
    }

    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier {
        // SAFETY: with NOTIFICATION_DATA, the caller of the notifier passes the index it has published. That is what
        // `QueueNotifier::notify` asks for, and the contract of `enable_queue` has the driver keep it.
        let doorbell = unsafe { self.access.doorbell() };
        MmioNotifier::new(doorbell, self.interface, queue, accepted)
    }

    /// There is one line, and no vector. Bits without a meaning are left out (`MMIO-D-20`).
    #[inline]
    fn interrupt_causes(&mut self, _source: InterruptSource) -> InterruptCauses {
        let status = INTERRUPT_STATUS.read(&self.access);
        fence::after_interrupt_status();
        InterruptCauses::from_bits_truncate(status)
    }

    /// Only bits with a meaning are written (`MMIO-D-22`), and nothing at all if there are none.
    ///
    /// A cause that is acknowledged may have come once more in between, and is gone then. Memory read after this is read after the
    /// device got the acknowledge.
    #[inline]
    fn acknowledge_interrupt(&mut self, _source: InterruptSource, causes: InterruptCauses) -> bool {
        let handled = InterruptCauses::from_bits_truncate(causes.bits());
        if handled.is_empty() {
            return false;
        }
        self.write(INTERRUPT_ACK, handled.bits());
        fence::registers_and_memory();
        true
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        match self.interface {
            Interface::Legacy => Ok(None),
            Interface::Modern => answered(&self.access, CONFIG_GENERATION.read(&self.access)).map(Some),
        }
    }

    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone> {
        let value = self.access.read_u8(CONFIG + u32::from(offset));
        if value == u8::MAX {
            look(&self.access)?;
        }
        Ok(value)
    }

    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone> {
        let value = self.access.read_u16(CONFIG + u32::from(offset));
        if value == u16::MAX {
            look(&self.access)?;
        }
        Ok(match self.interface {
            // Legacy configuration is in the byte order of the CPU, not of the bus (`LEG-N-03`).
            Interface::Legacy => value.to_le(),
            Interface::Modern => value,
        })
    }

    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone> {
        let value = answered(&self.access, self.access.read_u32(CONFIG + u32::from(offset)))?;
        Ok(match self.interface {
            Interface::Legacy => value.to_le(),
            Interface::Modern => value,
        })
    }

    fn write_config_u8(&mut self, offset: u16, value: u8) {
        // SAFETY: a configuration field tells the device of no memory.
        unsafe { self.access.write_u8(CONFIG + u32::from(offset), value) }
    }

    /// Feature words are not among them, because a selector must be written first (`MMIO-D-14`). The queue registers
    /// are those of the queue selected last.
    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        for register in [MAGIC_VALUE, VERSION, DEVICE_ID, VENDOR_ID, INTERRUPT_STATUS] {
            show(register, &self.access, visit);
        }
        show(STATUS, &self.access, visit);
        match self.interface {
            Interface::Legacy => {
                // QueueSizeMax may not be read while the queue is in use, so it is left out.
                show(registers::legacy::QUEUE_PFN, &self.access, visit);
            }
            Interface::Modern => {
                show(QUEUE_SIZE_MAX, &self.access, visit);
                show(QUEUE_READY, &self.access, visit);
                show(CONFIG_GENERATION, &self.access, visit);
            }
        }
    }
}

fn show<D: Readable>(register: Register<D>, access: &impl RegisterAccess, visit: &mut dyn FnMut(&'static str, u64)) {
    visit(register.name(), u64::from(register.read(access)));
}
