//! Command lines, disks, drivers and outputs that do not work.

use minix_abi::Errno;
use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use vblkctl::{DONE, FAILED, MISUSED};
use zerocopy::FromZeros;

use crate::info::disk;
use crate::script::Script;

const OF_THE_SERVICE: [&str; 7] = ["info", "stat", "regs", "queue", "log", "timeout 5", "discard 0 8"];
const OF_ANY_DISK: [&str; 4] = ["flush", "cache", "trace", "trace --reset"];

#[test]
fn another_driver_is_told_in_one_line() {
    for command in OF_THE_SERVICE.into_iter().chain(OF_ANY_DISK) {
        let mut script = Script::default();
        assert_eq!((script.run(command), script.out()), (FAILED, ""), "{command}");
        let why =
            "its driver does not know this request: it is another driver than that of this vblkctl, or an older one";
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"), "{command}");
        assert_eq!(script.closed, 1);
    }
}

#[test]
fn a_service_of_another_version_is_told_in_one_line() {
    for command in OF_THE_SERVICE {
        let mut script = Script::default().report(IoctlCode::VBLKVERSION, &2_u32);
        assert_eq!((script.run(command), script.out()), (FAILED, ""), "{command}");
        let why = "the service speaks version 2 of these requests and this vblkctl version 1: \
                   use the vblkctl that was built with the service";
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"), "{command}");
    }
}

#[test]
fn a_service_that_does_not_tell_its_version_is_not_trusted_with_a_range() {
    let mut script = Script::default().answer(IoctlCode::VBLKVERSION, Err(Errno::EIO));
    assert_eq!((script.run("discard 0 8"), script.ranges()), (FAILED, vec![]));
    let why = "cannot ask the service for its version: input/output error (EIO)";
    assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
}

#[test]
fn a_report_that_is_none_is_told_with_what_it_says() {
    for (version, bytes) in [(9, 648), (1, 649), (0, 0)] {
        let mut other = disk();
        other.disk.header = ReportHeader { version, bytes };
        let mut script = Script::default().report(IoctlCode::VBLKINFO, &other);
        assert_eq!((script.run("info"), script.out()), (FAILED, ""));
        let why = format!(
            "the service answers with a report of version {version} and {bytes} bytes that is none: \
             use the vblkctl that was built with it"
        );
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    }
}

#[test]
fn a_disk_that_does_not_open_is_explained() {
    let cases = [
        (
            Errno::ENOENT,
            "no such device: name the disk with -d, as in -d /dev/c0d0",
        ),
        (
            Errno::ENOTDIR,
            "no such device: name the disk with -d, as in -d /dev/c0d0",
        ),
        (
            Errno::ENXIO,
            "no service drives this device: start one with minix-service up",
        ),
        (Errno::EACCES, "no permission: the device is for root"),
        (Errno::EPERM, "no permission: the device is for root"),
        (Errno::ENAMETOOLONG, "the name is longer than a path may be"),
        (Errno::EMFILE, "cannot be opened: too many open files (EMFILE)"),
    ];
    for (errno, why) in cases {
        for command in OF_THE_SERVICE.into_iter().chain(OF_ANY_DISK) {
            let mut script = Script {
                open: Some(errno),
                ..Script::default()
            };
            assert_eq!((script.run(command), script.closed), (FAILED, 0));
            assert_eq!((script.out(), script.codes()), ("", vec![]));
            assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"), "{command}");
        }
    }
}

#[test]
fn a_name_longer_than_a_path_is_not_opened() {
    let name = "x".repeat(1024);
    for name in [name.clone(), name + "x"] {
        let mut script = Script::default();
        assert_eq!(script.run(&format!("-d {name} info")), FAILED);
        assert_eq!(script.opened, []);
        assert!(script.err().ends_with(": the name is longer than a path may be\n"));
    }
}

#[test]
fn a_wrong_command_line_is_told_and_touches_no_disk() {
    let cases = [
        ("", "no command; see vblkctl --help"),
        ("frobnicate", "'frobnicate' is no command; see vblkctl --help"),
        ("info 1", "'1' is one word too many"),
        ("info -i 2", "info does not take --interval"),
        ("queue -j", "queue does not take --json"),
        ("stat -c 3", "--count needs --interval"),
        ("stat -i 0", "--interval: '0' is not a number from 1 to 4294967295"),
        ("stat -i 2 -c x", "--count: 'x' is not a number from 1 to 4294967295"),
        ("stat -i", "-i needs a value"),
        ("stat -i 2 -c", "-c needs a value"),
        ("trace -s", "-s needs a value"),
        ("trace -s 0", "--seconds: '0' is not a number from 1 to 4294967295"),
        ("trace --entries", "--entries needs a value"),
        ("trace -n 0", "--entries: '0' is not a number from 1 to 4294967295"),
        ("info --device", "--device needs a value"),
        ("-x info", "-x is no option; see vblkctl --help"),
        ("--frob info", "--frob is no option; see vblkctl --help"),
        ("cache maybe", "cache: 'maybe' is not on or off"),
        ("timeout", "timeout needs milliseconds"),
        (
            "timeout 0",
            "timeout: '0' is not a number of milliseconds from 1 to 2147483647",
        ),
        ("discard", "discard needs FIRST and COUNT, or --all"),
        ("discard 0", "discard needs FIRST and COUNT, or --all"),
        ("discard 0 0", "COUNT: '0' is not a number of sectors above zero"),
        ("discard 0 1 2", "'2' is one word too many"),
        ("discard --all 0 1", "'0' is one word too many"),
        ("discard -u 0 1", "discard does not take --unmap"),
        (
            "erase 0 1.5M",
            "COUNT: '1.5M' is not a number of sectors, or a size with K, M, G or T",
        ),
        (
            "erase z 1",
            "FIRST: 'z' is not a number of sectors, or a size with K, M, G or T",
        ),
        ("info -j -j", "-j is given twice"),
        ("info --json=yes", "--json takes no value"),
        ("trace --reset -n 4", "trace --reset does not take --entries"),
        ("trace --reset -s 4", "trace --reset does not take --seconds"),
        ("trace -f", "trace does not take --force"),
        ("log -a", "log does not take --all"),
        ("log -y", "log does not take --yes"),
        ("log --reset", "log does not take --reset"),
        ("log -c 1", "log does not take --count"),
    ];
    for (line, why) in cases {
        let mut script = Script::default();
        assert_eq!((script.run(line), script.opened.len()), (MISUSED, 0), "{line}");
        assert_eq!(
            (script.err(), script.out()),
            (&*format!("vblkctl: {why}\n"), ""),
            "{line}"
        );
    }
}

#[test]
fn help_and_version_need_no_disk() {
    for (line, start) in [
        ("--help", "usage: vblkctl [-d DEVICE] COMMAND\n"),
        ("info -h", "usage: vblkctl [-d DEVICE] COMMAND\n"),
        (
            "-V",
            concat!("vblkctl ", env!("CARGO_PKG_VERSION"), ", version 1 of the requests\n"),
        ),
    ] {
        let mut script = Script::default();
        assert_eq!((script.run(line), script.opened.len()), (DONE, 0));
        assert!(script.out().starts_with(start), "{}", script.out());
    }
}

#[test]
fn output_that_cannot_be_written_fails() {
    for line in ["--help", "info", "info -j", "stat", "stat -i 1"] {
        let mut script = Script {
            taken: Some(0),
            ..Script::default()
                .report(IoctlCode::VBLKINFO, &disk())
                .answer(IoctlCode::VBLKSTAT, Ok(&statistics()))
        };
        assert_eq!(script.run(line), FAILED, "{line}");
        assert!(script.err().contains("standard output: "), "{}", script.err());
        assert_eq!(script.err().lines().count(), 1);
    }
}

#[test]
fn after_an_output_that_breaks_off_nothing_more_is_written() {
    let mut log = LogReport::new_zeroed();
    log.header = ReportHeader::of::<LogReport>();
    for (nth, event) in log.events.iter_mut().enumerate() {
        *event = Event::new(EventKind(nth as u16 % 16));
    }
    (log.lost, log.count) = (1, EVENTS as u32);
    let mut queue = QueueReport::new_zeroed();
    queue.header = ReportHeader::of::<QueueReport>();
    for (nth, request) in queue.in_flight.iter_mut().enumerate() {
        request.kind = Kind(nth as u32 % 9);
        request.sectors = nth as u64 % 2;
        (request.clients, request.replays) = (nth as u16 % 3, nth as u32 % 2);
        request.flags = InFlightFlags::BOUNCE;
    }
    (queue.ring.flags, queue.count) = (QueueFlags::LIVE, 64);
    let mut registers = RegisterReport {
        header: ReportHeader::of::<RegisterReport>(),
        ..RegisterReport::default()
    };
    registers.registers.fill(RegisterValue::new("DeviceFeatures", u64::MAX));
    registers.count = registers.registers.len() as u32;
    let script = || {
        Script::default()
            .report(IoctlCode::VBLKLOG, &log)
            .report(IoctlCode::VBLKQUEUE, &queue)
            .report(IoctlCode::VBLKREGS, &registers)
            .report(IoctlCode::VBLKINFO, &disk())
            .answer(IoctlCode::VBLKSTAT, Ok(&statistics()))
    };
    for line in [
        "log",
        "queue",
        "regs",
        "info",
        "stat",
        "stat -i 1 -c 9",
        "stat -j -i 1 -c 3",
    ] {
        let mut whole = script();
        assert_eq!(whole.run(line), DONE, "{}", whole.err());
        assert!(whole.writes > usize::from(line != "regs"), "{line}: a longer text");
        for taken in 0..whole.writes {
            let mut script = Script {
                taken: Some(taken),
                ..script()
            };
            assert_eq!((script.run(line), script.writes), (FAILED, taken), "{line}");
            assert_eq!(script.refused, 1, "{line}: it goes on");
            assert!(whole.out().starts_with(script.out()) && script.out().len() < whole.out().len());
            assert_eq!(
                script.err(),
                "vblkctl: /dev/c0d0: standard output: the pipe has no reader (EPIPE)\n"
            );
        }
    }
}

fn statistics() -> Vec<u8> {
    use zerocopy::IntoBytes;
    let report = StatReport {
        header: ReportHeader::of::<StatReport>(),
        ..StatReport::default()
    };
    report.as_bytes().to_vec()
}
