//! Each operation alone: its effects and its refusals.

mod common;

use common::{BLOCK_BYTES, BLOCKS, Task, block_on, finish, pattern, rig, serve, start_with};
use mutex::raw_impls::local::LocalRawMutex;
use virtio_blk::proto::StatusError;
use virtio_blk::{IoError, SubmitError};
use virtio_blk_async::{AsyncBlockIo, AsyncDisk, ByteRange, Error, Sector, SectorRange, mutex};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, feature};
use virtio_bounce::BouncePool;
use virtio_core::{Dma, DmaBuffer};

#[test]
fn data_of_any_length_and_alignment_arrives() {
    for config in [ModelConfig::modern(), ModelConfig::default()] {
        let (model, disk) = rig(config);
        for (sectors, skip) in [(1, 1), (8, 3), (5 * BLOCK_BYTES / 512 + 3, 7)] {
            let content = pattern(sectors as u64, sectors * 512 + skip);
            let data = &content[skip..];
            block_on(&model, &disk, disk.write(Sector(3), data)).unwrap();
            assert_eq!(model.read_disk(3, sectors as u64), data);
            let mut back = vec![0; content.len()];
            block_on(&model, &disk, disk.read(Sector(3), &mut back[skip..])).unwrap();
            assert_eq!(&back[skip..], data);
        }
        finish(&model, disk);
    }
}

#[test]
fn a_large_transfer_has_all_bounce_buffers_in_flight() {
    let (model, disk) = rig(ModelConfig::modern());
    let content = pattern(1, 9 * BLOCK_BYTES);
    let mut task = Task::new(disk.write(Sector(0), &content));
    assert!(!task.poll());
    assert_eq!(model.pending(), BLOCKS);
    model.set_order(CompletionOrder::Reverse);
    while !task.is_over() {
        serve(&model, &disk, 3);
        task.poll_if_woken();
    }
    assert_eq!(task.result(), Ok(()));
    assert_eq!(model.read_disk(0, 9 * BLOCK_BYTES as u64 / 512), content);
    finish(&model, disk);
}

#[test]
fn no_bytes_are_nothing_to_do() {
    let (model, disk) = rig(ModelConfig::modern());
    assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut [])), Ok(()));
    assert_eq!(block_on(&model, &disk, disk.write_bytes(77, &[])), Ok(()));
    assert!(model.counters().requests.is_empty());
    finish(&model, disk);
}

#[test]
fn what_the_disk_cannot_do_is_refused() {
    let config = ModelConfig::modern().withdraw(feature::DISCARD | feature::WRITE_ZEROES);
    let (model, disk) = rig(ModelConfig {
        capacity: 100,
        ..config
    });
    let end = Error::Refused(SubmitError::OutOfRange { capacity: Sector(100) });
    assert_eq!(block_on(&model, &disk, disk.read(Sector(99), &mut [0; 1024])), Err(end));
    assert_eq!(
        block_on(&model, &disk, disk.write(Sector(0), &[0; 700])),
        Err(Error::Refused(SubmitError::Misaligned { block_bytes: 512 }))
    );
    let past = Error::OutOfRange { end: 51200 };
    assert_eq!(block_on(&model, &disk, disk.read_bytes(51199, &mut [0; 2])), Err(past));
    assert_eq!(block_on(&model, &disk, disk.write_bytes(u64::MAX, &[0; 2])), Err(past));
    let range = SectorRange {
        first: Sector(0),
        sectors: 8,
    };
    let unsupported = Err(Error::Refused(SubmitError::Unsupported));
    assert_eq!(block_on(&model, &disk, disk.discard(range)), unsupported);
    assert!(model.counters().requests.is_empty());
    finish(&model, disk);
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let (model, disk) = rig(ModelConfig::modern());
    model.write_disk(0, &pattern(1, 4096));
    let range = |first, sectors| SectorRange {
        first: Sector(first),
        sectors,
    };
    block_on(&model, &disk, disk.discard(range(0, 2))).unwrap();
    block_on(&model, &disk, disk.write_zeroes(range(4, 2), false)).unwrap();
    assert_eq!(model.read_disk(4, 2), [0; 1024]);
    finish(&model, disk);
}

#[test]
fn a_flush_makes_durable_what_was_written() {
    let (model, disk) = rig(ModelConfig::modern());
    block_on(&model, &disk, disk.write(Sector(1), &[1; 512])).unwrap();
    assert_eq!(model.unflushed_sectors(), 1);
    block_on(&model, &disk, disk.flush()).unwrap();
    assert_eq!(model.unflushed_sectors(), 0);
    finish(&model, disk);
}

#[test]
fn a_disk_without_a_cache_is_not_flushed() {
    let (model, disk) = rig(ModelConfig::modern().withdraw(feature::FLUSH | feature::CONFIG_WCE));
    assert_eq!(block_on(&model, &disk, disk.flush()), Ok(()));
    assert!(model.counters().requests.is_empty());
    finish(&model, disk);
}

#[test]
fn a_failed_part_fails_the_operation_and_the_rest_is_waited_for() {
    for number in 0..6 {
        let (model, disk) = rig(ModelConfig::modern());
        model.set_fault(FaultScript::new().at(number, FaultKind::Status(1)));
        let failed = Err(Error::Failed(IoError::Device(StatusError::Io)));
        let mut memory = vec![0; 6 * BLOCK_BYTES];
        assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut memory)), failed);
        assert_eq!(disk.inspect(|disk| disk.queue().in_flight()), Some(0));
        assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut memory)), Ok(()));
        finish(&model, disk);
    }
}

#[test]
fn a_failed_change_of_a_block_gives_everything_back() {
    for number in 0..2 {
        let (model, disk) = rig(ModelConfig::modern());
        model.set_fault(FaultScript::new().at(number, FaultKind::Status(1)));
        let failed = Err(Error::Failed(IoError::Device(StatusError::Io)));
        assert_eq!(block_on(&model, &disk, disk.write_bytes(5, &[1; 9])), failed);
        assert_eq!(block_on(&model, &disk, disk.write_bytes(5, &[1; 9])), Ok(()));
        finish(&model, disk);
    }
}

#[test]
fn a_buffer_of_the_caller_is_transferred_without_a_copy() {
    let (model, disk) = rig(ModelConfig::modern());
    let mut dma = model.dma();
    let mut buffer = DmaBuffer::allocate(&mut dma, 2048, 512).unwrap();
    buffer.copy_from_slice(&pattern(3, 2048));
    let mut place = Some(buffer);
    block_on(&model, &disk, disk.write_buffer(Sector(8), &mut place)).unwrap();
    assert_eq!(model.read_disk(8, 4), pattern(3, 2048));
    model.write_disk(8, &pattern(4, 2048));
    block_on(&model, &disk, disk.read_buffer(Sector(8), &mut place)).unwrap();
    assert_eq!(**place.as_ref().unwrap(), pattern(4, 2048));
    // It is there after an error, too.
    let end = block_on(&model, &disk, disk.read_buffer(Sector(1 << 40), &mut place));
    assert!(
        matches!(end, Err(Error::Refused(SubmitError::OutOfRange { .. }))),
        "{end:?}"
    );
    model.set_fault(FaultScript::new().at(2, FaultKind::Status(1)));
    let failed = block_on(&model, &disk, disk.read_buffer(Sector(8), &mut place));
    assert_eq!(failed, Err(Error::Failed(IoError::Device(StatusError::Io))));
    dma.release(place.take().expect("it came back").into_region());
    let empty = block_on(&model, &disk, disk.read_buffer(Sector(8), &mut place));
    assert_eq!(empty, Err(Error::Refused(SubmitError::Empty)));
    finish(&model, disk);
}

#[test]
fn a_bounce_buffer_smaller_than_a_block_is_told() {
    let model = Model::new(ModelConfig {
        block_size: 4096,
        ..ModelConfig::modern()
    });
    let disk = start_with::<LocalRawMutex, 1>(&model, 2048);
    let error = Err(Error::BounceTooSmall { block_bytes: 4096 });
    assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut [0; 4096])), error);
    assert_eq!(block_on(&model, &disk, disk.write_bytes(1, &[0; 10])), error);
    finish(&model, disk);
}

#[test]
fn a_pool_without_blocks_is_told() {
    let model = Model::new(ModelConfig::modern());
    let mut dma = model.dma();
    let mut pool = BouncePool::<1>::allocate(&mut dma, 512).unwrap();
    let _block = pool.take().unwrap();
    let disk = AsyncDisk::<LocalRawMutex, _, 16, 1>::new(common::bring_up(&model), pool);
    assert_eq!(
        block_on(&model, &disk, disk.read(Sector(0), &mut [0; 512])),
        Err(Error::NoBounceBuffer)
    );
}

#[test]
fn a_polled_disk_asks_for_no_interrupt() {
    let (model, disk) = rig(ModelConfig::modern());
    disk.stop_listening();
    let mut memory = [0; 512];
    let mut task = Task::new(disk.read(Sector(0), &mut memory));
    assert!(!task.poll());
    model.process(1);
    assert!(!model.interrupt_line());
    assert!(!task.is_woken());
    assert_eq!(disk.poll(), Ok(1));
    assert!(task.poll_if_woken() && task.is_over());
    drop(task);
    disk.listen().unwrap();
    assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut memory)), Ok(()));
    finish(&model, disk);
}

#[test]
fn a_resized_disk_has_new_limits() {
    let (model, disk) = rig(ModelConfig::modern());
    model.resize(50);
    common::interrupt(&model, &disk);
    assert_eq!(disk.capacity_bytes(), 25600);
    model.resize(60);
    assert!(disk.refresh_config().unwrap().is_ok());
    assert_eq!(ByteRange::whole(&disk).len(), 60 * 512);
    finish(&model, disk);
}
