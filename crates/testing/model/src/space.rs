//! The configuration space: its content, and who may read what in which width.

use crate::config::ModelConfig;
use crate::wire::feature;

/// Name, byte offset, width in bytes, feature bits that govern it.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) offset: u32,
    pub(crate) width: u32,
    pub(crate) feature: u64,
}

/// The byte that tells and sets the cache mode.
pub(crate) const WRITEBACK: u32 = 32;

/// The length of the space in bytes.
pub(crate) const BYTES: u32 = 96;

const fn field(name: &'static str, offset: u32, width: u32, feature: u64) -> Field {
    Field {
        name,
        offset,
        width,
        feature,
    }
}

pub(crate) const FIELDS: [Field; 28] = [
    field("capacity", 0, 8, 0),
    field("size_max", 8, 4, feature::SIZE_MAX),
    field("seg_max", 12, 4, feature::SEG_MAX),
    field("cylinders", 16, 2, feature::GEOMETRY),
    field("heads", 18, 1, feature::GEOMETRY),
    field("sectors", 19, 1, feature::GEOMETRY),
    field("blk_size", 20, 4, feature::BLK_SIZE),
    field("physical_block_exp", 24, 1, feature::TOPOLOGY),
    field("alignment_offset", 25, 1, feature::TOPOLOGY),
    field("min_io_size", 26, 2, feature::TOPOLOGY),
    field("opt_io_size", 28, 4, feature::TOPOLOGY),
    field("writeback", WRITEBACK, 1, feature::CONFIG_WCE),
    field("num_queues", 34, 2, feature::MQ),
    field("max_discard_sectors", 36, 4, feature::DISCARD),
    field("max_discard_seg", 40, 4, feature::DISCARD),
    field("discard_sector_alignment", 44, 4, feature::DISCARD),
    field("max_write_zeroes_sectors", 48, 4, feature::WRITE_ZEROES),
    field("max_write_zeroes_seg", 52, 4, feature::WRITE_ZEROES),
    field("write_zeroes_may_unmap", 56, 1, feature::WRITE_ZEROES),
    field("max_secure_erase_sectors", 60, 4, feature::SECURE_ERASE),
    field("max_secure_erase_seg", 64, 4, feature::SECURE_ERASE),
    field("secure_erase_sector_alignment", 68, 4, feature::SECURE_ERASE),
    field("zone_sectors", 72, 4, feature::ZONED),
    field("max_open_zones", 76, 4, feature::ZONED),
    field("max_active_zones", 80, 4, feature::ZONED),
    field("max_append_sectors", 84, 4, feature::ZONED),
    field("write_granularity", 88, 4, feature::ZONED),
    field("zoned model", 92, 1, feature::ZONED),
];

/// The bytes of the space as they are now.
pub(crate) fn bytes(config: &ModelConfig, capacity: u64, writeback: bool) -> [u8; BYTES as usize] {
    let mut space = [0; BYTES as usize];
    let mut put = |offset: usize, value: &[u8]| space[offset..offset + value.len()].copy_from_slice(value);
    put(0, &capacity.to_le_bytes());
    put(8, &config.size_max.to_le_bytes());
    put(12, &config.seg_max.to_le_bytes());
    let (cylinders, heads, sectors) = config.geometry;
    put(16, &cylinders.to_le_bytes());
    put(18, &[heads, sectors]);
    put(20, &config.block_size.to_le_bytes());
    let (exponent, alignment, minimum, optimum) = config.topology;
    put(24, &[exponent, alignment]);
    put(26, &minimum.to_le_bytes());
    put(28, &optimum.to_le_bytes());
    put(32, &[u8::from(writeback)]);
    put(34, &config.queues.to_le_bytes());
    for (offset, limits) in [
        (36, &config.discard),
        (48, &config.write_zeroes),
        (60, &config.secure_erase),
    ] {
        put(offset, &limits.max_sectors.to_le_bytes());
        put(offset + 4, &limits.max_segments.to_le_bytes());
        put(offset + 8, &limits.alignment.to_le_bytes());
    }
    // Write-zeroes has a flag where the others have an alignment.
    put(56, &[u8::from(config.may_unmap), 0, 0, 0]);
    let zones = &config.zones;
    put(72, &zones.zone_sectors.to_le_bytes());
    put(76, &zones.max_open.to_le_bytes());
    put(80, &zones.max_active.to_le_bytes());
    put(84, &zones.max_append_sectors.to_le_bytes());
    put(88, &zones.write_granularity.to_le_bytes());
    put(92, &[zones.model]);
    space
}

/// What is wrong with an access of `width` bytes at `offset`, if anything: requirement and description.
pub(crate) fn fault(config: &ModelConfig, offset: u32, width: u32) -> Option<(&'static str, String)> {
    let Some(field) = FIELDS.iter().find(|f| (f.offset..f.offset + f.width).contains(&offset)) else {
        let what = format!("{width}-byte access at configuration offset {offset}, where there is no field");
        return Some(("MMIO-D-01", what));
    };
    if !config.offers(field.feature) {
        let what = format!("access to {} though its feature is not offered", field.name);
        return Some(("CFG-D-04", what));
    }
    let (id, legal) = match field.width {
        1 => ("MMIO-D-05", width == 1),
        2 => ("MMIO-D-06", width == 2 && offset == field.offset),
        _ => ("MMIO-D-07", width == 4 && offset.is_multiple_of(4)),
    };
    let what = || {
        format!(
            "{width}-byte access at offset {offset} to {} of {} bytes",
            field.name, field.width
        )
    };
    (!legal).then(|| (id, what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_declared_width_is_right() {
        let config = ModelConfig::modern();
        let id = |offset, width| fault(&config, offset, width).map(|(id, _)| id);
        assert_eq!(id(0, 4), None);
        assert_eq!(id(4, 4), None);
        assert_eq!(id(2, 2), Some("MMIO-D-07"));
        assert_eq!(id(18, 1), None);
        assert_eq!(id(18, 2), Some("MMIO-D-05"));
        assert_eq!(id(16, 2), None);
        assert_eq!(id(16, 4), Some("MMIO-D-06"));
        assert_eq!(id(17, 1), Some("MMIO-D-06"));
        assert_eq!(id(33, 1), Some("MMIO-D-01"));
        assert_eq!(id(96, 4), Some("MMIO-D-01"));
        assert_eq!(id(60, 4), Some("CFG-D-04"));
    }

    #[test]
    fn fields_do_not_overlap_and_lie_inside() {
        let mut end = 0;
        for field in &FIELDS {
            assert!(field.offset >= end, "{}", field.name);
            end = field.offset + field.width;
        }
        assert!(end <= BYTES);
    }
}
