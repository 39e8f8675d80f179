#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

pub mod args;
mod bounce;
mod device_state;
pub mod disk;
pub mod dma;
mod lists;
mod queue_plan;
pub mod registration;
pub mod serve;
pub mod start;
pub mod system;
pub mod windows;
