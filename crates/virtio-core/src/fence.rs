//! The fences a driver needs, by purpose.
//!
//! Rust's atomic fences order memory against memory. Between memory and device registers they promise nothing, so on
//! RISC-V the two register fences are spelled out; elsewhere the strongest atomic fence stands in.

use core::sync::atomic::{Ordering, fence};

/// Orders everything written to memory before a doorbell write.
///
/// The device must find the rings up to date when the notification reaches it (`RING-N-07`). RISC-V: `fence w,o`.
#[inline]
pub fn before_doorbell() {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence w, o", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "riscv64"))]
    fence(Ordering::SeqCst);
}

/// Orders a read of the interrupt status before the memory reads that follow.
///
/// What the interrupt announced must be visible to whoever learnt of it from the register. RISC-V: `fence i,r`.
#[inline]
pub fn after_interrupt_status() {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence i, r", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "riscv64"))]
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
