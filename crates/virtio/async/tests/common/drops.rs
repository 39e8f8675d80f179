//! An operation that is dropped after any number of polls.

use super::{BLOCK_BYTES, BLOCKS, Task, TestDisk, finish, pattern, rig, serve, small};
use virtio_blk_async::{AsyncBlockIo, Error, Sector, SectorRange};
use virtio_blk_model::Model;
use virtio_core::{Dma, DmaBuffer};

/// Bytes of a transfer of several requests, more than there are bounce buffers.
const BYTES: usize = if cfg!(miri) { BLOCK_BYTES } else { 6 * BLOCK_BYTES };
/// Sectors of it.
const SECTORS: u64 = BYTES as u64 / 512;

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Read,
    Write,
    Change,
    Flush,
    Discard,
    ReadBuffer,
    WriteBuffer,
}

pub(crate) const KINDS: [Kind; 7] = [
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
pub(crate) enum Rival {
    None,
    Before,
    After,
}

/// Goes on without the dropped task.
pub(crate) fn step<R>(model: &Model, disk: &TestDisk, rival: &mut Task<'_, R>) {
    if !rival.poll_if_woken() {
        assert!(serve(model, disk, 1) > 0 || rival.is_woken(), "a wake-up is lost");
    }
}

/// Drops the operation after each number of polls, until it is over before. Returns how often it was dropped.
pub(crate) fn drop_at_every_await(kind: Kind, with: Rival) -> u32 {
    let mut polls = 0;
    while !drop_after(polls, kind, with, false) {
        polls += 1;
    }
    assert!(polls > 1, "{kind:?} has an await point");
    let mut dropped = polls;
    for polls in 0..polls {
        dropped += u32::from(!drop_after(polls, kind, with, true));
    }
    dropped
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
    let data = pattern(3, (BLOCKS + usize::from(!cfg!(miri))) * BLOCK_BYTES);
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
