#![doc = include_str!("../README.md")]
#![no_std]

pub mod abuse;
pub mod args;
pub mod bdev;
pub mod blocktest;
pub mod buffer;
pub mod client;
pub mod load;
pub mod mfs;
pub mod overlap;
pub mod post;
#[cfg(target_arch = "riscv64")]
pub mod program;
pub mod random;
pub mod report;
pub mod shell;
