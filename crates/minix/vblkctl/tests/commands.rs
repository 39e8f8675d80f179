//! Every command against a system that answers by a script.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::trace::{TraceEntry, TraceRequest};
use minix_abi::vfs::{Descriptor, OpenMode};
use minix_abi::{Endpoint, Errno, Status};
use vblkctl::{Calls, DONE, FAILED, MISUSED};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The descriptor of the disk.
const DISK: Descriptor = Descriptor(5);

/// A system with one disk. A request without an answer is not known.
#[derive(Default)]
struct Script {
    answers: HashMap<u64, VecDeque<Result<Vec<u8>, Errno>>>,
    open: Option<Errno>,
    /// That error is only for writing.
    readable: bool,
    terminal: Option<&'static [u8]>,
    asked: Vec<(IoctlCode, Vec<u8>)>,
    opened: Vec<OpenMode>,
    closed: usize,
    slept: Vec<Duration>,
    out: Vec<u8>,
    err: Vec<u8>,
    broken_pipe: bool,
    /// A range is done but for this many sectors.
    short_by: u64,
}

impl Script {
    fn answer(mut self, code: IoctlCode, answer: Result<&[u8], Errno>) -> Self {
        let queue = self.answers.entry(code.0).or_default();
        queue.push_back(answer.map(<[u8]>::to_vec));
        self
    }

    fn run(&mut self, line: &str) -> u8 {
        vblkctl::run(self, line.split_whitespace())
    }

    fn out(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    fn err(&self) -> &str {
        std::str::from_utf8(&self.err).unwrap()
    }

    fn ranges(&self) -> Vec<(IoctlCode, RangeRequest)> {
        let ranges = self.asked.iter().filter(|(_, argument)| argument.len() == 32);
        ranges
            .map(|(code, bytes)| (*code, RangeRequest::read_from_bytes(bytes).unwrap()))
            .collect()
    }
}

impl Calls for Script {
    fn open(&mut self, name: &CStr, mode: OpenMode) -> Result<Descriptor, Errno> {
        assert_eq!(name, c"/dev/c0d0");
        self.opened.push(mode);
        match self.open {
            Some(errno) if mode == OpenMode::O_RDWR || !self.readable => Err(errno),
            _ => Ok(DISK),
        }
    }

    fn close(&mut self, file: Descriptor) {
        assert_eq!(file, DISK);
        self.closed += 1;
    }

    fn control(&mut self, file: Descriptor, code: IoctlCode, argument: &mut [u8]) -> Result<u32, Errno> {
        assert_eq!((file, argument.len()), (DISK, code.argument_bytes()));
        self.asked.push((code, argument.to_vec()));
        let queue = self.answers.get_mut(&code.0).ok_or(Errno::ENOTTY)?;
        // The last answer stays.
        let answer = if queue.len() > 1 {
            queue.pop_front()
        } else {
            queue.front().cloned()
        };
        let bytes = answer.unwrap()?;
        if [IoctlCode::VBLKDISCARD, IoctlCode::VBLKZERO, IoctlCode::VBLKERASE].contains(&code) {
            let mut request = RangeRequest::read_from_bytes(argument).unwrap();
            request.done = request.count - self.short_by;
            argument.copy_from_slice(request.as_bytes());
        } else {
            argument[..bytes.len()].copy_from_slice(&bytes);
        }
        if code == IoctlCode::BIOCTRACEGET {
            return Ok((bytes.len() / size_of::<TraceEntry>()) as u32);
        }
        Ok(0)
    }

    fn read(&mut self, _: Descriptor, bytes: &mut [u8]) -> Result<usize, Errno> {
        let line = self.terminal.unwrap();
        bytes[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }

    fn write_all(&mut self, file: Descriptor, bytes: &[u8]) -> Result<(), Errno> {
        match file {
            Descriptor::STDERR => self.err.extend(bytes),
            _ if self.broken_pipe => return Err(Errno::EPIPE),
            _ => self.out.extend(bytes),
        }
        Ok(())
    }

    fn is_terminal(&mut self, _: Descriptor) -> bool {
        self.terminal.is_some()
    }

    fn sleep(&mut self, span: Duration) -> Result<(), Errno> {
        self.slept.push(span);
        Ok(())
    }
}

/// Compares with a file; with `VBLKCTL_BLESS` in the environment it writes that file.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("VBLKCTL_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "{name} has changed:\n{text}");
}

fn disk() -> DiskReport {
    let disk = DiskHead {
        header: ReportHeader::of::<DiskReport>(),
        address: 0x1000_8000,
        offered: 1 << 32 | 1 << 29 | 1 << 28 | 1 << 13 | 1 << 9,
        accepted: 1 << 32 | 1 << 29 | 1 << 13 | 1 << 9,
        sectors: 131_072,
        flags: DiskFlags::LIVE | DiskFlags::CAN_FLUSH | DiskFlags::WRITE_CACHE | DiskFlags::DISCARD | DiskFlags::ID,
        irq: 8,
        transport_version: 2,
        block_bytes: 512,
        max_segments: 126,
        max_segment_bytes: 1 << 20,
        discard: RangeLimit {
            sectors: 4096,
            ranges: 1,
            alignment: 8,
        },
        descriptors: 256,
        opens: 3,
        timeout_ms: 5000,
        ..DiskHead::default()
    };
    let mut report = DiskReport {
        disk,
        ..DiskReport::default()
    };
    report.disk.id[..5].copy_from_slice(b"disk1");
    for (nth, (base, bytes)) in [(0, 64 << 20), (1 << 20, 63 << 20)].into_iter().enumerate() {
        report.minors[nth] = MinorExtent {
            base,
            bytes,
            minor: Minor(nth as i32),
            opens: 1 + nth as u32,
        };
    }
    report
}

fn stat(times: u64) -> StatReport {
    let mut report = StatReport {
        header: ReportHeader::of::<StatReport>(),
        since_us: 1_000_000,
        now_us: 1_000_000 + times * 2_000_000,
        ..StatReport::default()
    };
    for (nth, kind) in report.kinds.iter_mut().take(3).enumerate() {
        kind.operations = 100 * times * (nth as u64 + 1);
        kind.bytes = 4096 * kind.operations;
        kind.latency[7] = kind.operations - times;
        kind.latency[10] = times;
    }
    report.counts.in_flight = 4;
    report.counts.notifies = 50 * times;
    report.counts.interrupts = 20 * times;
    report.counts.merged = 7 * times;
    report.counts.watches_hit = 9 * times;
    report.counts.watches_missed = times;
    report.counts.timeouts = times;
    report
}

fn sized(sectors: u64) -> Script {
    Script::default()
        .answer(IoctlCode::VBLKVERSION, Ok(VERSION.as_bytes()))
        .answer(IoctlCode::DIOCGMEDIASIZE, Ok((sectors * 512).as_bytes()))
        .answer(IoctlCode::DIOCGSECTORSIZE, Ok(4096_u32.as_bytes()))
}

#[test]
fn info_tells_the_disk_and_its_partitions() {
    let mut script = Script::default().answer(IoctlCode::VBLKINFO, Ok(disk().as_bytes()));
    assert_eq!((script.run("info"), script.closed), (DONE, 1), "{}", script.err());
    golden("info.txt", script.out());
}

#[test]
fn info_in_json_is_one_object_with_all_minors() {
    let mut script = Script::default().answer(IoctlCode::VBLKINFO, Ok(disk().as_bytes()));
    assert_eq!(script.run("info -j"), DONE, "{}", script.err());
    let told: serde_json::Value = serde_json::from_str(script.out()).unwrap();
    assert_eq!(told["sectors"], 131_072);
    assert_eq!(told["id"], "disk1");
    assert_eq!(told["minors"][1]["name"], "d0p0");
    assert_eq!(told["discard"]["alignment"], 8);
    assert!(told["erase"].is_null());
}

#[test]
fn stat_tells_all_counts() {
    let mut script = Script::default().answer(IoctlCode::VBLKSTAT, Ok(stat(1).as_bytes()));
    assert_eq!(script.run("stat"), DONE, "{}", script.err());
    golden("stat.txt", script.out());
}

#[test]
fn stat_with_an_interval_tells_what_is_new() {
    let mut script = Script::default();
    for times in [1, 2, 4] {
        script = script.answer(IoctlCode::VBLKSTAT, Ok(stat(times).as_bytes()));
    }
    assert_eq!(script.run("stat -i 2 -c 2"), DONE, "{}", script.err());
    assert_eq!(script.slept, [Duration::from_secs(2); 2]);
    golden("stat-interval.txt", script.out());
}

#[test]
fn another_instance_of_the_service_is_told_and_counts_from_its_start() {
    let mut anew = stat(1);
    (anew.since_us, anew.now_us) = (9_000_000, 10_000_000);
    let mut script = Script::default()
        .answer(IoctlCode::VBLKSTAT, Ok(stat(3).as_bytes()))
        .answer(IoctlCode::VBLKSTAT, Ok(anew.as_bytes()));
    assert_eq!(script.run("stat -i 1 -c 1"), DONE, "{}", script.err());
    let lines: Vec<_> = script.out().lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "the service was started anew"));
    assert!(lines[2].starts_with("    100.0 "), "{}", lines[2]);
}

#[test]
fn the_heading_comes_again_after_twenty_lines() {
    let mut script = Script::default().answer(IoctlCode::VBLKSTAT, Ok(stat(1).as_bytes()));
    assert_eq!(script.run("stat -i 1 -c 21"), DONE, "{}", script.err());
    let headings = |line: &&str| line.contains("rMiB/s");
    assert_eq!(script.out().lines().filter(headings).count(), 2);
    assert_eq!(script.out().lines().count(), 23);
}

#[test]
fn intervals_in_json_are_an_object_a_line() {
    let mut script = Script::default();
    for times in [1, 2, 4] {
        script = script.answer(IoctlCode::VBLKSTAT, Ok(stat(times).as_bytes()));
    }
    assert_eq!(script.run("-d /dev/c0d0 stat -j -i 2 -c 2"), DONE, "{}", script.err());
    let told: Vec<serde_json::Value> = script
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reads = |nth: usize| &told[nth]["kinds"]["read"]["operations"];
    assert_eq!(
        (told.len(), reads(0).as_u64(), reads(1).as_u64()),
        (2, Some(100), Some(200))
    );
    assert_eq!(told[1]["kinds"]["write"]["p99_below_us"], 256);
    assert!(told[1]["kinds"]["zero"]["p99_below_us"].is_null());
}

#[test]
fn the_largest_numbers_fit_into_json() {
    let mut largest = StatReport::read_from_bytes(&[0xff; size_of::<StatReport>()]).unwrap();
    largest.header = ReportHeader::of::<StatReport>();
    let mut script = Script::default().answer(IoctlCode::VBLKSTAT, Ok(largest.as_bytes()));
    assert_eq!(script.run("stat -j"), DONE, "{}", script.err());
    let told: serde_json::Value = serde_json::from_str(script.out()).unwrap();
    assert_eq!(told["kinds"]["erase"]["latency"][31], u64::MAX);
    assert_eq!(told["counts"]["odd_lengths"], u64::MAX);

    let mut largest = DiskReport::read_from_bytes(&[0xff; size_of::<DiskReport>()]).unwrap();
    largest.disk.header = ReportHeader::of::<DiskReport>();
    largest.disk.id = [b'\n'; 20];
    let mut script = Script::default().answer(IoctlCode::VBLKINFO, Ok(largest.as_bytes()));
    assert_eq!(script.run("info -j"), DONE, "{}", script.err());
    serde_json::from_str::<serde_json::Value>(script.out()).unwrap();
}

#[test]
fn regs_queue_and_log_are_told_line_by_line() {
    let mut regs = RegisterReport::new_zeroed();
    regs.header = ReportHeader::of::<RegisterReport>();
    regs.count = 1;
    regs.registers[0] = RegisterValue::new("MagicValue", 0x7472_6976);
    let mut queue = QueueReport::new_zeroed();
    queue.header = ReportHeader::of::<QueueReport>();
    queue.ring = QueueState {
        flags: QueueFlags::LIVE,
        size: 256,
        free: 253,
        chains: 1,
        ..QueueState::default()
    };
    queue.count = 2;
    queue.in_flight[0] = InFlightRequest {
        age_us: 120,
        first: 2048,
        sectors: 8,
        kind: Kind::WRITE,
        client: Endpoint(40_000),
        tag: 3,
        clients: 2,
        ..InFlightRequest::default()
    };
    let mut log = LogReport::new_zeroed();
    log.header = ReportHeader::of::<LogReport>();
    (log.now_us, log.lost, log.count) = (5_000_000, 2, 14);
    for (nth, event) in log.events.iter_mut().take(14).enumerate() {
        *event = Event {
            time_us: 1_000_000,
            first: 2048,
            second: 8,
            code: 1,
            count: 3,
            ..Event::new(EventKind(nth as u16 + 1))
        };
    }
    let mut script = Script::default()
        .answer(IoctlCode::VBLKREGS, Ok(regs.as_bytes()))
        .answer(IoctlCode::VBLKQUEUE, Ok(queue.as_bytes()))
        .answer(IoctlCode::VBLKLOG, Ok(log.as_bytes()));
    let status = ["regs", "queue", "log"].map(|command| script.run(command));
    assert_eq!(status, [DONE; 3], "{}", script.err());
    golden("reports.txt", script.out());

    queue.count = 70;
    let mut script = Script::default().answer(IoctlCode::VBLKQUEUE, Ok(queue.as_bytes()));
    assert_eq!(script.run("queue"), DONE);
    assert!(script.out().ends_with("\nand 6 more\n"), "{}", script.out());
}

#[test]
fn a_long_range_goes_in_pieces() {
    let mut script = sized(1 << 20).answer(IoctlCode::VBLKZERO, Ok(&[]));
    assert_eq!(script.run("zero --unmap 8 100M"), DONE, "{}", script.err());
    let ranges: Vec<_> = script
        .ranges()
        .iter()
        .map(|(_, r)| (r.version, r.flags, r.first, r.count))
        .collect();
    let unmap = RangeFlags::UNMAP;
    assert_eq!(ranges, [(1, unmap, 8, 131_072), (1, unmap, 131_080, 73_728)]);
    assert_eq!(script.opened, [OpenMode::O_RDWR]);
    assert_eq!(script.out(), "zeroed 204800 sectors (100 MiB) from sector 8 on\n");
}

#[test]
fn all_sectors_are_given_up_only_after_a_yes() {
    let cases: [(&str, Option<&[u8]>, usize); 6] = [
        ("erase --all", Some(b"y\n"), 1),
        ("erase --all", Some(b"n\n"), 0),
        ("erase --all", Some(b""), 0),
        ("erase --all", None, 0),
        ("erase --all --yes", None, 1),
        ("erase --all --force", None, 1),
    ];
    for (line, terminal, ranges) in cases {
        let mut script = sized(4096).answer(IoctlCode::VBLKERASE, Ok(&[]));
        script.terminal = terminal;
        let status = script.run(line);
        let outcome = (status == DONE, script.ranges().len());
        assert_eq!(outcome, (ranges == 1, ranges), "{line} {terminal:?}");
        assert_eq!(script.err().contains("[y/N]"), terminal.is_some());
    }
}

#[test]
fn a_refused_range_is_explained() {
    let cases = [
        (Errno::EACCES, "read-only"),
        (Errno::EOPNOTSUPP, "no command to discard"),
        (Errno::EBUSY, "open elsewhere"),
        (Errno::EINVAL, "multiples of 8 sectors"),
        (Errno::EIO, "vblkctl log"),
    ];
    for (errno, part) in cases {
        let mut script = sized(4096).answer(IoctlCode::VBLKDISCARD, Err(errno));
        assert_eq!((script.run("discard 1 8"), script.out()), (FAILED, ""));
        assert!(
            script.err().contains(part) && script.err().lines().count() == 1,
            "{}",
            script.err()
        );
    }
    let mut script = sized(4096);
    assert_eq!(script.run("discard 4090 7"), FAILED);
    assert!(
        script.err().contains("not inside: it has 4096 sectors (2 MiB)"),
        "{}",
        script.err()
    );
}

#[test]
fn a_range_that_stops_half_way_tells_how_far_it_came() {
    for (errno, part) in [
        (Errno::EBUSY, "--force"),
        (Errno::EIO, "zero sectors 131072 to 262143: "),
    ] {
        let mut script = sized(1 << 20)
            .answer(IoctlCode::VBLKZERO, Ok(&[]))
            .answer(IoctlCode::VBLKZERO, Err(errno));
        assert_eq!(script.run("zero 0 200M"), FAILED);
        assert_eq!(script.ranges().len(), 2);
        assert!(
            script.err().contains(part) && script.err().contains("(131072 sectors before that are done)"),
            "{}",
            script.err()
        );
    }
    let mut short = Script {
        short_by: 8,
        ..sized(4096).answer(IoctlCode::VBLKZERO, Ok(&[]))
    };
    assert_eq!((short.run("zero 0 64"), short.out()), (FAILED, ""));
    assert!(short.err().contains("56 sectors of 64"), "{}", short.err());
}

#[test]
fn a_disk_that_cannot_be_opened_to_write_is_read_only_or_not_permitted() {
    for (flags, part) in [
        (DiskFlags::READ_ONLY, "the disk is read-only"),
        (DiskFlags::LIVE, "for root"),
    ] {
        let mut report = disk();
        report.disk.flags = flags;
        let mut script = Script {
            open: Some(Errno::EACCES),
            readable: true,
            ..sized(4096).answer(IoctlCode::VBLKINFO, Ok(report.as_bytes()))
        };
        assert_eq!((script.run("discard 0 8"), script.ranges().len()), (FAILED, 0));
        assert_eq!(script.opened, [OpenMode::O_RDWR, OpenMode::O_RDONLY]);
        assert!(script.err().contains(part), "{}", script.err());
        assert_eq!(script.closed, 1);
    }
}

#[test]
fn another_driver_or_version_is_told_in_one_line() {
    let commands = ["info", "stat", "regs", "queue", "log", "discard 0 8"];
    for command in commands {
        let mut old = Script::default();
        assert_eq!(old.run(command), FAILED);
        assert!(
            old.err().contains("does not know this request") && old.err().lines().count() == 1,
            "{}",
            old.err()
        );
        let mut new = Script::default().answer(IoctlCode::VBLKVERSION, Ok(2_u32.as_bytes()));
        assert_eq!(new.run(command), FAILED);
        assert!(
            new.err().contains("speaks version 2") && new.err().lines().count() == 1,
            "{}",
            new.err()
        );
    }
    let mut other = disk();
    other.disk.header.version = 9;
    let mut script = Script::default().answer(IoctlCode::VBLKINFO, Ok(other.as_bytes()));
    assert_eq!(script.run("info"), FAILED);
    assert!(script.err().contains("report of version 9"), "{}", script.err());
}

#[test]
fn a_disk_that_does_not_open_is_explained() {
    let cases = [
        (Errno::ENOENT, "no such device"),
        (Errno::ENXIO, "no service"),
        (Errno::EACCES, "for root"),
        (Errno::EMFILE, "cannot be opened"),
    ];
    for (errno, part) in cases {
        let mut script = Script {
            open: Some(errno),
            ..Script::default()
        };
        assert_eq!(script.run("flush"), FAILED);
        assert!(
            script.err().starts_with("vblkctl: /dev/c0d0: ") && script.err().contains(part),
            "{}",
            script.err()
        );
    }
}

#[test]
fn flush_cache_and_timeout_use_the_requests_of_every_disk() {
    let mut later = disk();
    later.disk.timeout_ms = 2000;
    let mut script = Script::default()
        .answer(IoctlCode::DIOCFLUSH, Ok(&[]))
        .answer(IoctlCode::DIOCSETWC, Ok(&[]))
        .answer(IoctlCode::DIOCGETWC, Ok(0_i32.as_bytes()))
        .answer(IoctlCode::VBLKINFO, Ok(disk().as_bytes()))
        .answer(IoctlCode::VBLKINFO, Ok(later.as_bytes()))
        .answer(IoctlCode::DIOCTIMEOUT, Ok(&[]));
    let status = ["flush", "cache off", "timeout 2000"].map(|command| script.run(command));
    assert_eq!(status, [DONE; 3], "{}", script.err());
    assert_eq!(script.out(), "write cache off\ntime-out 2000 ms, before 5000 ms\n");
    assert_eq!(script.asked[1], (IoctlCode::DIOCSETWC, 0_i32.as_bytes().to_vec()));
}

#[test]
fn what_a_disk_cannot_do_is_told_in_words() {
    let cases = [
        (
            "flush",
            IoctlCode::DIOCFLUSH,
            Errno::EOPNOTSUPP,
            "no volatile write cache",
        ),
        (
            "cache on",
            IoctlCode::DIOCSETWC,
            Errno::EOPNOTSUPP,
            "no write cache that can be switched",
        ),
        (
            "cache",
            IoctlCode::DIOCGETWC,
            Errno::EIO,
            "cannot ask for the write cache: input/output error (EIO)",
        ),
        ("trace", IoctlCode::BIOCTRACEBUF, Errno::EBUSY, "vblkctl trace --reset"),
        (
            "trace -n 99999999",
            IoctlCode::BIOCTRACEBUF,
            Errno::EINVAL,
            "smaller -n",
        ),
        ("trace", IoctlCode::BIOCTRACEBUF, Errno::ENOMEM, "smaller -n"),
    ];
    for (line, code, errno, part) in cases {
        let mut script = Script::default().answer(code, Err(errno));
        assert_eq!((script.run(line), script.out()), (FAILED, ""), "{line}");
        assert!(script.err().contains(part), "{line}: {}", script.err());
        assert_eq!(script.err().lines().count(), 1, "{line}");
    }
}

#[test]
fn a_trace_is_printed_in_the_words_of_btrace() {
    let entry = |request, size, position, result| TraceEntry {
        request,
        size,
        position,
        flags: 1,
        result,
        start_us: 10,
        finish_us: 25,
    };
    let first = [
        entry(TraceRequest::OPEN, 3, 0, Status::OK),
        entry(TraceRequest::GATHER, 4096, 0x1_0000_0200, Status(4096)),
    ];
    let rest = [
        entry(TraceRequest::IOCTL, 0x8004_6202, 0, Status(-25)),
        entry(TraceRequest::WRITE, 512, 0, Status::IN_PROGRESS),
        entry(TraceRequest(9), 0, 0, Status::OK),
    ];
    let mut script = Script::default()
        .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
        .answer(IoctlCode::BIOCTRACECTL, Ok(&[]))
        .answer(IoctlCode::BIOCTRACEGET, Ok(first.as_bytes()))
        .answer(IoctlCode::BIOCTRACEGET, Ok(rest.as_bytes()))
        .answer(IoctlCode::BIOCTRACEGET, Ok(&[]));
    assert_eq!(script.run("trace -s 3 -n 5"), DONE, "{}", script.err());
    golden("trace.txt", script.out());
    let asked: Vec<_> = script
        .asked
        .iter()
        .filter(|(code, _)| *code != IoctlCode::BIOCTRACEGET)
        .collect();
    let expected = [
        (IoctlCode::BIOCTRACEBUF, 5_u64.as_bytes().to_vec()),
        (IoctlCode::BIOCTRACECTL, 0_i32.as_bytes().to_vec()),
        (IoctlCode::BIOCTRACECTL, 1_i32.as_bytes().to_vec()),
        (IoctlCode::BIOCTRACEBUF, 0_u64.as_bytes().to_vec()),
    ];
    assert!(asked.into_iter().eq(&expected));
    assert_eq!(script.slept, [Duration::from_secs(3)]);
}

#[test]
fn a_trace_that_was_left_behind_is_ended() {
    for stopped in [Ok(&[][..]), Err(Errno::EINVAL)] {
        let mut script = Script::default()
            .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
            .answer(IoctlCode::BIOCTRACECTL, stopped);
        assert_eq!(script.run("trace --reset"), DONE, "{}", script.err());
        let codes: Vec<_> = script.asked.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [IoctlCode::BIOCTRACECTL, IoctlCode::BIOCTRACEBUF]);
    }
}

#[test]
fn reports_of_a_device_that_does_not_work_say_so() {
    let mut info = DiskReport::default();
    info.disk.header = ReportHeader::of::<DiskReport>();
    info.disk.flags = DiskFlags::GIVEN_UP;
    let mut queue = QueueReport::new_zeroed();
    queue.header = ReportHeader::of::<QueueReport>();
    queue.ring.flags = QueueFlags::STOPPED | QueueFlags::FAULT;
    let mut log = LogReport::new_zeroed();
    log.header = ReportHeader::of::<LogReport>();
    let mut regs = RegisterReport::new_zeroed();
    regs.header = ReportHeader::of::<RegisterReport>();
    let mut script = Script::default()
        .answer(IoctlCode::VBLKINFO, Ok(info.as_bytes()))
        .answer(IoctlCode::VBLKQUEUE, Ok(queue.as_bytes()))
        .answer(IoctlCode::VBLKLOG, Ok(log.as_bytes()))
        .answer(IoctlCode::VBLKREGS, Ok(regs.as_bytes()));
    for (line, part) in [
        ("info", "given up: every request fails"),
        (
            "queue",
            "the device does not work: there is no queue\nstopped: the device broke the rules",
        ),
        ("log", "no events\n"),
        ("regs", "has no registers to show"),
    ] {
        script.out.clear();
        assert_eq!(script.run(line), DONE, "{line}: {}", script.err());
        assert!(script.out().contains(part), "{line}: {}", script.out());
    }
}

#[test]
fn a_trace_that_fails_is_not_left_behind() {
    let mut script = Script::default()
        .answer(IoctlCode::BIOCTRACEBUF, Ok(&[]))
        .answer(IoctlCode::BIOCTRACECTL, Ok(&[]))
        .answer(IoctlCode::BIOCTRACEGET, Err(Errno::EIO));
    assert_eq!(script.run("trace"), FAILED);
    let last = script.asked.last().unwrap();
    assert_eq!(*last, (IoctlCode::BIOCTRACEBUF, 0_u64.as_bytes().to_vec()));
    assert_eq!(script.slept, [Duration::from_secs(1)]);
}

#[test]
fn a_wrong_command_line_touches_no_disk() {
    let lines = [
        "",
        "frobnicate",
        "info 1",
        "info -i 2",
        "stat -c 3",
        "stat -i 0",
        "stat -i",
        "-x info",
        "cache maybe",
        "timeout",
        "timeout 0",
        "discard",
        "discard 0",
        "discard 0 0",
        "discard 0 1 2",
        "discard --all 0 1",
        "discard -u 0 1",
        "discard -1 2",
        "erase 0 1.5M",
        "info -j -j",
        "info --json=yes",
        "trace --reset -n 4",
    ];
    for line in lines {
        let mut script = Script::default();
        assert_eq!((script.run(line), script.opened.len()), (MISUSED, 0), "{line}");
        assert!(
            script.err().starts_with("vblkctl: ") && script.err().lines().count() == 1,
            "{line}: {}",
            script.err()
        );
    }
}

#[test]
fn output_that_cannot_be_written_fails() {
    let mut script = Script {
        broken_pipe: true,
        ..Script::default()
    };
    assert_eq!(script.run("--help"), FAILED);
    assert!(script.err().contains("standard output"), "{}", script.err());
}
