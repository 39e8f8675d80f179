//! What the firmware has passed on: the hart and the device tree.

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use virtio_fdt::DeviceTree;

use crate::Failure;

static BOOT_HART: AtomicUsize = AtomicUsize::new(0);
/// Where the tree is; 0 if the firmware has passed none.
static TREE: AtomicUsize = AtomicUsize::new(0);

/// Remembers hart and tree.
///
/// # Safety
///
/// `tree` is 0, or the address of a device tree that nothing writes to.
#[cfg(target_arch = "riscv64")]
pub(crate) unsafe fn install(hart: usize, tree: usize) {
    BOOT_HART.store(hart, Ordering::Relaxed);
    TREE.store(tree, Ordering::Relaxed);
}

/// The number of the hart that the firmware has started.
pub fn boot_hart() -> usize {
    BOOT_HART.load(Ordering::Relaxed)
}

/// The device tree of the machine.
///
/// # Errors
///
/// There is none, or it is no device tree.
pub fn device_tree() -> Result<DeviceTree<'static>, Failure> {
    let start = ptr::with_exposed_provenance::<u8>(TREE.load(Ordering::Relaxed));
    if start.is_null() {
        return Err(Failure::new("the firmware has passed no device tree"));
    }
    // SAFETY: a tree is there, by the contract of `install`, and no tree is shorter than its header.
    let header = unsafe { core::slice::from_raw_parts(start, DeviceTree::HEADER_BYTES) };
    let bytes = DeviceTree::total_size(header)?;
    // SAFETY: as above; the tree has so many bytes.
    Ok(DeviceTree::parse(unsafe { core::slice::from_raw_parts(start, bytes) })?)
}
