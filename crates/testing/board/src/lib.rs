#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

mod error;
mod exit;
mod memory;
mod mmio;
mod plic;
mod strings;
mod time;
mod uart;

#[cfg_attr(
    not(target_arch = "riscv64"),
    allow(dead_code, reason = "used by the trap handler and by tests")
)]
mod latch;
#[cfg_attr(
    not(target_arch = "riscv64"),
    allow(dead_code, reason = "used by the trap handler and by tests")
)]
mod pending;

#[cfg(target_arch = "riscv64")]
mod arch;

pub use error::BoardError;
pub use exit::{ExitStatus, FailureCode};
pub use latch::InterruptCounts;
pub use memory::largest_gap;
pub use plic::{Plic, Source};
pub use strings::{ElfError, lower_defmt_symbols};
pub use time::{SteadyClock, Ticks, Timebase};
pub use uart::Uart;

#[cfg(target_arch = "riscv64")]
pub use arch::{
    board::Board,
    console, counters,
    interrupts::{Interrupts, NoSuchSource, Wake},
    power, sbi, semihosting,
    start::{Boot, image_bounds},
};

#[cfg(all(target_arch = "riscv64", feature = "defmt"))]
pub use arch::defmt_logger as defmt_channel;
