#![doc = include_str!("../README.md")]
#![no_std]
#![warn(missing_docs)]

mod disk;
mod outcome;
#[cfg(all(feature = "panic-handler", target_os = "none"))]
mod panic;
mod platform;

pub use disk::{
    Completed, VirtioBlkDisk, virtio_blk_block_bytes, virtio_blk_capacity, virtio_blk_disk_bytes, virtio_blk_flush,
    virtio_blk_interrupt, virtio_blk_notify, virtio_blk_poll, virtio_blk_read, virtio_blk_shut_down, virtio_blk_start,
    virtio_blk_write,
};
pub use outcome::Outcome;
pub use platform::{Memory, Registers};
