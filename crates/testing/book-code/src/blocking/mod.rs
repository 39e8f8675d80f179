//! A small driver whose calls wait, with `virtio-drivers` and with `virtio-blk`.

pub mod after;
pub mod before;
