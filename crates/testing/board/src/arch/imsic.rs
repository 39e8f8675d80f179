//! The interrupt file of this hart, by its registers.
//!
//! After the RISC-V Advanced Interrupt Architecture, "Incoming MSI Controller". The registers of a file are reached through a pair of
//! registers, one that selects and one that accesses, so interrupts of the hart are off between the two.

use core::arch::asm;

use riscv::register::siselect::{self, Siselect};

use crate::source::Source;

const DELIVERY: usize = 0x70;
const THRESHOLD: usize = 0x72;
/// 64 bits each, in every second register.
const ENABLES: usize = 0xC0;

/// Writes a register of the file.
fn write(register: usize, value: u64) {
    riscv::interrupt::free(|| {
        select(register);
        // SAFETY: `sireg` is there, since this hart has an interrupt file; the register selected belongs to the file.
        unsafe { asm!("csrw 0x151, {}", in(reg) value, options(nostack)) };
    });
}

/// Sets bits in a register of the file.
fn set(register: usize, bits: u64) {
    riscv::interrupt::free(|| {
        select(register);
        // SAFETY: as in `write`.
        unsafe { asm!("csrs 0x151, {}", in(reg) bits, options(nostack)) };
    });
}

/// Clears bits in a register of the file.
fn clear(register: usize, bits: u64) {
    riscv::interrupt::free(|| {
        select(register);
        // SAFETY: as in `write`.
        unsafe { asm!("csrc 0x151, {}", in(reg) bits, options(nostack)) };
    });
}

fn select(register: usize) {
    // SAFETY: selecting has no effect of its own.
    unsafe { siselect::write(Siselect::from_bits(register)) };
}

/// Brings the file into a known state: no interrupt enabled, none held back by the threshold.
pub(super) fn reset(id_count: u32) {
    for first in (0..=id_count).step_by(64) {
        write(ENABLES + first as usize / 32, 0);
    }
    write(THRESHOLD, 0);
    write(DELIVERY, 1);
}

/// Lets a message interrupt, or keeps it pending.
pub(super) fn set_enabled(source: Source, is_enabled: bool) {
    let number = source.number() as usize;
    let change = if is_enabled { set } else { clear };
    change(ENABLES + number / 64 * 2, 1 << (number % 64));
}

/// Takes the pending message of highest priority, which is that of the lowest number.
pub(super) fn claim() -> Option<Source> {
    let top: usize;
    // SAFETY: `stopei` is there as `sireg` is; a write of any value takes the interrupt that is read.
    unsafe { asm!("csrrw {}, 0x15C, zero", out(reg) top, options(nostack)) };
    // Bits 26 to 16 are the number.
    Source::new((top >> 16 & 0x7FF) as u32)
}
