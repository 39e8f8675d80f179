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
    #[cfg(feature = "fence-counts")]
    counts::count(counts::Fence::BeforeDoorbell);
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
    #[cfg(feature = "fence-counts")]
    counts::count(counts::Fence::AfterInterruptStatus);
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
    #[cfg(feature = "fence-counts")]
    counts::count(counts::Fence::StoreThenLoad);
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
    #[cfg(feature = "fence-counts")]
    counts::count(counts::Fence::RegistersAndMemory);
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: a fence instruction touches no memory and no register.
    unsafe {
        core::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "riscv32", target_arch = "riscv64")))]
    fence(Ordering::SeqCst);
}

/// How often each fence was passed.
///
/// No test can see a fence that is missing: on the CPUs that tests run on, registers and memory are in order anyway. So a test of a
/// transport looks at these counts at each register access, and knows which fences came in between. Only with the feature
/// `fence-counts`, which is for tests; the counts are of all threads.
#[cfg(feature = "fence-counts")]
pub mod counts {
    use core::sync::atomic::Ordering;

    use portable_atomic::AtomicU32;

    /// The fences.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fence {
        /// [`before_doorbell`](super::before_doorbell).
        BeforeDoorbell,
        /// [`after_interrupt_status`](super::after_interrupt_status).
        AfterInterruptStatus,
        /// [`store_then_load`](super::store_then_load).
        StoreThenLoad,
        /// [`registers_and_memory`](super::registers_and_memory).
        RegistersAndMemory,
    }

    impl Fence {
        /// All of them.
        pub const ALL: [Self; 4] = [
            Self::BeforeDoorbell,
            Self::AfterInterruptStatus,
            Self::StoreThenLoad,
            Self::RegistersAndMemory,
        ];

        /// How often it was passed since the program began; wraps around.
        pub fn passed(self) -> u32 {
            COUNTS[self as usize].load(Ordering::Relaxed)
        }
    }

    static COUNTS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

    pub(super) fn count(fence: Fence) {
        COUNTS[fence as usize].fetch_add(1, Ordering::Relaxed);
    }
}
