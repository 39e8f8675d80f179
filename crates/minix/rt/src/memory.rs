//! Memory from VM: ordinary, contiguous for devices, and windows onto device registers.
//!
//! The memory stays mapped until the service ends or unmaps it. VM says that it exists and belongs to this service alone; the
//! implementation of [`Ipc`] answers for that.

use core::ptr::{self, NonNull};

use minix_abi::vm::{MapFlags, MapPhys, Mmap, UnmapPhys};
use minix_abi::{Endpoint, Errno, Message, MessageType, PAGE_BYTES, Pad, Payload};

use crate::{Ipc, kernel};

/// Memory that is contiguous for devices as well. VM has cleared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contiguous {
    /// Where this process sees it; a multiple of the page.
    pub start: NonNull<u8>,
    /// Bytes, a multiple of the page.
    pub bytes: usize,
    /// Where a device sees it.
    pub physical: u64,
}

/// Maps cleared memory that is contiguous for devices as well, of at least `bytes` bytes.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for no bytes, or for more than 1 MiB: the kernel has been seen to go down over a larger request
/// for which it had no memory. [`ENOMEM`](Errno::ENOMEM).
pub fn map_contiguous(ipc: &mut impl Ipc, bytes: usize) -> Result<Contiguous, Errno> {
    let rounded = whole_pages(bytes)?;
    if rounded as u64 > Mmap::MAX_CONTIGUOUS_BYTES {
        return Err(Errno::EINVAL);
    }
    let start = map(ipc, &Mmap::contiguous(rounded as u64))?;
    // At most 1 MiB, so it fits.
    match kernel::umap_own(ipc, start.addr().get() as u64, rounded as u32) {
        Ok(physical) => Ok(Contiguous {
            start,
            bytes: rounded,
            physical,
        }),
        Err(errno) => {
            // SAFETY: it was mapped just now and has no other user.
            let _ = unsafe { unmap(ipc, start, rounded) };
            Err(errno)
        }
    }
}

/// Maps `bytes` bytes of cleared memory of one's own, which is there from the start. It begins at a multiple of the page.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for no bytes; [`ENOMEM`](Errno::ENOMEM).
pub fn map_anonymous(ipc: &mut impl Ipc, bytes: usize) -> Result<NonNull<[u8]>, Errno> {
    let mut request = Mmap::anonymous(whole_pages(bytes)? as u64);
    request.flags |= MapFlags::PREALLOC | MapFlags::PRIVATE;
    let start = map(ipc, &request)?;
    Ok(NonNull::slice_from_raw_parts(start, bytes))
}

/// Removes a mapping. `bytes` is rounded up to pages.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for no bytes; [`EFAULT`](Errno::EFAULT) if `start` is not a multiple of the page.
///
/// # Safety
///
/// Neither the program nor a device uses any of it from now on.
pub unsafe fn unmap(ipc: &mut impl Ipc, start: NonNull<u8>, bytes: usize) -> Result<(), Errno> {
    let request = Mmap::unmap(start.addr().get() as u64, whole_pages(bytes)? as u64);
    // SAFETY: the unmapped memory is not used, as the caller promises.
    unsafe { ask(ipc, MessageType::VM_MUNMAP, &request) }.map(drop)
}

/// Maps physical addresses that [`add_mem`](kernel::add_mem) has opened. The result is where the first byte is.
///
/// # Errors
///
/// [`EPERM`](Errno::EPERM) unless one range that was opened holds all of it; [`EINVAL`](Errno::EINVAL) for no bytes;
/// [`ENOMEM`](Errno::ENOMEM).
pub fn map_device(ipc: &mut impl Ipc, physical: u64, bytes: u64) -> Result<NonNull<u8>, Errno> {
    let request = MapPhys {
        process: Endpoint::SELF,
        pad: Pad::ZERO,
        physical,
        bytes,
        mapped_at: 0,
    };
    // SAFETY: VM puts it where nothing is mapped.
    let reply = unsafe { ask(ipc, MessageType::VM_MAP_PHYS, &request) }?;
    pointer(reply.payload::<MapPhys>().mapped_at)
}

/// Removes a mapping of [`map_device`], all of it.
///
/// # Errors
///
/// [`EFAULT`](Errno::EFAULT) if nothing is mapped there.
///
/// # Safety
///
/// `start` comes from [`map_device`], and the program does not use the mapping from now on.
pub unsafe fn unmap_device(ipc: &mut impl Ipc, start: NonNull<u8>) -> Result<(), Errno> {
    let request = UnmapPhys {
        process: Endpoint::SELF,
        pad: Pad::ZERO,
        // VM answered with the offset in the page, but wants the page.
        address: start.addr().get() as u64 & !(PAGE_BYTES - 1),
    };
    // SAFETY: the program does not use the mapping, as the caller promises.
    unsafe { ask(ipc, MessageType::VM_UNMAP_PHYS, &request) }.map(drop)
}

/// Maps fresh memory. The request leaves it to VM where that is.
fn map(ipc: &mut impl Ipc, request: &Mmap) -> Result<NonNull<u8>, Errno> {
    if request.flags.contains(MapFlags::FIXED) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: VM puts it where nothing is mapped.
    let reply = unsafe { ask(ipc, MessageType::VM_MMAP, request) }?;
    pointer(reply.payload::<Mmap>().mapped_at)
}

/// Has VM do something.
///
/// # Safety
///
/// The program does not use memory that the request takes away or replaces.
unsafe fn ask(ipc: &mut impl Ipc, kind: MessageType, request: &impl Payload) -> Result<Message, Errno> {
    let mut message = Message::with_payload(kind, request);
    // SAFETY: VM does what the caller answers for.
    unsafe { ipc.sendrec_memory(Endpoint::VM, &mut message) }?;
    message.status().result().map(|_| message)
}

/// A mapping's address as a pointer. A null pointer would be VM's mistake.
fn pointer(address: u64) -> Result<NonNull<u8>, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    NonNull::new(ptr::with_exposed_provenance_mut(address)).ok_or(Errno::EFAULT)
}

fn whole_pages(bytes: usize) -> Result<usize, Errno> {
    match bytes.checked_next_multiple_of(PAGE_BYTES as usize) {
        Some(rounded) if rounded != 0 => Ok(rounded),
        _ => Err(Errno::EINVAL),
    }
}
