//! The DMA vocabulary: memory that the CPU and a device both see.
//!
//! Ownership is the whole safety story. A [`DmaRegion`] or [`DmaBuffer`] is one value with one owner; while a request
//! is in flight the driver owns it, so no other code can read or write what the device is working on.
//!
//! The memory must be *coherent*: a store by the CPU becomes visible to the device, and the other way round, without
//! cache maintenance. That holds on QEMU's machines and on every platform whose bus snoops. Elsewhere [`Dma`] gives uncached memory, and
//! data that is not in such memory goes through a [`DmaMap`](crate::DmaMap).

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

/// An address as the *device* sees it, in bytes.
///
/// Without an IOMMU this is the physical address (`FEAT-D-15`); with one it is what the platform mapped.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct DeviceAddr(pub u64);

impl DeviceAddr {
    /// The address as a number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, or `None` past the end of the address space.
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The address `bytes` further on, modulo 2^64.
    ///
    /// For offsets into a region whose end is already known to be representable.
    #[inline]
    pub const fn wrapping_add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Whether the address is a multiple of `alignment` bytes. An alignment of zero is never met.
    #[inline]
    pub const fn is_aligned_to(self, alignment: u64) -> bool {
        alignment != 0 && self.0.is_multiple_of(alignment)
    }
}

impl fmt::Debug for DeviceAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceAddr({:#x})", self.0)
    }
}

impl fmt::Display for DeviceAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Why DMA memory could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// As wide as the fields of a region, with which it shares its place in a result: a compiler takes a word apart into bytes if one
// byte of it has another use.
#[repr(usize)]
pub enum DmaError {
    /// The platform has no contiguous memory of that size left.
    #[error("no contiguous DMA memory of that size is left")]
    OutOfMemory,
    /// Size zero, or an alignment the platform cannot give.
    #[error("the platform cannot give DMA memory of that size or alignment")]
    UnsupportedLayout,
}

/// Where DMA memory comes from: the platform implements this.
///
/// Called at bring-up and at shutdown only, never per request.
///
/// # How long the memory lasts
///
/// The memory of a region lasts until the region is [released](Self::release), and if it never is, for as long as the program runs. It outlives the
/// disk that has it, and this value as well: a disk does not borrow it, and one that is dropped or forgotten leaves its memory to the device. So memory
/// does not go away when the implementation of `Dma` is dropped. That is a part of the promise of
/// [`DmaRegion::from_raw_parts`], without which no region can be made. [`StaticDma`](crate::StaticDma) is an implementation whose type
/// makes sure of it.
///
/// # What ACCESS_PLATFORM asks
///
/// A device that offers ACCESS_PLATFORM has accesses to memory that the platform restricts or translates: an IOMMU is before it, or the guest
/// is a confidential one and shares only some of its memory with the host. Drivers accept the feature whenever it is offered, and add nothing to the addresses
/// that they get. So an implementation for such a device
///
/// * answers the address that the *device* has to use, which is the one on its side of the IOMMU (`FEAT-D-14`);
/// * enters the memory there for reading and writing before it answers, and keeps it there until the release;
/// * in a confidential guest gives memory that is shared with the host, in whole pages that hold nothing else.
///
/// Without ACCESS_PLATFORM a device uses physical addresses, whatever the machine has (`FEAT-D-15`). Data in other memory than that of `Dma` goes through a
/// [`DmaMap`](crate::DmaMap), request by request.
///
/// # Safety of implementations
///
/// Implementing it takes no `unsafe`, because an answer is trusted no further than its type goes: a region can be made by
/// `unsafe` code only and is there once, and drivers check its length and alignment before they rely on them, and zero
/// what must be zero.
pub trait Dma {
    /// Gives `layout.size()` bytes, contiguous for the device, aligned to `layout.align()` for the CPU *and* for the
    /// device, and zeroed.
    ///
    /// The region has exactly that length, even if the platform set more aside: a [`DmaBuffer`](crate::DmaBuffer) is as
    /// long as its region, and all of it is transferred.
    ///
    /// # Errors
    ///
    /// [`DmaError::OutOfMemory`] or [`DmaError::UnsupportedLayout`]; nothing is allocated then.
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError>;

    /// Takes memory back that came from [`allocate`](Self::allocate).
    ///
    /// The caller must have made sure that the device is done with it (reset or queue disabled). A platform that
    /// never frees may leave this empty.
    ///
    /// This can be called with any region there is, also with one from another platform; that is a mistake, but not
    /// an `unsafe` one. So an implementation must not free on the word of the caller alone: it refuses what it does not
    /// know, for instance by leaking it.
    fn release(&mut self, region: DmaRegion);
}

impl<D: Dma + ?Sized> Dma for &mut D {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        (**self).allocate(layout)
    }

    fn release(&mut self, region: DmaRegion) {
        (**self).release(region);
    }
}

/// One piece of DMA memory, owned.
///
/// It is not freed on drop, because only the driver knows when the device no longer uses it; return it with
/// [`Dma::release`].
#[derive(Debug)]
pub struct DmaRegion {
    start: NonNull<u8>,
    len: usize,
    addr: DeviceAddr,
}

// SAFETY: a region is the only owner of plain memory; nothing about it is tied to the thread that made it.
unsafe impl Send for DmaRegion {}
// SAFETY: through a shared reference only addresses can be read.
unsafe impl Sync for DmaRegion {}

impl DmaRegion {
    /// Takes ownership of `len` bytes at `start`, which the device sees at `addr`.
    ///
    /// # Safety
    ///
    /// * `start..start + len` is initialised memory, valid for reads and writes until the region is released;
    /// * nothing else in the program reads or writes it in that time;
    /// * every device whose driver can get hold of the region sees the same bytes, coherently and contiguously, at
    ///   `addr..addr + len`. Behind an IOMMU that translates, a device does so only if it offers ACCESS_PLATFORM (`FEAT-D-15`),
    ///   and two devices may do so at different addresses: a platform like that must not let the regions of one reach the
    ///   driver of another;
    /// * neither range wraps around the end of its address space.
    pub const unsafe fn from_raw_parts(start: NonNull<u8>, len: usize, addr: DeviceAddr) -> Self {
        Self { start, len, addr }
    }

    /// The first byte as the CPU sees it.
    #[inline]
    pub const fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// The size in bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the region holds no byte at all.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte as the device sees it.
    #[inline]
    pub const fn device_addr(&self) -> DeviceAddr {
        self.addr
    }

    /// Fills the region with zeroes.
    pub fn zero(&mut self) {
        // SAFETY: the region owns `len` writable bytes at `start`.
        unsafe { self.start.write_bytes(0, self.len) }
    }
}
