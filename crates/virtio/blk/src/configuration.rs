//! The configuration and the features of a block device, read through its transport.

use virtio_blk_proto::{BlkFeatures, ConfigAccess, ConfigSnapshot};
use virtio_core::{ConfigError, ConfigReader, Features, PollLimit, Transport, read_consistent};

/// Reads every field of the configuration whose feature is in `offered`, within `limit`.
///
/// # Errors
///
/// [`ConfigError`] if the configuration never stood still, or the device is gone.
pub(crate) fn read_config<T: Transport>(
    transport: &T,
    limit: &mut PollLimit,
    offered: BlkFeatures,
) -> Result<ConfigSnapshot, ConfigError> {
    read_consistent(transport, limit, |reader| {
        ConfigSnapshot::read(&Fields(reader), offered)
    })
}

/// Lets the block protocol read configuration fields within a limit.
struct Fields<'r, 't, T>(&'r ConfigReader<'t, T>);

impl<T: Transport> ConfigAccess for Fields<'_, '_, T> {
    fn read_u8(&self, offset: u16) -> u8 {
        self.0.read_u8(offset)
    }

    fn read_u16(&self, offset: u16) -> u16 {
        self.0.read_u16(offset)
    }

    fn read_u32(&self, offset: u16) -> u32 {
        self.0.read_u32(offset)
    }
}

/// The part of a feature set that belongs to the block device.
pub(crate) fn blk_features(features: Features) -> BlkFeatures {
    BlkFeatures::from_bits_retain(features.low())
}
