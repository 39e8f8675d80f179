//! What happened is in the log of events, which a client reads by `VBLKLOG`.

use minix_abi::bdev::BdevRequest;
use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, Errno, MessageType, Status};
use virtio_blk_model::StartFault;
use virtio_blk_model::faults::{FaultKind, FaultScript};
use zerocopy::{FromBytes, IntoBytes};

use crate::machine::{Rig, rig};

/// The grant that reports are written to.
const PAGE: i32 = 9;
/// The grant that reads go to.
const DATA: i32 = 3;

/// A service with the disk opened once.
fn opened() -> Rig {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    rig
}

/// The answer to a control request.
fn answer(rig: &mut Rig, code: IoctlCode, grant: i32, argument: &[u8]) -> i32 {
    let id = rig.asks(code, grant, argument);
    assert!(rig.goes_on());
    let [answer] = rig.answers(id).try_into().expect("one answer");
    answer
}

/// The log, with the places that must be empty checked.
fn log(rig: &mut Rig) -> LogReport {
    assert_eq!(answer(rig, IoctlCode::VBLKLOG, PAGE, &[0xEE; 4096]), 0);
    let page = rig.page(PAGE as usize);
    let (report, rest) = LogReport::read_from_prefix(&page).expect("it is aligned");
    assert!(report.header.is_of::<LogReport>());
    assert_eq!(report.reserved, 0);
    assert!(
        rest.iter().all(|&byte| byte == 0xEE),
        "more was written than the report"
    );
    let unused = &report.events[report.count as usize..];
    assert!(unused.iter().all(|event| *event == Event::default()));
    assert_eq!(report.now_us, rig.minix().now);
    report
}

/// The events, without their times, which are checked against the clock.
fn told(rig: &mut Rig) -> Vec<Event> {
    let report = log(rig);
    let events = &report.events[..report.count as usize];
    assert!(events.is_sorted_by_key(|event| event.time_us));
    for event in events {
        assert!((5_000_000..=report.now_us).contains(&event.time_us), "{event:?}");
    }
    events.iter().map(|&event| Event { time_us: 0, ..event }).collect()
}

/// An event: its kind, first, second, code and count.
fn event(kind: EventKind, first: u64, second: u64, code: u16, count: u32) -> Event {
    Event {
        first,
        second,
        code,
        count,
        ..Event::new(kind)
    }
}

/// The device does this with the next request, a read of eight sectors from eight on, which succeeds in the end.
fn read_with(rig: &mut Rig, fault: FaultKind) {
    let number = rig.state().model.counters().chains;
    rig.state().model.set_fault(FaultScript::new().at(number, fault));
    let id = rig.reads(4096, DATA);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
}

#[test]
fn a_service_to_which_nothing_happened_has_no_events() {
    let mut rig = opened();
    for nth in 0..10 {
        rig.reads(nth * 4096, DATA);
    }
    assert!(rig.goes_on());
    let report = log(&mut rig);
    assert_eq!((report.lost, report.count), (0, 0));
}

#[test]
fn a_refused_message_is_an_event_with_type_and_sender() {
    let mut rig = opened();
    let before = rig.minix().now;
    for (source, kind) in [(Endpoint::VFS, 0x1234), (Endpoint::MFS, -7)] {
        rig.request(source, IpcCall::SENDA, MessageType(kind), BdevRequest::default());
    }
    assert!(rig.goes_on());
    assert_eq!(log(&mut rig).events[0].time_us, before);
    let refused = |kind: u64, source: Endpoint| event(EventKind::REFUSED, kind, 0, 0, source.0 as u32);
    let expected = [refused(0x1234, Endpoint::VFS), refused(0xFFFF_FFF9, Endpoint::MFS)];
    assert_eq!(told(&mut rig), expected);
}

#[test]
fn a_lost_interrupt_and_the_next_that_comes_are_events() {
    let mut rig = rig();
    // The hook of a dead process masks the line after the first interrupt.
    rig.state().dead_hook = true;
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    for nth in 0..3 {
        rig.reads(nth * 4096, DATA);
        assert!(rig.goes_on());
    }
    assert_eq!(told(&mut rig), [event(EventKind::INTERRUPT_LOST, 0, 0, 0, 0)]);
    rig.state().bury_the_dead();
    rig.reads(4096, DATA);
    assert!(rig.goes_on());
    let events = told(&mut rig);
    assert_eq!(events.len(), 2);
    // The three reads were found without one.
    assert_eq!(events[1], event(EventKind::INTERRUPTS_AGAIN, 3, 0, 0, 0));
}

#[test]
fn a_lost_request_is_a_time_out_and_a_reset() {
    let mut rig = opened();
    let before = rig.minix().now;
    read_with(&mut rig, FaultKind::Lost);
    let expected = [
        event(EventKind::TIMED_OUT, 8, 8, Kind::READ.0 as u16, 0),
        event(EventKind::RESET, 0, 0, ResetReason::QUIET.0, 1),
        event(EventKind::RESET_WORKED, 0, 0, 0, 1),
    ];
    assert_eq!(told(&mut rig), expected);
    let waited = log(&mut rig).events[0].time_us - before;
    assert!((10_000_000..11_000_000).contains(&waited), "{waited}");
}

#[test]
fn requests_that_are_late_together_are_two_events() {
    let mut rig = opened();
    let number = rig.state().model.counters().chains;
    let faults = (0..3).fold(FaultScript::new(), |script, nth| {
        script.at(number + nth, FaultKind::Lost)
    });
    rig.state().model.set_fault(faults);
    // Apart, so that each is a device request.
    let ids = [0, 2, 4].map(|nth| rig.reads(nth * 8192, DATA));
    assert!(rig.goes_on());
    for id in ids {
        assert_eq!(rig.answers(id), [4096]);
    }
    let expected = [
        event(EventKind::TIMED_OUT, 0, 8, Kind::READ.0 as u16, 0),
        event(EventKind::MORE_TIMED_OUT, 0, 0, 0, 2),
        event(EventKind::RESET, 0, 0, ResetReason::QUIET.0, 3),
        event(EventKind::RESET_WORKED, 0, 0, 0, 3),
    ];
    assert_eq!(told(&mut rig), expected);
}

#[test]
fn each_fault_of_the_ring_is_an_event_and_a_reset() {
    for (fault, code, first) in [
        (FaultKind::UsedId(7777), FaultCode::ID_OUT_OF_RANGE, 7777),
        (FaultKind::UsedId(3), FaultCode::NOT_IN_FLIGHT, 3),
    ] {
        let mut rig = opened();
        read_with(&mut rig, fault);
        let expected = [
            event(EventKind::FAULT, first, 0, code.0, 0),
            event(EventKind::RESET, 0, 0, ResetReason::BROKEN.0, 1),
            event(EventKind::RESET_WORKED, 0, 0, 0, 1),
        ];
        assert_eq!(told(&mut rig), expected, "{fault:?}");
    }
    let mut rig = opened();
    read_with(&mut rig, FaultKind::IndexJump(500));
    let events = told(&mut rig);
    assert_eq!(
        (events[0].kind, events[0].code),
        (EventKind::FAULT, FaultCode::INDEX_JUMP.0)
    );
    assert!(events[0].first >= 500, "{:?}", events[0]);
}

#[test]
fn a_device_that_asks_for_a_reset_is_a_fault_and_a_reset() {
    let mut rig = opened();
    rig.state().model.needs_reset();
    let id = rig.reads(4096, DATA);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
    let events = told(&mut rig);
    assert_eq!(events[0], event(EventKind::FAULT, 0, 0, FaultCode::NEEDS_RESET.0, 0));
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::FAULT, EventKind::RESET, EventKind::RESET_WORKED]);
    assert_eq!(events[1].code, ResetReason::BROKEN.0);
}

#[test]
fn a_resize_is_an_event_with_both_sizes() {
    let mut rig = opened();
    rig.state().model.resize(32_768);
    assert!(rig.goes_on());
    rig.state().model.resize(20_000);
    assert!(rig.goes_on());
    let expected = [
        event(EventKind::RESIZED, 32_768, 16_384, 0, 0),
        event(EventKind::RESIZED, 20_000, 32_768, 0, 0),
    ];
    assert_eq!(told(&mut rig), expected);
}

#[test]
fn a_device_that_does_not_start_at_first_is_five_events() {
    let mut rig = opened();
    rig.state().model.set_start_faults([StartFault::FeaturesRefused]);
    read_with(&mut rig, FaultKind::UsedId(7777));
    let kinds: Vec<_> = told(&mut rig).iter().map(|event| (event.kind, event.count)).collect();
    let expected = [
        (EventKind::FAULT, 0),
        (EventKind::RESET, 1),
        (EventKind::NOT_STARTED, 0),
        (EventKind::RESET_FAILED, 1),
        (EventKind::RESET_WORKED, 1),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_device_that_is_gone_ends_in_given_up() {
    let mut rig = opened();
    rig.state().model.go_away();
    let id = rig.reads(4096, DATA);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [Status::from(Errno::EIO).0]);
    let failed = |nth| event(EventKind::RESET_FAILED, 0, 0, 0, nth);
    let not_started = event(EventKind::NOT_STARTED, 0, 0, 0, 0);
    let expected = [
        event(EventKind::RESET, 0, 0, ResetReason::NOT_ALIVE.0, 1),
        not_started,
        failed(1),
        not_started,
        failed(2),
        not_started,
        event(EventKind::GIVEN_UP, 3, 3, 0, 0),
    ];
    assert_eq!(told(&mut rig), expected);
}

#[test]
fn after_64_events_the_oldest_are_lost_and_counted() {
    let mut rig = opened();
    let refuse = |rig: &mut Rig, kinds: std::ops::Range<i32>| {
        for kind in kinds {
            rig.request(Endpoint::VFS, IpcCall::SENDA, MessageType(kind), BdevRequest::default());
        }
        assert!(rig.goes_on());
    };
    for (kinds, lost, kept) in [
        (0x1000..0x1040, 0, 0x1000..0x1040),
        (0x1040..0x1041, 1, 0x1001..0x1041),
        (0x1041..0x10C0, 128, 0x1080..0x10C0),
    ] {
        refuse(&mut rig, kinds);
        let report = log(&mut rig);
        assert_eq!((report.lost, report.count), (lost, 64));
        let first: Vec<_> = report.events.iter().map(|event| event.first).collect();
        assert_eq!(first, kept.collect::<Vec<u64>>());
    }
}

#[test]
fn reports_go_nowhere_but_where_a_client_lets_them() {
    let mut rig = opened();
    for code in fake_minix::REPORTS {
        let bytes = code.argument_bytes();
        assert_eq!(answer(&mut rig, code, PAGE, &[0xEE; 4096]), 0, "{code:?}");
        let page = rig.page(PAGE as usize);
        assert!(page[bytes..].iter().all(|&byte| byte == 0xEE), "{code:?}");
        // All but the version have it in front, and their length.
        assert_eq!(page[..4], VERSION.to_le_bytes());
        if bytes > 4 {
            assert_eq!(page[4..8], (bytes as u32).to_le_bytes(), "{code:?}");
        }
        assert_eq!(
            answer(&mut rig, code, -1, &[]),
            Status::from(Errno::EINVAL).0,
            "{code:?}"
        );
        assert_eq!(
            answer(&mut rig, code, 1000, &[]),
            Status::from(Errno::EPERM).0,
            "{code:?}"
        );
    }
}

#[test]
fn an_older_or_newer_client_gets_enotty_and_can_ask_for_the_version() {
    let mut rig = opened();
    for code in [IoctlCode::VBLKSTAT, IoctlCode::VBLKLOG, IoctlCode::VBLKZERO] {
        // The same request with an argument of another length.
        for size in [8_u64 << 16, 0x40 << 16] {
            let other = IoctlCode(code.0 ^ size);
            let answer = answer(&mut rig, other, PAGE, &[]);
            assert_eq!(answer, Status::from(Errno::ENOTTY).0, "{other:?}");
        }
    }
    assert_eq!(answer(&mut rig, IoctlCode::VBLKVERSION, PAGE, &[]), 0);
    assert_eq!(rig.page(PAGE as usize)[..4], VERSION.to_le_bytes());
    // A range has the version in it, too.
    for version in [0, 2] {
        let range = RangeRequest {
            version,
            ..RangeRequest::new(RangeFlags::empty(), 0, 8)
        };
        let answer = answer(&mut rig, IoctlCode::VBLKZERO, PAGE, range.as_bytes());
        assert_eq!(answer, Status::from(Errno::EINVAL).0);
        assert_eq!(rig.page(PAGE as usize)[..32], *range.as_bytes(), "it is left alone");
    }
    assert_eq!(told(&mut rig), [], "none of that is a message to refuse");
}
