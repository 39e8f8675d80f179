//! `log`.

use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use zerocopy::FromZeros;

use crate::script::{Script, golden};

fn text(lost: u64, events: &[Event]) -> String {
    let mut report = LogReport::new_zeroed();
    report.header = ReportHeader::of::<LogReport>();
    (report.now_us, report.lost, report.count) = (5_000_000, lost, events.len() as u32);
    report.events[..events.len()].copy_from_slice(events);
    Script::default().report(IoctlCode::VBLKLOG, &report).printed("log")
}

/// What is said of one event.
fn words(event: Event) -> String {
    let text = text(0, &[event]);
    let line = text.strip_suffix('\n').unwrap();
    line.strip_prefix("      5.000000 s ago  ").unwrap().to_owned()
}

fn coded(kind: EventKind, code: u16) -> Event {
    Event {
        first: 71,
        second: 72,
        code,
        count: 73,
        ..Event::new(kind)
    }
}

#[test]
fn log_tells_every_number_in_its_place() {
    let events: Vec<Event> = (1..=15)
        .map(|nth: u16| Event {
            time_us: 4_000_000 - 1_100_001 * u64::from(nth % 4),
            first: 1000 + u64::from(nth),
            second: 2000 + u64::from(nth),
            // A write, or the reason or the fault of that number.
            code: 1,
            count: 3000 + u32::from(nth),
            ..Event::new(EventKind(nth))
        })
        .collect();
    golden("log.txt", &text(77, &events));
}

#[test]
fn an_empty_log_says_so() {
    assert_eq!(text(0, &[]), "no events\n");
    // The service loses none before it has 64, but a report may say anything.
    assert_eq!(text(3, &[]), "3 earlier events are lost\nno events\n");
}

#[test]
fn a_full_log_has_a_line_for_each_event() {
    let events = [Event::new(EventKind::INTERRUPT_LOST); EVENTS];
    let text = text(1, &events);
    assert_eq!(text.lines().count(), 1 + EVENTS);
}

#[test]
fn every_reason_of_a_reset_has_its_words() {
    let cases = [
        (ResetReason::QUIET, "completes nothing"),
        (ResetReason::LOST_REQUEST, "has lost a request"),
        (ResetReason::BROKEN, "broke the rules or asked for it"),
        (ResetReason::NOT_ALIVE, "stopped without an interrupt, or is gone"),
        (ResetReason::TAKES_NOTHING, "takes no requests although it has room"),
        (ResetReason::TAKES_NO_FLUSH, "takes no flush"),
        (ResetReason(99), "needs one for another reason"),
    ];
    for (reason, why) in cases {
        let expected = format!("reset: the device {why}, with 73 requests in it");
        assert_eq!(words(coded(EventKind::RESET, reason.0)), expected);
    }
    assert_eq!(ResetReason::NAMED.len() + 1, cases.len());
}

#[test]
fn every_fault_has_its_words() {
    let cases = [
        (FaultCode::INDEX_JUMP, "the used index jumped"),
        (FaultCode::ID_OUT_OF_RANGE, "a used id is no descriptor"),
        (FaultCode::NOT_IN_FLIGHT, "a used id is not in flight"),
        (FaultCode::GONE, "the device is gone"),
        (FaultCode::NEEDS_RESET, "the device asks for a reset"),
        (FaultCode(99), "another"),
    ];
    for (code, what) in cases {
        assert_eq!(words(coded(EventKind::FAULT, code.0)), format!("fault: {what} (71)"));
    }
    assert_eq!(FaultCode::NAMED.len() + 1, cases.len());
}

#[test]
fn every_kind_of_request_has_its_words() {
    let cases = [
        (Kind::READ, "read"),
        (Kind::WRITE, "write"),
        (Kind::FLUSH, "flush"),
        (Kind::DISCARD, "discard"),
        (Kind::ZERO, "zero"),
        (Kind::ERASE, "erase"),
        (Kind::SCAN, "table read"),
        (Kind::IDENTIFY, "identify"),
        (Kind::SWITCH, "cache"),
        (Kind(99), "another"),
    ];
    for (kind, name) in cases {
        let place = "of 72 sectors from 71 on";
        let timed_out = coded(EventKind::TIMED_OUT, kind.0 as u16);
        assert_eq!(
            words(timed_out),
            format!("time-out: {name} {place}, tried 73 times before")
        );
        let given_up = coded(EventKind::REQUEST_GIVEN_UP, kind.0 as u16);
        assert_eq!(
            words(given_up),
            format!("request given up: {name} {place}, lost 73 times")
        );
        // A request without a place, for the first time.
        let (second, count) = (0, 0);
        let first_time = Event {
            second,
            count,
            ..timed_out
        };
        assert_eq!(words(first_time), format!("time-out: {name}"));
    }
    assert_eq!(Kind::NAMED.len() + 1, cases.len());
}

#[test]
fn a_refused_message_has_its_type_and_sender() {
    let refused = Event {
        first: 0xFFFF_F9C1,
        count: -5_i32 as u32,
        ..Event::new(EventKind::REFUSED)
    };
    assert_eq!(words(refused), "message refused: type 0xfffff9c1 from endpoint -5");
}
