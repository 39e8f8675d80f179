//! Zoned block devices: what they add to configuration, requests and answers.

use crate::config::ConfigAccess;

/// The zoned part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZonedConfig {
    /// Sectors of one zone.
    pub zone_sectors: u32,
    /// Zones open at the same time; 0 for no limit (`BLK-N-22`).
    pub max_open_zones: u32,
    /// Zones active at the same time; 0 for no limit.
    pub max_active_zones: u32,
    /// Sectors of one append; 0 if append is not supported (`BLK-N-23`).
    pub max_append_sectors: u32,
    /// What sequential writes must be multiples of, in bytes.
    pub write_granularity: u32,
    /// The kind of zoned device.
    pub model: ZonedModel,
}

impl ZonedConfig {
    pub(crate) fn read(config: &impl ConfigAccess) -> Self {
        Self {
            zone_sectors: config.read_u32(72),
            max_open_zones: config.read_u32(76),
            max_active_zones: config.read_u32(80),
            max_append_sectors: config.read_u32(84),
            write_granularity: config.read_u32(88),
            model: ZonedModel::from(config.read_u8(92)),
        }
    }
}

/// The kind of zoned device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ZonedModel {
    /// An ordinary disk.
    None,
    /// Zones must be written in order.
    HostManaged,
    /// Zones are better written in order.
    HostAware,
    /// A value without a meaning yet.
    Unknown(u8),
}

impl From<u8> for ZonedModel {
    fn from(wire: u8) -> Self {
        match wire {
            0 => Self::None,
            1 => Self::HostManaged,
            2 => Self::HostAware,
            other => Self::Unknown(other),
        }
    }
}
