//! Parts that only the machine has: traps, the entry point, clocks, a console, panics.

pub mod clock;
pub(crate) mod console;
mod panic;
mod start;
mod trap;

pub use panic::{on_panic, panicked, program_panicked};
pub use trap::Minix;
