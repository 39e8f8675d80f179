//! Control requests, rule by rule.

mod common;

use common::{Op, Placement, Rig, SECTORS, micros, wire};
use minix_abi::bdev::BdevRequest;
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, MessageType, Pad};
use minix_blockdriver::{DeviceError, DriverOptions, Geometry};

fn argumentless(rig: &mut Rig, code: IoctlCode) -> i32 {
    rig.ioctl_with(0, code, GrantId::INVALID)
}

#[test]
fn diocsetp_and_diocgetp_round_trip_unverified() {
    let mut rig = Rig::opened();
    for (base, bytes) in [(512, 9 * 512), (5 * 512, 9 * 512), (u64::MAX, u64::MAX), (1, 3), (0, 0)] {
        rig.set_partition(0, base, bytes);
        assert_eq!(rig.partition(0), (base, bytes));
    }
}

#[test]
fn diocgetp_makes_a_geometry_up() {
    let mut rig = Rig::opened();
    let (status, geom) = rig.ioctl_get::<PartGeom>(0, IoctlCode::DIOCGETP);
    assert_eq!(status, 0);
    assert_eq!((geom.base, geom.bytes), (0, SECTORS * 512));
    assert_eq!((geom.cylinders, geom.heads, geom.sectors), (1, 64, 32));
}

#[test]
fn diocgetp_copies_32_bytes_with_the_geometry_of_the_disk() {
    let geometry = Geometry {
        cylinders: 11,
        heads: 12,
        sectors: 13,
    };
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.geometry = Some(geometry));
    let buffer = rig.buffer(40, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    assert_eq!(rig.ioctl_with(0, IoctlCode::DIOCGETP, grant), 0);
    let bytes = rig.bytes(buffer);
    assert_eq!(bytes[16..32], [11, 0, 0, 0, 12, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[32..], [common::UNTOUCHED; 8]);
    let _ = Pad::<4>::ZERO;
}

#[test]
fn diocsetp_on_an_unknown_minor_is_enxio() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(6), wire(Errno::ENXIO));
    assert_eq!(
        rig.ioctl_set(6, IoctlCode::DIOCSETP, PartGeom::default()),
        wire(Errno::ENXIO)
    );
    assert_eq!(rig.ioctl_get::<PartGeom>(6, IoctlCode::DIOCGETP).0, wire(Errno::ENXIO));
}

#[test]
fn each_request_has_its_own_checks_on_an_unknown_minor() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(6), wire(Errno::ENXIO));
    let ask = |rig: &mut Rig, code| rig.ioctl_with(6, code, GrantId::INVALID);
    // The copy comes first.
    assert_eq!(ask(&mut rig, IoctlCode::DIOCSETP), wire(Errno::EINVAL));
    let buffer = rig.buffer(2, Placement::Scattered, 0);
    let short = rig.kernel.space(common::CLIENT).grant(buffer.address, 2, true, true);
    assert_eq!(rig.ioctl_with(6, IoctlCode::DIOCSETP, short), wire(Errno::EPERM));
    // The minor comes first.
    for code in [
        IoctlCode::DIOCGETP,
        IoctlCode::DIOCEJECT,
        IoctlCode::DIOCTIMEOUT,
        IoctlCode::DIOCOPENCT,
        IoctlCode::DIOCFLUSH,
        IoctlCode::DIOCSETWC,
        IoctlCode::DIOCGETWC,
        IoctlCode::BIOCTRACEBUF,
    ] {
        assert_eq!(ask(&mut rig, code), wire(Errno::ENXIO), "{code:?}");
    }
    // The minor has no buffer.
    for code in [IoctlCode::BIOCTRACECTL, IoctlCode::BIOCTRACEGET] {
        assert_eq!(ask(&mut rig, code), wire(Errno::EINVAL), "{code:?}");
    }
    for code in [0, 99, u64::MAX] {
        assert_eq!(ask(&mut rig, IoctlCode(code)), wire(Errno::ENOTTY), "{code:#x}");
    }
}

#[test]
fn errors_of_copies_are_the_answer_as_they_are() {
    let mut rig = Rig::opened();
    let both = [
        IoctlCode::DIOCSETP,
        IoctlCode::DIOCGETP,
        IoctlCode::DIOCTIMEOUT,
        IoctlCode::DIOCOPENCT,
        IoctlCode::DIOCSETWC,
        IoctlCode::DIOCGETWC,
        IoctlCode::BIOCTRACEBUF,
    ];
    let buffer = rig.buffer(2, Placement::Scattered, 0);
    let short = rig.kernel.space(common::CLIENT).grant(buffer.address, 2, true, true);
    for code in both {
        assert_eq!(
            rig.ioctl_with(0, code, GrantId::INVALID),
            wire(Errno::EINVAL),
            "{code:?}"
        );
        assert_eq!(rig.ioctl_with(0, code, short), wire(Errno::EPERM), "{code:?}");
    }
    assert_eq!(rig.partition(0), (0, SECTORS * 512));
}

#[test]
fn diocflush_is_a_flush_command() {
    let mut rig = Rig::opened();
    rig.disk().info.write_cache = false;
    assert_eq!(argumentless(&mut rig, IoctlCode::DIOCFLUSH), 0);
    assert_eq!(rig.disk().ops(), [(Op::Flush, 0, 0)]);
}

#[test]
fn diocflush_waits_for_writes_ahead_and_for_its_completion() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let write = rig.send_write(0, 1, 1);
    let request = BdevRequest {
        minor: Minor(0),
        request: IoctlCode::DIOCFLUSH,
        ..BdevRequest::default()
    };
    let flush = rig.send(MessageType::BDEV_IOCTL, request);
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Write, 0, 1)]);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(write), Some(512));
    assert_eq!(rig.answer(flush), None);
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(flush), Some(0));
}

#[test]
fn diocflush_is_eopnotsupp_without_flush_and_eio_on_an_error() {
    let mut rig = Rig::opened();
    rig.disk().info.can_flush = false;
    assert_eq!(argumentless(&mut rig, IoctlCode::DIOCFLUSH), wire(Errno::EOPNOTSUPP));
    rig.disk().info.can_flush = true;
    for (error, errno) in [
        (DeviceError::Io, Errno::EIO),
        (DeviceError::Unsupported, Errno::EOPNOTSUPP),
    ] {
        rig.disk().automatic = false;
        let request = BdevRequest {
            minor: Minor(0),
            request: IoctlCode::DIOCFLUSH,
            ..BdevRequest::default()
        };
        let id = rig.send(MessageType::BDEV_IOCTL, request);
        rig.poll();
        rig.disk().finish(0, Err(error));
        rig.poll();
        assert_eq!(rig.answer(id), Some(wire(errno)));
    }
}

#[test]
fn diocgetwc_tells_and_diocsetwc_switches_the_write_cache() {
    let mut rig = Rig::opened();
    assert_eq!(rig.ioctl_get::<i32>(0, IoctlCode::DIOCGETWC), (0, 1));
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSETWC, 0_i32), 0);
    assert_eq!(rig.disk().ops(), [(Op::Flush, 0, 0)], "what lingers is flushed before");
    assert_eq!(rig.ioctl_get::<i32>(0, IoctlCode::DIOCGETWC), (0, 0));
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSETWC, 5_i32), 0);
    assert_eq!(rig.ioctl_get::<i32>(0, IoctlCode::DIOCGETWC), (0, 1));
}

#[test]
fn diocsetwc_the_device_cannot_do_is_eopnotsupp() {
    let mut rig = Rig::opened();
    rig.disk().can_switch_cache = false;
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSETWC, 0_i32), wire(Errno::EOPNOTSUPP));
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCSETWC, 1_i32), wire(Errno::EOPNOTSUPP));
}

#[test]
fn dioctimeout_is_in_clock_ticks_and_tells_the_former_one() {
    let options = DriverOptions {
        hz: 100,
        request_timeout: micros(10_000_000),
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    let set = |rig: &mut Rig, ticks: i32| {
        let buffer = rig.buffer(4, Placement::Contiguous, 0);
        rig.fill(buffer, &ticks.to_le_bytes());
        let grant = rig.kernel.space(common::CLIENT).grant(buffer.address, 4, true, true);
        let status = rig.ioctl_with(0, IoctlCode::DIOCTIMEOUT, grant);
        (status, i32::from_le_bytes(rig.bytes(buffer).try_into().unwrap()))
    };
    assert_eq!(set(&mut rig, 50), (0, 1000));
    assert_eq!(set(&mut rig, -1), (wire(Errno::EINVAL), -1));
    assert_eq!(set(&mut rig, 17), (0, 50));

    // It counts: a request is late after 170 milliseconds now.
    rig.disk().automatic = false;
    let read = rig.send_read(0, 1);
    rig.poll();
    assert_eq!(
        rig.driver.deadline(),
        Some(rig.now.after(micros(170_000 / 4))),
        "a look at the device"
    );
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
    rig.disk().automatic = true;
    assert_eq!(set(&mut rig, 0), (0, 17));
    assert_eq!(set(&mut rig, i32::MAX), (0, 1000));
    assert_eq!(set(&mut rig, 0), (0, i32::MAX));
}

#[test]
fn dioctimeout_of_a_tick_is_stored_but_raised_for_the_device() {
    let mut rig = Rig::opened();
    let set = |rig: &mut Rig, ticks: i32| {
        let buffer = rig.buffer(4, Placement::Contiguous, 0);
        rig.fill(buffer, &ticks.to_le_bytes());
        let grant = rig.kernel.space(common::CLIENT).grant(buffer.address, 4, true, true);
        let status = rig.ioctl_with(0, IoctlCode::DIOCTIMEOUT, grant);
        (status, i32::from_le_bytes(rig.bytes(buffer).try_into().unwrap()))
    };
    assert_eq!(set(&mut rig, 1), (0, 10_000));
    rig.disk().automatic = false;
    let read = rig.send_read(0, 1);
    rig.poll();
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(micros(100_000 / 4))));
    rig.sleep(micros(99_999));
    assert_eq!(rig.disk().reset_count, 0);
    rig.sleep(micros(1));
    assert_eq!(rig.disk().reset_count, 1);
    rig.settle();
    assert_eq!(rig.answer(read), Some(512));
    rig.disk().automatic = true;
    assert_eq!(set(&mut rig, 0), (0, 1));
    assert_eq!(set(&mut rig, 0), (0, 10_000));
}

#[test]
fn dioctimeout_that_cannot_be_told_back_changes_nothing() {
    let mut rig = Rig::opened();
    assert_eq!(rig.ioctl_set(0, IoctlCode::DIOCTIMEOUT, 5_i32), wire(Errno::EPERM));
    rig.disk().automatic = false;
    rig.send_read(0, 1);
    rig.poll();
    assert_eq!(rig.driver.deadline(), Some(rig.now.after(micros(10_000_000 / 4))));
}

#[test]
fn dioceject_is_eopnotsupp_and_everything_else_is_enotty() {
    let mut rig = Rig::opened();
    assert_eq!(argumentless(&mut rig, IoctlCode::DIOCEJECT), wire(Errno::EOPNOTSUPP));
    let known: Vec<u64> = IoctlCode::NAMED.iter().map(|(_, code)| code.0).collect();
    for code in [
        0,
        1,
        u64::MAX,
        0x2000_640B,
        0x1_0000_0000 | IoctlCode::DIOCFLUSH.0,
        0x4020_6403,
    ] {
        assert!(!known.contains(&code));
        assert_eq!(
            argumentless(&mut rig, IoctlCode(code)),
            wire(Errno::ENOTTY),
            "{code:#x}"
        );
    }
    assert!(rig.disk().log.is_empty());
}
