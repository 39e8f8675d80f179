//! The steps of a trace and their checks, without a driver around them.

use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::trace::{TraceControl, TraceEntry, TraceRequest};
use minix_abi::{Errno, Status};
use minix_blockdriver::{BufferChange, Instant, Trace, TraceTicket};

const MINOR: Minor = Minor(1);
const OTHER: Minor = Minor(0);
const READ: TraceRequest = TraceRequest::READ;

type HostTrace = Trace<Vec<TraceEntry>>;

fn with_buffer(entries: usize) -> HostTrace {
    let mut trace = Trace::new();
    assert_eq!(
        trace.change_buffer(MINOR, entries as u64),
        Ok(BufferChange::Allocate(entries))
    );
    assert!(trace.install(MINOR, vec![TraceEntry::default(); entries]).is_none());
    trace
}

fn running(entries: usize) -> HostTrace {
    let mut trace = with_buffer(entries);
    trace
        .control(MINOR, TraceControl::START, Instant::from_micros(1000))
        .unwrap();
    trace
}

fn stop(trace: &mut HostTrace) -> Vec<TraceEntry> {
    trace
        .control(MINOR, TraceControl::STOP, Instant::from_micros(9999))
        .unwrap();
    trace.fetch(MINOR).unwrap().to_vec()
}

fn begin(trace: &mut HostTrace, position: u64) -> Option<TraceTicket> {
    trace.begin(MINOR, Instant::from_micros(1010), READ, 512, position, 0)
}

#[test]
fn buffer_cannot_change_while_the_trace_runs() {
    let mut trace = running(4);
    assert_eq!(trace.check_buffer(), Err(Errno::EBUSY));
    for entries in [0, 1, u64::MAX] {
        assert_eq!(trace.change_buffer(MINOR, entries), Err(Errno::EBUSY));
    }
}

#[test]
fn buffer_has_a_greatest_size() {
    let mut trace = HostTrace::new();
    for entries in [0x7FFF_FFFF / 32, u64::MAX, 1 << 32] {
        assert_eq!(trace.change_buffer(MINOR, entries), Err(Errno::EINVAL));
    }
    let most = 0x7FFF_FFFF / 32 - 1;
    assert_eq!(trace.change_buffer(MINOR, most), Ok(BufferChange::Allocate(67_108_862)));
    // The size is checked before the buffer that is there already.
    assert_eq!(with_buffer(4).change_buffer(MINOR, u64::MAX), Err(Errno::EINVAL));
}

#[test]
fn buffer_is_made_once_and_freed_by_its_owner() {
    let mut trace = with_buffer(4);
    assert_eq!(trace.change_buffer(MINOR, 4), Err(Errno::EBUSY));
    assert_eq!(trace.change_buffer(OTHER, 4), Err(Errno::EBUSY));
    assert_eq!(trace.change_buffer(OTHER, 0), Err(Errno::EINVAL));
    let freed = trace.change_buffer(MINOR, 0);
    assert!(matches!(freed, Ok(BufferChange::Release(memory)) if memory.len() == 4));
    assert_eq!(trace.change_buffer(MINOR, 0), Ok(BufferChange::Nothing));
    assert_eq!(trace.change_buffer(OTHER, 0), Ok(BufferChange::Nothing));
    assert_eq!(trace.check_control(MINOR), Err(Errno::EINVAL));
}

#[test]
fn control_belongs_to_the_minor_with_the_buffer() {
    let mut trace = HostTrace::new();
    assert_eq!(trace.check_control(MINOR), Err(Errno::EINVAL));
    assert_eq!(
        trace.control(MINOR, TraceControl::START, Instant::START),
        Err(Errno::EINVAL)
    );
    let mut trace = with_buffer(4);
    assert_eq!(trace.check_control(OTHER), Err(Errno::EINVAL));
    assert_eq!(
        trace.control(OTHER, TraceControl::START, Instant::START),
        Err(Errno::EINVAL)
    );
    assert_eq!(trace.check_control(MINOR), Ok(()));
}

#[test]
fn control_starts_once_and_stops_once() {
    let mut trace = with_buffer(4);
    assert_eq!(
        trace.control(MINOR, TraceControl::STOP, Instant::START),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        trace.control(MINOR, TraceControl(2), Instant::START),
        Err(Errno::EINVAL)
    );
    assert_eq!(trace.control(MINOR, TraceControl::START, Instant::START), Ok(()));
    assert_eq!(
        trace.control(MINOR, TraceControl::START, Instant::START),
        Err(Errno::EBUSY)
    );
    assert_eq!(
        trace.control(MINOR, TraceControl(-1), Instant::START),
        Err(Errno::EINVAL)
    );
    assert_eq!(trace.control(MINOR, TraceControl::STOP, Instant::START), Ok(()));
    assert_eq!(
        trace.control(MINOR, TraceControl::STOP, Instant::START),
        Err(Errno::EINVAL)
    );
}

#[test]
fn get_belongs_to_the_minor_with_the_buffer_and_waits_for_the_stop() {
    assert_eq!(HostTrace::new().fetch(MINOR), Err(Errno::EINVAL));
    let mut trace = running(4);
    assert_eq!(trace.fetch(OTHER), Err(Errno::EINVAL));
    assert_eq!(trace.fetch(MINOR), Err(Errno::EBUSY));
    assert!(stop(&mut trace).is_empty());
}

#[test]
fn get_goes_on_where_it_left_off() {
    let mut trace = running(3000);
    for position in 0..2500 {
        begin(&mut trace, position).unwrap();
    }
    stop(&mut trace);
    let mut positions = Vec::new();
    for count in [1024, 1024, 452, 0, 0] {
        let entries = trace.fetch(MINOR).unwrap();
        assert_eq!(entries.len(), count);
        positions.extend(entries.iter().map(|entry| entry.position));
        trace.fetched(count);
    }
    assert!(positions.into_iter().eq(0..2500));
}

#[test]
fn get_shows_the_same_again_if_the_copy_failed() {
    let mut trace = running(4);
    begin(&mut trace, 7);
    let shown = stop(&mut trace);
    assert_eq!(trace.fetch(MINOR), Ok(&shown[..]));
    trace.fetched(usize::MAX);
    assert_eq!(trace.fetch(MINOR), Ok(&[][..]));
}

#[test]
fn recording_has_all_fields() {
    let mut trace = running(4);
    let ticket = trace
        .begin(MINOR, Instant::from_micros(1010), TraceRequest::WRITE, 4096, 1 << 40, 1)
        .unwrap();
    trace.end(ticket, Instant::from_micros(1250), Status(4096));
    let entry = TraceEntry {
        request: TraceRequest::WRITE,
        size: 4096,
        position: 1 << 40,
        flags: 1,
        result: Status(4096),
        start_us: 10,
        finish_us: 250,
    };
    assert_eq!(stop(&mut trace), [entry]);
}

#[test]
fn recording_is_of_one_minor_and_only_while_the_trace_runs() {
    let mut trace = with_buffer(4);
    assert!(begin(&mut trace, 0).is_none() && !trace.records(MINOR));
    trace
        .control(MINOR, TraceControl::START, Instant::from_micros(1000))
        .unwrap();
    assert!(
        trace
            .begin(OTHER, Instant::from_micros(1010), READ, 512, 0, 0)
            .is_none()
    );
    assert!(trace.records(MINOR) && !trace.records(OTHER));
    assert!(begin(&mut trace, 0).is_some());
    assert_eq!(stop(&mut trace).len(), 1);
    assert!(begin(&mut trace, 0).is_none() && !trace.records(MINOR));
}

#[test]
fn recording_ends_silently_when_the_buffer_is_full() {
    let mut trace = running(2);
    let first = begin(&mut trace, 1).unwrap();
    let second = begin(&mut trace, 2).unwrap();
    assert!(begin(&mut trace, 3).is_none());
    // It still runs, and what was begun can end.
    assert_eq!(trace.fetch(MINOR), Err(Errno::EBUSY));
    trace.end(second, Instant::from_micros(1020), Status(512));
    trace.end(first, Instant::from_micros(1030), Status(512));
    let entries = stop(&mut trace);
    assert_eq!(
        entries.iter().map(|entry| entry.finish_us).collect::<Vec<_>>(),
        [30, 20]
    );
}

#[test]
fn recording_of_vectors_counts_elements_until_the_bytes_are_known() {
    let mut trace = running(2);
    let begin = |trace: &mut HostTrace| {
        trace
            .begin(MINOR, Instant::from_micros(1010), TraceRequest::GATHER, 64, 0, 0)
            .unwrap()
    };
    let known = begin(&mut trace);
    let unknown = begin(&mut trace);
    trace.set_size(known, 64 * 4096);
    trace.end(known, Instant::from_micros(1020), Status(64 * 4096));
    trace.end(unknown, Instant::from_micros(1020), Errno::EINVAL.into());
    assert_eq!(
        stop(&mut trace).iter().map(|entry| entry.size).collect::<Vec<_>>(),
        [64 * 4096, 64]
    );
}

#[test]
fn recording_leaves_out_the_control_of_the_trace() {
    let mut trace = running(9);
    for code in [
        IoctlCode::BIOCTRACEBUF,
        IoctlCode::BIOCTRACECTL,
        IoctlCode::BIOCTRACEGET,
    ] {
        assert!(
            trace
                .begin(
                    MINOR,
                    Instant::from_micros(1010),
                    TraceRequest::IOCTL,
                    code.0 as u32,
                    0,
                    0
                )
                .is_none()
        );
        // The same number is no code in other requests.
        assert!(
            trace
                .begin(MINOR, Instant::from_micros(1010), READ, code.0 as u32, 0, 0)
                .is_some()
        );
    }
    let flush = IoctlCode::DIOCFLUSH.0 as u32;
    assert!(
        trace
            .begin(MINOR, Instant::from_micros(1010), TraceRequest::IOCTL, flush, 0, 0)
            .is_some()
    );
}

#[test]
fn a_stop_cancels_what_is_open() {
    let mut trace = running(4);
    let open = begin(&mut trace, 5).unwrap();
    stop(&mut trace);
    trace.set_size(open, 1);
    trace.end(open, Instant::from_micros(1020), Status(512));
    let entry = trace.fetch(MINOR).unwrap()[0];
    assert_eq!(
        (entry.result, entry.finish_us, entry.size),
        (Status(-997), 0xFFFF_FFFF, 512)
    );
}

#[test]
fn a_new_start_forgets_entries_and_tickets() {
    let mut trace = running(4);
    let stale = begin(&mut trace, 5).unwrap();
    stop(&mut trace);
    trace.fetched(1);
    trace
        .control(MINOR, TraceControl::START, Instant::from_micros(2000))
        .unwrap();
    trace.begin(MINOR, Instant::from_micros(2005), READ, 512, 6, 0).unwrap();
    trace.end(stale, Instant::from_micros(2010), Status(512));
    let entries = stop(&mut trace);
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].position, entries[0].start_us, entries[0].result),
        (6, 5, Status::IN_PROGRESS)
    );
}

#[test]
fn a_new_buffer_starts_empty_and_stopped() {
    let mut trace = running(4);
    let ticket = begin(&mut trace, 5).unwrap();
    stop(&mut trace);
    trace.change_buffer(MINOR, 0).unwrap();
    trace.install(OTHER, vec![TraceEntry::default(); 1]);
    trace.end(ticket, Instant::from_micros(1020), Status(512));
    assert_eq!(trace.fetch(OTHER), Ok(&[][..]));
    assert_eq!(trace.fetch(MINOR), Err(Errno::EINVAL));
    assert!(!trace.records(OTHER));
    assert_eq!(trace.take_memory().map(|memory| memory.len()), Some(1));
}

#[test]
fn times_past_the_longest_stand_still() {
    // The largest number says that there is no time, so it is none even where it fits.
    for late in [
        Instant::from_micros(1000 + 0xFFFF_FFFE),
        Instant::from_micros(1000 + 0xFFFF_FFFF),
        Instant::from_micros(u64::MAX),
    ] {
        let mut trace = running(4);
        let ticket = trace.begin(MINOR, Instant::from_micros(900), READ, 0, 0, 0).unwrap();
        trace.end(ticket, late, Status::OK);
        let entry = stop(&mut trace)[0];
        assert_eq!((entry.start_us, entry.finish_us), (0, 0xFFFF_FFFE));
    }
}
