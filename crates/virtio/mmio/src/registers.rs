//! The register block: where each register is and which way it may be used.
//!
//! The direction is part of the type, so reading a write-only register or writing a read-only one does not compile
//! (`MMIO-D-02`, `MMIO-D-03`):
//!
//! ```compile_fail,E0599
//! # fn on(access: &mut virtio_mmio::MmioWindow) {
//! unsafe { virtio_mmio::registers::VERSION.write(access, 2) }; // read-only
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # fn on(access: &mut virtio_mmio::MmioWindow) {
//! virtio_mmio::registers::QUEUE_NOTIFY.read(access); // write-only
//! # }
//! ```
//!
//! ```
//! # fn on(access: &mut virtio_mmio::MmioWindow) {
//! virtio_mmio::registers::VERSION.read(access);
//! // SAFETY: in a real program, the contract of `RegisterAccess::write_u32`.
//! unsafe { virtio_mmio::registers::QUEUE_NOTIFY.write(access, 0) };
//! # }
//! ```
//!
//! Reading is safe, writing is not, since registers tell the device which memory to use:
//!
//! ```compile_fail,E0133
//! # fn on(access: &mut virtio_mmio::MmioWindow) {
//! virtio_mmio::registers::QUEUE_NOTIFY.write(access, 0);
//! # }
//! ```
//!
//! Registers of both versions are here at the top; what exists in one of them only is in [`modern`] and [`legacy`].
//! Source: VirtIO 1.4, "MMIO Device Register Layout" and "Legacy interface" of the MMIO transport.

use core::marker::PhantomData;

pub use volatile::access::{ReadOnly, ReadWrite, Readable, Writable, WriteOnly};

use crate::RegisterAccess;

/// A 32-bit control register that may be used in direction `D`: [`ReadOnly`], [`WriteOnly`] or [`ReadWrite`].
#[derive(Clone, Copy, Debug)]
pub struct Register<D> {
    offset: u32,
    name: &'static str,
    direction: PhantomData<D>,
}

impl<D> Register<D> {
    const fn new(offset: u32, name: &'static str) -> Self {
        Self {
            offset,
            name,
            direction: PhantomData,
        }
    }

    /// Bytes from the start of the window.
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// The name that the specification gives it.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<D: Readable> Register<D> {
    /// Reads it.
    #[inline]
    pub fn read(self, access: &impl RegisterAccess) -> u32 {
        access.read_u32(self.offset)
    }
}

impl<D: Writable> Register<D> {
    /// Writes it.
    ///
    /// # Safety
    ///
    /// That of [`RegisterAccess::write_u32`].
    #[inline]
    pub unsafe fn write(self, access: &mut impl RegisterAccess, value: u32) {
        // SAFETY: the caller keeps the same contract.
        unsafe { access.write_u32(self.offset, value) }
    }
}

/// "virt" in ASCII, little-endian: what [`MAGIC_VALUE`] reads on a VirtIO window.
pub const MAGIC: u32 = 0x7472_6976;

/// Where the device's own configuration starts, in bytes.
pub const CONFIG: u32 = 0x100;

/// Says that this is a VirtIO window at all; see [`MAGIC`].
pub const MAGIC_VALUE: Register<ReadOnly> = Register::new(0x000, "MagicValue");
/// 1: legacy, 2: modern.
pub const VERSION: Register<ReadOnly> = Register::new(0x004, "Version");
/// The kind of device; 0: none.
pub const DEVICE_ID: Register<ReadOnly> = Register::new(0x008, "DeviceID");
/// Who made it.
pub const VENDOR_ID: Register<ReadOnly> = Register::new(0x00C, "VendorID");
/// The word of offered features that [`DEVICE_FEATURES_SEL`] selects.
pub const DEVICE_FEATURES: Register<ReadOnly> = Register::new(0x010, "DeviceFeatures");
/// Selects a word of offered features.
pub const DEVICE_FEATURES_SEL: Register<WriteOnly> = Register::new(0x014, "DeviceFeaturesSel");
/// The word of accepted features that [`DRIVER_FEATURES_SEL`] selects.
pub const DRIVER_FEATURES: Register<WriteOnly> = Register::new(0x020, "DriverFeatures");
/// Selects a word of accepted features.
pub const DRIVER_FEATURES_SEL: Register<WriteOnly> = Register::new(0x024, "DriverFeaturesSel");
/// Selects the queue that the other queue registers are about, except [`QUEUE_NOTIFY`].
pub const QUEUE_SEL: Register<WriteOnly> = Register::new(0x030, "QueueSel");
/// The most descriptors the selected queue can have; 0: no such queue.
pub const QUEUE_SIZE_MAX: Register<ReadOnly> = Register::new(0x034, "QueueSizeMax");
/// The number of descriptors of the selected queue.
pub const QUEUE_SIZE: Register<WriteOnly> = Register::new(0x038, "QueueSize");
/// The doorbell of all queues.
pub const QUEUE_NOTIFY: Register<WriteOnly> = Register::new(0x050, "QueueNotify");
/// Why the interrupt line is asserted.
pub const INTERRUPT_STATUS: Register<ReadOnly> = Register::new(0x060, "InterruptStatus");
/// Takes the causes that were handled.
pub const INTERRUPT_ACK: Register<WriteOnly> = Register::new(0x064, "InterruptACK");
/// The device status; writing 0 resets.
pub const STATUS: Register<ReadWrite> = Register::new(0x070, "Status");

/// Registers that exist in version 2 only (`LEG-N-12`).
pub mod modern {
    use super::{ReadOnly, ReadWrite, Register, WriteOnly};

    /// Whether the device uses the selected queue.
    pub const QUEUE_READY: Register<ReadWrite> = Register::new(0x044, "QueueReady");
    /// Descriptor table address, bits 0 to 31.
    pub const QUEUE_DESC_LOW: Register<WriteOnly> = Register::new(0x080, "QueueDescLow");
    /// Descriptor table address, bits 32 to 63.
    pub const QUEUE_DESC_HIGH: Register<WriteOnly> = Register::new(0x084, "QueueDescHigh");
    /// Driver area address, bits 0 to 31.
    pub const QUEUE_DRIVER_LOW: Register<WriteOnly> = Register::new(0x090, "QueueDriverLow");
    /// Driver area address, bits 32 to 63.
    pub const QUEUE_DRIVER_HIGH: Register<WriteOnly> = Register::new(0x094, "QueueDriverHigh");
    /// Device area address, bits 0 to 31.
    pub const QUEUE_DEVICE_LOW: Register<WriteOnly> = Register::new(0x0A0, "QueueDeviceLow");
    /// Device area address, bits 32 to 63.
    pub const QUEUE_DEVICE_HIGH: Register<WriteOnly> = Register::new(0x0A4, "QueueDeviceHigh");
    /// Changes whenever the configuration does.
    pub const CONFIG_GENERATION: Register<ReadOnly> = Register::new(0x0FC, "ConfigGeneration");
}

/// Registers that exist in version 1 only (`LEG-N-06` to `LEG-N-08`).
pub mod legacy {
    use super::{ReadWrite, Register, WriteOnly};

    /// The unit of [`QUEUE_PFN`], in bytes.
    pub const GUEST_PAGE_SIZE: Register<WriteOnly> = Register::new(0x028, "GuestPageSize");
    /// The alignment of the device area of the selected queue, in bytes.
    pub const QUEUE_ALIGN: Register<WriteOnly> = Register::new(0x03C, "QueueAlign");
    /// The page where the selected queue starts; 0: not in use.
    pub const QUEUE_PFN: Register<ReadWrite> = Register::new(0x040, "QueuePFN");
}
