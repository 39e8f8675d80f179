//! The line: operations are served in the order in which they came, large transfers let small ones through, and no task is woken for nothing.

mod common;

use common::{BLOCK_BYTES, BLOCKS, LockedDisk, SLOTS, Task, block_on, finish, pattern, rig, serve, small, start_with};
use mutex::raw_impls::local::LocalRawMutex;
use virtio_blk_async::{AsyncBlockIo, Error, Sector, mutex};
use virtio_blk_model::{Model, ModelConfig};
use virtio_core::{Dma, DmaBuffer, InterruptSource};

#[test]
fn operations_are_sent_in_the_order_in_which_they_came() {
    let model = Model::new(small());
    let disk: LockedDisk<LocalRawMutex, 1> = start_with(&model, 512);
    let data: Vec<_> = (0..9u8).map(|number| [number; 512]).collect();
    // All to the same sector, one after the other because of the one bounce buffer.
    let mut tasks: Vec<_> = data.iter().map(|data| Task::new(disk.write(Sector(0), data))).collect();
    for task in &mut tasks {
        task.poll();
    }
    for number in 0..tasks.len() {
        assert_eq!(model.pending(), 1);
        serve(&model, &disk, 1);
        assert_eq!(model.read_disk(0, 1), data[number]);
        // Polled backwards, so that the order is not that of the polls.
        while tasks
            .iter_mut()
            .rev()
            .filter_map(|task| task.poll_if_woken().then_some(()))
            .count()
            > 0
        {}
        assert!(tasks[number].is_over());
    }
    drop(tasks);
    finish(&model, disk);
}

#[test]
fn a_small_read_gets_through_between_the_parts_of_a_large_one() {
    let (model, disk) = rig(ModelConfig::modern());
    let mut large = vec![0; 400 * BLOCK_BYTES / 8];
    let mut small = [0; 512];
    let mut long = Task::new(disk.read(Sector(0), &mut large));
    long.poll();
    let mut short = Task::new(disk.read(Sector(9), &mut small));
    short.poll();
    let mut answered = 0;
    while !short.is_over() {
        answered += serve(&model, &disk, 1);
        while long.poll_if_woken() | short.poll_if_woken() {}
    }
    assert!(answered <= 2 * BLOCKS + 1, "{answered} requests before");
    assert!(!long.is_over());
    drop((long, short));
    while serve(&model, &disk, 1) > 0 {}
    finish(&model, disk);
}

#[test]
fn only_tasks_whose_request_is_done_are_woken() {
    let (model, disk) = rig(small());
    let mut memory = [[0; 512]; BLOCKS];
    let mut tasks: Vec<_> = (0..)
        .zip(&mut memory)
        .map(|(first, memory)| Task::new(disk.read(Sector(first), memory)))
        .collect();
    for task in &mut tasks {
        task.poll();
    }
    serve(&model, &disk, 2);
    let woken: Vec<_> = tasks.iter().map(Task::is_woken).collect();
    assert_eq!(woken, [true, true, false, false]);
    serve(&model, &disk, 2);
    for task in &mut tasks {
        assert!(task.poll_if_woken() && task.is_over());
        assert_eq!(task.wakes(), 1, "each is woken once");
    }
    drop(tasks);
    finish(&model, disk);
}

#[test]
fn a_look_that_finds_nothing_wakes_no_task() {
    let (model, disk) = rig(small());
    let data = pattern(1, 2 * BLOCKS * BLOCK_BYTES);
    let mut in_flight = Task::new(disk.write(Sector(0), &data));
    let mut memory = [0; 512];
    let mut waiting = Task::new(disk.read(Sector(0), &mut memory));
    assert!(!in_flight.poll() && !waiting.poll());
    assert_eq!(disk.poll(), Ok(0));
    model.spurious_interrupt(1);
    assert_eq!(
        disk.on_interrupt(InterruptSource::Line).map(|seen| seen.completions),
        Ok(0)
    );
    assert!(disk.take_late_buffer().is_none());
    assert!(!in_flight.is_woken() && !waiting.is_woken());
    drop((in_flight, waiting));
    while serve(&model, &disk, 1) > 0 {}
    finish(&model, disk);
}

#[test]
fn the_ring_may_be_full_before_the_bounce_buffers_are_used_up() {
    // Without indirect tables a request takes three descriptors, so five fill a ring of sixteen.
    let config = small().withdraw(virtio_blk_model::feature::INDIRECT_DESC);
    let model = Model::new(config);
    let disk: LockedDisk<LocalRawMutex, 12> = start_with(&model, 512);
    let content = pattern(1, 40 * 512);
    let mut write = Task::new(disk.write(Sector(0), &content));
    let mut bytes = Task::new(disk.write_bytes(60 * 512 + 1, &[7; 600]));
    while !write.is_over() || !bytes.is_over() {
        if !(write.poll_if_woken() | bytes.poll_if_woken()) {
            assert!(model.pending() <= 5);
            assert!(serve(&model, &disk, 1) > 0, "a wake-up is lost");
        }
    }
    assert_eq!((write.result(), bytes.result()), (Ok(()), Ok(())));
    assert_eq!(model.read_disk(0, 40), content);
    finish(&model, disk);
}

#[test]
fn the_head_is_woken_when_what_it_waits_for_is_dropped() {
    let model = Model::new(small());
    let disk: LockedDisk<LocalRawMutex, 1> = start_with(&model, 512);
    let mut memory = [[0; 512]; 2];
    let [first, second] = &mut memory;
    let mut holder = Task::new(disk.read(Sector(0), first));
    let mut waiting = Task::new(disk.read(Sector(1), second));
    assert!(!holder.poll() && !waiting.poll());
    serve(&model, &disk, 1);
    // The device is done, and the bounce buffer is with the task that is not polled.
    waiting.poll_if_woken();
    assert!(!waiting.is_woken() && model.pending() == 0);
    drop(holder);
    assert!(waiting.poll_if_woken(), "a wake-up is lost");
    serve(&model, &disk, 1);
    assert!(waiting.poll_if_woken());
    assert_eq!(waiting.result(), Ok(()));
    finish(&model, disk);
}

#[test]
fn what_waits_for_the_ring_is_dropped_and_nothing_is_lost() {
    let model = Model::new(small().withdraw(virtio_blk_model::feature::INDIRECT_DESC));
    let disk: LockedDisk<LocalRawMutex, 12> = start_with(&model, 512);
    let content = pattern(1, 12 * 512);
    let mut write = Task::new(disk.write(Sector(0), &content));
    assert!(!write.poll());
    assert_eq!(model.pending(), 5, "the ring is full, and a sixth request is prepared");
    drop(write);
    let mut place = Some(DmaBuffer::allocate(&mut model.dma(), 512, 512).unwrap());
    let mut read = Task::new(disk.read_buffer(Sector(20), &mut place));
    assert!(!read.poll());
    drop(read);
    let late = place.take().or_else(|| disk.take_late_buffer());
    model.dma().release(late.expect("it was not sent").into_region());
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
