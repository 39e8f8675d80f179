//! The scenario `vblkctl`: every command of the program for root's shell, on a disk that others use.

use testkernel::scenario::Statement::{Down, LateInterrupts, Run, Shell, Sleep, Start, Vfs, Wait};
use testkernel::scenario::{Program, VfsRequest};

use super::programs::SERVICE;
use super::scenario::Statement;
use crate::disk::layout::{BLOCK_TEST, OTHERS};

/// The program.
const VBLKCTL: &str = "vblkctl";
/// Its exit statuses.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// Commands that the host looks at. Their labels are those of the programs.
pub(crate) mod label {
    /// The statistics before and after the load. With each of them the host asks QEMU for its own.
    pub(crate) const BEFORE: &str = "before";
    pub(crate) const AFTER: &str = "after";
    /// From the end of the one to the start of the other the disk is slower than its time-out.
    pub(crate) const SLOWER: &str = "slower";
    pub(crate) const FASTER: &str = "faster";
}

/// What the output of a command has to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) label: &'static str,
    /// 1 for standard output, 2 for standard error output.
    pub(crate) descriptor: i32,
    pub(crate) text: &'static str,
}

/// A command: label, words, what is typed, exit status, and the text that is wanted; on standard error output if it fails.
type Command = (&'static str, &'static str, Option<&'static str>, u8, &'static str);

/// Commands while four clients read and write.
const LOADED: &[Command] = &[
    ("help", "--help", None, DONE, "usage: vblkctl"),
    ("version", "--version", None, DONE, "version 1 of the requests"),
    ("misused", "shine", None, MISUSED, "'shine' is no command"),
    ("nofile", "-d /dev/disk info", None, FAILED, "no such device"),
    (
        "nodriver",
        "-d /dev/c1d0 info",
        None,
        FAILED,
        "no service drives this device",
    ),
    ("info", "info", None, DONE, "virtio-mmio at 0x10008000"),
    ("infojson", "info -j", None, DONE, "\"sectors\":"),
    ("stat", "stat", None, DONE, "counted for"),
    ("regs", "regs", None, DONE, "registers at         0x10008000"),
    ("queue", "queue", None, DONE, "queue of 128"),
    ("quiet", "log", None, DONE, "no events"),
    ("flush", "flush", None, DONE, ""),
    ("cacheoff", "cache off", None, DONE, "write cache off"),
    ("cacheon", "cache on", None, DONE, "write cache on"),
    (
        "busy",
        "-d /dev/c0d0p1 discard 0 1024",
        None,
        FAILED,
        "is open elsewhere",
    ),
    (
        "outside",
        "-d /dev/c0d0p1 discard -f 65536 8",
        None,
        FAILED,
        "not inside",
    ),
    (
        "noerase",
        "-d /dev/c0d0p1 erase -f 0 8",
        None,
        FAILED,
        "no command to erase",
    ),
    (
        "unasked",
        "-d /dev/c0d0p1 discard --all",
        None,
        FAILED,
        "without a terminal",
    ),
    (
        "declined",
        "-d /dev/c0d0p1 discard --all",
        Some("no"),
        FAILED,
        "nothing was done",
    ),
    (
        "agreed",
        "-d /dev/c0d0p1 erase --all",
        Some("yes"),
        FAILED,
        "no command to erase",
    ),
    (
        "discard",
        "-d /dev/c0d0p1 discard -f 0 1024",
        None,
        DONE,
        "discarded 1024 sectors",
    ),
    (
        "zero",
        "-d /dev/c0d0p1 zero -f 2048 1024",
        None,
        DONE,
        "zeroed 1024 sectors",
    ),
    (
        "unmap",
        "-d /dev/c0d0p1 zero -u -f 4096 1024",
        None,
        DONE,
        "zeroed 1024 sectors",
    ),
    ("trace", "trace -s 1 -n 16", None, DONE, "- finish:"),
    ("lines", "stat -i 1 -c 2", None, DONE, "rMiB/s"),
];

/// Commands while a client waits for a disk that is too slow.
const SLOW: &[Command] = &[(label::FASTER, "--version", None, DONE, "")];

/// Commands on a disk that nothing else has open.
const ALONE: &[Command] = &[
    ("log", "log", None, DONE, "time-out: "),
    ("timeout", "timeout 10000", None, DONE, "before 400 ms"),
    (
        "own",
        "-d /dev/c0d0p1 discard 8192 1024",
        None,
        DONE,
        "discarded 1024 sectors",
    ),
];

/// Commands on a disk that cannot be written.
const READ_ONLY: &[Command] = &[
    ("info", "info", None, DONE, "read-only"),
    ("infojson", "info -j", None, DONE, "\"read_only\":true"),
    ("nodiscard", "discard 0 8", None, FAILED, "read-only"),
    ("nozero", "-d /dev/c0d0p1 zero -f 0 8", None, FAILED, "read-only"),
    ("stat", "stat -j", None, DONE, "\"kinds\""),
];

/// Sectors of the second partition that read as zeroes afterwards, counted from its start, and whether they take no room.
const ZEROED: [(u64, bool); 4] = [(0, true), (2048, false), (4096, true), (8192, true)];
const ZEROED_SECTORS: u64 = 1024;
/// Requests of each load.
const REQUESTS: u64 = 400;
/// The time that the host has to ask QEMU for its statistics, in microseconds.
const ASKED_US: u64 = 1_500_000;
/// The time that a request to the slow disk has to be late, in microseconds.
const SLOW_US: u64 = 3_000_000;

/// Ranges of the disk that read as zeroes afterwards, and whether they take no room.
pub(crate) fn zeroed() -> impl Iterator<Item = (guest_protocol::SectorRange, bool)> {
    ZEROED.iter().map(|&(first, is_hole)| {
        let range = guest_protocol::SectorRange {
            first: BLOCK_TEST.first + first,
            count: ZEROED_SECTORS,
        };
        (range, is_hole)
    })
}

/// What the outputs have to contain.
pub(crate) fn wanted(read_only: bool) -> impl Iterator<Item = Wanted> {
    let groups: &[&[Command]] = if read_only {
        &[READ_ONLY]
    } else {
        &[LOADED, SLOW, ALONE]
    };
    groups
        .iter()
        .copied()
        .flatten()
        .map(|&(label, _, _, status, text)| Wanted {
            label,
            descriptor: if status == DONE { 1 } else { 2 },
            text,
        })
}

pub(super) fn script(seed: u64, read_only: bool, load: Vec<Statement>) -> Vec<Statement> {
    if read_only {
        return commands(READ_ONLY).chain([Down(SERVICE.into())]).collect();
    }
    let stat = |label| command(&(label, "stat -j", None, DONE, ""));
    // The minors are open all the time, so that no partition table is read between the two statistics.
    let mut script = vec![LateInterrupts(seed), Vfs(SERVICE.into(), VfsRequest::Open)];
    script.extend([stat(label::BEFORE), Sleep(ASKED_US)]);
    script.extend(load);
    script.extend(commands(LOADED));
    script.extend([Wait, stat(label::AFTER), Sleep(ASKED_US)]);
    // A disk that does one request a second, for a driver that waits for less.
    script.push(command(&(label::SLOWER, "timeout 400", None, DONE, "time-out 400 ms")));
    let (first, count) = (OTHERS.first + OTHERS.count - 64, 64);
    let words = format!(
        "label={SERVICE} first={first} count={count} seed={:#x} depth=2 ops=8",
        9_u64 << 40
    );
    script.push(Start(program("load", "late", words)));
    script.push(Sleep(SLOW_US));
    script.extend(commands(SLOW));
    script.extend([Wait, Vfs(SERVICE.into(), VfsRequest::Close)]);
    script.extend(commands(ALONE));
    // Which sectors may have changed.
    for (first, _) in ZEROED {
        let words = format!("label={SERVICE} minor=2 open undefined={first}:{ZEROED_SECTORS} close");
        script.push(Run(program("shell", &format!("given{first}"), words)));
    }
    script.push(Down(SERVICE.into()));
    script
}

/// How many requests each of the loads makes.
pub(super) fn load_words() -> String {
    format!("depth=4 ops={REQUESTS}")
}

fn commands(commands: &[Command]) -> impl Iterator<Item = Statement> {
    commands.iter().map(command)
}

fn command(&(label, words, typed, status, _): &Command) -> Statement {
    Shell {
        program: program(VBLKCTL, label, words.to_owned()),
        typed: typed.map(str::to_owned),
        status,
        end_after_us: None,
    }
}

fn program(program: &str, label: &str, arguments: String) -> Program<String> {
    Program {
        program: program.to_owned(),
        label: label.to_owned(),
        arguments,
    }
}
