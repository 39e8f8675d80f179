//! Devices that do not answer, answer late, fail, die or leave: the device never has memory that the caller has, and nothing is lost.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{BLOCK_BYTES, BLOCKS, finish, pattern, release, serving, start, stop};
use virtio_blk::proto::StatusError;
use virtio_blk::{DeviceFault, IoError, Liveness};
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, Completions, Error, Sector, WaitHook};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig};
use virtio_core::{Dma, DmaBuffer, InterruptSource, PollLimit};

/// A device that answers when told to.
fn silent() -> (Model, common::TestDisk<PollLimit>) {
    let model = Model::new(ModelConfig::modern());
    let disk = start(&model, PollLimit(3));
    (model, disk)
}

#[test]
fn memory_of_a_read_that_timed_out_is_not_written_later() {
    let (model, mut disk) = silent();
    model.write_disk(0, &pattern(1, 8192));
    let mut memory = Box::new([0x11; 8192]);
    assert_eq!(disk.read(Sector(0), &mut *memory), Err(Error::TimedOut));
    assert!(!disk.is_settled());
    model.process(usize::MAX);
    assert!(memory.iter().all(|&byte| byte == 0x11));
    drop(memory);
    // The next operation takes back what came late.
    let mut memory = vec![0; 512];
    assert_eq!(
        disk.read(Sector(1), &mut memory),
        Err(Error::TimedOut),
        "nothing serves it"
    );
    model.process(usize::MAX);
    assert_eq!(disk.flush(), Err(Error::TimedOut));
    model.process(usize::MAX);
    finish(&model, disk);
}

#[test]
fn every_place_to_give_up_loses_nothing() {
    let content = pattern(2, 6 * BLOCK_BYTES);
    // How many requests are answered before the device falls silent.
    for answered in (0..14u32).step_by(if cfg!(miri) { 4 } else { 1 }) {
        for reads in [false, true] {
            let model = Model::new(ModelConfig::modern());
            let left = Rc::new(Cell::new(answered));
            let (device, count) = (model.clone(), Rc::clone(&left));
            let mut disk = start(&model, move |vain: u32| {
                if let Some(left) = count.get().checked_sub(1) {
                    count.set(left);
                    device.process(1);
                }
                vain < 2
            });
            let mut memory = content.clone();
            let result = if reads {
                disk.read_bytes(100, &mut memory)
            } else {
                disk.write_bytes(100, &memory)
            };
            drop(memory);
            // 6 buffers of bytes that are not aligned: 7 reads, or 2 reads, 2 writes of the ends and 6 in the middle.
            let needed = if reads { 7 } else { 10 };
            assert_eq!(
                result,
                if answered < needed {
                    Err(Error::TimedOut)
                } else {
                    Ok(())
                },
                "{answered}"
            );
            let in_flight = usize::from(disk.disk().queue().in_flight());
            assert!(in_flight <= BLOCKS);
            assert_eq!(disk.is_settled(), result.is_ok());
            // With the device awake again, everything goes on.
            left.set(100);
            let mut block = [0; 512];
            assert_eq!(disk.read(Sector(2), &mut block), Ok(()));
            assert_eq!(block[..], model.read_disk(2, 1));
            finish(&model, disk);
        }
    }
}

#[test]
fn a_disk_stopped_with_late_requests_gets_all_bounce_buffers_back() {
    let (model, mut disk) = silent();
    assert_eq!(
        disk.write(Sector(0), &pattern(3, 5 * BLOCK_BYTES)),
        Err(Error::TimedOut)
    );
    assert_eq!(usize::from(disk.disk().queue().in_flight()), BLOCKS);
    let mut dma = model.dma();
    let stopped = stop(&mut dma, disk);
    assert_eq!(stopped.pool.free(), BLOCKS);
    // The pool serves the next start.
    let again = BounceDisk::<_, 16>::start(
        stopped.transport,
        &mut dma,
        &Default::default(),
        &mut PollLimit::default(),
    );
    let mut disk = BlockingDisk::new(again.expect("it comes up"), stopped.pool, common::one_at_a_time(&model));
    assert_eq!(disk.write(Sector(0), &pattern(4, 5 * BLOCK_BYTES)), Ok(()));
    finish(&model, disk);
}

#[test]
fn a_late_write_does_not_overtake_a_newer_one() {
    let model = Model::new(ModelConfig::modern());
    let awake = Rc::new(Cell::new(false));
    let (device, served) = (model.clone(), Rc::clone(&awake));
    let mut disk = start(&model, move |vain: u32| {
        if served.get() {
            // The newest first, as a device may.
            device.process(usize::MAX);
        }
        vain < 3
    });
    model.set_order(virtio_blk_model::CompletionOrder::Reverse);
    assert_eq!(disk.write(Sector(9), &[1; 512]), Err(Error::TimedOut));
    assert_eq!(
        disk.write(Sector(9), &[2; 512]),
        Err(Error::TimedOut),
        "it waits for the first"
    );
    assert_eq!(model.pending(), 1, "the second was not sent");
    awake.set(true);
    assert_eq!(disk.write(Sector(9), &[3; 512]), Ok(()));
    assert_eq!(model.read_disk(9, 1), [3; 512]);
    finish(&model, disk);
}

#[test]
fn a_buffer_that_was_given_away_comes_back_late_and_once() {
    let (model, mut disk) = silent();
    let mut dma = model.dma();
    let mut buffer = || DmaBuffer::allocate(&mut dma, 1024, 512).unwrap();
    let (first, second) = (buffer(), buffer());
    model.write_disk(4, &pattern(5, 1024));
    let failed = disk.read_buffer(Sector(4), first).unwrap_err();
    assert_eq!(failed.error, Error::TimedOut);
    assert!(failed.buffer.is_none(), "the device has it");
    assert!(disk.take_late_buffer().is_none(), "the device still has it");
    model.process(usize::MAX);
    // There is room for one such buffer, so no other is taken before it was taken out.
    let failed = disk.read_buffer(Sector(4), second).unwrap_err();
    assert_eq!(failed.error, Error::BufferWaiting);
    let second = failed.buffer.expect("it was not taken");
    let first = disk.take_late_buffer().expect("the device is done");
    assert_eq!(*first, pattern(5, 1024));
    assert!(disk.take_late_buffer().is_none());

    // One that never comes back by itself comes with the end.
    let failed = disk.write_buffer(Sector(4), first).unwrap_err();
    assert_eq!((failed.error, failed.buffer.is_none()), (Error::TimedOut, true));
    let mut stopped = stop(&mut dma, disk);
    for buffer in [stopped.late_buffer.take().expect("the reset has returned it"), second] {
        dma.release(buffer.into_region());
    }
    release(&model, stopped);
    model.assert_clean();
}

#[test]
fn a_failed_part_fails_the_operation_and_the_rest_is_waited_for() {
    for number in (0..6).step_by(if cfg!(miri) { 5 } else { 1 }) {
        let (model, mut disk) = serving(ModelConfig::modern());
        model.set_fault(FaultScript::new().at(number, FaultKind::Status(1)));
        let failed = Err(Error::Failed(IoError::Device(StatusError::Io)));
        assert_eq!(disk.read(Sector(0), &mut vec![0; 6 * BLOCK_BYTES]), failed);
        assert!(disk.is_settled());
        assert_eq!(disk.read(Sector(0), &mut vec![0; 6 * BLOCK_BYTES]), Ok(()));
        finish(&model, disk);
    }
}

#[test]
fn a_device_that_asks_for_a_reset_is_no_time_out() {
    // A device that is polled is looked at now and then, one that interrupts says so.
    let ways = [
        (Completions::Polled, 1024),
        (Completions::Interrupts(InterruptSource::Line), 1),
    ];
    for (completions, looks) in ways {
        let model = Model::new(ModelConfig::modern());
        let device = model.clone();
        let mut disk = start(&model, move |vain: u32| {
            if vain == 0 {
                device.needs_reset();
            }
            assert!(vain < looks, "it is not seen");
            true
        });
        disk.set_completions(completions).unwrap();
        let error = disk.write(Sector(0), &[0; 512]).unwrap_err();
        assert_eq!(error, Error::NotLive(Liveness::NeedsReset));
        assert!(error.needs_restart());
        let mut dma = model.dma();
        release(&model, stop(&mut dma, disk));
    }
}

#[test]
fn a_device_that_leaves_is_told_at_once_and_gives_everything_back() {
    let (model, mut disk) = silent();
    assert_eq!(disk.write(Sector(0), &[0; 512]), Err(Error::TimedOut));
    model.go_away();
    let gone = [Error::NotLive(Liveness::Gone), Error::Broken(DeviceFault::Gone)];
    for _ in 0..2 {
        let error = disk.read(Sector(0), &mut [0; 512]).unwrap_err();
        assert!(gone.contains(&error), "{error}");
        assert!(error.needs_restart());
    }
    let mut dma = model.dma();
    release(&model, stop(&mut dma, disk));
}

#[test]
fn a_device_that_breaks_the_ring_needs_a_restart() {
    let (model, mut disk) = serving(ModelConfig::modern());
    model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(99)));
    let error = disk.read(Sector(0), &mut [0; 512]).unwrap_err();
    assert!(matches!(error, Error::Broken(_)) && error.needs_restart(), "{error}");
    let mut dma = model.dma();
    release(&model, stop(&mut dma, disk));
}

#[test]
fn a_reset_that_does_not_end_keeps_the_memory() {
    let (model, mut disk) = silent();
    assert_eq!(disk.write(Sector(0), &[0; 512]), Err(Error::TimedOut));
    let held = model.allocations();
    model.hold_resets(true);
    let mut dma = model.dma();
    let (_, disk) = disk.stop(&mut dma, &mut PollLimit(3)).map(drop).unwrap_err();
    assert_eq!(model.allocations(), held, "nothing was released");
    model.hold_resets(false);
    finish(&model, disk);
}

#[test]
fn a_device_that_answers_while_the_hook_gives_up_has_answered() {
    let model = Model::new(ModelConfig::modern());
    let device = model.clone();
    let mut disk = start(&model, move |_| {
        device.process(usize::MAX);
        false
    });
    assert_eq!(disk.read(Sector(0), &mut [0; 512]), Ok(()));
    finish(&model, disk);
}

/// A hook that counts.
#[derive(Default)]
struct Counting {
    begun: Rc<Cell<u32>>,
    vain: Vec<u32>,
    model: Option<Model>,
}

impl WaitHook for Counting {
    fn begin(&mut self) {
        self.begun.set(self.begun.get() + 1);
    }

    fn wait(&mut self, vain: u32) -> bool {
        self.vain.push(vain);
        if let (Some(model), 2) = (&self.model, vain) {
            model.process(1);
        }
        vain < 100
    }
}

#[test]
fn a_hook_is_told_of_operations_and_of_looks_in_vain() {
    let model = Model::new(ModelConfig::modern());
    let hook = Counting {
        model: Some(model.clone()),
        ..Counting::default()
    };
    let begun = Rc::clone(&hook.begun);
    let mut disk = start(&model, hook);
    disk.read(Sector(0), &mut vec![0; 2 * BLOCK_BYTES]).unwrap();
    assert_eq!(begun.get(), 1);
    disk.flush().unwrap();
    assert_eq!(begun.get(), 2);
    disk.write_bytes(500, &[1; 2000]).unwrap();
    assert_eq!(begun.get(), 3, "one operation, and five requests");
    disk.hook_mut().vain.truncate(9);
    // Three requests, each after three looks in vain.
    assert_eq!(disk.hook_mut().vain, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    finish(&model, disk);
}
