//! The implementation of `critical-section`: interrupts of this hart off, and one lock between the harts.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use critical_section::RawRestoreState;
use riscv::register::sstatus;

use super::hart;

/// The slot of the hart inside, plus one; zero if there is none.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// How a critical section was entered.
const INTERRUPTS_WERE_OFF: RawRestoreState = 0;
const INTERRUPTS_WERE_ON: RawRestoreState = 1;
/// Inside another one of the same hart.
const NESTED: RawRestoreState = 2;

struct Lock;

critical_section::set_impl!(Lock);

// SAFETY: between `acquire` and the `release` of the outermost section one hart has its number in `OWNER`, which only a hart that
// found zero there can put in, and its interrupts are off. Loads and stores of one owner are ordered before those of the next, also
// at devices.
unsafe impl critical_section::Impl for Lock {
    unsafe fn acquire() -> RawRestoreState {
        let were_on = sstatus::read().sie();
        riscv::interrupt::disable();
        let this = hart::slot() + 1;
        // Only this hart writes its number, so a stale value cannot be it.
        if OWNER.load(Ordering::Relaxed) == this {
            return NESTED;
        }
        while OWNER
            .compare_exchange_weak(0, this, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
        }
        // SAFETY: a fence. The one of the exchange does not order accesses to devices.
        unsafe { asm!("fence r, iorw", options(nostack, preserves_flags)) };
        match were_on {
            true => INTERRUPTS_WERE_ON,
            false => INTERRUPTS_WERE_OFF,
        }
    }

    unsafe fn release(state: RawRestoreState) {
        if state == NESTED {
            return;
        }
        // SAFETY: as above.
        unsafe { asm!("fence iorw, w", options(nostack, preserves_flags)) };
        OWNER.store(0, Ordering::Release);
        if state == INTERRUPTS_WERE_ON {
            // SAFETY: they were on when the section began.
            unsafe { riscv::interrupt::enable() };
        }
    }
}
