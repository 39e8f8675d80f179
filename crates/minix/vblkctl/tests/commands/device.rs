//! `regs` and `queue`.

use minix_abi::Endpoint;
use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use zerocopy::FromZeros;

use crate::script::{Script, golden};

fn registers() -> RegisterReport {
    let mut report = RegisterReport {
        header: ReportHeader::of::<RegisterReport>(),
        address: 0x1000_7000,
        count: 3,
        ..RegisterReport::default()
    };
    report.registers[0] = RegisterValue::new("MagicValue", 0x7472_6976);
    report.registers[1] = RegisterValue::new("Version", 2);
    report.registers[2] = RegisterValue::new("DeviceFeatures", 0x1_3000_6244);
    // It is beyond the count.
    report.registers[3] = RegisterValue::new("Status", 15);
    report
}

/// A queue whose every number is another one.
fn queue() -> QueueReport {
    let mut report = QueueReport {
        header: ReportHeader::of::<QueueReport>(),
        now_us: 5,
        ring: QueueState {
            flags: QueueFlags::LIVE | QueueFlags::EVENT_INDEX | QueueFlags::INDIRECT,
            size: 256,
            free: 201,
            chains: 202,
            unpublished: 203,
            available_index: 204,
            used_index: 205,
            used_seen: 206,
            used_flags: 0x207,
            avail_event: 208,
            table_entries: 209,
        },
        unanswered: 210,
        ..QueueReport::new_zeroed()
    };
    let clients = [
        (Kind::READ, 0, 1, InFlightFlags::empty()),
        (Kind::WRITE, 1, 2, InFlightFlags::BOUNCE),
        (Kind::FLUSH, 0, 1, InFlightFlags::BARRIER),
        (Kind::DISCARD, 2, 3, InFlightFlags::BARRIER | InFlightFlags::COMPLETED),
        (Kind::ZERO, 3, 1, InFlightFlags::COMPLETED),
        (Kind::ERASE, 4, 4, InFlightFlags::BARRIER | InFlightFlags::BOUNCE),
    ];
    let service = [
        (Kind::SCAN, 5, 0, InFlightFlags::BACKGROUND),
        (
            Kind::IDENTIFY,
            0,
            0,
            InFlightFlags::BACKGROUND | InFlightFlags::COMPLETED,
        ),
        (Kind::SWITCH, 0, 0, InFlightFlags::empty()),
        (Kind(77), 6, 0, InFlightFlags::from_bits_retain(15)),
    ];
    for (nth, (kind, replays, clients, flags)) in clients.into_iter().chain(service).enumerate() {
        let number = nth as u64;
        let has_place = !matches!(kind, Kind::FLUSH | Kind::IDENTIFY | Kind::SWITCH);
        report.in_flight[nth] = InFlightRequest {
            age_us: 1000 + number,
            first: if has_place { 2000 + number } else { 0 },
            sectors: if has_place { 3000 + number } else { 0 },
            kind,
            flags,
            client: if clients > 0 {
                Endpoint(40_000 + nth as i32)
            } else {
                Endpoint::NONE
            },
            minor: Minor(if clients > 0 { 128 + nth as i32 } else { -1 }),
            tag: 50 + nth as u16,
            clients,
            replays,
        };
        report.count += 1;
    }
    report
}

fn queue_text(report: &QueueReport) -> String {
    Script::default().report(IoctlCode::VBLKQUEUE, report).printed("queue")
}

#[test]
fn regs_tells_name_and_value_of_each() {
    let text = Script::default()
        .report(IoctlCode::VBLKREGS, &registers())
        .printed("regs");
    let expected = "\
registers at         0x10007000
MagicValue           0x74726976
Version              0x2
DeviceFeatures       0x130006244
";
    assert_eq!(text, expected);
}

#[test]
fn regs_of_a_device_that_does_not_work_says_so() {
    let mut report = registers();
    report.count = 0;
    let text = Script::default().report(IoctlCode::VBLKREGS, &report).printed("regs");
    let expected = "\
registers at         0x10007000
the device does not work, and has no registers to show
";
    assert_eq!(text, expected);
}

#[test]
fn queue_tells_every_number_in_its_place() {
    golden("queue.txt", &queue_text(&queue()));
}

#[test]
fn each_flag_of_a_queue_has_its_words() {
    let cases = [
        (QueueFlags::LIVE, "event index off, avail_event 208, direct chains\n"),
        (
            QueueFlags::LIVE | QueueFlags::EVENT_INDEX,
            "event index on, avail_event 208, direct chains\n",
        ),
        (
            QueueFlags::LIVE | QueueFlags::INDIRECT,
            "event index off, avail_event 208, indirect tables of 209\n",
        ),
        (QueueFlags::empty(), "the device does not work: there is no queue\n"),
        (
            QueueFlags::FAULT,
            "the device does not work: there is no queue\nstopped: the device broke the rules of the ring\n",
        ),
        (
            QueueFlags::STOPPED,
            "the device does not work: there is no queue\nstopped: the device is to be reset, or is given up\n",
        ),
    ];
    let live = "\
queue of 256: 201 free, 202 chains with the device, 203 not published, 0 requests
available index 204, used index 205 (taken up to 206), used flags 0x207
";
    for (flags, words) in cases {
        let mut report = queue();
        (report.ring.flags, report.count) = (flags, 0);
        let front = if flags.contains(QueueFlags::LIVE) { live } else { "" };
        let end = "requests of clients without an answer: 210\nnothing in flight\n";
        assert_eq!(queue_text(&report), format!("{front}{words}{end}"));
    }
}

#[test]
fn requests_that_the_report_has_no_room_for_are_counted() {
    for (count, end) in [(63, "\n"), (64, "\n"), (65, "\nand 1 more\n"), (70, "\nand 6 more\n")] {
        let mut report = queue();
        report.count = count;
        let text = queue_text(&report);
        assert!(text.ends_with(end), "{count}: {text}");
        let shown = text.lines().filter(|line| line.starts_with("   ")).count();
        assert_eq!((shown, text.contains(" more\n")), (64.min(count) as usize, count > 64));
    }
}
