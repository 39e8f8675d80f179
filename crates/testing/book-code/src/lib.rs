#![doc = include_str!("../README.md")]

pub mod blocking;
pub mod by_interrupt;
pub mod hal;
