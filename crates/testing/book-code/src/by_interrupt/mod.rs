//! Requests whose ends an interrupt tells, with `virtio-drivers` and with `virtio-blk`.

pub mod after;
pub mod before;
