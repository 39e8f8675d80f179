//! Devices that die, leave or break the rules, and disks that are stopped and started again.

mod common;

use common::{BLOCK_BYTES, SLOTS, Task, block_on, bring_up, finish, interrupt, pattern, restart, rig, serve, small};
use virtio_blk::{DeviceFault, IoError, Liveness, SubmitError};
use virtio_blk_async::{AsyncBlockIo, Error, Sector};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig};
use virtio_core::{Dma, DmaBuffer, InterruptSource, PollLimit};

const STOPPED: Error = Error::Refused(SubmitError::Stopped);

/// Operations in every state: in flight, waiting for a bounce buffer, and in the line.
fn each_state<'d>(
    disk: &'d common::TestDisk,
    memory: &'d mut [[u8; 512]; 3],
    data: &'d [u8],
) -> Vec<Task<'d, Result<(), Error>>> {
    let [first, second, third] = memory;
    let mut tasks = vec![
        Task::new(disk.read(Sector(0), first)),
        Task::new(disk.write(Sector(8), data)),
        Task::new(disk.read(Sector(1), second)),
        Task::new(disk.write_bytes(3, &data[..9])),
        Task::new(disk.flush()),
        Task::new(disk.read(Sector(2), third)),
    ];
    for task in &mut tasks {
        assert!(!task.poll());
    }
    tasks
}

/// Polls what is woken until everything is over.
fn all_end(tasks: &mut [Task<'_, Result<(), Error>>]) {
    while !tasks.iter().all(Task::is_over) {
        let polled = tasks
            .iter_mut()
            .filter_map(|task| task.poll_if_woken().then_some(()))
            .count();
        assert!(polled > 0, "a task is not woken");
    }
}

#[test]
fn a_device_that_asks_for_a_reset_ends_every_operation() {
    let (model, disk) = rig(small());
    let data = pattern(1, 9 * BLOCK_BYTES);
    let mut memory = [[0; 512]; 3];
    let mut tasks = each_state(&disk, &mut memory, &data);
    model.needs_reset();
    interrupt(&model, &disk);
    all_end(&mut tasks);
    let error = Error::NotLive(Liveness::NeedsReset);
    assert!(error.needs_restart());
    assert!(tasks.into_iter().all(|task| task.result() == Err(error)));
    assert_eq!(block_on(&model, &disk, disk.read(Sector(0), &mut [0; 512])), Err(error));
    finish(&model, disk);
}

#[test]
fn a_silent_death_is_found_by_asking() {
    let (model, disk) = rig(small());
    let data = pattern(1, 9 * BLOCK_BYTES);
    let mut memory = [[0; 512]; 3];
    let mut tasks = each_state(&disk, &mut memory, &data);
    assert_eq!(disk.liveness(), Some(Liveness::Live));
    assert!(tasks.iter().all(|task| !task.is_woken()));
    model.go_away();
    assert_eq!(disk.liveness(), Some(Liveness::Gone));
    all_end(&mut tasks);
    for task in tasks {
        assert_eq!(task.result(), Err(Error::NotLive(Liveness::Gone)));
    }
    finish(&model, disk);
}

#[test]
fn a_device_that_breaks_the_ring_ends_every_operation() {
    let (model, disk) = rig(small());
    model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(99)));
    let data = pattern(1, 9 * BLOCK_BYTES);
    let mut memory = [[0; 512]; 3];
    let mut tasks = each_state(&disk, &mut memory, &data);
    model.process(1);
    let fault = disk.on_interrupt(InterruptSource::Line).unwrap_err();
    assert!(matches!(fault, Error::Broken(_)) && fault != Error::Broken(DeviceFault::Gone));
    all_end(&mut tasks);
    assert!(tasks.into_iter().all(|task| task.result() == Err(fault)));
    let mut dma = model.dma();
    disk.stop(&mut dma, &mut PollLimit::default()).unwrap();
    assert!(disk.into_pool().unwrap().release(&mut dma).is_ok());
    assert_eq!(model.allocations(), 0);
}

#[test]
fn a_disk_is_stopped_and_goes_on() {
    let (model, disk) = rig(small());
    let data = pattern(1, 9 * BLOCK_BYTES);
    let mut memory = [[0; 512]; 3];
    let mut tasks = each_state(&disk, &mut memory, &data);
    let mut dma = model.dma();
    let (transport, _) = disk.stop(&mut dma, &mut PollLimit::default()).unwrap().unwrap();
    assert!(
        disk.stop(&mut dma, &mut PollLimit::default()).unwrap().is_none(),
        "twice"
    );
    all_end(&mut tasks);
    for task in tasks {
        let error = task.result().unwrap_err();
        assert!(error == STOPPED || error == Error::Failed(IoError::Aborted), "{error}");
    }
    assert_eq!(block_on(&model, &disk, disk.write(Sector(0), &[0; 512])), Err(STOPPED));
    assert_eq!(disk.poll(), Err(STOPPED));
    assert_eq!(disk.on_interrupt(InterruptSource::Line), Err(STOPPED));
    assert!(disk.liveness().is_none() && disk.refresh_config().is_none());
    assert_eq!(disk.capacity_bytes(), 256 * 512);

    disk.resume(restart(&model, transport)).expect("it is stopped");
    block_on(&model, &disk, disk.write(Sector(8), &data)).unwrap();
    assert_eq!(model.read_disk(8, data.len() as u64 / 512), data);
    let other = Model::new(ModelConfig::modern());
    assert!(disk.resume(bring_up(&other)).is_err(), "it is not stopped");
    finish(&model, disk);
}

#[test]
fn an_operation_that_is_not_polled_during_a_restart_has_ended() {
    let (model, disk) = rig(small());
    let data = pattern(1, 9 * BLOCK_BYTES);
    let mut memory = [[0; 512]; 3];
    let mut tasks = each_state(&disk, &mut memory, &data);
    let mut dma = model.dma();
    let (transport, _) = disk.stop(&mut dma, &mut PollLimit::default()).unwrap().unwrap();
    disk.resume(restart(&model, transport)).expect("it is stopped");
    while !tasks.iter().all(Task::is_over) {
        let polled = tasks
            .iter_mut()
            .filter_map(|task| task.poll_if_woken().then_some(()))
            .count();
        assert!(polled > 0 || serve(&model, &disk, 1) > 0, "a wake-up is lost");
    }
    let results: Vec<_> = tasks.into_iter().map(Task::result).collect();
    assert_eq!(results[0], Err(Error::Failed(IoError::Aborted)));
    assert_eq!(results[5], Ok(()), "it was in the line, and is carried out");
    finish(&model, disk);
}

#[test]
fn a_reset_that_does_not_end_keeps_the_memory() {
    let (model, disk) = rig(small());
    let mut memory = [0; 512];
    let mut read = Task::new(disk.read(Sector(0), &mut memory));
    read.poll();
    let held = model.allocations();
    model.hold_resets(true);
    assert!(disk.stop(&mut model.dma(), &mut PollLimit(3)).is_err());
    assert_eq!(model.allocations(), held, "nothing was released");
    assert!(read.poll_if_woken());
    assert_eq!(read.result(), Err(STOPPED));
    let disk = disk.into_pool().unwrap_err();
    model.hold_resets(false);
    finish(&model, disk);
}

#[test]
fn a_buffer_that_the_device_kept_comes_with_the_stop() {
    let (model, disk) = rig(small());
    let mut dma = model.dma();
    for number in 0..SLOTS as u64 / 2 {
        let mut place = Some(DmaBuffer::allocate(&mut dma, 512, 512).unwrap());
        let mut write = Task::new(disk.write_buffer(Sector(number), &mut place));
        write.poll();
        drop(write);
        assert!(place.is_none());
    }
    disk.stop(&mut dma, &mut PollLimit::default()).unwrap();
    let disk = disk.into_pool().unwrap_err();
    while let Some(buffer) = disk.take_late_buffer() {
        dma.release(buffer.into_region());
    }
    let pool = disk.into_pool().expect("all late buffers are taken");
    pool.release(&mut dma).expect("every bounce buffer has come back");
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
