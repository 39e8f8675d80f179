//! Ranges of bytes against a plain `Vec`.

mod common;

use common::{finish, pattern, serving, start_with};
use proptest::prelude::*;
use virtio_blk_blocking::{BlockIo, ByteRange, Error};
use virtio_blk_model::{Model, ModelConfig};

/// Bytes of the disks of the property.
const DISK_BYTES: usize = if cfg!(miri) { 16 * 1024 } else { 64 * 1024 };

/// One step of the property. Positions run past the end now and then.
#[derive(Clone, Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, usize),
    Flush,
}

fn step(most: u64) -> impl Strategy<Value = Step> {
    let place = (0..most + 2000, prop_oneof![0usize..40, 0..DISK_BYTES / 7]);
    prop_oneof![
        3 => place.clone().prop_map(|(offset, len)| Step::Read(offset, len)),
        3 => place.prop_map(|(offset, len)| Step::Write(offset, len)),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 }) })]

    #[test]
    fn a_range_reads_and_writes_as_a_vector_does(
        steps in prop::collection::vec(step(DISK_BYTES as u64 - 5000), 1..if cfg!(miri) { 5 } else { 24 }),
        block_shift in 9u32..13,
        blocks in 1usize..4,
        start in 0u64..3000,
        cut in 0u64..2000,
    ) {
        let block_size = 1u32 << block_shift;
        let model = Model::new(ModelConfig {
            capacity: DISK_BYTES as u64 / 512,
            block_size,
            ..ModelConfig::modern()
        });
        let mut plain = pattern(9, DISK_BYTES);
        model.write_disk(0, &plain);
        let mut disk = start_with(&model, common::one_at_a_time(&model), blocks * block_size as usize);
        let end = DISK_BYTES as u64 - cut;
        let mut range = ByteRange::whole(&mut disk).part(start..end).expect("a part of it");
        let len = end - start;
        for (number, step) in (0..).zip(steps) {
            let place = |offset: u64, len: usize| (start + offset) as usize..(start + offset) as usize + len;
            match step {
                Step::Read(offset, bytes) => {
                    let mut memory = vec![0xCC; bytes];
                    let read = range.read_at(offset, &mut memory);
                    if offset + bytes as u64 > len {
                        prop_assert_eq!(read, Err(Error::OutOfRange { end: len }));
                    } else {
                        prop_assert_eq!(read, Ok(()));
                        prop_assert_eq!(&memory[..], &plain[place(offset, bytes)]);
                    }
                }
                Step::Write(offset, bytes) => {
                    let content = pattern(number, bytes);
                    let written = range.write_at(offset, &content);
                    if offset + bytes as u64 > len {
                        prop_assert_eq!(written, Err(Error::OutOfRange { end: len }));
                    } else {
                        prop_assert_eq!(written, Ok(()));
                        plain[place(offset, bytes)].copy_from_slice(&content);
                    }
                }
                Step::Flush => prop_assert_eq!(range.flush(), Ok(())),
            }
        }
        prop_assert_eq!(model.read_disk(0, DISK_BYTES as u64 / 512), plain);
        finish(&model, disk);
    }
}

#[test]
fn a_part_of_a_part_is_where_it_should_be() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let content = pattern(1, 4096);
    model.write_disk(0, &content);
    let part = ByteRange::whole(&mut disk)
        .part(100..3000)
        .unwrap()
        .part(50..60)
        .unwrap();
    assert_eq!((part.len(), part.is_empty()), (10, false));
    let mut part = part;
    let mut memory = [0; 10];
    part.read_at(0, &mut memory).unwrap();
    assert_eq!(memory, content[150..160]);
    assert_eq!(part.read_at(1, &mut memory), Err(Error::OutOfRange { end: 10 }));
    assert_eq!(part.write_at(u64::MAX, &memory), Err(Error::OutOfRange { end: 10 }));
    for bytes in [0..11, 11..11] {
        part = part.part(bytes).unwrap_err();
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
    let part = part.part(5..4).unwrap_err();
    assert_eq!(part.into_disk().capacity_bytes(), 16384 * 512);
    finish(&model, disk);
}

#[test]
fn bytes_beside_a_range_stay_as_they_are() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let before = pattern(2, 2048);
    model.write_disk(8, &before);
    let mut range = ByteRange::whole(&mut disk);
    range.write_at(8 * 512 + 500, &[0x77; 600]).unwrap();
    let after = model.read_disk(8, 4);
    assert_eq!(after[..500], before[..500]);
    assert_eq!(after[500..1100], [0x77; 600]);
    assert_eq!(after[1100..], before[1100..]);
    finish(&model, disk);
}

#[test]
fn a_rest_of_less_than_a_block_is_no_part_of_a_range() {
    let (model, mut disk) = serving(ModelConfig {
        capacity: 2 * 8 + 3,
        block_size: 4096,
        ..ModelConfig::modern()
    });
    let before = pattern(1, 19 * 512);
    model.write_disk(0, &before);
    assert_eq!(disk.capacity_bytes(), 8192);
    let past = Err(Error::OutOfRange { end: 8192 });
    assert_eq!(disk.read_bytes(8192, &mut [0; 512]), past);
    assert_eq!(disk.write_bytes(4000, &[7; 4400]), past);
    assert_eq!(model.read_disk(0, 19), before, "a part was written");
    assert_eq!(ByteRange::whole(&mut disk).len(), 8192);
    finish(&model, disk);
}

#[test]
fn the_last_byte_of_the_largest_disk_is_changed() {
    let (model, mut disk) = serving(ModelConfig {
        capacity: (1 << 55) - 1,
        ..ModelConfig::modern()
    });
    let end = disk.capacity_bytes();
    assert_eq!(end, u64::MAX - 511);
    disk.write_bytes(end - 1, &[7]).unwrap();
    let mut memory = [0; 2];
    disk.read_bytes(end - 2, &mut memory).unwrap();
    assert_eq!(memory[1], 7);
    assert_eq!(disk.read_bytes(end - 1, &mut memory), Err(Error::OutOfRange { end }));
    finish(&model, disk);
}
