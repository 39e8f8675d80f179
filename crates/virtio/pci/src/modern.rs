//! The modern interface: common configuration, doorbells, interrupt status and device configuration.

use virtio_core::{DeviceAddr, Features, QueueIndex, QueueSetup, QueueSetupError, Wait, fence};

use crate::registers::common::{
    QUEUE_DESC_HIGH, QUEUE_DESC_LOW, QUEUE_DEVICE_HIGH, QUEUE_DEVICE_LOW, QUEUE_DRIVER_HIGH, QUEUE_DRIVER_LOW,
    QUEUE_ENABLE, QUEUE_NOTIF_CONFIG_DATA, QUEUE_NOTIFY_OFF, QUEUE_RESET, QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR,
};
use crate::registers::{NO_VECTOR, ReadWrite, Register, Width, Writable};
use crate::{PciNotifier, RegisterAccess};

/// The structures of a device.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Modern<W> {
    pub(crate) common: W,
    /// The length of the common configuration, which tells the registers that the device has.
    pub(crate) common_bytes: u32,
    pub(crate) notify: W,
    /// How far apart doorbells are, in bytes; 0: there is one for all.
    pub(crate) notify_multiplier: u32,
    pub(crate) notify_bytes: u32,
    /// Where the doorbells start in their BAR, in bytes.
    pub(crate) notify_offset: u32,
    pub(crate) isr: W,
    /// Devices without a configuration have none.
    pub(crate) device: Option<W>,
}

impl<W> Modern<W> {
    fn has<T, D>(&self, register: Register<T, D>) -> bool {
        register.end() <= self.common_bytes
    }

    /// The features of the transport's range that the registers are there for.
    pub(crate) fn supported_features(&self) -> Features {
        let mut features = Features::ACCESS_PLATFORM | Features::ORDER_PLATFORM | Features::NOTIFICATION_DATA;
        features.set(Features::NOTIF_CONFIG_DATA, self.has(QUEUE_NOTIF_CONFIG_DATA));
        features.set(Features::RING_RESET, self.has(QUEUE_RESET));
        features
    }
}

impl<W: RegisterAccess> Modern<W> {
    /// Writes a register that tells the device of no memory.
    pub(crate) fn write<T: Width>(&mut self, register: Register<T, impl Writable>, value: T) {
        // SAFETY: every register written by this is one of status, features, queue selection, vectors and queue reset.
        // DRIVER_OK sets only such queues to work as were enabled under the contract of `enable_queue`.
        unsafe { register.write(&mut self.common, value) }
    }

    /// Selects a queue. What the queue registers answer afterwards is about it.
    pub(crate) fn select(&mut self, queue: QueueIndex) {
        self.write(QUEUE_SELECT, queue.0);
    }

    /// Takes the selected queue into use in the order of `PCI-N-01`. `before` runs right before the device may use it.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError::NotReady`] only if the device was told everything: it may still be thinking about it.
    ///
    /// # Safety
    ///
    /// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
    pub(crate) unsafe fn enable_selected(
        &mut self,
        setup: &QueueSetup,
        accepted: Features,
        vectors: bool,
        before: impl FnOnce(),
    ) -> Result<(), QueueSetupError> {
        let aligned = setup.descriptor_table.is_aligned_to(16)
            && setup.driver_area.is_aligned_to(2)
            && setup.device_area.is_aligned_to(4);
        if !aligned {
            return Err(QueueSetupError::BadAddress);
        }
        let max = QUEUE_SIZE.read(&self.common);
        if max == 0 {
            return Err(QueueSetupError::NoSuchQueue);
        }
        if QUEUE_ENABLE.read(&self.common) != 0 {
            return Err(QueueSetupError::InUse);
        }
        if setup.size.get() > max {
            return Err(QueueSetupError::TooLarge);
        }
        self.doorbell_place(accepted)?;
        self.write(QUEUE_SIZE, setup.size.get());
        if vectors {
            self.route(QUEUE_VECTOR, setup.vector.map_or(NO_VECTOR, |vector| vector.0))?;
        }
        // SAFETY: the caller keeps the same contract for all that is said about the queue.
        unsafe {
            self.write_address(QUEUE_DESC_LOW, QUEUE_DESC_HIGH, setup.descriptor_table);
            self.write_address(QUEUE_DRIVER_LOW, QUEUE_DRIVER_HIGH, setup.driver_area);
            self.write_address(QUEUE_DEVICE_LOW, QUEUE_DEVICE_HIGH, setup.device_area);
        }
        before();
        // The device may look at the rings as soon as it has seen the 1, and must find them zeroed.
        fence::before_doorbell();
        // SAFETY: the caller keeps the same contract. All other registers of the queue are written (`PCI-D-21`).
        unsafe { QUEUE_ENABLE.write(&mut self.common, 1) };
        if QUEUE_ENABLE.read(&self.common) == 1 {
            Ok(())
        } else {
            Err(QueueSetupError::NotReady)
        }
    }

    /// Writes an address as two halves (`PCI-D-07`).
    ///
    /// # Safety
    ///
    /// The contract of [`enable_queue`](virtio_core::Transport::enable_queue).
    unsafe fn write_address(
        &mut self,
        low: Register<u32, ReadWrite>,
        high: Register<u32, ReadWrite>,
        address: DeviceAddr,
    ) {
        // SAFETY: the caller keeps the same contract.
        unsafe {
            low.write(&mut self.common, address.get() as u32);
            high.write(&mut self.common, (address.get() >> 32) as u32);
        }
    }

    /// Maps an event to a vector and reads back that the device has done so (`PCI-D-34`).
    pub(crate) fn route(&mut self, register: Register<u16, ReadWrite>, vector: u16) -> Result<(), QueueSetupError> {
        self.write(register, vector);
        if register.read(&self.common) == vector {
            Ok(())
        } else {
            Err(QueueSetupError::VectorRefused)
        }
    }

    /// Resets the selected queue and waits until that is over (`PCI-D-25`, `VQR-D-01`).
    pub(crate) fn reset_selected(&mut self, wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        self.write(QUEUE_RESET, 1);
        loop {
            match QUEUE_RESET.read(&self.common) {
                0 => break,
                // Nothing answers: waiting is of no use.
                u16::MAX => return Err(QueueSetupError::NotReady),
                _ if !wait.wait() => return Err(QueueSetupError::NotReady),
                _ => (),
            }
        }
        let enabled = QUEUE_ENABLE.read(&self.common);
        fence::registers_and_memory();
        if enabled == 0 {
            Ok(())
        } else {
            Err(QueueSetupError::NotReady)
        }
    }

    /// Where the doorbell of the selected queue is, in bytes from the start of the notification structure (`PCI-N-02`). It is aligned
    /// to its own width.
    fn doorbell_place(&self, accepted: Features) -> Result<u32, QueueSetupError> {
        let offset = u32::from(QUEUE_NOTIFY_OFF.read(&self.common));
        let bytes = if accepted.contains(Features::NOTIFICATION_DATA) {
            4
        } else {
            2
        };
        offset
            .checked_mul(self.notify_multiplier)
            // Alignment counts from the start of the BAR. The sum may wrap, since the width divides 2^32.
            .filter(|place| place.wrapping_add(self.notify_offset).is_multiple_of(bytes))
            .filter(|place| place.checked_add(bytes).is_some_and(|end| end <= self.notify_bytes))
            .ok_or(QueueSetupError::NoDoorbell)
    }

    /// The doorbell of the selected queue. One that lies outside the structure rings nothing; its queue cannot be enabled.
    pub(crate) fn notifier(&self, queue: QueueIndex, accepted: Features) -> PciNotifier<W::Doorbell> {
        let place = self.doorbell_place(accepted).unwrap_or(u32::MAX);
        // SAFETY: a doorbell of this queue is there. With NOTIFICATION_DATA, the caller of the notifier passes the index it has
        // published. That is what `QueueNotifier::notify` asks for, and the contract of `enable_queue` has the driver keep it.
        let doorbell = unsafe { self.notify.doorbell(place) };
        // `PCI-D-38` to `PCI-D-41`.
        let value = if accepted.contains(Features::NOTIF_CONFIG_DATA) {
            QUEUE_NOTIF_CONFIG_DATA.read(&self.common)
        } else {
            queue.0
        };
        PciNotifier::new(doorbell, value, accepted.contains(Features::NOTIFICATION_DATA))
    }
}
