//! Operations that are dropped: at every await point of each, alone and beside others.

mod common;

use common::{BLOCK_BYTES, BLOCKS, SLOTS, Task, TestDisk, block_on, finish, pattern, rig, serve, small};
use virtio_blk_async::{AsyncBlockIo, Error, Sector, SectorRange};
use virtio_blk_model::{CompletionOrder, Model};
use virtio_core::{Dma, DmaBuffer};

/// Bytes of a transfer of several requests, more than there are bounce buffers.
const BYTES: usize = if cfg!(miri) { BLOCK_BYTES } else { 6 * BLOCK_BYTES };
/// Sectors of it.
const SECTORS: u64 = BYTES as u64 / 512;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Read,
    Write,
    Change,
    Flush,
    Discard,
    ReadBuffer,
    WriteBuffer,
}

const KINDS: [Kind; 7] = [
    Kind::Read,
    Kind::Write,
    Kind::Change,
    Kind::Flush,
    Kind::Discard,
    Kind::ReadBuffer,
    Kind::WriteBuffer,
];

impl Kind {
    async fn run(self, disk: &TestDisk, memory: &mut [u8], place: &mut Option<DmaBuffer>) -> Result<(), Error> {
        let first = Sector(8);
        match self {
            Self::Read => disk.read_bytes(8 * 512 + 100, &mut memory[200..]).await,
            Self::Write => disk.write(first, memory).await,
            Self::Change => disk.write_bytes(8 * 512 + 100, &memory[100..BYTES - 50]).await,
            Self::Flush => disk.flush().await,
            Self::Discard => {
                let sectors = SECTORS;
                disk.discard(SectorRange { first, sectors }).await
            }
            Self::ReadBuffer => disk.read_buffer(first, place).await,
            Self::WriteBuffer => disk.write_buffer(first, place).await,
        }
    }
}

/// Another operation, which needs all bounce buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rival {
    None,
    Before,
    After,
}

/// Goes on without the dropped task.
fn step<R>(model: &Model, disk: &TestDisk, rival: &mut Task<'_, R>) {
    if !rival.poll_if_woken() {
        assert!(serve(model, disk, 1) > 0 || rival.is_woken(), "a wake-up is lost");
    }
}

/// Drops the operation after so many polls; if `is_woken`, once it is to be polled again. Returns whether it was over before.
fn drop_after(polls: u32, kind: Kind, with: Rival, is_woken: bool) -> bool {
    let (model, disk) = rig(small());
    let old = pattern(1, BYTES);
    model.write_disk(8, &old);
    let mut dma = model.dma();
    let mut buffer = DmaBuffer::allocate(&mut dma, BYTES, 512).unwrap();
    let new = pattern(2, BYTES);
    buffer.copy_from_slice(&new);
    let mut place = Some(buffer);
    let mut memory = new.clone();
    let data = pattern(3, (BLOCKS + 1) * BLOCK_BYTES);
    let mut rival = Task::new(disk.write(Sector(100), &data));
    if with == Rival::Before {
        rival.poll();
    }

    let mut task = Task::new(kind.run(&disk, &mut memory, &mut place));
    let mut polled = 0;
    while polled < polls && !task.is_over() {
        if task.poll_if_woken() {
            polled += 1;
            if with == Rival::After && polled == 1 {
                rival.poll();
            }
        } else if with == Rival::None {
            assert!(serve(&model, &disk, 1) > 0 || task.is_woken(), "a wake-up is lost");
        } else {
            step(&model, &disk, &mut rival);
        }
    }
    while is_woken && !task.is_woken() && !task.is_over() && polled > 0 {
        serve(&model, &disk, 1);
        rival.poll_if_woken();
    }
    let is_over = task.is_over();
    drop(task);

    // The memory belongs to the caller again.
    memory.fill(0x11);
    while with != Rival::None && !rival.is_over() {
        step(&model, &disk, &mut rival);
    }
    if with == Rival::None {
        drop(rival);
    } else {
        assert_eq!(rival.result(), Ok(()));
        assert_eq!(model.read_disk(100, data.len() as u64 / 512), data);
    }
    while serve(&model, &disk, 1) > 0 {}
    assert!(memory.iter().all(|&byte| byte == 0x11), "the device had it");
    assert_eq!(disk.inspect(|disk| disk.queue().in_flight()), Some(0));

    // A buffer is at one place.
    let late = disk.take_late_buffer();
    assert_eq!(place.is_none(), late.is_some());
    let buffer = place.or(late).unwrap();
    if kind == Kind::ReadBuffer && is_over {
        assert_eq!(*buffer, old);
    }
    dma.release(buffer.into_region());

    // Each sector is as before or as it was to be.
    let after = model.read_disk(8, SECTORS);
    let mut changed = old.clone();
    match kind {
        Kind::Write | Kind::WriteBuffer => changed.copy_from_slice(&new),
        Kind::Change => changed[100..BYTES - 50].copy_from_slice(&new[100..BYTES - 50]),
        Kind::Discard => changed.copy_from_slice(&after),
        Kind::Read | Kind::Flush | Kind::ReadBuffer => {}
    }
    if kind == Kind::Change {
        changed.copy_within(100..BYTES - 50, 100);
    }
    for ((after, old), changed) in after.chunks(512).zip(old.chunks(512)).zip(changed.chunks(512)) {
        assert!(after == changed || !is_over && after == old);
    }

    // Every bounce buffer and every slot is there.
    let mut all = Task::new(disk.write(Sector(100), &data));
    all.poll();
    assert_eq!(model.pending(), BLOCKS);
    while !all.is_over() {
        step(&model, &disk, &mut all);
    }
    assert_eq!(all.result(), Ok(()));
    finish(&model, disk);
    is_over
}

#[test]
fn a_drop_at_every_await_loses_nothing() {
    let mut dropped = 0;
    for kind in KINDS {
        for rival in [Rival::None, Rival::Before, Rival::After] {
            for is_woken in [false, true] {
                let mut polls = 0;
                while !drop_after(polls, kind, rival, is_woken) {
                    polls += 1;
                    dropped += 1;
                }
                assert!(polls > 1, "{kind:?} has an await point");
            }
        }
    }
    assert!(dropped > if cfg!(miri) { 100 } else { 200 }, "{dropped}");
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
