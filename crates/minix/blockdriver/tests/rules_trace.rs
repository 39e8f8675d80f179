//! The trace as clients see it: control requests, and what is recorded of the requests that pass.

mod common;

use std::time::Duration;

use common::{Element, Placement, Rig, micros, wire};
use minix_abi::bdev::{BdevAccess, BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::trace::{TraceEntry, TraceRequest};
use minix_abi::{Errno, GrantId, MessageType, Status};
use zerocopy::FromBytes;

fn buffer(rig: &mut Rig, entries: u64) -> i32 {
    rig.ioctl_set(0, IoctlCode::BIOCTRACEBUF, entries)
}

fn control(rig: &mut Rig, code: i32) -> i32 {
    rig.ioctl_set(0, IoctlCode::BIOCTRACECTL, code)
}

fn fetch(rig: &mut Rig) -> (i32, Vec<TraceEntry>) {
    let memory = rig.buffer(1024 * 32, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(memory);
    let status = rig.ioctl_with(0, IoctlCode::BIOCTRACEGET, grant);
    let bytes = rig.bytes(memory);
    let entries = bytes.chunks(32).take(status.max(0) as usize);
    (
        status,
        entries
            .map(|bytes| TraceEntry::read_from_bytes(bytes).unwrap())
            .collect(),
    )
}

const START: i32 = 0;
const STOP: i32 = 1;

#[test]
fn control_requests_of_the_trace_follow_their_rules() {
    let mut rig = Rig::opened();
    assert_eq!(control(&mut rig, START), wire(Errno::EINVAL), "no buffer");
    assert_eq!(fetch(&mut rig).0, wire(Errno::EINVAL));
    assert_eq!(buffer(&mut rig, 0), 0);
    assert_eq!(buffer(&mut rig, i32::MAX as u64 / 32), wire(Errno::EINVAL));
    assert_eq!(buffer(&mut rig, u64::MAX), wire(Errno::EINVAL));
    rig.kernel.trace_memory = false;
    assert_eq!(buffer(&mut rig, 10), wire(Errno::ENOMEM));
    rig.kernel.trace_memory = true;
    assert_eq!(buffer(&mut rig, 10), 0);
    assert_eq!(buffer(&mut rig, 10), wire(Errno::EBUSY));
    assert_eq!(control(&mut rig, STOP), wire(Errno::EINVAL));
    assert_eq!(control(&mut rig, 7), wire(Errno::EINVAL));
    assert_eq!(control(&mut rig, START), 0);
    assert_eq!(control(&mut rig, START), wire(Errno::EBUSY));
    assert_eq!(buffer(&mut rig, 0), wire(Errno::EBUSY));
    assert_eq!(fetch(&mut rig).0, wire(Errno::EBUSY));
    assert_eq!(control(&mut rig, STOP), 0);
    assert_eq!(fetch(&mut rig), (0, vec![]));
    // It belongs to the minor that asked for it.
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.ioctl_set(1, IoctlCode::BIOCTRACEBUF, 0_u64), wire(Errno::EINVAL));
    assert_eq!(rig.ioctl_set(1, IoctlCode::BIOCTRACEBUF, 4_u64), wire(Errno::EBUSY));
    assert_eq!(rig.ioctl_set(1, IoctlCode::BIOCTRACECTL, START), wire(Errno::EINVAL));
    assert_eq!(
        rig.ioctl_get::<TraceEntry>(1, IoctlCode::BIOCTRACEGET).0,
        wire(Errno::EINVAL)
    );
    // Its size is checked before that.
    assert_eq!(buffer(&mut rig, u64::MAX), wire(Errno::EINVAL));
    assert_eq!(rig.kernel.traces, 1);
    assert_eq!(buffer(&mut rig, 0), 0);
    assert_eq!(rig.kernel.traces, 0);
}

#[test]
fn each_request_to_the_traced_minor_is_recorded_with_its_size() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    assert_eq!(buffer(&mut rig, 100), 0);
    assert_eq!(control(&mut rig, START), 0);
    let start = rig.now;

    rig.sleep(micros(100));
    assert_eq!(rig.read(0, 512, 1024).0, 1024);
    rig.sleep(micros(50));
    let write = rig.write_request(0, 1024, &[1; 512]);
    let write = BdevRequest {
        flags: BdevFlags::FORCEWRITE,
        ..write
    };
    assert_eq!(rig.ask(MessageType::BDEV_WRITE, write), 512);
    let memory = rig.buffer(2048, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(memory);
    let vector = rig.vector(&[Element { grant, bytes: 512 }, Element { grant, bytes: 1536 }]);
    let gather = Rig::transfer_request(0, 0, 2, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, gather), 2048);
    assert_eq!(rig.open_for(0, BdevAccess::READ), 0);
    assert_eq!(rig.close(0), 0);
    assert_eq!(rig.ioctl_with(0, IoctlCode::DIOCEJECT, grant), wire(Errno::EOPNOTSUPP));
    assert_eq!(rig.read(0, 1, 512).0, wire(Errno::EINVAL));
    // Not recorded: another minor, and a vector that never came.
    assert_eq!(rig.read(1, 0, 512).0, 0);
    rig.sleep(micros(7));
    let bad = BdevRequest {
        grant: minix_abi::GrantId::INVALID,
        ..Rig::transfer_request(0, 512, 3, vector)
    };
    assert_eq!(rig.ask(MessageType::BDEV_SCATTER, bad), wire(Errno::EINVAL));
    assert_eq!(control(&mut rig, STOP), 0);
    assert_eq!(rig.now.since(start), micros(157));

    let (count, entries) = fetch(&mut rig);
    assert_eq!(count, 8);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.request, entry.size, entry.position, entry.flags, entry.result.0))
        .collect();
    let eject = IoctlCode::DIOCEJECT.0 as u32;
    assert_eq!(
        told,
        [
            (TraceRequest::READ, 1024, 512, 0, 1024),
            (TraceRequest::WRITE, 512, 1024, 1, 512),
            (TraceRequest::GATHER, 2048, 0, 0, 2048),
            (TraceRequest::OPEN, 1, 0, 0, 0),
            (TraceRequest::CLOSE, 0, 0, 0, 0),
            (TraceRequest::IOCTL, eject, 0, 0, wire(Errno::EOPNOTSUPP)),
            (TraceRequest::READ, 512, 1, 0, wire(Errno::EINVAL)),
            (TraceRequest::SCATTER, 3, 512, 0, wire(Errno::EINVAL)),
        ]
    );
    assert_eq!((entries[0].start_us, entries[0].finish_us), (100, 100));
    assert_eq!((entries[1].start_us, entries[7].finish_us), (150, 157));
    assert_eq!(fetch(&mut rig), (0, vec![]));
}

#[test]
fn times_are_those_of_the_answer() {
    let mut rig = Rig::opened();
    assert_eq!(buffer(&mut rig, 10), 0);
    assert_eq!(control(&mut rig, START), 0);
    rig.disk().automatic = false;
    let read = rig.send_read(0, 1);
    rig.poll();
    rig.sleep(micros(1234));
    rig.disk().finish(0, Ok(()));
    rig.poll();
    assert_eq!(rig.answer(read), Some(512));
    assert_eq!(control(&mut rig, STOP), 0);
    let entry = fetch(&mut rig).1[0];
    assert_eq!((entry.start_us, entry.finish_us), (0, 1234));
}

#[test]
fn times_beyond_the_longest_stand_still() {
    let mut rig = Rig::opened();
    assert_eq!(buffer(&mut rig, 10), 0);
    assert_eq!(control(&mut rig, START), 0);
    rig.sleep(Duration::from_secs(2 << 32));
    assert_eq!(rig.read(0, 0, 512).0, 512);
    assert_eq!(control(&mut rig, STOP), 0);
    let entry = fetch(&mut rig).1[0];
    let longest = TraceEntry::UNSET_TIME - 1;
    assert_eq!((entry.start_us, entry.finish_us), (longest, longest));
}

#[test]
fn get_resumes_after_the_last_entry_and_after_a_failed_copy() {
    let mut rig = Rig::opened();
    assert_eq!(buffer(&mut rig, 1100), 0);
    for run in 0..2 {
        // A start forgets what was recorded before.
        assert_eq!(control(&mut rig, START), 0);
        for nth in 0..1090 {
            assert_eq!(rig.read(0, nth % 2000 * 512, 512).0, 512);
        }
        assert_eq!(control(&mut rig, STOP), 0);
        let (count, entries) = fetch(&mut rig);
        assert_eq!((count, entries[1023].position), (1024, 1023 * 512), "run {run}");
        let bad = GrantId::INVALID;
        assert_eq!(rig.ioctl_with(0, IoctlCode::BIOCTRACEGET, bad), wire(Errno::EINVAL));
        let (count, entries) = fetch(&mut rig);
        assert_eq!((count, entries[65].position), (66, 1089 * 512));
        assert_eq!(fetch(&mut rig), (0, vec![]));
    }
}

#[test]
fn a_stop_waits_for_transfers_ahead_so_that_they_are_complete() {
    let mut rig = Rig::opened();
    assert_eq!(buffer(&mut rig, 10), 0);
    assert_eq!(control(&mut rig, START), 0);
    rig.disk().automatic = false;
    rig.send_read(0, 1);
    let memory = rig.buffer(4, Placement::Contiguous, 0);
    rig.fill(memory, &STOP.to_le_bytes());
    let grant = rig.lend_to_take(memory);
    let request = BdevRequest {
        minor: Minor(0),
        request: IoctlCode::BIOCTRACECTL,
        grant,
        ..BdevRequest::default()
    };
    let stop = rig.send(MessageType::BDEV_IOCTL, request);
    rig.poll();
    assert_eq!(rig.answer(stop), None);
    rig.settle();
    assert_eq!(rig.answer(stop), Some(0));
    assert_eq!(fetch(&mut rig).1[0].result, Status(512));
}

#[test]
fn a_full_trace_stops_silently() {
    let mut rig = Rig::opened();
    assert_eq!(buffer(&mut rig, 3), 0);
    assert_eq!(control(&mut rig, START), 0);
    for nth in 0..5 {
        assert_eq!(rig.read(0, nth * 512, 512).0, 512);
    }
    assert_eq!(control(&mut rig, STOP), 0);
    let (count, entries) = fetch(&mut rig);
    assert_eq!(count, 3);
    assert_eq!(entries[2].position, 1024);
}
