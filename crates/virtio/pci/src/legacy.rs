//! The legacy interface: one block of registers in BAR 0.

use virtio_core::{QueueIndex, QueueSetup, QueueSetupError, fence};

use crate::registers::legacy::{
    CONFIG, CONFIG_WITH_VECTORS, QUEUE_ADDRESS, QUEUE_NOTIFY, QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR,
};
use crate::registers::{NO_VECTOR, ReadWrite, Register, Width, Writable};
use crate::{PciNotifier, RegisterAccess};

/// The unit in which the place of a legacy queue is told, and the alignment of its used ring, in bytes (`LEG-N-15`).
pub const LEGACY_PAGE_BYTES: u32 = 4096;

/// No more than this of BAR 0 is mapped: the registers, and more configuration than any device has.
pub(crate) const MOST_BYTES: u32 = 256;

/// The registers of a device.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Legacy<W> {
    pub(crate) registers: W,
}

/// Where the device's own configuration is (`LEG-D-19`).
pub(crate) const fn config_offset(vectors: bool) -> u32 {
    if vectors { CONFIG_WITH_VECTORS } else { CONFIG }
}

impl<W: RegisterAccess> Legacy<W> {
    /// Writes a register that tells the device of no memory.
    pub(crate) fn write<T: Width>(&mut self, register: Register<T, impl Writable>, value: T) {
        // SAFETY: every register written by this is one of status, features, queue selection and vectors. DRIVER_OK sets only
        // such queues to work as were enabled under the contract of `enable_queue`.
        unsafe { register.write(&mut self.registers, value) }
    }

    /// Selects a queue. What the queue registers answer afterwards is about it.
    pub(crate) fn select(&mut self, queue: QueueIndex) {
        self.write(QUEUE_SELECT, queue.0);
    }

    /// Takes the selected queue into use. `before` runs right before the device may use it.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::NotReady`] only if the device was told everything.
    ///
    /// # Safety
    ///
    /// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
    pub(crate) unsafe fn enable_selected(
        &mut self,
        setup: &QueueSetup,
        vectors: bool,
        before: impl FnOnce(),
    ) -> Result<(), QueueSetupError> {
        let page = setup
            .legacy_page(LEGACY_PAGE_BYTES)
            .ok_or(QueueSetupError::BadAddress)?;
        if setup.legacy_align != LEGACY_PAGE_BYTES {
            return Err(QueueSetupError::BadAddress);
        }
        if QUEUE_ADDRESS.read(&self.registers) != 0 {
            return Err(QueueSetupError::InUse);
        }
        // There is no register for another size: the device works out the layout from its own (`LEG-D-07`).
        match (QUEUE_SIZE.read(&self.registers), setup.size.get()) {
            (0, _) => return Err(QueueSetupError::NoSuchQueue),
            (fixed, size) if size > fixed => return Err(QueueSetupError::TooLarge),
            (fixed, size) if size < fixed => return Err(QueueSetupError::SizeFixed),
            _ => (),
        }
        if vectors {
            self.route(QUEUE_VECTOR, setup.vector.map_or(NO_VECTOR, |vector| vector.0))?;
        }
        before();
        // The device may look at the rings as soon as it has seen the page number, and must find them zeroed.
        fence::before_doorbell();
        // SAFETY: the caller keeps the same contract.
        unsafe { QUEUE_ADDRESS.write(&mut self.registers, page) };
        if QUEUE_ADDRESS.read(&self.registers) == page {
            Ok(())
        } else {
            Err(QueueSetupError::NotReady)
        }
    }

    /// Maps an event to a vector and reads back that the device has done so (`PCI-D-34`).
    pub(crate) fn route(&mut self, register: Register<u16, ReadWrite>, vector: u16) -> Result<(), QueueSetupError> {
        self.write(register, vector);
        if register.read(&self.registers) == vector {
            Ok(())
        } else {
            Err(QueueSetupError::VectorRefused)
        }
    }

    pub(crate) fn notifier(&self, queue: QueueIndex) -> PciNotifier<W::Doorbell> {
        // SAFETY: the doorbell of all queues is there, and a legacy device has no NOTIFICATION_DATA.
        let doorbell = unsafe { self.registers.doorbell(QUEUE_NOTIFY.offset()) };
        PciNotifier::new(doorbell, queue.0, false)
    }
}
