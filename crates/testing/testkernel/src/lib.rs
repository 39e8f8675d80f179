#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod account;
pub mod config;
pub mod device_name;
pub mod elf_image;
pub mod grants;
pub mod ipc_rules;
pub mod lateness;
pub mod life;
pub mod pacing;
pub mod register_access;
pub mod replies;
pub mod scenario;
pub mod turns;
pub mod vumap;
