//! The fences a driver needs, by purpose.
//!
//! Rust's atomic fences order memory against memory. Between memory and device registers they promise nothing, so on
//! RISC-V the register fences are spelled out. Elsewhere the strongest atomic fence stands in, which is enough on x86; on
//! AArch64 it is a `dmb ish`, which does not reach a device outside the inner shareable domain.

use core::sync::atomic::{Ordering, fence};

/// Orders everything written to memory before a doorbell write.
///
/// The device must find the rings up to date when the notification reaches it (`RING-N-07`). RISC-V: `fence w,o`.
#[inline]
pub fn before_doorbell() {
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence w, o", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "riscv32", target_arch = "riscv64")))]
    fence(Ordering::SeqCst);
}

/// Orders a read of the interrupt status before the memory reads that follow.
///
/// The code that reads the register must then see in memory what the interrupt announced. RISC-V: `fence i,r`.
#[inline]
pub fn after_interrupt_status() {
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence i, r", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "riscv32", target_arch = "riscv64")))]
    fence(Ordering::SeqCst);
}

/// Orders stores before later loads, which no weaker fence does.
///
/// Needed between publishing an index and looking at the other side's event field or index (`RING-D-27`).
/// RISC-V: `fence rw,rw`.
#[inline]
pub fn store_then_load() {
    fence(Ordering::SeqCst);
}

/// Orders every register access and every memory access before it against every one after it.
///
/// For the few slow places where registers and memory must not pass each other at all:
///
/// * after an interrupt was acknowledged, the used ring is looked at again (`MMIO-N-12`). That look must not come
///   before the acknowledgement reaches the device, or a completion in between is lost;
/// * after a register has said that the device let go of memory, that memory may be written or freed.
///
/// RISC-V: `fence iorw,iorw`.
#[inline]
pub fn registers_and_memory() {
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "riscv32", target_arch = "riscv64")))]
    fence(Ordering::SeqCst);
}
