//! The strongest fence, for the few slow places where registers and memory must not pass each other at all.

/// Orders every register access and every memory access before it against every one after it.
///
/// Two places need more than the fences by purpose in [`virtio_core::fence`]:
///
/// * after an acknowledge, the used ring is looked at again (`MMIO-N-12`). That look must not come before the
///   acknowledge reaches the device, or a completion in between is lost;
/// * after a register has said that the device let go of memory, that memory may be written or freed.
///
/// RISC-V: `fence iorw,iorw`.
#[inline]
pub(crate) fn everything() {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "riscv64"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}
