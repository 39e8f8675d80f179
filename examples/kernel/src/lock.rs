//! A lock for what harts and interrupt handlers share.

use spin::Mutex;

/// A value that one hart at a time uses, and no interrupt handler meanwhile.
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Does something with the value. Interrupts of this hart are off, or their handler could wait for the lock that this hart has.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        riscv::interrupt::free(|| {
            let mut value = self.0.lock();
            // The lock alone orders memory. These order the registers of a device, too.
            riscv::asm::fence();
            let result = act(&mut value);
            riscv::asm::fence();
            result
        })
    }
}
