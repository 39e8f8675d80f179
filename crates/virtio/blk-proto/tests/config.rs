//! Reading the configuration from a device that panics on every wrong access.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use virtio_blk_proto::zoned::{ZonedConfig, ZonedModel};
use virtio_blk_proto::{
    BlkConfig, BlkFeatures, ConfigAccess, ConfigSnapshot, ConfigSpace, FIELDS, Geometry, RangeLimits, Sector, Topology,
    WRITEBACK_OFFSET, ZeroesLimits, read_capacity,
};
use zerocopy::{FromBytes, IntoBytes};

/// Offset, width, feature bit: written independently of the crate, so that both do not have the same mistake.
const LAYOUT: [(u16, u8, Option<u32>); 28] = [
    (0, 8, None),
    (8, 4, Some(1)),
    (12, 4, Some(2)),
    (16, 2, Some(4)),
    (18, 1, Some(4)),
    (19, 1, Some(4)),
    (20, 4, Some(6)),
    (24, 1, Some(10)),
    (25, 1, Some(10)),
    (26, 2, Some(10)),
    (28, 4, Some(10)),
    (32, 1, Some(11)),
    (34, 2, Some(12)),
    (36, 4, Some(13)),
    (40, 4, Some(13)),
    (44, 4, Some(13)),
    (48, 4, Some(14)),
    (52, 4, Some(14)),
    (56, 1, Some(14)),
    (60, 4, Some(16)),
    (64, 4, Some(16)),
    (68, 4, Some(16)),
    (72, 4, Some(17)),
    (76, 4, Some(17)),
    (80, 4, Some(17)),
    (84, 4, Some(17)),
    (88, 4, Some(17)),
    (92, 1, Some(17)),
];

/// The features a block device can have, by bit.
const FEATURE_BITS: [u32; 16] = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0];

/// A configuration space that panics on an access a real device need not answer.
struct Strict {
    bytes: [u8; 96],
    offered: BlkFeatures,
    seen: RefCell<BTreeSet<u16>>,
}

impl Strict {
    fn new(bytes: [u8; 96], offered: BlkFeatures) -> Self {
        Self {
            bytes,
            offered,
            seen: RefCell::default(),
        }
    }

    fn access<const N: usize>(&self, offset: u16) -> [u8; N] {
        assert_ne!(offset, WRITEBACK_OFFSET, "read before the features are settled");
        let &(start, width, bit) = LAYOUT
            .iter()
            .rfind(|(start, _, _)| *start <= offset)
            .filter(|(start, width, _)| offset < start + u16::from(*width))
            .unwrap_or_else(|| panic!("nothing lies at {offset}"));
        // The capacity is the one field that takes two accesses.
        let (start, width) = if width == 8 { (offset & 4, 4) } else { (start, width) };
        assert_eq!((offset, N), (start, usize::from(width)), "not the whole field");
        assert_eq!(usize::from(offset) % N, 0, "misaligned");
        if let Some(bit) = bit {
            let offered = self.offered.bits() >> bit & 1 == 1;
            assert!(offered, "offset {offset} read, but feature bit {bit} is not offered");
        }
        self.seen.borrow_mut().insert(offset);
        let start = usize::from(offset);
        self.bytes[start..start + N].try_into().unwrap()
    }

    /// The accesses that the features ask for, `writeback` apart.
    fn expected(&self) -> BTreeSet<u16> {
        LAYOUT
            .iter()
            .filter(|(offset, _, bit)| *offset != 32 && bit.is_none_or(|bit| self.offered.bits() >> bit & 1 == 1))
            .flat_map(|&(offset, width, _)| (offset..offset + u16::from(width)).step_by(4))
            .collect()
    }
}

impl ConfigAccess for Strict {
    fn read_u8(&self, offset: u16) -> u8 {
        u8::from_le_bytes(self.access(offset))
    }

    fn read_u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.access(offset))
    }

    fn read_u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.access(offset))
    }
}

fn bytes() -> impl Strategy<Value = [u8; 96]> {
    proptest::collection::vec(any::<u8>(), 96).prop_map(|bytes| bytes.try_into().unwrap())
}

/// Random sets, with the block features about half the time each, and anything beyond them.
fn features() -> impl Strategy<Value = BlkFeatures> {
    any::<u64>().prop_map(BlkFeatures::from_bits_retain)
}

/// The fields of a configuration space if everything is offered.
fn everything(space: &ConfigSpace) -> BlkConfig {
    BlkConfig {
        capacity: Sector(space.capacity.get()),
        size_max: Some(space.size_max.get()),
        seg_max: Some(space.seg_max.get()),
        geometry: Some(Geometry {
            cylinders: space.cylinders.get(),
            heads: space.heads,
            sectors: space.sectors,
        }),
        blk_size: Some(space.blk_size.get()),
        topology: Some(Topology {
            physical_block_exp: space.physical_block_exp,
            alignment_offset: space.alignment_offset,
            min_io_blocks: space.min_io_size.get(),
            opt_io_blocks: space.opt_io_size.get(),
        }),
        num_queues: Some(space.num_queues.get()),
        discard: Some(RangeLimits {
            max_sectors: space.max_discard_sectors.get(),
            max_segments: space.max_discard_seg.get(),
            alignment_sectors: space.discard_sector_alignment.get(),
        }),
        write_zeroes: Some(ZeroesLimits {
            max_sectors: space.max_write_zeroes_sectors.get(),
            max_segments: space.max_write_zeroes_seg.get(),
            may_unmap: space.write_zeroes_may_unmap != 0,
        }),
        secure_erase: Some(RangeLimits {
            max_sectors: space.max_secure_erase_sectors.get(),
            max_segments: space.max_secure_erase_seg.get(),
            alignment_sectors: space.secure_erase_sector_alignment.get(),
        }),
        zoned: Some(ZonedConfig {
            zone_sectors: space.zone_sectors.get(),
            max_open_zones: space.max_open_zones.get(),
            max_active_zones: space.max_active_zones.get(),
            max_append_sectors: space.max_append_sectors.get(),
            write_granularity: space.write_granularity.get(),
            model: ZonedModel::from(space.zoned_model),
        }),
    }
}

/// The part of `config` that exists if only `offered` is offered.
fn only_offered(config: BlkConfig, offered: BlkFeatures) -> BlkConfig {
    let has = |feature| offered.contains(feature);
    BlkConfig {
        capacity: config.capacity,
        size_max: config.size_max.filter(|_| has(BlkFeatures::SIZE_MAX)),
        seg_max: config.seg_max.filter(|_| has(BlkFeatures::SEG_MAX)),
        geometry: config.geometry.filter(|_| has(BlkFeatures::GEOMETRY)),
        blk_size: config.blk_size.filter(|_| has(BlkFeatures::BLK_SIZE)),
        topology: config.topology.filter(|_| has(BlkFeatures::TOPOLOGY)),
        num_queues: config.num_queues.filter(|_| has(BlkFeatures::MQ)),
        discard: config.discard.filter(|_| has(BlkFeatures::DISCARD)),
        write_zeroes: config.write_zeroes.filter(|_| has(BlkFeatures::WRITE_ZEROES)),
        secure_erase: config.secure_erase.filter(|_| has(BlkFeatures::SECURE_ERASE)),
        zoned: config.zoned.filter(|_| has(BlkFeatures::ZONED)),
    }
}

fn check(bytes: [u8; 96], offered: BlkFeatures) {
    let device = Strict::new(bytes, offered);
    let config = BlkConfig::read(&device, offered);
    assert_eq!(*device.seen.borrow(), device.expected(), "a field was left out");
    let space = ConfigSpace::read_from_bytes(&bytes).unwrap();
    assert_eq!(config, only_offered(everything(&space), offered));
    assert_eq!(config, BlkConfig::read(&space, offered));
    // A snapshot touches the same fields, and has the same in them.
    let device = Strict::new(bytes, offered);
    let snapshot = ConfigSnapshot::read(&device, offered);
    assert_eq!(*device.seen.borrow(), device.expected(), "a field was left out");
    assert_eq!(config, BlkConfig::read(&snapshot, offered));
}

#[test]
fn snapshots_are_equal_if_every_offered_byte_is() {
    let snapshot =
        |bytes: [u8; 96], offered| ConfigSnapshot::read(&ConfigSpace::read_from_bytes(&bytes).unwrap(), offered);
    let before = distinct();
    for field in FIELDS {
        for byte in field.offset..field.offset + u16::from(field.width) {
            let mut after = before;
            after[usize::from(byte)] ^= 1;
            let equal_with = |offered| snapshot(before, offered) == snapshot(after, offered);
            let is_read = field.offset != WRITEBACK_OFFSET;
            assert_eq!(equal_with(BlkFeatures::all()), !is_read, "{} byte {byte}", field.name);
            assert_eq!(
                equal_with(BlkFeatures::empty()),
                field.name != "capacity",
                "{}",
                field.name
            );
        }
    }
}

#[test]
fn bytes_past_the_end_of_a_snapshot_are_zero() {
    let space = ConfigSpace::read_from_bytes(&[0xFF; 96]).unwrap();
    let snapshot = ConfigSnapshot::read(&space, BlkFeatures::all());
    assert_eq!((snapshot.read_u8(92), snapshot.read_u16(34)), (0xFF, 0xFFFF));
    assert_eq!(
        (snapshot.read_u8(96), snapshot.read_u16(96), snapshot.read_u32(u16::MAX)),
        (0, 0, 0)
    );
}

/// Each byte is different, so that fields cannot be mistaken for each other.
fn distinct() -> [u8; 96] {
    std::array::from_fn(|index| index as u8 + 1)
}

#[test]
fn without_features_there_is_a_capacity_and_nothing_else() {
    check(distinct(), BlkFeatures::empty());
}

// Shows CFG-D-04.
#[test]
fn every_feature_adds_its_own_fields() {
    for bit in 0..64 {
        check(distinct(), BlkFeatures::from_bits_retain(1 << bit));
    }
}

#[test]
fn every_pair_of_features_adds_the_fields_of_both() {
    for one in FEATURE_BITS {
        for other in FEATURE_BITS {
            check(distinct(), BlkFeatures::from_bits_retain(1 << one | 1 << other));
        }
    }
}

// Shows BLK-D-04.
#[test]
fn the_write_cache_mode_is_never_read() {
    // `Strict` panics on that access.
    check(distinct(), BlkFeatures::all());
}

#[test]
fn the_field_table_is_the_one_of_the_specification() {
    for (field, (offset, width, bit)) in FIELDS.iter().zip(LAYOUT) {
        let feature = BlkFeatures::from_bits_retain(bit.map_or(0, |bit| 1 << bit));
        assert_eq!(
            (field.offset, field.width, field.feature),
            (offset, width, feature),
            "{}",
            field.name
        );
    }
}

#[test]
fn fields_are_in_order_apart_from_each_other_and_aligned() {
    let mut end = 0;
    for field in FIELDS {
        assert!(field.offset >= end, "{} overlaps what comes before", field.name);
        assert_eq!(field.offset % u16::from(field.width), 0, "{} is misaligned", field.name);
        end = field.offset + u16::from(field.width);
    }
    assert!(usize::from(end) <= ConfigSpace::BYTES);
}

/// Each field of the structure consists of the bytes that the table says, and of no others.
#[test]
fn the_field_table_is_that_of_the_structure() {
    type Get = fn(&ConfigSpace) -> u64;
    let getters: [(&str, Get); 28] = [
        ("capacity", |c| c.capacity.get()),
        ("size_max", |c| c.size_max.get().into()),
        ("seg_max", |c| c.seg_max.get().into()),
        ("geometry.cylinders", |c| c.cylinders.get().into()),
        ("geometry.heads", |c| c.heads.into()),
        ("geometry.sectors", |c| c.sectors.into()),
        ("blk_size", |c| c.blk_size.get().into()),
        ("topology.physical_block_exp", |c| c.physical_block_exp.into()),
        ("topology.alignment_offset", |c| c.alignment_offset.into()),
        ("topology.min_io_size", |c| c.min_io_size.get().into()),
        ("topology.opt_io_size", |c| c.opt_io_size.get().into()),
        ("writeback", |c| c.writeback.into()),
        ("num_queues", |c| c.num_queues.get().into()),
        ("max_discard_sectors", |c| c.max_discard_sectors.get().into()),
        ("max_discard_seg", |c| c.max_discard_seg.get().into()),
        ("discard_sector_alignment", |c| c.discard_sector_alignment.get().into()),
        ("max_write_zeroes_sectors", |c| c.max_write_zeroes_sectors.get().into()),
        ("max_write_zeroes_seg", |c| c.max_write_zeroes_seg.get().into()),
        ("write_zeroes_may_unmap", |c| c.write_zeroes_may_unmap.into()),
        ("max_secure_erase_sectors", |c| c.max_secure_erase_sectors.get().into()),
        ("max_secure_erase_seg", |c| c.max_secure_erase_seg.get().into()),
        ("secure_erase_sector_alignment", |c| {
            c.secure_erase_sector_alignment.get().into()
        }),
        ("zoned.zone_sectors", |c| c.zone_sectors.get().into()),
        ("zoned.max_open_zones", |c| c.max_open_zones.get().into()),
        ("zoned.max_active_zones", |c| c.max_active_zones.get().into()),
        ("zoned.max_append_sectors", |c| c.max_append_sectors.get().into()),
        ("zoned.write_granularity", |c| c.write_granularity.get().into()),
        ("zoned.model", |c| c.zoned_model.into()),
    ];
    for (field, (name, get)) in FIELDS.iter().zip(getters) {
        assert_eq!(field.name, name);
        let start = usize::from(field.offset);
        let inside = start..start + usize::from(field.width);
        let alone = std::array::from_fn::<u8, 96, _>(|offset| if inside.contains(&offset) { 0xFF } else { 0 });
        let others = alone.map(|byte| !byte);
        let value = |bytes| get(&ConfigSpace::read_from_bytes(bytes).unwrap());
        assert_eq!(value(&alone), u64::MAX >> (64 - 8 * u32::from(field.width)), "{name}");
        assert_eq!(value(&others), 0, "{name}");
    }
}

#[test]
fn an_impossible_block_size_becomes_512() {
    let block_bytes = |blk_size: u32, offered| {
        let space = ConfigSpace {
            blk_size: blk_size.into(),
            ..ConfigSpace::default()
        };
        BlkConfig::read(&space, offered).block_bytes()
    };
    for exponent in 9..32 {
        assert_eq!(block_bytes(1 << exponent, BlkFeatures::BLK_SIZE), 1 << exponent);
    }
    for nonsense in [0, 1, 256, 511, 513, 520, 768, 4095, 4097, 3 << 30, u32::MAX] {
        assert_eq!(block_bytes(nonsense, BlkFeatures::BLK_SIZE), 512, "{nonsense}");
    }
    assert_eq!(block_bytes(4096, BlkFeatures::empty()), 512, "not offered");
}

#[test]
fn a_space_in_memory_ends_in_zeroes() {
    let space = ConfigSpace::read_from_bytes(&distinct()).unwrap();
    assert_eq!(space.read_u32(92), u32::from_le_bytes([93, 94, 95, 96]));
    assert_eq!(space.read_u32(93), 0);
    assert_eq!(space.read_u16(95), 0);
    assert_eq!(space.read_u8(96), 0);
    assert_eq!(space.read_u8(u16::MAX), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_read_by_the_rules_of_any_features(bytes in bytes(), offered in features()) {
        check(bytes, offered);
    }

    #[test]
    fn a_configuration_space_is_its_bytes(bytes in bytes()) {
        let space = ConfigSpace::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(space.as_bytes(), &bytes);
    }

    #[test]
    fn the_capacity_is_put_together_from_its_halves(bytes in bytes()) {
        let device = Strict::new(bytes, BlkFeatures::empty());
        let capacity = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        prop_assert_eq!(read_capacity(&device), Sector(capacity));
    }

    #[test]
    fn a_block_size_is_always_a_power_of_two(bytes in bytes(), offered in features()) {
        let space = ConfigSpace::read_from_bytes(&bytes).unwrap();
        let size = BlkConfig::read(&space, offered).block_bytes();
        prop_assert!(size.is_power_of_two() && size >= 512);
    }
}
