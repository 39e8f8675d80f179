//! Memory by its physical address.
//!
//! RAM is mapped one to one in every address space, for the kernel alone. What lies in the window below is used by
//! processes, devices and page tables; no reference of the kernel points there, it only copies in and out. That is why
//! these functions are safe: no Rust object changes by their writes.

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use virtio_fdt::PhysRange;

static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);

/// Opens the window.
///
/// # Safety
///
/// The range is RAM, and no part of it belongs to a Rust object, now or later.
pub(super) unsafe fn open(window: PhysRange) {
    START.store(window.base_address, Ordering::Relaxed);
    END.store(window.end_address(), Ordering::Relaxed);
}

/// Whether all of the range is in the window.
pub(crate) fn contains(address: u64, bytes: u64) -> bool {
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    address >= start && address.checked_add(bytes).is_some_and(|last| last <= end)
}

#[track_caller]
fn pointer(address: u64, bytes: usize) -> *mut u8 {
    assert!(
        contains(address, bytes as u64),
        "{bytes} bytes at {address:#x} are not memory of processes"
    );
    ptr::with_exposed_provenance_mut(address as usize)
}

pub(crate) fn read(from: u64, into: &mut [u8]) {
    let source = pointer(from, into.len());
    // SAFETY: in the window, where no Rust object is; so it does not overlap `into` either.
    unsafe { ptr::copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) }
}

pub(crate) fn write(to: u64, from: &[u8]) {
    let target = pointer(to, from.len());
    // SAFETY: as above.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), target, from.len()) }
}

pub(crate) fn copy(from: u64, to: u64, bytes: usize) {
    let (source, target) = (pointer(from, bytes), pointer(to, bytes));
    // SAFETY: both in the window; they may overlap.
    unsafe { ptr::copy(source, target, bytes) }
}

pub(crate) fn clear(address: u64, bytes: usize) {
    let target = pointer(address, bytes);
    // SAFETY: in the window, where no Rust object is.
    unsafe { ptr::write_bytes(target, 0, bytes) }
}

/// The word at a multiple of eight.
pub(crate) fn load(address: u64) -> u64 {
    let source = pointer(address, 8).cast::<u64>();
    assert!(source.is_aligned());
    // SAFETY: in the window and aligned. Volatile, since devices and the hart's page walks write there too.
    unsafe { source.read_volatile() }
}

pub(crate) fn store(address: u64, word: u64) {
    let target = pointer(address, 8).cast::<u64>();
    assert!(target.is_aligned());
    // SAFETY: as above.
    unsafe { target.write_volatile(word) }
}
