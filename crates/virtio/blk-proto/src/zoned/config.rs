//! The zoned part of the configuration, and the values computed from it alone.

use crate::config::ConfigAccess;
use crate::zoned::ZoneId;
use crate::{BlkFeatures, SECTOR_BYTES, Sector};

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
    /// The unit of sequential writes, in bytes.
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

    /// Whether the device has zones: it is a zoned one and names a zone size.
    ///
    /// An unknown model counts as zoned.
    pub const fn has_zones(&self) -> bool {
        self.zone_sectors != 0 && !matches!(self.model, ZonedModel::None)
    }

    /// Number of zones of a disk of `capacity` sectors (`BLK-N-21`).
    ///
    /// The last one may be short. 0 if there are no zones.
    pub const fn zone_count(&self, capacity: Sector) -> u64 {
        if !self.has_zones() {
            return 0;
        }
        capacity.get().div_ceil(self.zone_sectors as u64)
    }

    /// Sectors of the last zone of a disk of `capacity` sectors (`BLK-N-21`).
    ///
    /// 0 if there is no zone at all.
    pub const fn last_zone_sectors(&self, capacity: Sector) -> u64 {
        match self.zone_count(capacity) {
            0 => 0,
            // `count - 1` whole zones are less than the capacity, so neither step overflows.
            count => capacity.get() - (count - 1) * self.zone_sectors as u64,
        }
    }

    /// The zone that holds `sector`; `None` if there are no zones.
    pub const fn zone_of(&self, sector: Sector) -> Option<ZoneId> {
        if !self.has_zones() {
            return None;
        }
        let first = sector.get() - sector.get() % self.zone_sectors as u64;
        Some(ZoneId::starting_at(Sector(first)))
    }

    /// Sectors of a zone of a disk of `capacity` sectors, which may be the short last one. 0 beyond the disk.
    pub const fn sectors_of(&self, zone: ZoneId, capacity: Sector) -> u64 {
        let left = capacity.get().saturating_sub(zone.start().get());
        let whole = self.zone_sectors as u64;
        if left < whole { left } else { whole }
    }

    /// Whether a driver can work with the zones of a disk with blocks of `block_bytes`: it knows the model, and a zone is
    /// made of whole blocks and of whole units of writing.
    #[inline(never)]
    pub const fn is_usable(&self, block_bytes: u32) -> bool {
        let known = matches!(self.model, ZonedModel::HostManaged | ZonedModel::HostAware);
        let zone = self.zone_sectors as u64 * SECTOR_BYTES;
        let whole = zone.is_multiple_of(block_bytes as u64);
        let units = self.write_granularity == 0 || zone.is_multiple_of(self.write_granularity as u64);
        known && self.zone_sectors > 0 && whole && units
    }

    /// Whether `sector` is the first of a zone. `false` if there are no zones.
    pub const fn is_zone_start(&self, sector: Sector) -> bool {
        self.has_zones() && sector.get().is_multiple_of(self.zone_sectors as u64)
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

impl ZonedModel {
    /// Whether a driver without support for zones can treat the device as an ordinary disk (`BLK-D-09`).
    ///
    /// If not, such a driver must not set FEATURES_OK (`BLK-D-08`). With an unknown model it cannot.
    pub const fn works_as_ordinary_disk(self) -> bool {
        matches!(self, Self::None | Self::HostAware)
    }

    /// Whether the model rules discard out (`BLK-D-06`). With the other models zones and discard can be negotiated
    /// independently (`BLK-D-07`).
    pub const fn must_not_negotiate_discard(self) -> bool {
        matches!(self, Self::HostManaged)
    }

    /// The part of a driver's supported features that the model lets it negotiate.
    ///
    /// To be applied if the device offers [`BlkFeatures::ZONED`]; the model may be read before FEATURES_OK.
    #[must_use]
    pub fn negotiable(self, wanted: BlkFeatures) -> BlkFeatures {
        if self.must_not_negotiate_discard() {
            wanted - BlkFeatures::DISCARD
        } else {
            wanted
        }
    }
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

impl From<ZonedModel> for u8 {
    fn from(model: ZonedModel) -> Self {
        match model {
            ZonedModel::None => 0,
            ZonedModel::HostManaged => 1,
            ZonedModel::HostAware => 2,
            ZonedModel::Unknown(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones_of(zone_sectors: u32) -> ZonedConfig {
        ZonedConfig {
            zone_sectors,
            max_open_zones: 0,
            max_active_zones: 0,
            max_append_sectors: 0,
            write_granularity: 4096,
            model: ZonedModel::HostManaged,
        }
    }

    #[test]
    fn the_last_zone_may_be_short() {
        let config = zones_of(1000);
        for (capacity, count, last) in [
            (0, 0, 0),
            (1, 1, 1),
            (999, 1, 999),
            (1000, 1, 1000),
            (1001, 2, 1),
            (5000, 5, 1000),
        ] {
            assert_eq!(config.zone_count(Sector(capacity)), count, "{capacity}");
            assert_eq!(config.last_zone_sectors(Sector(capacity)), last, "{capacity}");
        }
    }

    #[test]
    fn the_largest_disk_does_not_overflow() {
        assert_eq!(zones_of(1).zone_count(Sector(u64::MAX)), u64::MAX);
        assert_eq!(zones_of(1).last_zone_sectors(Sector(u64::MAX)), 1);
        assert_eq!(
            zones_of(u32::MAX).last_zone_sectors(Sector(u64::MAX)),
            u64::from(u32::MAX)
        );
    }

    #[test]
    fn without_zone_size_or_model_there_are_no_zones() {
        let mut plain = zones_of(1000);
        plain.model = ZonedModel::None;
        for config in [zones_of(0), plain] {
            assert!(!config.has_zones());
            assert_eq!(config.zone_count(Sector(5000)), 0);
            assert_eq!(config.last_zone_sectors(Sector(5000)), 0);
            assert_eq!(config.zone_of(Sector(5000)), None);
            assert!(!config.is_usable(512));
            assert!(!config.is_zone_start(Sector(0)));
        }
    }

    #[test]
    fn a_sector_belongs_to_the_zone_that_starts_at_or_before_it() {
        let config = zones_of(1000);
        for (sector, start) in [(999, 0), (1000, 1000), (u64::MAX, u64::MAX - 615)] {
            let zone = ZoneId::starting_at(Sector(start));
            assert_eq!(config.zone_of(Sector(sector)), Some(zone));
        }
        let zone = ZoneId::starting_at(Sector(1000));
        assert_eq!(config.sectors_of(zone, Sector(5000)), 1000);
        assert_eq!(config.sectors_of(zone, Sector(1001)), 1);
        assert_eq!(config.sectors_of(zone, Sector(1000)), 0);
        assert!(config.is_zone_start(Sector(3000)));
        assert!(!config.is_zone_start(Sector(3001)));
    }

    #[test]
    fn zones_are_whole_blocks_and_whole_units_of_writing() {
        let config = zones_of(16);
        for (block_bytes, granularity, usable) in [
            (512, 0, true),
            (4096, 8192, true),
            (3000, 512, false),
            (512, 3072, false),
        ] {
            let config = ZonedConfig {
                write_granularity: granularity,
                ..config
            };
            assert_eq!(config.is_usable(block_bytes), usable, "{block_bytes} {granularity}");
        }
        let unknown = ZonedConfig {
            model: ZonedModel::Unknown(3),
            ..config
        };
        assert!(!unknown.is_usable(512));
    }

    #[test]
    fn only_a_host_managed_disk_forbids_discard() {
        let wanted = BlkFeatures::ZONED | BlkFeatures::DISCARD | BlkFeatures::FLUSH;
        let without = BlkFeatures::ZONED | BlkFeatures::FLUSH;
        assert_eq!(ZonedModel::HostManaged.negotiable(wanted), without);
        assert_eq!(ZonedModel::HostAware.negotiable(wanted), wanted);
        assert_eq!(ZonedModel::None.negotiable(wanted), wanted);
    }

    #[test]
    fn a_plain_driver_runs_disks_that_require_no_order() {
        assert!(ZonedModel::None.works_as_ordinary_disk());
        assert!(ZonedModel::HostAware.works_as_ordinary_disk());
        assert!(!ZonedModel::HostManaged.works_as_ordinary_disk());
        assert!(!ZonedModel::Unknown(3).works_as_ordinary_disk());
    }

    #[test]
    fn the_models_have_their_numbers() {
        assert_eq!(ZonedModel::from(0), ZonedModel::None);
        assert_eq!(ZonedModel::from(1), ZonedModel::HostManaged);
        assert_eq!(ZonedModel::from(2), ZonedModel::HostAware);
        assert_eq!(ZonedModel::from(3), ZonedModel::Unknown(3));
    }
}
