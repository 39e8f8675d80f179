//! The hart that executes this.
//!
//! Each hart in use has a *slot*, a small number that its register `tp` holds for as long as it runs. The boot hart has slot 0.

use core::arch::asm;
use core::cell::OnceCell;

/// The most harts that run at a time.
pub(crate) const MAX_HARTS: usize = 16;

/// The slot of this hart, below [`MAX_HARTS`].
pub(super) fn slot() -> usize {
    let slot: usize;
    // SAFETY: reads a register. Start code writes it, and no compiled code for a target without thread-local storage does.
    unsafe { asm!("mv {}, tp", out(reg) slot, options(pure, nomem, nostack, preserves_flags)) };
    slot
}

/// A value for each hart, which no other hart touches.
#[derive(Debug)]
pub(super) struct HartLocal<T>([T; MAX_HARTS]);

// SAFETY: the methods give a hart only the value of its own slot, and each slot belongs to one running hart. A hart that takes a slot
// over runs after the one before it has ended.
unsafe impl<T: Send> Sync for HartLocal<T> {}

impl<T> HartLocal<T> {
    pub(super) const fn new(values: [T; MAX_HARTS]) -> Self {
        Self(values)
    }

    /// Does something with the value of this hart while its interrupts are disabled.
    pub(super) fn with<R>(&self, act: impl FnOnce(&T) -> R) -> R {
        riscv::interrupt::free(|| act(&self.0[slot()]))
    }
}

impl<T: Sync> HartLocal<OnceCell<T>> {
    /// The value of this hart, if it was set. Its interrupts may be on: an interrupt handler reads the value, too, and it was set while
    /// they were off.
    pub(super) fn get(&self) -> Option<&T> {
        self.0[slot()].get()
    }
}
