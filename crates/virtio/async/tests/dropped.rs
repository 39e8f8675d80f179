//! Operations that are dropped: at every await point of each, and what that means for those that come later.

mod common;

use common::drops::{KINDS, Kind, Rival, drop_at_every_await};
use common::{SLOTS, Task, block_on, finish, rig, serve, small};
use virtio_blk_async::{AsyncBlockIo, Error, Sector};
use virtio_blk_model::CompletionOrder;
use virtio_core::{Dma, DmaBuffer};

#[test]
fn a_drop_at_every_await_loses_nothing() {
    // Miri takes a second for each.
    let kinds: &[Kind] = if cfg!(miri) {
        &[Kind::Change, Kind::ReadBuffer]
    } else {
        &KINDS
    };
    let dropped: u32 = kinds.iter().map(|&kind| drop_at_every_await(kind, Rival::None)).sum();
    assert!(dropped >= if cfg!(miri) { 8 } else { 60 }, "{dropped}");
}

#[test]
fn a_write_that_was_dropped_does_not_overtake_a_newer_one() {
    let (model, disk) = rig(small());
    model.set_order(CompletionOrder::Reverse);
    let mut first = Task::new(disk.write(Sector(9), &[1; 512]));
    first.poll();
    drop(first);
    let mut second = Task::new(disk.write(Sector(8), &[2; 1024]));
    second.poll();
    let mut memory = [0; 512];
    let mut other = Task::new(disk.read(Sector(10), &mut memory));
    other.poll();
    assert_eq!(model.pending(), 1, "the second is not sent, and nothing overtakes it");
    serve(&model, &disk, 1);
    assert!(second.poll_if_woken());
    assert!(other.poll_if_woken());
    assert_eq!(model.pending(), 2);
    serve(&model, &disk, 2);
    assert!(second.poll_if_woken() && other.poll_if_woken());
    assert_eq!((second.result(), other.result()), (Ok(()), Ok(())));
    assert_eq!(model.read_disk(9, 1), [2; 512]);
    finish(&model, disk);
}

#[test]
fn a_flush_waits_for_writes_that_were_dropped() {
    let (model, disk) = rig(small());
    let mut write = Task::new(disk.write(Sector(9), &[1; 512]));
    write.poll();
    drop(write);
    let mut flush = Task::new(disk.flush());
    flush.poll();
    assert_eq!(model.pending(), 1);
    serve(&model, &disk, 1);
    assert!(flush.poll_if_woken());
    serve(&model, &disk, 1);
    assert!(flush.poll_if_woken());
    assert_eq!(flush.result(), Ok(()));
    assert_eq!(model.unflushed_sectors(), 0);
    finish(&model, disk);
}

#[test]
fn a_read_elsewhere_does_not_wait_for_a_dropped_write() {
    let (model, disk) = rig(small());
    let mut write = Task::new(disk.write(Sector(9), &[1; 512]));
    write.poll();
    drop(write);
    let mut memory = [0; 512];
    let mut read = Task::new(disk.read(Sector(10), &mut memory));
    read.poll();
    assert_eq!(model.pending(), 2);
    drop(read);
    while serve(&model, &disk, 1) > 0 {}
    finish(&model, disk);
}

#[test]
fn late_buffers_take_all_slots_until_they_are_taken() {
    let (model, disk) = rig(small());
    let mut dma = model.dma();
    for _ in 0..SLOTS {
        let mut place = Some(DmaBuffer::allocate(&mut dma, 512, 512).unwrap());
        let mut task = Task::new(disk.read_buffer(Sector(0), &mut place));
        assert!(!task.poll());
        drop(task);
        assert!(place.is_none(), "the device has it");
        assert!(disk.take_late_buffer().is_none());
    }
    let mut memory = [0; 512];
    let mut waiting = Task::new(disk.read(Sector(0), &mut memory));
    assert!(!waiting.poll());
    while serve(&model, &disk, 1) > 0 {}
    assert!(waiting.poll_if_woken());
    assert_eq!(waiting.result(), Err(Error::BufferWaiting));
    for _ in 0..SLOTS {
        let late = disk.take_late_buffer().expect("the device is done");
        dma.release(late.into_region());
    }
    assert!(disk.take_late_buffer().is_none());
    assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut [0; 512])), Ok(()));
    finish(&model, disk);
}
