//! `discard`, `zero` and `erase`.

use minix_abi::Errno;
use minix_abi::disk_control::*;
use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::OpenMode;
use vblkctl::{DONE, FAILED};

use crate::info::disk;
use crate::script::Script;

/// A command line, what is typed on the terminal if there is one, and what is said instead of doing it.
type Answered = (&'static str, Option<&'static [u8]>, Result<(), &'static str>);

/// Sectors of one request.
const PIECE: u64 = 131_072;

#[test]
fn each_command_sends_its_request_and_says_what_it_did() {
    let (none, unmap, force) = (RangeFlags::empty(), RangeFlags::UNMAP, RangeFlags::FORCE);
    let cases = [
        ("discard 8 16", IoctlCode::VBLKDISCARD, none, "discarded"),
        ("discard --force 8 16", IoctlCode::VBLKDISCARD, force, "discarded"),
        ("zero 8 16", IoctlCode::VBLKZERO, none, "zeroed"),
        ("zero --unmap 4K 8K", IoctlCode::VBLKZERO, unmap, "zeroed"),
        ("zero -u -f 8 16", IoctlCode::VBLKZERO, unmap | force, "zeroed"),
        ("erase 8 16", IoctlCode::VBLKERASE, none, "erased"),
        ("erase -f 8 16", IoctlCode::VBLKERASE, force, "erased"),
    ];
    for (line, code, flags, past) in cases {
        let mut script = Script::sized(4096).answer(code, Ok(&[]));
        assert_eq!(script.run(line), DONE, "{line}: {}", script.err());
        let expected = RangeRequest::new(flags, 8, 16);
        assert_eq!(script.ranges(), [(code, expected)], "{line}");
        assert_eq!(script.out(), format!("{past} 16 sectors (8 KiB) from sector 8 on\n"));
        assert_eq!((script.opened, script.closed), (vec![OpenMode::O_RDWR], 1), "{line}");
    }
}

#[test]
fn a_long_range_goes_in_pieces() {
    let mut script = Script::sized(1 << 20).answer(IoctlCode::VBLKZERO, Ok(&[]));
    assert_eq!(script.run("zero --unmap 8 100M"), DONE, "{}", script.err());
    let piece = |first, count| (IoctlCode::VBLKZERO, RangeRequest::new(RangeFlags::UNMAP, first, count));
    assert_eq!(script.ranges(), [piece(8, PIECE), piece(131_080, 73_728)]);
    assert_eq!(script.out(), "zeroed 204800 sectors (100 MiB) from sector 8 on\n");
}

#[test]
fn all_sectors_are_given_up_only_after_a_yes() {
    let cases: [Answered; 9] = [
        ("erase --all", Some(b"y\n"), Ok(())),
        ("erase --all", Some(b" YES \n"), Ok(())),
        ("erase --all", Some(b"n\n"), Err("nothing was done")),
        ("erase --all", Some(b"yes, but\n"), Err("nothing was done")),
        ("erase --all", Some(b"\n"), Err("nothing was done")),
        ("erase --all", Some(b""), Err("nothing was done")),
        (
            "erase --all",
            None,
            Err("--all gives up everything on it: without a terminal to ask on it needs --yes or --force"),
        ),
        ("erase --all --yes", None, Ok(())),
        ("erase --all --force", None, Ok(())),
    ];
    for (line, terminal, outcome) in cases {
        let mut script = Script::sized(4096).answer(IoctlCode::VBLKERASE, Ok(&[]));
        script.terminal = terminal;
        let status = if outcome.is_ok() { DONE } else { FAILED };
        assert_eq!(script.run(line), status, "{line} {terminal:?}");
        let question = if terminal.is_some() {
            "erase all 4096 sectors (2 MiB) of /dev/c0d0? [y/N] "
        } else {
            ""
        };
        let why = match outcome {
            Ok(()) => String::new(),
            Err(why) => format!("vblkctl: /dev/c0d0: {why}\n"),
        };
        assert_eq!(script.err(), format!("{question}{why}"), "{line} {terminal:?}");
        let counts: Vec<_> = script.ranges().iter().map(|(_, range)| range.count).collect();
        assert_eq!(counts, if outcome.is_ok() { vec![4096] } else { vec![] });
    }
}

#[test]
fn a_refused_range_is_explained() {
    let cases = [
        (Errno::EACCES, "the disk is read-only"),
        (Errno::EOPNOTSUPP, "its device has no command to discard"),
        (
            Errno::EBUSY,
            "it, a partition of it or the disk around it is open elsewhere, say mounted: unmount it, or use --force",
        ),
        (
            Errno::EINVAL,
            "FIRST and COUNT have to be whole blocks: multiples of 8 sectors here",
        ),
        (
            Errno::EIO,
            "cannot discard sectors 1 to 8: input/output error (EIO); see vblkctl log",
        ),
    ];
    for (errno, why) in cases {
        let mut script = Script::sized(4096).answer(IoctlCode::VBLKDISCARD, Err(errno));
        assert_eq!((script.run("discard 1 8"), script.out()), (FAILED, ""));
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    }
}

#[test]
fn a_request_that_the_driver_does_not_know_is_told() {
    let why = "its driver does not know this request: it is another driver than that of this vblkctl, or an older one";
    // The size, and then the range itself.
    let without_size = Script::default().report(IoctlCode::VBLKVERSION, &VERSION);
    for (mut script, ranges) in [(without_size, 0), (Script::sized(4096), 1)] {
        assert_eq!((script.run("erase 0 8"), script.out()), (FAILED, ""));
        assert_eq!(script.ranges().len(), ranges);
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    }
}

#[test]
fn without_a_question_and_an_answer_nothing_is_given_up() {
    let script = || Script {
        terminal: Some(b"y\n"),
        ..Script::sized(4096).answer(IoctlCode::VBLKERASE, Ok(&[]))
    };
    let unasked = Script {
        silent: true,
        ..script()
    };
    let unanswered = Script {
        unreadable: true,
        ..script()
    };
    let question = "erase all 4096 sectors (2 MiB) of /dev/c0d0? [y/N] ";
    let why = "vblkctl: /dev/c0d0: standard input: input/output error (EIO)\n";
    for (mut script, said) in [(unasked, String::new()), (unanswered, format!("{question}{why}"))] {
        assert_eq!((script.run("erase --all"), script.ranges()), (FAILED, vec![]));
        assert_eq!((script.err(), script.closed), (&*said, 1));
    }
}

#[test]
fn a_range_outside_is_refused_before_it_is_sent() {
    for (line, first, count) in [
        ("discard 4090 7", 4090, 7),
        ("discard 4096 1", 4096, 1),
        ("discard 18446744073709551615 2", u64::MAX, 2),
    ] {
        let mut script = Script::sized(4096).answer(IoctlCode::VBLKDISCARD, Ok(&[]));
        assert_eq!((script.run(line), script.ranges()), (FAILED, vec![]));
        let why = format!("{count} sectors from {first} on are not inside: it has 4096 sectors (2 MiB)");
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    }
}

#[test]
fn a_range_that_stops_half_way_tells_how_far_it_came() {
    let cases = [
        (Errno::EACCES, "the disk is read-only"),
        (Errno::EOPNOTSUPP, "its device has no command to zero"),
        (
            Errno::EBUSY,
            "it, a partition of it or the disk around it is open elsewhere, say mounted: unmount it, or use --force",
        ),
        (
            Errno::EIO,
            "cannot zero sectors 131072 to 262143: input/output error (EIO); see vblkctl log",
        ),
        (
            Errno::EINVAL,
            "cannot zero sectors 131072 to 262143: invalid argument (EINVAL); see vblkctl log",
        ),
    ];
    for (errno, why) in cases {
        let mut script = Script::sized(1 << 20)
            .answer(IoctlCode::VBLKZERO, Ok(&[]))
            .answer(IoctlCode::VBLKZERO, Err(errno));
        assert_eq!((script.run("zero 0 200M"), script.out()), (FAILED, ""));
        assert_eq!(script.ranges().len(), 2);
        let expected = format!("vblkctl: /dev/c0d0: {why} (131072 sectors before that are done)\n");
        assert_eq!(script.err(), expected);
    }
}

#[test]
fn a_service_that_does_less_than_it_says_is_not_believed() {
    for (line, ranges, before) in [
        ("zero 0 64", 1, ""),
        ("zero 0 131136", 2, " (131072 sectors before that are done)"),
    ] {
        let mut script = Script {
            short_by: 8,
            ..Script::sized(1 << 20).answer(IoctlCode::VBLKZERO, Ok(&[]))
        };
        assert_eq!((script.run(line), script.out()), (FAILED, ""));
        assert_eq!(script.ranges().len(), ranges);
        let why = "the service says that it worked on 56 sectors of 64: see vblkctl log";
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}{before}\n"));
    }
}

#[test]
fn a_disk_that_cannot_be_opened_to_write_is_read_only_or_not_permitted() {
    for (flags, why) in [
        (DiskFlags::READ_ONLY, "the disk is read-only"),
        (DiskFlags::LIVE, "no permission: the device is for root"),
    ] {
        let mut report = disk();
        report.disk.flags = flags;
        let mut script = Script {
            open: Some(Errno::EACCES),
            readable: true,
            ..Script::sized(4096).report(IoctlCode::VBLKINFO, &report)
        };
        assert_eq!((script.run("discard 0 8"), script.ranges().len()), (FAILED, 0));
        assert_eq!(script.opened, [OpenMode::O_RDWR, OpenMode::O_RDONLY]);
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
        assert_eq!(script.closed, 1);
    }
}

#[test]
fn a_disk_that_opens_to_read_alone_and_tells_nothing_is_not_written() {
    let mut script = Script {
        open: Some(Errno::EACCES),
        readable: true,
        ..Script::sized(4096).answer(IoctlCode::VBLKINFO, Err(Errno::EIO))
    };
    assert_eq!((script.run("discard 0 8"), script.ranges().len()), (FAILED, 0));
    let why = "cannot ask the service: input/output error (EIO)";
    assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    assert_eq!(script.closed, 1);
}
