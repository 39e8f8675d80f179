//! A flush that fails is told to each minor that is open: once, whether a client asked for the flush or none did.

mod common;

use std::time::Duration;

use common::{Rig, micros, wire};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Refusal};

const AFTER: Duration = micros(1000);
const EIO: i32 = Errno::EIO.to_wire();

/// Minors 0 and 1 are open, a write is done, and the flush in the background has failed. From here on flushes work.
fn failed() -> Rig {
    let options = DriverOptions {
        flush_after: AFTER,
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 0, 64 * 512);
    assert_eq!(rig.write(0, 0, &[7; 512]), 512);
    rig.disk().automatic = false;
    rig.sleep(AFTER);
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    rig.disk().automatic = true;
    rig
}

fn on_minor(minor: i32) -> BdevRequest {
    BdevRequest {
        minor: Minor(minor),
        ..BdevRequest::default()
    }
}

fn flush(rig: &mut Rig, minor: i32) -> i32 {
    rig.ioctl_with(minor, IoctlCode::DIOCFLUSH, GrantId::INVALID)
}

fn forced(rig: &mut Rig, minor: i32) -> i32 {
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(minor, 512, &[5; 512])
    };
    rig.ask(MessageType::BDEV_WRITE, request)
}

#[test]
fn a_failed_background_flush_is_told_by_the_next_diocflush() {
    let mut rig = failed();
    assert_eq!(flush(&mut rig, 0), EIO);
    assert_eq!(flush(&mut rig, 0), 0, "once");
    assert_eq!(flush(&mut rig, 1), EIO, "each minor");
    assert_eq!(flush(&mut rig, 1), 0);
    assert_eq!((rig.close(1), rig.close(0)), (0, 0));
}

#[test]
fn a_failed_background_flush_is_told_by_the_next_forced_write() {
    for cache in [true, false] {
        let mut rig = failed();
        rig.disk().info.write_cache = cache;
        assert_eq!(forced(&mut rig, 1), EIO);
        assert_eq!(forced(&mut rig, 1), 512, "once");
        assert_eq!(forced(&mut rig, 0), EIO);
        // A write that asks for nothing is not in doubt.
        let mut rig = failed();
        assert_eq!(rig.write(0, 0, &[1; 512]), 512);
        assert_eq!(flush(&mut rig, 0), EIO);
    }
}

#[test]
fn the_last_close_of_a_minor_tells_a_failed_background_flush() {
    let mut rig = failed();
    assert_eq!(rig.open(0), 0);
    assert_eq!(rig.close(0), 0, "it is open still");
    assert_eq!(rig.close(0), EIO);
    assert_eq!(rig.close(1), EIO, "though the flush of this close works");
    assert_eq!((rig.driver.open_count(), rig.disk().unflushed), (0, 0));
    assert_eq!(rig.open(0), 0);
    assert_eq!(flush(&mut rig, 0), 0);
}

#[test]
fn a_minor_that_is_opened_after_the_failure_is_not_told() {
    let mut rig = failed();
    assert_eq!((rig.open(2), flush(&mut rig, 2)), (0, 0));
    assert_eq!(rig.close(2), 0);
}

fn only_minor_0_is_still_to_be_told(rig: &mut Rig) {
    assert_eq!(flush(rig, 1), 0, "it was told");
    assert_eq!(flush(rig, 0), EIO);
}

#[test]
fn a_failed_flush_of_a_client_is_told_to_other_minors_too() {
    let mut rig = failed();
    assert_eq!((flush(&mut rig, 0), flush(&mut rig, 1)), (EIO, EIO));
    rig.disk().automatic = false;
    let request = BdevRequest {
        minor: Minor(1),
        request: IoctlCode::DIOCFLUSH,
        ..BdevRequest::default()
    };
    let id = rig.send(MessageType::BDEV_IOCTL, request);
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(rig.answer(id), Some(EIO));
    rig.disk().automatic = true;
    only_minor_0_is_still_to_be_told(&mut rig);
}

#[test]
fn a_failed_forced_write_flush_is_told_to_other_minors_too() {
    let mut rig = failed();
    assert_eq!((flush(&mut rig, 0), flush(&mut rig, 1)), (EIO, EIO));
    rig.disk().automatic = false;
    let request = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..rig.write_request(1, 512, &[5; 512])
    };
    let id = rig.send(MessageType::BDEV_WRITE, request);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    assert_eq!(rig.answer(id), Some(EIO));
    rig.disk().automatic = true;
    only_minor_0_is_still_to_be_told(&mut rig);
}

#[test]
fn a_flush_that_is_given_up_is_told_to_the_other_minors_too() {
    let mut rig = failed();
    assert_eq!((flush(&mut rig, 0), flush(&mut rig, 1)), (EIO, EIO));
    // More often than a request is tried again.
    rig.disk().refusals = vec![Some(Refusal::Broken); 4].into();
    assert_eq!(flush(&mut rig, 1), EIO);
    only_minor_0_is_still_to_be_told(&mut rig);
}

#[test]
fn what_was_told_is_told_again_after_the_next_failure() {
    let mut rig = failed();
    assert_eq!(flush(&mut rig, 0), wire(Errno::EIO));
    assert_eq!(rig.write(0, 0, &[8; 512]), 512);
    rig.disk().automatic = false;
    rig.sleep(AFTER);
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.poll();
    rig.disk().automatic = true;
    assert_eq!(flush(&mut rig, 0), EIO);
    assert_eq!(flush(&mut rig, 0), 0);
}

#[test]
fn a_background_flush_failing_during_the_last_close_is_told() {
    let options = DriverOptions {
        flush_after: AFTER,
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    assert_eq!(rig.write(0, 0, &[7; 512]), 512);
    rig.disk().automatic = false;
    rig.sleep(AFTER);
    let close = rig.send(MessageType::BDEV_CLOSE, on_minor(0));
    rig.poll();
    assert_eq!(
        rig.driver.in_flight(),
        2,
        "one flush in the background, one of the close"
    );
    rig.disk().finish(0, Err(DeviceError::Io));
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(close), Some(EIO));
    rig.disk().automatic = true;
    assert_eq!((rig.open(0), flush(&mut rig, 0)), (0, 0), "it was told");
}

#[test]
fn closing_a_dead_device_with_unflushed_writes_is_told() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.write(0, 0, &[7; 512]), 512);
    rig.disk().resets = vec![Err(Broken); 3].into();
    rig.disk().broken = true;
    rig.poll();
    while !rig.driver.is_broken() {
        rig.sleep(DriverOptions::default().reset_pause);
    }
    assert_eq!(rig.close(0), EIO, "it is not the last close of the disk");
    assert_eq!(rig.close(1), EIO);
}

#[test]
fn closing_a_dead_device_without_unflushed_writes_is_not_told() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.write(0, 0, &[7; 512]), 512);
    assert_eq!(flush(&mut rig, 0), 0);
    rig.disk().resets = vec![Err(Broken); 3].into();
    rig.disk().broken = true;
    rig.poll();
    while !rig.driver.is_broken() {
        rig.sleep(DriverOptions::default().reset_pause);
    }
    assert_eq!((rig.close(0), rig.close(1)), (0, 0));
}
