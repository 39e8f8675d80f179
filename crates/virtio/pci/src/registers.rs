//! The registers of a device, modern and legacy: where each one is, how wide, and which way it may be used.
//!
//! Width and direction are part of the type. A field is accessed in its own width (`PCI-D-05` to `PCI-D-07`), and writing a
//! read-only register does not compile (`PCI-D-18`):
//!
//! ```compile_fail,E0599
//! # fn on(access: &mut virtio_pci::MemoryWindow) {
//! unsafe { virtio_pci::registers::common::NUM_QUEUES.write(access, 2) }; // read-only
//! # }
//! ```
//!
//! ```compile_fail,E0308
//! # fn on(access: &mut virtio_pci::MemoryWindow) {
//! let status: u32 = virtio_pci::registers::common::DEVICE_STATUS.read(access); // one byte
//! # }
//! ```
//!
//! ```
//! # fn on(access: &mut virtio_pci::MemoryWindow) {
//! let status: u8 = virtio_pci::registers::common::DEVICE_STATUS.read(access);
//! // SAFETY: in a real program, the contract of `RegisterAccess::write_u16`.
//! unsafe { virtio_pci::registers::common::QUEUE_SELECT.write(access, 0) };
//! # }
//! ```
//!
//! Reading is safe, writing is not, since registers tell the device which memory to use:
//!
//! ```compile_fail,E0133
//! # fn on(access: &mut virtio_pci::MemoryWindow) {
//! virtio_pci::registers::common::QUEUE_SELECT.write(access, 0);
//! # }
//! ```
//!
//! Source: VirtIO 1.4, "Common configuration structure layout" and "Legacy Interfaces: A Note on PCI Device Layout".

use core::marker::PhantomData;

pub use volatile::access::{ReadOnly, ReadWrite, Readable, Writable, WriteOnly};

use crate::RegisterAccess;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

/// The width of a register: `u8`, `u16` or `u32`.
pub trait Width: sealed::Sealed + Copy {
    /// The value of a read that nothing answers.
    const ONES: Self;

    /// Reads a register of this width.
    fn read(access: &impl RegisterAccess, offset: u32) -> Self;

    /// Writes a register of this width.
    ///
    /// # Safety
    ///
    /// That of [`RegisterAccess::write_u8`].
    unsafe fn write(self, access: &mut impl RegisterAccess, offset: u32);

    /// Converts a value that is in the byte order of the CPU, but was read as one in the order of the bus.
    #[must_use]
    fn native(self) -> Self;
}

macro_rules! width {
    ($width:ty, $read:ident, $write:ident) => {
        impl Width for $width {
            const ONES: Self = Self::MAX;

            #[inline]
            fn read(access: &impl RegisterAccess, offset: u32) -> Self {
                access.$read(offset)
            }

            #[inline]
            unsafe fn write(self, access: &mut impl RegisterAccess, offset: u32) {
                // SAFETY: the caller keeps the same contract.
                unsafe { access.$write(offset, self) }
            }

            #[inline]
            fn native(self) -> Self {
                self.to_le()
            }
        }
    };
}

width!(u8, read_u8, write_u8);
width!(u16, read_u16, write_u16);
width!(u32, read_u32, write_u32);

/// A register of the width of `T` that may be used in direction `D`: [`ReadOnly`], [`WriteOnly`] or [`ReadWrite`].
#[derive(Clone, Copy, Debug)]
pub struct Register<T, D> {
    offset: u32,
    name: &'static str,
    kind: PhantomData<(T, D)>,
}

impl<T, D> Register<T, D> {
    const fn new(offset: u32, name: &'static str) -> Self {
        Self {
            offset,
            name,
            kind: PhantomData,
        }
    }

    /// Bytes from the start of the structure.
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// The byte after it, counted from the start of the structure.
    pub const fn end(self) -> u32 {
        self.offset + size_of::<T>() as u32
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<T: Width, D: Readable> Register<T, D> {
    /// Reads the register.
    #[inline]
    pub fn read(self, access: &impl RegisterAccess) -> T {
        T::read(access, self.offset)
    }
}

impl<T: Width, D: Writable> Register<T, D> {
    /// Writes the register.
    ///
    /// # Safety
    ///
    /// That of [`RegisterAccess::write_u8`].
    #[inline]
    pub unsafe fn write(self, access: &mut impl RegisterAccess, value: T) {
        // SAFETY: the caller keeps the same contract.
        unsafe { value.write(access, self.offset) }
    }
}

/// A vector register that holds this maps its event to no vector (`PCI-N-04`).
pub const NO_VECTOR: u16 = 0xFFFF;

/// The common configuration structure.
pub mod common {
    use super::{ReadOnly, ReadWrite, Register};

    /// The bytes that every device has.
    pub const BYTES: u32 = 0x38;
    /// The bytes that a driver of VirtIO 1.4 knows.
    pub const ALL_BYTES: u32 = 0x40;

    /// Selects a word of offered features.
    pub const DEVICE_FEATURE_SELECT: Register<u32, ReadWrite> = Register::new(0x00, "device_feature_select");
    /// The word of offered features that is selected.
    pub const DEVICE_FEATURE: Register<u32, ReadOnly> = Register::new(0x04, "device_feature");
    /// Selects a word of accepted features.
    pub const DRIVER_FEATURE_SELECT: Register<u32, ReadWrite> = Register::new(0x08, "driver_feature_select");
    /// The word of accepted features that is selected.
    pub const DRIVER_FEATURE: Register<u32, ReadWrite> = Register::new(0x0C, "driver_feature");
    /// The vector of configuration changes.
    pub const CONFIG_VECTOR: Register<u16, ReadWrite> = Register::new(0x10, "config_msix_vector");
    /// The number of queues.
    pub const NUM_QUEUES: Register<u16, ReadOnly> = Register::new(0x12, "num_queues");
    /// The device status; writing 0 resets.
    pub const DEVICE_STATUS: Register<u8, ReadWrite> = Register::new(0x14, "device_status");
    /// Changes whenever the configuration does.
    pub const CONFIG_GENERATION: Register<u8, ReadOnly> = Register::new(0x15, "config_generation");
    /// Selects the queue that the registers below are about.
    pub const QUEUE_SELECT: Register<u16, ReadWrite> = Register::new(0x16, "queue_select");
    /// The number of descriptors. After a reset it is the most that the device takes; 0: no such queue.
    pub const QUEUE_SIZE: Register<u16, ReadWrite> = Register::new(0x18, "queue_size");
    /// The vector of the queue.
    pub const QUEUE_VECTOR: Register<u16, ReadWrite> = Register::new(0x1A, "queue_msix_vector");
    /// Whether the device uses the queue. Only 1 is written to it (`PCI-D-22`).
    pub const QUEUE_ENABLE: Register<u16, ReadWrite> = Register::new(0x1C, "queue_enable");
    /// Where the doorbell is, in units of the notify multiplier.
    pub const QUEUE_NOTIFY_OFF: Register<u16, ReadOnly> = Register::new(0x1E, "queue_notify_off");
    /// Descriptor table address, bits 0 to 31.
    pub const QUEUE_DESC_LOW: Register<u32, ReadWrite> = Register::new(0x20, "queue_desc (low)");
    /// Descriptor table address, bits 32 to 63.
    pub const QUEUE_DESC_HIGH: Register<u32, ReadWrite> = Register::new(0x24, "queue_desc (high)");
    /// Driver area address, bits 0 to 31.
    pub const QUEUE_DRIVER_LOW: Register<u32, ReadWrite> = Register::new(0x28, "queue_driver (low)");
    /// Driver area address, bits 32 to 63.
    pub const QUEUE_DRIVER_HIGH: Register<u32, ReadWrite> = Register::new(0x2C, "queue_driver (high)");
    /// Device area address, bits 0 to 31.
    pub const QUEUE_DEVICE_LOW: Register<u32, ReadWrite> = Register::new(0x30, "queue_device (low)");
    /// Device area address, bits 32 to 63.
    pub const QUEUE_DEVICE_HIGH: Register<u32, ReadWrite> = Register::new(0x34, "queue_device (high)");
    /// The value that names the queue in notifications with NOTIF_CONFIG_DATA.
    pub const QUEUE_NOTIF_CONFIG_DATA: Register<u16, ReadOnly> = Register::new(0x38, "queue_notif_config_data");
    /// Resets the queue; reads 0 when that is over (RING_RESET).
    pub const QUEUE_RESET: Register<u16, ReadWrite> = Register::new(0x3A, "queue_reset");
}

/// The interrupt status structure.
pub mod isr {
    use super::{ReadOnly, Register};

    /// Why the line is asserted. Reading clears it and takes the line down (`PCI-N-03`).
    pub const STATUS: Register<u8, ReadOnly> = Register::new(0, "ISR status");
}

/// The legacy registers, in BAR 0.
pub mod legacy {
    use super::{ReadOnly, ReadWrite, Register, WriteOnly};

    /// Where the device's own configuration starts while MSI-X is off, in bytes (`LEG-D-19`).
    pub const CONFIG: u32 = 20;
    /// Where it starts while MSI-X is on.
    pub const CONFIG_WITH_VECTORS: u32 = 24;

    /// Offered features.
    pub const DEVICE_FEATURES: Register<u32, ReadOnly> = Register::new(0x00, "device features");
    /// Accepted features.
    pub const DRIVER_FEATURES: Register<u32, ReadWrite> = Register::new(0x04, "driver features");
    /// The page where the selected queue starts; 0: not in use (`LEG-N-15`).
    pub const QUEUE_ADDRESS: Register<u32, ReadWrite> = Register::new(0x08, "queue address");
    /// The number of descriptors, which the device chooses; 0: no such queue.
    pub const QUEUE_SIZE: Register<u16, ReadOnly> = Register::new(0x0C, "queue size");
    /// Selects the queue that the other queue registers are about.
    pub const QUEUE_SELECT: Register<u16, ReadWrite> = Register::new(0x0E, "queue select");
    /// The doorbell of all queues.
    pub const QUEUE_NOTIFY: Register<u16, WriteOnly> = Register::new(0x10, "queue notify");
    /// The device status; writing 0 resets.
    pub const DEVICE_STATUS: Register<u8, ReadWrite> = Register::new(0x12, "device status");
    /// Why the line is asserted. Reading clears it and takes the line down.
    pub const ISR_STATUS: Register<u8, ReadOnly> = Register::new(0x13, "ISR status");
    /// The vector of configuration changes; only while MSI-X is on.
    pub const CONFIG_VECTOR: Register<u16, ReadWrite> = Register::new(0x14, "config_msix_vector");
    /// The vector of the selected queue; only while MSI-X is on.
    pub const QUEUE_VECTOR: Register<u16, ReadWrite> = Register::new(0x16, "queue_msix_vector");
}
