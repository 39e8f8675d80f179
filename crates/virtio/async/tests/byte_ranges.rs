//! Ranges of bytes against a plain `Vec`, as those of the blocking driver, and of two tasks at once.

mod common;

use common::{BLOCK_BYTES, LockedDisk, Task, block_on, finish, pattern, rig, serve, small, start_with};
use mutex::raw_impls::local::LocalRawMutex;
use proptest::prelude::*;
use virtio_blk_async::{AsyncBlockIo, ByteRange, Error, Sector, mutex};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig};

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
            ..small()
        });
        let mut plain = pattern(9, DISK_BYTES);
        model.write_disk(0, &plain);
        let disk: LockedDisk<LocalRawMutex, 3> = start_with(&model, blocks * block_size as usize);
        let end = DISK_BYTES as u64 - cut;
        let range = ByteRange::whole(&disk).part(start..end).expect("a part of it");
        let len = end - start;
        for (number, step) in (0..).zip(steps) {
            let place = |offset: u64, len: usize| (start + offset) as usize..(start + offset) as usize + len;
            match step {
                Step::Read(offset, bytes) => {
                    let mut memory = vec![0xCC; bytes];
                    let read = block_on(&model, &disk, range.read_at(offset, &mut memory));
                    if offset + bytes as u64 > len {
                        prop_assert_eq!(read, Err(Error::OutOfRange { end: len }));
                    } else {
                        prop_assert_eq!(read, Ok(()));
                        prop_assert_eq!(&memory[..], &plain[place(offset, bytes)]);
                    }
                }
                Step::Write(offset, bytes) => {
                    let content = pattern(number, bytes);
                    let written = block_on(&model, &disk, range.write_at(offset, &content));
                    if offset + bytes as u64 > len {
                        prop_assert_eq!(written, Err(Error::OutOfRange { end: len }));
                    } else {
                        prop_assert_eq!(written, Ok(()));
                        plain[place(offset, bytes)].copy_from_slice(&content);
                    }
                }
                Step::Flush => prop_assert_eq!(block_on(&model, &disk, range.flush()), Ok(())),
            }
        }
        prop_assert_eq!(model.read_disk(0, DISK_BYTES as u64 / 512), plain);
        finish(&model, disk);
    }
}

#[test]
fn a_part_of_a_part_is_where_it_should_be() {
    let (model, disk) = rig(small());
    let content = pattern(1, 4096);
    model.write_disk(0, &content);
    let part = ByteRange::whole(&disk).part(100..3000).unwrap().part(50..60).unwrap();
    assert_eq!((part.len(), part.is_empty()), (10, false));
    let mut memory = [0; 10];
    block_on(&model, &disk, part.read_at(0, &mut memory)).unwrap();
    assert_eq!(memory, content[150..160]);
    let past = Err(Error::OutOfRange { end: 10 });
    assert_eq!(block_on(&model, &disk, part.read_at(1, &mut memory)), past);
    assert_eq!(part.part(0..11).unwrap_err().disk().capacity_bytes(), 256 * 512);
    finish(&model, disk);
}

#[test]
fn changes_of_one_block_by_two_tasks_are_both_made() {
    for order in [CompletionOrder::InOrder, CompletionOrder::Reverse] {
        let (model, disk) = rig(small());
        model.set_order(order);
        let mut tasks: Vec<_> = (0..8u8)
            .map(|task| {
                let bytes = ByteRange::whole(&disk);
                Task::new(async move { bytes.write_at(u64::from(task) * 64, &[task + 1; 64]).await })
            })
            .collect();
        while !tasks.iter().all(Task::is_over) {
            let polled = tasks
                .iter_mut()
                .filter_map(|task| task.poll_if_woken().then_some(()))
                .count();
            if polled == 0 {
                assert!(serve(&model, &disk, 9) > 0, "a wake-up is lost");
            }
        }
        let expected: Vec<_> = (0..512).map(|at| (at / 64 + 1) as u8).collect();
        assert_eq!(model.read_disk(0, 1), expected);
        drop(tasks);
        finish(&model, disk);
    }
}

#[test]
fn a_change_of_a_block_and_a_write_of_it_have_an_order() {
    // The whole block is written at each point of the change.
    for steps in 0..6 {
        let (model, disk) = rig(small());
        let before = pattern(1, 512);
        model.write_disk(7, &before);
        let mut change = Task::new(disk.write_bytes(7 * 512 + 8, &[0xEE; 16]));
        let mut write = Task::new(disk.write(Sector(7), &[0x22; 512]));
        for _ in 0..steps {
            if !change.poll_if_woken() {
                serve(&model, &disk, 1);
            }
        }
        write.poll();
        model.set_order(CompletionOrder::Reverse);
        while !change.is_over() || !write.is_over() {
            if !(change.poll_if_woken() | write.poll_if_woken()) {
                assert!(serve(&model, &disk, 9) > 0, "a wake-up is lost");
            }
        }
        let mut both = [0x22; 512];
        let after = model.read_disk(7, 1);
        if after != both {
            both[8..24].fill(0xEE);
        }
        assert_eq!(after, both, "{steps}: bytes that were written are undone");
        assert_eq!((change.result(), write.result()), (Ok(()), Ok(())));
        finish(&model, disk);
    }
}

#[test]
fn a_change_longer_than_a_bounce_buffer_is_whole() {
    let (model, disk) = rig(small());
    let before = pattern(2, 8 * BLOCK_BYTES);
    model.write_disk(0, &before);
    let content = pattern(3, 5 * BLOCK_BYTES);
    block_on(&model, &disk, disk.write_bytes(500, &content)).unwrap();
    let after = model.read_disk(0, 8 * BLOCK_BYTES as u64 / 512);
    assert_eq!(after[..500], before[..500]);
    assert_eq!(after[500..500 + content.len()], content);
    assert_eq!(after[500 + content.len()..], before[500 + content.len()..]);
    finish(&model, disk);
}
