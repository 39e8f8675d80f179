//! The configuration space: its fields, their values, and which access fits which field.

use std::fmt;

use crate::config::ModelConfig;
use crate::wire::feature::{
    BLK_SIZE, CONFIG_WCE, DISCARD, GEOMETRY, MQ, SECURE_ERASE, SEG_MAX, SIZE_MAX, TOPOLOGY, WRITE_ZEROES, ZONED,
};

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

/// A field is as wide as its value.
fn field<T: Into<u64>>(name: &'static str, offset: u32, feature: u64, value: T) -> Field {
    let (width, value) = (size_of::<T>() as u32, value.into());
    Field {
        name,
        offset,
        width,
        feature,
        value,
    }
}

/// The fields as they are now. The device shows no zones to a driver that has not accepted ZONED (`zones_hidden`).
pub(crate) fn fields(config: &ModelConfig, capacity: u64, writeback: bool, zones_hidden: bool) -> [Field; 28] {
    let (cylinders, heads, sectors) = config.geometry;
    let (exponent, alignment, minimum, optimum) = config.topology;
    let (discard, zeroes, erase, zones) = (config.discard, config.write_zeroes, config.secure_erase, config.zones);
    let mut fields = [
        field("capacity", 0, 0, capacity),
        field("size_max", 8, SIZE_MAX, config.size_max),
        field("seg_max", 12, SEG_MAX, config.seg_max),
        field("cylinders", 16, GEOMETRY, cylinders),
        field("heads", 18, GEOMETRY, heads),
        field("sectors", 19, GEOMETRY, sectors),
        field("blk_size", 20, BLK_SIZE, config.block_size),
        field("physical_block_exp", 24, TOPOLOGY, exponent),
        field("alignment_offset", 25, TOPOLOGY, alignment),
        field("min_io_size", 26, TOPOLOGY, minimum),
        field("opt_io_size", 28, TOPOLOGY, optimum),
        field("writeback", WRITEBACK, CONFIG_WCE, writeback),
        field("num_queues", 34, MQ, config.queues),
        field("max_discard_sectors", 36, DISCARD, discard.max_sectors),
        field("max_discard_seg", 40, DISCARD, discard.max_segments),
        field("discard_sector_alignment", 44, DISCARD, discard.alignment),
        field("max_write_zeroes_sectors", 48, WRITE_ZEROES, zeroes.max_sectors),
        field("max_write_zeroes_seg", 52, WRITE_ZEROES, zeroes.max_segments),
        field("write_zeroes_may_unmap", 56, WRITE_ZEROES, config.may_unmap),
        field("max_secure_erase_sectors", 60, SECURE_ERASE, erase.max_sectors),
        field("max_secure_erase_seg", 64, SECURE_ERASE, erase.max_segments),
        field("secure_erase_sector_alignment", 68, SECURE_ERASE, erase.alignment),
        field("zone_sectors", 72, ZONED, zones.zone_sectors),
        field("max_open_zones", 76, ZONED, zones.max_open),
        field("max_active_zones", 80, ZONED, zones.max_active),
        field("max_append_sectors", 84, ZONED, zones.max_append_sectors),
        field("write_granularity", 88, ZONED, zones.write_granularity),
        field("zoned model", 92, ZONED, zones.model),
    ];
    for field in fields.iter_mut().filter(|field| zones_hidden && field.feature == ZONED) {
        field.value = 0;
    }
    fields
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
