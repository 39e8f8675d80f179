//! Machines on which addresses of the program and of devices differ by a constant, mostly by nothing.

use core::ptr::NonNull;

use crate::{DeviceAddr, Direction, DmaError, DmaMap, Segment};

/// All memory of the program is at the same distance from where the device sees it, as without an MMU and an IOMMU, or in the
/// direct map of a kernel: the word of the caller, given once.
#[derive(Clone, Copy, Debug)]
pub struct LinearMap {
    /// What is added to an address of the CPU, modulo 2^64.
    offset: u64,
}

impl LinearMap {
    /// Devices see memory at the addresses of the program.
    ///
    /// # Safety
    ///
    /// That of [`with_offset`](Self::with_offset), with an offset of 0.
    pub const unsafe fn identity() -> Self {
        Self { offset: 0 }
    }

    /// Devices see memory `offset` bytes after the addresses of the program, modulo 2^64.
    ///
    /// # Safety
    ///
    /// This holds, coherently, for all memory that a [`Mapped`](crate::Mapped) or a [`StaticDma`](crate::StaticDma) is made of with this
    /// value or a copy of it, such as what the allocator of the program gives, and its statics. It holds for every device whose driver gets
    /// such memory.
    pub const unsafe fn with_offset(offset: u64) -> Self {
        Self { offset }
    }

    /// Where the device sees the byte at `pointer`, which is given to the device by that.
    pub(crate) fn device_addr(self, pointer: NonNull<u8>) -> DeviceAddr {
        // The device makes its accesses by this number.
        let address = pointer.as_ptr().expose_provenance() as u64;
        DeviceAddr(address.wrapping_add(self.offset))
    }
}

// SAFETY: the device sees the memory there, as the maker of the value has promised. It can always reach it, so there is nothing to undo.
unsafe impl DmaMap for LinearMap {
    type Segments = [Segment; 1];

    unsafe fn map(&self, memory: NonNull<[u8]>, _: Direction) -> Result<[Segment; 1], DmaError> {
        let len = u32::try_from(memory.len()).map_err(|_| DmaError::UnsupportedLayout)?;
        Ok([Segment::new(self.device_addr(memory.cast()), len)])
    }

    unsafe fn unmap(&self, _: NonNull<[u8]>, _: [Segment; 1], _: Direction) {}
}
