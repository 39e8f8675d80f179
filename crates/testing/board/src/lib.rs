#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

#[cfg(any(target_arch = "riscv64", test))]
#[cfg_attr(
    not(target_arch = "riscv64"),
    allow(dead_code, unused_imports, reason = "tested on a host, used on the target")
)]
mod aplic;
mod memory;
mod mmio;
#[cfg(any(target_arch = "riscv64", test))]
#[cfg_attr(
    not(target_arch = "riscv64"),
    allow(dead_code, unused_imports, reason = "tested on a host, used on the target")
)]
mod pci;
mod plic;
mod source;
#[cfg(not(target_arch = "riscv64"))]
mod strings;
mod time;

#[cfg(target_arch = "riscv64")]
mod arch;
#[cfg(target_arch = "riscv64")]
mod error;
#[cfg(target_arch = "riscv64")]
mod uart;

pub use memory::largest_gap;
pub use plic::Plic;
pub use source::{Source, Trigger};
#[cfg(not(target_arch = "riscv64"))]
pub use strings::lower_defmt_symbols;
pub use time::{SteadyClock, Ticks, Timebase};

#[cfg(target_arch = "riscv64")]
pub use arch::{
    board::Board,
    console, counters,
    harts::{HartInfo, Harts, RunningHart, StartError},
    interrupts::Interrupts,
    layout::image_bounds,
    messages::Message,
    pci::{Pci, UnassignedPci},
    power,
    start::Boot,
    trap::trap_name,
};
#[cfg(target_arch = "riscv64")]
pub use error::BoardError;
#[cfg(any(target_arch = "riscv64", test))]
pub use pci::{Assigned, Ecam, Slot, SlotEvents};

#[cfg(all(target_arch = "riscv64", feature = "defmt"))]
pub use arch::defmt_logger as defmt_channel;
