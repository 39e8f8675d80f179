//! Disks behind the traits of other crates, each with its feature.

#[cfg(feature = "block-device-driver")]
mod block_device_driver;
#[cfg(feature = "embedded-io-async")]
pub(crate) mod embedded_io_async;
#[cfg(feature = "embedded-storage-async")]
mod embedded_storage_async;
