//! Reads, writes and the other operations on a device that answers.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{BLOCK_BYTES, BLOCKS, finish, pattern, release, serving, start, start_with, stop};
use virtio_blk::{OperationKind, SubmitError};
use virtio_blk_blocking::{BlockIo, Completions, Error, Sector, SectorRange};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, feature};
use virtio_core::{Dma, DmaBuffer, InterruptSource};
use virtio_mmio::RegisterAccess as _;

fn range(first: u64, sectors: u64) -> SectorRange {
    SectorRange {
        first: Sector(first),
        sectors,
    }
}

#[test]
fn memory_of_any_address_and_length_is_read_and_written() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let blocks = if cfg!(miri) { 11 } else { 70 };
    let shifts: &[usize] = if cfg!(miri) { &[3] } else { &[0, 1, 3, 7] };
    for &shift in shifts {
        for count in [1, 7, 8, 9, blocks] {
            let bytes = count * 512;
            let content = pattern(count as u64 + shift as u64, bytes);
            let mut memory = vec![0xEE; shift + bytes + 1];
            memory[shift..shift + bytes].copy_from_slice(&content);
            disk.write(Sector(5), &memory[shift..shift + bytes]).unwrap();
            assert_eq!(model.read_disk(5, count as u64), content);
            memory.fill(0xEE);
            disk.read(Sector(5), &mut memory[shift..shift + bytes]).unwrap();
            assert_eq!(memory[shift..shift + bytes], content);
            assert_eq!(
                (memory[shift + bytes], memory[..shift].iter().any(|&byte| byte != 0xEE)),
                (0xEE, false)
            );
        }
    }
    finish(&model, disk);
}

#[test]
fn a_large_transfer_has_all_bounce_buffers_in_flight() {
    for order in [
        CompletionOrder::InOrder,
        CompletionOrder::Reverse,
        CompletionOrder::Shuffled(3),
    ] {
        let model = Model::new(ModelConfig {
            order,
            ..ModelConfig::modern()
        });
        let most = Rc::new(Cell::new(0));
        let (device, seen) = (model.clone(), Rc::clone(&most));
        let mut disk = start(&model, move |vain| {
            seen.set(seen.get().max(device.pending()));
            // All of them together, so that the order matters.
            device.process(usize::MAX);
            vain < 10
        });
        let content = pattern(1, 11 * BLOCK_BYTES);
        disk.write(Sector(0), &content).unwrap();
        assert_eq!(most.replace(0), BLOCKS);
        let mut memory = vec![0; content.len()];
        disk.read(Sector(0), &mut memory).unwrap();
        assert_eq!(most.get(), BLOCKS);
        assert_eq!(memory, content);
        assert_eq!(model.counters().chains, 22, "{order:?}");
        finish(&model, disk);
    }
}

#[test]
fn a_bounce_buffer_is_used_for_as_much_as_the_device_takes() {
    let model = Model::new(ModelConfig {
        size_max: 1024,
        seg_max: 1,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    });
    let mut disk = start(&model, common::one_at_a_time(&model));
    let content = pattern(2, 5 * 512);
    disk.write(Sector(1), &content).unwrap();
    assert_eq!(model.read_disk(1, 5), content);
    // So none has to be split.
    let writes = disk.disk().counters().queue.of(OperationKind::Write);
    assert_eq!((writes.operations, model.counters().chains), (3, 3));
    finish(&model, disk);
}

#[test]
fn a_queue_smaller_than_the_pool_is_filled_and_emptied() {
    let model = Model::new(ModelConfig {
        // Four descriptors, of which a request takes three.
        queue_size_max: 4,
        ..ModelConfig::modern().withdraw(feature::INDIRECT_DESC)
    });
    let mut disk = start(&model, common::one_at_a_time(&model));
    let content = pattern(3, 9 * BLOCK_BYTES);
    disk.write(Sector(8), &content).unwrap();
    let mut memory = vec![0; content.len()];
    disk.read(Sector(8), &mut memory).unwrap();
    assert_eq!(memory, content);
    finish(&model, disk);
}

#[test]
fn what_is_refused_changes_nothing() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let end = 16384;
    let mut memory = pattern(4, 9 * BLOCK_BYTES);
    let beyond = SubmitError::OutOfRange { capacity: Sector(end) };
    let misaligned = SubmitError::Misaligned { block_bytes: 512 };
    // The first part of it would fit.
    assert_eq!(disk.write(Sector(end - 8), &memory), Err(Error::Refused(beyond)));
    assert_eq!(disk.read(Sector(u64::MAX), &mut memory), Err(Error::Refused(beyond)));
    assert_eq!(disk.read(Sector(u64::MAX - 7), &mut []), Ok(()), "nothing to do");
    assert_eq!(disk.write(Sector(0), &memory[..100]), Err(Error::Refused(misaligned)));
    assert_eq!(disk.discard(range(end, 1)), Err(Error::Refused(beyond)));
    let bytes = end * 512;
    assert_eq!(
        disk.write_bytes(bytes - 8192, &memory),
        Err(Error::OutOfRange { end: bytes })
    );
    // Its head would fit as well.
    assert_eq!(
        disk.write_bytes(bytes - 8100, &memory),
        Err(Error::OutOfRange { end: bytes })
    );
    assert_eq!(
        disk.read_bytes(u64::MAX, &mut memory),
        Err(Error::OutOfRange { end: bytes })
    );
    assert_eq!(model.counters().chains, 0);
    assert_eq!(model.unflushed_sectors(), 0);
    finish(&model, disk);
}

#[test]
fn a_read_only_disk_is_read_and_not_written() {
    let (model, mut disk) = serving(ModelConfig::modern().offer(feature::RO));
    let refused = Err(Error::Refused(SubmitError::ReadOnly));
    assert_eq!(disk.write(Sector(0), &[0; 1024]), refused);
    assert_eq!(disk.write_bytes(100, &[0; 1024]), refused);
    assert_eq!(disk.read(Sector(0), &mut [0; 1024]), Ok(()));
    finish(&model, disk);
}

#[test]
fn bounce_buffers_smaller_than_a_block_are_refused() {
    let model = Model::new(ModelConfig {
        block_size: 4096,
        ..ModelConfig::modern()
    });
    let mut disk = start_with(&model, common::one_at_a_time(&model), 2048);
    let too_small = Err(Error::BounceTooSmall { block_bytes: 4096 });
    assert_eq!(disk.read(Sector(8), &mut [0; 4096]), too_small);
    assert_eq!(disk.write_bytes(1, &[1]), too_small);
    finish(&model, disk);
}

#[test]
fn a_flush_makes_writes_durable() {
    let (model, mut disk) = serving(ModelConfig::modern());
    disk.write(Sector(3), &pattern(5, 512)).unwrap();
    assert_eq!(model.unflushed_sectors(), 1);
    disk.flush().unwrap();
    assert_eq!(model.unflushed_sectors(), 0);
    finish(&model, disk);
}

#[test]
fn a_disk_without_a_cache_needs_no_flush() {
    let (model, mut disk) = serving(ModelConfig::modern().withdraw(feature::FLUSH | feature::CONFIG_WCE));
    assert_eq!(disk.flush(), Ok(()));
    assert_eq!(model.counters().chains, 0);
    finish(&model, disk);
}

#[test]
fn ranges_are_zeroed_and_discarded() {
    let (model, mut disk) = serving(ModelConfig::modern());
    disk.write(Sector(0), &pattern(6, 4096)).unwrap();
    disk.write_zeroes(range(2, 2), false).unwrap();
    assert_eq!(model.read_disk(2, 2), [0; 1024]);
    assert_eq!(disk.write_zeroes(range(4, 1), true), Ok(()));
    assert_eq!(disk.discard(range(0, 8)), Ok(()));
    finish(&model, disk);
}

#[test]
fn ranges_are_refused_where_the_device_has_no_such_requests() {
    let (model, mut disk) = serving(ModelConfig::modern().withdraw(feature::DISCARD | feature::WRITE_ZEROES));
    let refused = Err(Error::Refused(SubmitError::Unsupported));
    assert_eq!(disk.discard(range(0, 1)), refused);
    assert_eq!(disk.write_zeroes(range(0, 1), false), refused);
    finish(&model, disk);
}

#[test]
fn dma_memory_is_transferred_without_a_copy_and_comes_back() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let mut dma = model.dma();
    let content = pattern(7, 3 * BLOCK_BYTES);
    let mut buffer = DmaBuffer::allocate(&mut dma, content.len(), 512).unwrap();
    buffer.copy_from_slice(&content);
    let mut buffer = disk.write_buffer(Sector(40), buffer).unwrap();
    assert_eq!(
        model.counters().chains,
        1,
        "larger than a bounce buffer, and one request"
    );
    buffer.fill(0);
    let buffer = disk.read_buffer(Sector(40), buffer).unwrap();
    assert_eq!(*buffer, content);
    // One that is refused comes back as well.
    let failed = disk.read_buffer(Sector(u64::MAX), buffer).unwrap_err();
    let capacity = Sector(16384);
    assert_eq!(failed.error, Error::Refused(SubmitError::OutOfRange { capacity }));
    dma.release(failed.buffer.expect("the device never had it").into_region());
    finish(&model, disk);
}

#[test]
fn an_interrupt_ends_the_wait() {
    let model = Model::new(ModelConfig::modern());
    let device = model.clone();
    let mut disk = start(&model, move |_| {
        assert!(!device.interrupt_line(), "an interrupt that is not followed up");
        device.process(1);
        // As `wfi`, which returns if one is pending.
        device.interrupt_line()
    });
    disk.set_completions(Completions::Interrupts(InterruptSource::Line))
        .unwrap();
    let content = pattern(8, 6 * BLOCK_BYTES);
    disk.write(Sector(0), &content).unwrap();
    let mut memory = vec![0; content.len()];
    disk.read(Sector(0), &mut memory).unwrap();
    assert_eq!(memory, content);
    let interrupts = disk.disk().counters().interrupts;
    assert_eq!((interrupts.taken, interrupts.spurious), (12, 0));

    disk.set_completions(Completions::Polled).unwrap();
    let mut dma = model.dma();
    let stopped = stop(&mut dma, disk);
    release(&model, stopped);
    model.assert_clean();
}

#[test]
fn a_resized_disk_is_seen_by_looking_at_the_configuration() {
    let (model, mut disk) = serving(ModelConfig::modern());
    model.resize(8);
    let change = disk.refresh_config().unwrap();
    assert_eq!(change.resized_from, Some(Sector(16384)));
    assert_eq!(disk.capacity_bytes(), 4096);
    model.registers().write_u32(0x064, model.registers().read_u32(0x060));
    finish(&model, disk);
}

#[test]
fn a_disk_is_used_through_a_trait_object() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let object: &mut dyn BlockIo = &mut disk;
    object.write(Sector(1), &[7; 512]).unwrap();
    let mut byte = [0];
    object.read_bytes(700, &mut byte).unwrap();
    assert_eq!((byte, object.capacity_bytes()), ([7], 16384 * 512));
    finish(&model, disk);
}
