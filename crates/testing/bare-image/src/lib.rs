#![doc = include_str!("../README.md")]
#![no_std]
#![cfg(target_arch = "riscv64")]

extern crate alloc;

pub mod disks;
pub mod memory;
pub mod report;
pub mod windows;
