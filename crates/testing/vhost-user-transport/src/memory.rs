//! The memory that driver and back-end share.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::fs::File;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Where the memory starts for the device. It is not where it starts for this process, so that a driver that confuses the two
/// is found out.
const BASE: u64 = 0x4000_0000;

/// The alignment of both starts. A region can be aligned to that much and no more.
const PAGE: u64 = 4096;

/// Why there is no shared memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up {bytes} bytes of shared memory: {cause}")]
pub struct MemoryError {
    bytes: usize,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Anonymous memory that a back-end maps as well: the guest's RAM, as vhost-user sees it.
///
/// A clone is another handle to the same memory. Memory that a driver still holds when the last handle goes stays mapped for
/// ever, because the driver may look into it.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mapping: GuestMemoryMmap<()>,
    pieces: Mutex<Pieces>,
}

/// Which parts of the memory are in use.
#[derive(Debug)]
struct Pieces {
    free: AddressAllocator,
    /// The regions that a driver holds, by their start for the device.
    held: BTreeMap<u64, RangeInclusive>,
}

impl SharedMemory {
    /// Makes `bytes` of memory, rounded up to whole pages. They take room as they are written to.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] for zero bytes, or more than this process may map.
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        let file = memfd_create("virtio-vhost-user", MemfdFlags::CLOEXEC).map(File::from);
        let mapped = file.map_err(Into::into).and_then(|file| map(file, BASE, bytes));
        mapped.map_err(|cause| MemoryError { bytes, cause })
    }

    /// Makes `bytes` of memory of a file, rounded up to whole pages, for a device in a process that maps the file as well. The device
    /// sees it at `base`, a multiple of the page size.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] for zero bytes, more than this process may map, or a file that cannot be that long.
    pub fn of_file(file: File, base: u64, bytes: usize) -> Result<Self, MemoryError> {
        map(file, base, bytes).map_err(|cause| MemoryError { bytes, cause })
    }

    /// The mapping, to tell a back-end of it.
    pub(crate) fn mapping(&self) -> &GuestMemoryMmap<()> {
        &self.inner.mapping
    }

    /// Where this process sees `len` bytes that the device sees at `addr`; `None` if they are not all in this memory.
    pub(crate) fn host_address(&self, addr: DeviceAddr, len: u64) -> Option<NonNull<u8>> {
        let start = GuestAddress(addr.get());
        let slice = self.inner.mapping.get_slice(start, usize::try_from(len).ok()?).ok()?;
        NonNull::new(slice.ptr_guard_mut().as_ptr())
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        // Each change of the two tables is done or not begun when something else can panic.
        self.inner.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn map(file: File, base: u64, bytes: usize) -> Result<SharedMemory, Box<dyn std::error::Error + Send + Sync>> {
    let bytes = bytes.checked_next_multiple_of(PAGE as usize).ok_or("too many")?;
    file.set_len(bytes as u64)?;
    let range = (GuestAddress(base), bytes, Some(FileOffset::new(file, 0)));
    let mapping = GuestMemoryMmap::from_ranges_with_files([range])?;
    let pieces = Pieces {
        free: AddressAllocator::new(base, bytes as u64)?,
        held: BTreeMap::new(),
    };
    Ok(SharedMemory {
        inner: Arc::new(Inner {
            mapping,
            pieces: Mutex::new(pieces),
        }),
    })
}

impl Dma for SharedMemory {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let (size, align) = (layout.size() as u64, layout.align() as u64);
        if size == 0 || align > PAGE {
            return Err(DmaError::UnsupportedLayout);
        }
        let range = self
            .pieces()
            .free
            .allocate(size, align, AllocPolicy::FirstMatch)
            .map_err(|_| DmaError::OutOfMemory)?;
        let addr = DeviceAddr(range.start());
        let host = self.host_address(addr, size).ok_or(DmaError::OutOfMemory)?;
        self.pieces().held.insert(range.start(), range);
        // SAFETY: the bytes are mapped for reading and writing, and stay so while a driver holds any of them (see `Drop`). They
        // are in no other region, since the allocator gives them out once until they are released. The back-end sees the same
        // pages at `addr`, because the memory table it gets is made of this mapping.
        let mut region = unsafe { DmaRegion::from_raw_parts(host, layout.size(), addr) };
        region.zero();
        Ok(region)
    }

    fn release(&mut self, region: DmaRegion) {
        let start = region.device_addr();
        // A region of another memory can have the same address for its device, but not for this process.
        let ours = self.host_address(start, region.len() as u64) == Some(region.as_ptr());
        let mut pieces = self.pieces();
        let Pieces { free, held } = &mut *pieces;
        if let Some(range) = held.get(&start.get())
            && ours
            && range.len() == region.len() as u64
            && free.free(range).is_ok()
        {
            held.remove(&start.get());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let pieces = self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !pieces.held.is_empty() {
            std::mem::forget(self.mapping.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn regions_are_zeroed_aligned_and_apart() {
        let mut memory = SharedMemory::new(1 << 16).unwrap();
        let first = memory.allocate(layout(100, 64)).unwrap();
        let second = memory.allocate(layout(4096, 4096)).unwrap();
        for region in [&first, &second] {
            // SAFETY: the test owns the region.
            let bytes = unsafe { std::slice::from_raw_parts(region.as_ptr().as_ptr(), region.len()) };
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
        assert!(second.device_addr().is_aligned_to(4096));
        assert!(second.as_ptr().as_ptr().addr().is_multiple_of(4096));
        let (one, other) = (first.device_addr().get(), second.device_addr().get());
        assert!(one + 100 <= other || other + 4096 <= one);
    }

    #[test]
    fn released_memory_is_given_out_again_and_zeroed() {
        let mut memory = SharedMemory::new(4096).unwrap();
        let region = memory.allocate(layout(4096, 1)).unwrap();
        assert!(matches!(memory.allocate(layout(1, 1)), Err(DmaError::OutOfMemory)));
        // SAFETY: the test owns the region.
        unsafe { region.as_ptr().write(7) };
        memory.release(region);
        let region = memory.allocate(layout(4096, 1)).unwrap();
        // SAFETY: the test owns the region.
        assert_eq!(unsafe { region.as_ptr().read() }, 0);
        memory.release(region);
    }

    #[test]
    fn a_region_of_another_memory_frees_nothing() {
        let mut memory = SharedMemory::new(4096).unwrap();
        let mut other = SharedMemory::new(4096).unwrap();
        let held = memory.allocate(layout(4096, 1)).unwrap();
        let foreign = other.allocate(layout(4096, 1)).unwrap();
        assert_eq!(held.device_addr(), foreign.device_addr());
        memory.release(foreign);
        assert!(matches!(memory.allocate(layout(1, 1)), Err(DmaError::OutOfMemory)));
        memory.release(held);
        assert!(memory.allocate(layout(1, 1)).is_ok());
    }

    #[test]
    fn layouts_that_cannot_be_had_are_refused() {
        let mut memory = SharedMemory::new(1 << 16).unwrap();
        for refused in [layout(0, 1), layout(1, 8192)] {
            assert!(matches!(memory.allocate(refused), Err(DmaError::UnsupportedLayout)));
        }
        assert!(matches!(
            memory.allocate(layout((1 << 16) + 1, 1)),
            Err(DmaError::OutOfMemory)
        ));
        assert!(SharedMemory::new(0).is_err());
        assert!(SharedMemory::new(usize::MAX).is_err());
    }

    #[test]
    fn memory_that_is_held_stays_mapped() {
        let mut memory = SharedMemory::new(4096).unwrap();
        let region = memory.allocate(layout(8, 8)).unwrap();
        drop(memory);
        // SAFETY: the test owns the region.
        unsafe { region.as_ptr().write(1) };
    }

    #[test]
    fn addresses_outside_the_memory_have_no_place() {
        let memory = SharedMemory::new(8192).unwrap();
        assert!(memory.host_address(DeviceAddr(BASE), 8192).is_some());
        assert!(memory.host_address(DeviceAddr(BASE), 8193).is_none());
        assert!(memory.host_address(DeviceAddr(BASE - 1), 1).is_none());
        assert!(memory.host_address(DeviceAddr(u64::MAX), 2).is_none());
    }
}
