//! Errors as a caller sees them, and disks behind references.

mod common;

use core::error::Error as _;

use common::{finish, pattern, release, serving, start, stop};
use virtio_blk::proto::StatusError;
use virtio_blk::{DeviceFault, IoError, Liveness, SectorRange, SubmitError};
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, BufferError, ByteRange, Completions, Error, Sector};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig};
use virtio_bounce::BouncePool;
use virtio_core::{Dma as _, DmaBuffer, InterruptSource, PollLimit};

/// A buffer of one sector.
fn sector(model: &Model) -> DmaBuffer {
    DmaBuffer::allocate(&mut model.dma(), 512, 512).expect("the model has memory")
}

fn give_back(model: &Model, buffer: DmaBuffer) {
    model.dma().release(buffer.into_region());
}

#[test]
fn a_disk_behind_a_reference_does_all_that_it_does() {
    fn all(mut disk: impl BlockIo) {
        let sectors = |first, sectors| SectorRange {
            first: Sector(first),
            sectors,
        };
        disk.write(Sector(0), &pattern(1, 4096)).unwrap();
        disk.write_bytes(100, b"byte").unwrap();
        disk.write_zeroes(sectors(1, 1), true).unwrap();
        disk.discard(sectors(2, 1)).unwrap();
        disk.flush().unwrap();
        let (mut whole, mut bytes) = (vec![0xFF; 4096], [0; 4]);
        disk.read(Sector(0), &mut whole).unwrap();
        disk.read_bytes(100, &mut bytes).unwrap();
        assert_eq!(&bytes, b"byte");
        assert!(whole[512..1024].iter().all(|&byte| byte == 0));
        assert_eq!(whole[1536..], pattern(1, 4096)[1536..]);
        assert!(disk.limits().block_bytes == 512);
    }
    let (model, mut disk) = serving(ModelConfig::modern());
    all(&mut disk);
    finish(&model, disk);
}

#[test]
fn a_part_of_a_disk_lends_the_disk() {
    let (model, disk) = serving(ModelConfig::modern());
    let mut part = ByteRange::whole(disk).part(512..1536).expect("it is inside");
    part.disk_mut().write(Sector(1), &[7; 512]).unwrap();
    assert!(part.disk().is_settled());
    let mut bytes = [0; 2];
    part.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 2]);
    finish(&model, part.into_disk());
}

#[test]
fn a_buffer_comes_back_with_the_reason() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let failed = disk.read_buffer(Sector(1 << 40), sector(&model)).unwrap_err();
    let why = failed.error;
    assert!(matches!(why, Error::Refused(SubmitError::OutOfRange { .. })) && !why.needs_restart());
    assert_eq!(failed.to_string(), why.to_string());
    assert!(
        format!("{failed:?}").starts_with("BufferError { error: Refused("),
        "{failed:?}"
    );
    assert_eq!(failed.source().is_some(), why.source().is_some());
    let buffer = failed.buffer.expect("the device never had it");
    model.set_fault(FaultScript::new().at(0, FaultKind::Status(1)));
    let BufferError { error, buffer } = disk.write_buffer(Sector(0), buffer).unwrap_err();
    let io = Error::Failed(IoError::Device(StatusError::Io));
    assert_eq!((error, error.needs_restart()), (io, false));
    let buffer = disk
        .write_buffer(Sector(0), buffer.expect("the device is done with it"))
        .unwrap();
    give_back(&model, buffer);
    let told = format!("{disk:?}");
    assert!(told.starts_with("BlockingDisk { disk: "), "{told}");
    finish(&model, disk);
}

#[test]
fn a_buffer_does_not_overtake_what_is_late() {
    let model = Model::new(ModelConfig::modern());
    let mut disk = start(&model, PollLimit(3));
    assert_eq!(disk.write(Sector(0), &[1; 512]), Err(Error::TimedOut));
    let failed = disk.read_buffer(Sector(0), sector(&model)).unwrap_err();
    assert_eq!(failed.error, Error::TimedOut);
    let buffer = failed.buffer.expect("it waits for the write");
    let mut failed = disk.write_buffer(Sector(0), buffer).unwrap_err();
    let buffer = failed.buffer.take().expect("it waits, too");
    assert_eq!(Error::from(failed), Error::TimedOut);
    for result in [
        disk.flush(),
        disk.read_bytes(0, &mut [0; 4]),
        disk.write_bytes(0, &[0; 4]),
    ] {
        assert_eq!(result, Err(Error::TimedOut));
    }
    // Now it is answered, and its bounce buffer is in the pool again when the way of waiting changes.
    model.process(usize::MAX);
    disk.set_completions(Completions::Interrupts(InterruptSource::Line))
        .unwrap();
    assert!(disk.is_settled());
    give_back(&model, buffer);
    finish(&model, disk);
}

#[test]
fn what_only_a_restart_mends_is_said_to_need_one() {
    let broken = Error::from(SubmitError::Broken(DeviceFault::Gone));
    assert_eq!(broken, Error::Broken(DeviceFault::Gone));
    for (error, needs) in [
        (broken, true),
        (Error::from(DeviceFault::IdOutOfRange { id: 7 }), true),
        (Error::NotLive(Liveness::NeedsReset), true),
        (Error::from(SubmitError::Stopped), true),
        (Error::from(SubmitError::ReadOnly), false),
        (Error::from(IoError::Aborted), false),
        (Error::TimedOut, false),
        (Error::BufferWaiting, false),
    ] {
        assert_eq!(error.needs_restart(), needs, "{error}");
    }
}

#[test]
fn a_ring_that_breaks_under_interrupts_is_broken() {
    let model = Model::new(ModelConfig::modern());
    let device = model.clone();
    let mut disk = start(&model, move |vain: u32| {
        device.process(1);
        vain < 10
    });
    disk.set_completions(Completions::Interrupts(InterruptSource::Line))
        .unwrap();
    model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(77)));
    let error = disk.read(Sector(0), &mut [0; 512]).unwrap_err();
    assert!(matches!(error, Error::Broken(_)) && error.needs_restart(), "{error}");
    let again = disk.set_completions(Completions::Interrupts(InterruptSource::Line));
    assert!(matches!(again, Err(Error::Broken(_))), "{again:?}");
    assert!(matches!(disk.flush(), Err(Error::Broken(_))));
    release(&model, stop(&mut model.dma(), disk));
}

#[test]
fn a_device_that_is_only_slow_is_waited_for() {
    let model = Model::new(ModelConfig::modern());
    let device = model.clone();
    // Longer than it takes until the device is asked whether it lives.
    let mut disk = start(&model, move |vain: u32| {
        if vain == 5000 {
            device.process(1);
        }
        true
    });
    disk.write(Sector(0), &[1; 512]).unwrap();
    finish(&model, disk);
}

#[test]
fn without_bounce_buffers_nothing_is_done() {
    let model = Model::new(ModelConfig::modern());
    let disk = start(&model, PollLimit(3));
    let stopped = stop(&mut model.dma(), disk);
    let mut pool: BouncePool<4> = stopped.pool;
    let taken: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
    let disk = BounceDisk::<_, 16>::start(
        stopped.transport,
        &mut model.dma(),
        &Default::default(),
        &mut PollLimit::default(),
    );
    let mut disk = BlockingDisk::new(disk.expect("it comes up"), pool, stopped.hook);
    assert_eq!(disk.read(Sector(0), &mut [0; 512]), Err(Error::NoBounceBuffer));
    assert_eq!(disk.write(Sector(0), &[0; 512]), Err(Error::NoBounceBuffer));
    assert_eq!(disk.write_bytes(100, &[0; 4]), Err(Error::NoBounceBuffer));
    assert_eq!(model.pending(), 0);
    let mut stopped = stop(&mut model.dma(), disk);
    for block in taken {
        stopped.pool.put_back(block).expect("it is of this pool");
    }
    release(&model, stopped);
}
