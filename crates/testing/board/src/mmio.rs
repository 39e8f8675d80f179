//! One place where an address becomes a register.

use core::ptr::{self, NonNull};

use volatile::VolatilePtr;

/// The register of type `T` at a physical address.
///
/// # Safety
///
/// A device register of that width lies at `address` (or, in a test, plain memory), it is mapped one to one, and no
/// reference to it exists. `address` is not zero and aligned for `T`. If several harts use the register, the caller orders its uses.
pub(crate) unsafe fn register<T: Copy>(address: usize) -> VolatilePtr<'static, T> {
    // SAFETY: the caller says that the address is not zero.
    let pointer = unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) };
    // SAFETY: the caller says that the register is there, not borrowed, and not used by another hart at the same time.
    unsafe { VolatilePtr::new(pointer) }
}

/// Whether a register block can be addressed by this machine and starts on a boundary of `align` bytes.
pub(crate) fn base_of(registers: virtio_fdt::PhysRange, align: usize) -> Option<usize> {
    let base = usize::try_from(registers.base_address).ok()?;
    base.checked_add(usize::try_from(registers.size_bytes).ok()?)?;
    (base != 0 && base.is_multiple_of(align)).then_some(base)
}
