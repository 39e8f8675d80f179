#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

#[cfg(target_arch = "riscv64")]
mod arch;
mod args;
pub mod asynsend;
pub mod console;
pub mod ds;
mod exclusive;
mod fixed;
pub mod grant;
mod ipc;
pub mod kernel;
pub mod logger;
pub mod memory;
pub mod program;
mod retry;
pub mod sef;
#[cfg(any(target_arch = "riscv64", test))]
mod steady;

#[cfg(target_arch = "riscv64")]
pub use arch::{Minix, clock, on_panic};
pub use args::Args;
pub use fixed::Fixed;
pub use ipc::Ipc;

#[cfg(target_arch = "riscv64")]
#[doc(hidden)]
pub use arch::{console::print, panicked, program_panicked};
