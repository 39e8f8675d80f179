//! The driver, unchanged, on devices that other processes serve: QEMU's storage daemon, and rust-vmm's device of
//! `vhost-user-disk`.

mod disk;
mod own;
mod qemu;
