//! The configuration space: its fields, their values, and which access fits which field.

use std::fmt;

use crate::config::ModelConfig;
use crate::wire::feature;

/// One field: where it is, how many bytes it has, the feature it belongs to, and its value.
pub(crate) struct Field {
    name: &'static str,
    offset: u32,
    width: u32,
    feature: u64,
    value: u64,
}

/// The byte that tells and sets the cache mode.
pub(crate) const WRITEBACK: u32 = 32;

/// The fields as they are now. The device shows no zones to a driver that has not accepted ZONED (`zones_hidden`).
pub(crate) fn fields(config: &ModelConfig, capacity: u64, writeback: bool, zones_hidden: bool) -> [Field; 28] {
    let field = |name, offset, width, feature, value| Field {
        name,
        offset,
        width,
        feature,
        value,
    };
    let zone = |name, offset, width, value: u32| {
        let value = if zones_hidden { 0 } else { value };
        field(name, offset, width, feature::ZONED, value.into())
    };
    let (cylinders, heads, sectors) = config.geometry;
    let (exponent, alignment, minimum, optimum) = config.topology;
    let (discard, zeroes, erase, zones) = (config.discard, config.write_zeroes, config.secure_erase, config.zones);
    [
        field("capacity", 0, 8, 0, capacity),
        field("size_max", 8, 4, feature::SIZE_MAX, config.size_max.into()),
        field("seg_max", 12, 4, feature::SEG_MAX, config.seg_max.into()),
        field("cylinders", 16, 2, feature::GEOMETRY, cylinders.into()),
        field("heads", 18, 1, feature::GEOMETRY, heads.into()),
        field("sectors", 19, 1, feature::GEOMETRY, sectors.into()),
        field("blk_size", 20, 4, feature::BLK_SIZE, config.block_size.into()),
        field("physical_block_exp", 24, 1, feature::TOPOLOGY, exponent.into()),
        field("alignment_offset", 25, 1, feature::TOPOLOGY, alignment.into()),
        field("min_io_size", 26, 2, feature::TOPOLOGY, minimum.into()),
        field("opt_io_size", 28, 4, feature::TOPOLOGY, optimum.into()),
        field("writeback", WRITEBACK, 1, feature::CONFIG_WCE, writeback.into()),
        field("num_queues", 34, 2, feature::MQ, config.queues.into()),
        field(
            "max_discard_sectors",
            36,
            4,
            feature::DISCARD,
            discard.max_sectors.into(),
        ),
        field("max_discard_seg", 40, 4, feature::DISCARD, discard.max_segments.into()),
        field(
            "discard_sector_alignment",
            44,
            4,
            feature::DISCARD,
            discard.alignment.into(),
        ),
        field(
            "max_write_zeroes_sectors",
            48,
            4,
            feature::WRITE_ZEROES,
            zeroes.max_sectors.into(),
        ),
        field(
            "max_write_zeroes_seg",
            52,
            4,
            feature::WRITE_ZEROES,
            zeroes.max_segments.into(),
        ),
        field(
            "write_zeroes_may_unmap",
            56,
            1,
            feature::WRITE_ZEROES,
            config.may_unmap.into(),
        ),
        field(
            "max_secure_erase_sectors",
            60,
            4,
            feature::SECURE_ERASE,
            erase.max_sectors.into(),
        ),
        field(
            "max_secure_erase_seg",
            64,
            4,
            feature::SECURE_ERASE,
            erase.max_segments.into(),
        ),
        field(
            "secure_erase_sector_alignment",
            68,
            4,
            feature::SECURE_ERASE,
            erase.alignment.into(),
        ),
        zone("zone_sectors", 72, 4, zones.zone_sectors),
        zone("max_open_zones", 76, 4, zones.max_open),
        zone("max_active_zones", 80, 4, zones.max_active),
        zone("max_append_sectors", 84, 4, zones.max_append_sectors),
        zone("write_granularity", 88, 4, zones.write_granularity),
        zone("zoned model", 92, 1, zones.model.into()),
    ]
}

/// The bytes of the space; unused ones are 0 (`BLK-N-27`).
pub(crate) fn bytes(fields: &[Field]) -> [u8; 96] {
    let mut space = [0; 96];
    for field in fields {
        let (start, width) = (field.offset as usize, field.width as usize);
        space[start..start + width].copy_from_slice(&field.value.to_le_bytes()[..width]);
    }
    space
}

/// The rule that an access of `width` bytes at `offset` breaks, if it breaks one, and what was seen.
pub(crate) fn fault(
    fields: &[Field],
    config: &ModelConfig,
    offset: u32,
    width: u32,
) -> Option<(&'static str, impl fmt::Display + use<>)> {
    let field = fields.iter().find(|f| (f.offset..f.offset + f.width).contains(&offset));
    let id = match field {
        None => "MMIO-D-01",
        Some(field) if !config.offers(field.feature) => "CFG-D-04",
        Some(field) if field.width == 1 && width != 1 => "MMIO-D-05",
        Some(field) if field.width == 2 && (width != 2 || offset != field.offset) => "MMIO-D-06",
        Some(field) if field.width >= 4 && (width != 4 || !offset.is_multiple_of(4)) => "MMIO-D-07",
        Some(_) => return None,
    };
    let name = field.map_or("no field", |field| field.name);
    Some((
        id,
        format!("{width}-byte access at configuration offset {offset}, {name}"),
    ))
}
