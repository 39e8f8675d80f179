//! Operations that are dropped at every await point while another one is before them in the line, or after them; and what a drop means for
//! those that come later.

mod common;

use common::drops::{KINDS, Rival, drop_at_every_await};
use common::{Task, finish, rig, serve, small};
use virtio_blk_async::{AsyncBlockIo, Sector};
use virtio_blk_model::CompletionOrder;

#[test]
fn a_drop_in_the_line_lets_those_behind_go_on() {
    let dropped: u32 = KINDS.iter().map(|&kind| drop_at_every_await(kind, Rival::Before)).sum();
    assert!(dropped >= 60, "{dropped}");
}

#[test]
fn a_drop_before_another_operation_lets_it_go_on() {
    let dropped: u32 = KINDS.iter().map(|&kind| drop_at_every_await(kind, Rival::After)).sum();
    assert!(dropped >= 60, "{dropped}");
}

#[test]
fn a_write_that_was_dropped_does_not_overtake_a_newer_one() {
    let (model, disk) = rig(small());
    model.set_order(CompletionOrder::Reverse);
    let mut first = Task::new(disk.write(Sector(9), &[1; 512]));
    first.poll();
    drop(first);
    let mut second = Task::new(disk.write(Sector(9), &[2; 512]));
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
