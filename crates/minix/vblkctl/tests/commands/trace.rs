//! `trace`.

use std::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::trace::{TRACE_ENTRIES_AT_ONCE, TraceEntry, TraceRequest};
use minix_abi::{Errno, Status};
use vblkctl::{DONE, FAILED};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::script::{Script, golden};

/// Every kind of request that `btrace` knows, with numbers that are all different, and at the ends of their ranges.
fn entries() -> Vec<TraceEntry> {
    let entry = |request, size, position, flags, result, start_us, finish_us| TraceEntry {
        request,
        size,
        position,
        flags,
        result,
        start_us,
        finish_us,
    };
    let open = TraceEntry::UNSET_TIME;
    vec![
        entry(TraceRequest::OPEN, 0x1F, 11, 12, Status(0), 13, 14),
        entry(TraceRequest::CLOSE, 21, 22, 23, Status(-5), 24, 25),
        entry(
            TraceRequest::READ,
            4096,
            0x0102_0304_0506_0708,
            0xAB,
            Status(4095),
            33,
            34,
        ),
        entry(TraceRequest::WRITE, 512, 512, 0, Status(-30), 43, 44),
        entry(TraceRequest::GATHER, 131_072, 0x1_0000_0200, 1, Status(131_072), 53, 54),
        entry(TraceRequest::SCATTER, 3, 0x8000_0000, 2, Status::IN_PROGRESS, 63, open),
        entry(TraceRequest::IOCTL, 0x8004_6202, 71, 72, Status(-25), 73, 74),
        entry(TraceRequest::IOCTL, 0x6209, 81, 82, Status(0), 83, 84),
        entry(
            TraceRequest::READ,
            u32::MAX,
            u64::MAX,
            u32::MAX,
            Status(i32::MIN),
            u32::MAX - 1,
            u32::MAX - 2,
        ),
    ]
}

/// A trace that is fetched in these parts.
fn traced(parts: &[&[TraceEntry]]) -> Script {
    let script = Script::default()
        .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
        .answer(IoctlCode::BIOCTRACECTL, Ok(&[]));
    parts
        .iter()
        .fold(script, |script, part| script.report(IoctlCode::BIOCTRACEGET, *part))
        .answer(IoctlCode::BIOCTRACEGET, Ok(&[]))
}

fn request<T: IntoBytes + Immutable>(code: IoctlCode, argument: T) -> (IoctlCode, Vec<u8>) {
    (code, argument.as_bytes().to_vec())
}

/// The file is what MINIX's own `btrace dump` has printed for these records.
#[test]
fn a_trace_has_the_text_that_btrace_prints() {
    let entries = entries();
    let (first, rest) = entries.split_at(2);
    golden("trace.txt", &traced(&[first, rest]).printed("trace"));
}

#[test]
fn a_request_that_btrace_has_no_word_for_is_a_number() {
    let mut entry = TraceEntry::read_from_bytes(&[0; 32]).unwrap();
    (entry.request, entry.start_us, entry.finish_us) = (TraceRequest(9), 1, 2);
    let text = "9 request\n- start:\t1 us\n- finish:\t2 us\n- result:\t0\n\n";
    assert_eq!(traced(&[&[entry]]).printed("trace"), text);
}

#[test]
fn a_trace_is_made_room_for_started_stopped_fetched_and_ended() {
    let mut script = traced(&[&entries()]);
    assert_eq!(script.run("trace -s 3 -n 5"), DONE, "{}", script.err());
    assert_eq!(script.slept, [Duration::from_secs(3)]);
    let (room, control) = (IoctlCode::BIOCTRACEBUF, IoctlCode::BIOCTRACECTL);
    let told = |(code, _): &(IoctlCode, Vec<u8>)| *code != IoctlCode::BIOCTRACEGET;
    let asked: Vec<_> = script.asked.iter().filter(|asked| told(asked)).cloned().collect();
    let expected = [
        request(room, 5_u64),
        request(control, 0_i32),
        request(control, 1_i32),
        request(room, 0_u64),
    ];
    assert_eq!(asked, expected);
    assert_eq!(script.codes()[3..5], [IoctlCode::BIOCTRACEGET; 2]);
}

#[test]
fn a_trace_without_numbers_is_a_second_and_has_room_for_4096() {
    let mut script = traced(&[]);
    assert_eq!((script.run("trace"), script.out()), (DONE, ""));
    assert_eq!(script.slept, [Duration::from_secs(1)]);
    assert_eq!(script.asked[0], request(IoctlCode::BIOCTRACEBUF, 4096_u64));
}

#[test]
fn a_long_trace_is_fetched_to_its_end() {
    let full = vec![entries()[0]; TRACE_ENTRIES_AT_ONCE];
    let mut script = traced(&[&full, &full, &full[..1]]);
    assert_eq!(script.run("trace"), DONE, "{}", script.err());
    let entries = script.out().matches("OPEN request\n").count();
    assert_eq!(entries, 2 * TRACE_ENTRIES_AT_ONCE + 1);
    // A kilobyte at a time, and the rest of each part.
    assert!(script.writes <= script.out.len() / 1024 + 3, "{}", script.writes);
}

#[test]
fn a_trace_that_was_left_behind_is_ended() {
    for stopped in [Ok(&[][..]), Err(Errno::EINVAL)] {
        let mut script = Script::default()
            .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
            .answer(IoctlCode::BIOCTRACECTL, stopped);
        assert_eq!((script.run("trace --reset"), script.err()), (DONE, ""));
        let expected = [
            request(IoctlCode::BIOCTRACECTL, 1_i32),
            request(IoctlCode::BIOCTRACEBUF, 0_u64),
        ];
        assert_eq!(script.asked, expected);
    }
}

#[test]
fn a_trace_that_fails_is_not_left_behind() {
    let ok = Ok(&[][..]);
    let failed = Err(Errno::EIO);
    let cases = [
        ([failed, ok], ok, "cannot start the trace"),
        ([ok, failed], ok, "cannot stop the trace"),
        ([ok, ok], failed, "cannot fetch the trace"),
    ];
    for (controls, fetched, why) in cases {
        let mut script = Script::default()
            .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
            .answer(IoctlCode::BIOCTRACEGET, fetched);
        for answer in controls {
            script = script.answer(IoctlCode::BIOCTRACECTL, answer);
        }
        assert_eq!(script.run("trace"), FAILED);
        assert_eq!(
            script.err(),
            format!("vblkctl: /dev/c0d0: {why}: input/output error (EIO)\n")
        );
        assert_eq!(
            script.asked.last(),
            Some(&request(IoctlCode::BIOCTRACEBUF, 0_u64)),
            "{why}"
        );
    }
    let mut script = Script {
        restless: true,
        ..traced(&[&entries()])
    };
    assert_eq!((script.run("trace"), script.out()), (FAILED, ""));
    assert_eq!(
        script.err(),
        "vblkctl: /dev/c0d0: cannot wait: invalid argument (EINVAL)\n"
    );
    let (room, control) = (IoctlCode::BIOCTRACEBUF, IoctlCode::BIOCTRACECTL);
    assert_eq!(
        script.asked[2..],
        [request(control, 1_i32), request(room, 0_u64)],
        "it is stopped and ended"
    );
    let mut script = Script {
        taken: Some(0),
        ..traced(&[&entries()])
    };
    assert_eq!(script.run("trace"), FAILED);
    assert_eq!(script.asked.last(), Some(&request(IoctlCode::BIOCTRACEBUF, 0_u64)));
}

#[test]
fn a_trace_that_does_not_end_is_told() {
    let mut script = traced(&[&entries()[..1]]);
    script = script.answer(IoctlCode::BIOCTRACEBUF, Err(Errno::EIO));
    assert_eq!(script.run("trace"), FAILED);
    assert!(script.out().starts_with("OPEN request\n"), "{}", script.out());
    assert_eq!(
        script.err(),
        "vblkctl: /dev/c0d0: cannot end the trace: input/output error (EIO)\n"
    );
}
