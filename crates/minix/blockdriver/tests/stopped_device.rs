//! A device that was reset and did not start again knows nothing of itself, and its statements have no effect.

mod common;

use std::time::Duration;

use common::{Op, Rig, SECTORS, micros, sector_byte, sectors, wire};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{Broken, DriverOptions};

const PAUSE: Duration = micros(1000);

fn options() -> DriverOptions {
    DriverOptions {
        reset_attempts: 3,
        reset_pause: PAUSE,
        flush_after: Duration::ZERO,
        ..DriverOptions::default()
    }
}

fn opened() -> Rig {
    let mut rig = Rig::opened_with(options(), |_| {});
    rig.disk().automatic = false;
    rig
}

/// The device is reset, and fails to start so many times.
fn stop(rig: &mut Rig, failures: usize) {
    rig.disk().resets = vec![Err(Broken); failures].into();
    rig.disk().broken = true;
    rig.poll();
}

/// A sector is written and answered, and not flushed.
fn write_one(rig: &mut Rig) {
    let write = rig.send_write(10, 1, 9);
    rig.poll();
    rig.disk().finish_all();
    rig.poll();
    assert_eq!(rig.answer(write), Some(512));
}

fn on_minor_0() -> BdevRequest {
    BdevRequest {
        minor: Minor(0),
        ..BdevRequest::default()
    }
}

#[test]
fn a_forced_write_that_comes_during_a_reset_is_flushed() {
    let mut rig = opened();
    stop(&mut rig, 1);
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(0, 0, &[5; 512])
    };
    let write = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!(rig.answer(write), Some(512));
    assert_eq!(rig.disk().ops(), [(Op::Write, 0, 1), (Op::Flush, 0, 0)]);
    assert_eq!(rig.disk().unflushed, 0);
}

#[test]
fn a_last_close_that_comes_during_a_reset_is_flushed() {
    let mut rig = opened();
    write_one(&mut rig);
    stop(&mut rig, 1);
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.poll();
    assert_eq!(rig.answer(close), None);
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!((rig.answer(close), rig.disk().unflushed), (Some(0), 0));
}

/// A write that the device has finished by the time it is reset, and that no poll has found. The device does not start again
/// at first.
fn finish_and_stop(rig: &mut Rig, flags: BdevFlags) -> i32 {
    let request = BdevRequest {
        flags,
        ..rig.write_request(0, 0, &[5; 512])
    };
    let write = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish_all();
    rig.disk().poll_finds_nothing = true;
    stop(rig, 1);
    write
}

#[test]
fn a_write_that_a_failed_restart_has_handed_over_is_flushed() {
    let mut rig = opened();
    let write = finish_and_stop(&mut rig, BdevFlags::empty());
    assert_eq!(rig.answer(write), Some(512));
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor_0());
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!((rig.answer(close), rig.disk().unflushed), (Some(0), 0));
}

#[test]
fn a_forced_write_from_a_failed_restart_is_flushed() {
    let mut rig = opened();
    let write = finish_and_stop(&mut rig, BdevFlags::FORCEWRITE);
    assert_eq!(rig.answer(write), None, "it is not flushed");
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!((rig.answer(write), rig.disk().unflushed), (Some(512), 0));
}

#[test]
fn a_last_close_with_unflushed_writes_on_a_dead_device_is_eio() {
    let mut rig = opened();
    write_one(&mut rig);
    stop(&mut rig, 3);
    rig.sleep(PAUSE);
    rig.sleep(PAUSE);
    assert!(rig.driver.is_broken());
    assert_eq!(rig.close(0), wire(Errno::EIO));
    assert_eq!(rig.disk().unflushed, 1);
}

#[test]
fn the_last_close_of_a_dead_device_that_owes_nothing_is_ok() {
    let mut rig = opened();
    stop(&mut rig, 3);
    rig.sleep(PAUSE);
    rig.sleep(PAUSE);
    assert!(rig.driver.is_broken());
    assert_eq!(rig.close(0), 0);
}

#[test]
fn a_read_during_a_reset_sees_a_disk_that_has_grown() {
    let mut rig = opened();
    stop(&mut rig, 1);
    let disk = rig.disk();
    disk.info.sectors = 2 * SECTORS;
    disk.content = (0..2 * SECTORS).flat_map(|nth| [sector_byte(nth); 512]).collect();
    let (request, buffer) = rig.read_request(0, (SECTORS + 3) * 512, 512);
    let read = rig.send(MessageType::BDEV_READ, request);
    rig.poll();
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
    assert!(rig.bytes(buffer) == sectors(SECTORS + 3, 1));
}

#[test]
fn a_device_that_stopped_without_a_word_is_asked_nothing() {
    // What a client sends between the fault and the poll that finds it.
    let mut rig = opened();
    rig.disk().broken = true;
    rig.disk().resets = [Err(Broken)].into();
    rig.disk().info.sectors = 100;
    let read = rig.send_read(200, 1);
    rig.disk().info.sectors = SECTORS;
    rig.poll();
    rig.sleep(PAUSE);
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
}

#[test]
fn control_requests_about_a_dead_device_are_eio() {
    let mut rig = opened();
    stop(&mut rig, 3);
    rig.sleep(PAUSE);
    rig.sleep(PAUSE);
    assert_eq!(rig.ioctl_get::<i32>(0, IoctlCode::DIOCGETWC).0, wire(Errno::EIO));
    assert_eq!(rig.ioctl_get::<[u8; 32]>(0, IoctlCode::DIOCGETP).0, wire(Errno::EIO));
    assert_eq!(
        rig.ioctl_with(0, IoctlCode::DIOCFLUSH, GrantId::INVALID),
        wire(Errno::EIO)
    );
    assert_eq!(rig.open_count(), 1, "that is known without the device");
}

#[test]
fn a_forced_write_of_which_a_part_went_to_a_cache_is_flushed() {
    // The transfer has two parts; the device takes one at a time.
    let one = DriverOptions { depth: 1, ..options() };
    let mut rig = Rig::opened_with(one, |disk| disk.info.max_segments = 1);
    rig.disk().automatic = false;
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(0, 0, &[5; 8192])
    };
    let write = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish_all();
    // It finishes the first, and is a disk without a cache after a reset.
    rig.disk().info.write_cache = false;
    stop(&mut rig, 0);
    rig.settle();
    assert_eq!(rig.answer(write), Some(8192));
    let disk = rig.disk();
    assert!(disk.medium[..8192] == [5; 8192]);
}
