//! Disks behind the traits of other crates, each with its feature.

#[cfg(feature = "embedded-io")]
pub(crate) mod embedded_io;
#[cfg(feature = "embedded-sdmmc")]
pub(crate) mod embedded_sdmmc;
#[cfg(feature = "embedded-storage")]
mod embedded_storage;
