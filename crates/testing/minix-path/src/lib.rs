#![doc = include_str!("../README.md")]
#![no_std]
#![cfg(target_arch = "riscv64")]

extern crate alloc;

mod kernel;
mod path;

pub use path::{Batch, Operation, Path};
