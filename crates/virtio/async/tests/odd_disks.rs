//! Disks that end inside of a block, that end at the last byte there can be, and that have other blocks after a restart.

mod common;

use std::future::Future;

use common::{LockedDisk, Task, block_on, bring_up, finish, pattern, restart, rig, serve, small, start_with};
use mutex::raw_impls::local::LocalRawMutex;
use virtio_blk::SubmitError;
use virtio_blk_async::{AsyncBlockIo, ByteRange, Error, Sector, mutex};
use virtio_blk_model::{Model, ModelConfig};
use virtio_core::PollLimit;

/// A disk with blocks of that size, and bounce buffers that blocks of 4096 bytes fit into.
fn odd(capacity: u64, block_size: u32) -> (Model, LockedDisk<LocalRawMutex, 3>) {
    let model = Model::new(ModelConfig {
        capacity,
        block_size,
        ..small()
    });
    let disk = start_with(&model, 8192);
    (model, disk)
}

#[test]
fn a_rest_of_less_than_a_block_is_no_part_of_a_range() {
    let (model, disk) = odd(8 + 3, 4096);
    let before = pattern(1, 11 * 512);
    model.write_disk(0, &before);
    let range = ByteRange::whole(&disk);
    assert_eq!(range.len(), 4096);
    let past = Err(Error::OutOfRange { end: 4096 });
    assert_eq!(block_on(&model, &disk, disk.read_bytes(4096, &mut [0; 512])), past);
    assert_eq!(block_on(&model, &disk, disk.write_bytes(4000, &[7; 200])), past);
    assert_eq!(model.read_disk(0, 11), before, "a part was written");
    let mut memory = [0; 96];
    block_on(&model, &disk, range.read_at(4000, &mut memory)).unwrap();
    assert_eq!(memory, before[4000..4096]);
    finish(&model, disk);
}

#[test]
fn the_last_block_of_the_largest_disk_is_read() {
    for (capacity, block_size) in [((1 << 55) - 1, 512), ((1 << 55) - 8, 4096)] {
        let (model, disk) = odd(capacity, block_size);
        let block = u64::from(block_size);
        let end = disk.capacity_bytes();
        assert_eq!(end, capacity * 512);
        let mut memory = vec![0xEE; block_size as usize];
        let first = Sector(capacity - block / 512);
        assert_eq!(block_on(&model, &disk, disk.read(first, &mut memory)), Ok(()));
        assert_eq!(block_on(&model, &disk, disk.read_bytes(end - 1, &mut [0])), Ok(()));
        assert_eq!(block_on(&model, &disk, disk.write_bytes(end - 1, &[1])), Ok(()));
        assert_eq!(
            block_on(&model, &disk, disk.read_bytes(end - 1, &mut [0, 0])),
            Err(Error::OutOfRange { end })
        );
        assert_eq!(
            block_on(&model, &disk, disk.read_bytes(u64::MAX, &mut [0])),
            Err(Error::OutOfRange { end })
        );
        finish(&model, disk);
    }
}

/// Has `change` write `written` times, and restarts the disk with blocks of `block_size` bytes. Returns how the change has ended.
fn with_other_blocks(
    (model, disk): &(Model, LockedDisk<LocalRawMutex, 3>),
    change: impl Future<Output = Result<(), Error>>,
    written: u64,
    block_size: u32,
) -> Result<(), Error> {
    let mut change = Task::new(change);
    while model.counters().requests_of(1) < written {
        assert!(change.poll_if_woken() || serve(model, disk, 1) > 0);
    }
    assert!(change.is_woken() && !change.is_over());
    model.set_block_size_after_reset(block_size);
    let stopped = disk.stop(&mut model.dma(), &mut PollLimit::default()).unwrap();
    let (transport, _) = stopped.expect("it was not stopped");
    disk.resume(restart(model, transport)).expect("it is stopped");
    while !change.is_over() {
        assert!(change.poll_if_woken() || serve(model, disk, 1) > 0, "a wake-up is lost");
    }
    change.result()
}

#[test]
fn a_change_of_bytes_in_larger_blocks_than_before_destroys_nothing() {
    let rig = odd(256, 512);
    let mut disk = pattern(2, 64 * 512);
    rig.0.write_disk(0, &disk);
    // A head, whole blocks, and a tail. The head is written when the blocks become larger.
    let content = vec![0x11; 3 * 512];
    let result = with_other_blocks(&rig, rig.1.write_bytes(100, &content), 1, 4096);
    let misaligned = SubmitError::Misaligned { block_bytes: 4096 };
    assert_eq!(result, Err(Error::Refused(misaligned)));
    disk[100..512].fill(0x11);
    assert!(rig.0.read_disk(0, 64) == disk, "bytes beside the range are destroyed");
    finish(&rig.0, rig.1);
}

#[test]
fn a_change_of_bytes_in_smaller_blocks_than_before_goes_on() {
    let model = Model::new(ModelConfig {
        block_size: 4096,
        size_max: 1024,
        ..small().offer(virtio_blk_model::feature::SIZE_MAX)
    });
    let rig = (model.clone(), start_with(&model, 8192));
    // A head, a block, and a tail, which is longer than what a smaller block is read by.
    let content = pattern(3, 2 * 4096 + 3000 - 100);
    let change = rig.1.write_bytes(100, &content);
    assert_eq!(with_other_blocks(&rig, change, 2, 512), Ok(()));
    assert!(rig.0.read_disk(0, 22)[100..][..content.len()] == content);
    finish(&rig.0, rig.1);
}

#[test]
fn a_disk_that_is_being_stopped_is_not_resumed() {
    let (model, disk) = rig(small());
    let other = Model::new(small());
    let mut memory = [0; 512];
    let mut read = Task::new(disk.read(Sector(0), &mut memory));
    read.poll();
    model.hold_resets(true);
    let mut refused = None;
    let stopped = disk.stop(&mut model.dma(), &mut || {
        refused = Some(disk.resume(bring_up(&other)));
        false
    });
    assert!(stopped.is_err());
    let second = refused
        .expect("it waited")
        .expect_err("the first disk is not stopped yet");
    assert!(read.poll());
    assert!(block_on(&model, &disk, disk.flush()).is_err());
    second
        .shut_down(&mut other.dma(), &mut PollLimit::default(), |_| {})
        .map_err(|(error, _)| error)
        .unwrap();
    assert_eq!(other.allocations(), 0);
    model.hold_resets(false);
    drop(read);
    finish(&model, disk);
}
