#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

pub mod args;
pub mod disk;
pub mod dma;
pub mod interrupts;
pub mod kernel;
mod lists;
mod lives;
pub mod poller;
mod queue_plan;
pub mod registration;
pub mod serve;
mod staging;
pub mod start;
pub mod windows;
