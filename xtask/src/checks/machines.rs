//! Machines and disks of shapes that people have and that are seldom tested: they are served, or refused in one line that names the
//! culprit. None makes a guest hang.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use guest_protocol::Record;

use super::boot::{self, Disk, boot, expect, foreign};
use super::{Check, Context, Guest, Verdict};
use crate::report::{Report, records};

/// Two sockets: each has harts, memory and a PLIC of its own. The VirtIO windows are wired to the second PLIC.
const TWO_SOCKETS: [&str; 10] = [
    "-smp",
    "2",
    "-object",
    "memory-backend-ram,id=m0,size=64M",
    "-object",
    "memory-backend-ram,id=m1,size=64M",
    "-numa",
    "node,nodeid=0,cpus=0,memdev=m0",
    "-numa",
    "node,nodeid=1,cpus=1,memdev=m1",
];

/// An APLIC in the place of the PLIC.
const APLIC: [&str; 2] = ["-machine", "aia=aplic"];

/// Blocks of 4096 bytes behind the back of xtask, whose own check of the size would come first.
const LARGE_BLOCKS: [&str; 4] = [
    "-global",
    "virtio-blk-device.logical_block_size=4096",
    "-global",
    "virtio-blk-device.physical_block_size=4096",
];

/// What the service says of a disk without a whole block.
const NO_BLOCK: &str = "the disk has no whole block";

pub(super) fn checks() -> Vec<Check> {
    vec![
        check(Guest::Minix, "minix/two-plics", |context| {
            served_or_refused(context, "", &TWO_SOCKETS, "cannot-start", "goes to plic@")
        }),
        check(Guest::Bare, "qemu/two-plics", |context| {
            served_or_refused(context, "--bare", &TWO_SOCKETS, "no-interrupt", "goes to plic@")
        }),
        check(Guest::Bare, "qemu/two-plics/poll", |context| {
            boot(
                context,
                &flags("--bare --poll --no-bench", &TWO_SOCKETS),
                &Disk::Prepared,
            )
            .map(drop)
        }),
        check(Guest::Minix, "minix/aplic", |context| {
            let (report, text) = run(context, "", &APLIC, &Disk::Prepared)?;
            refused(&report, "cannot-start", "interrupts go to interrupt-controller@").map_err(|why| why + &text)
        }),
        check(Guest::Bare, "qemu/aplic", |context| {
            let (report, text) = run(context, "--bare", &APLIC, &Disk::Prepared)?;
            refused(&report, "bad-board", "interrupts go to interrupt-controller@").map_err(|why| why + &text)
        }),
        check(Guest::Minix, "minix/empty-disk", |context| {
            let (report, text) = run(context, "", &[], &blank(0)?)?;
            expect(report.passed && text.contains(NO_BLOCK), "not served").map_err(|why| format!("{why}\n{text}"))
        }),
        check(Guest::Bare, "qemu/empty-disk", |context| {
            let (report, text) = run(context, "--bare", &[], &blank(0)?)?;
            refused(&report, "no-block", "the disk has 0 sectors").map_err(|why| why + &text)
        }),
        check(Guest::Minix, "minix/disk-below-a-block", |context| {
            let (report, text) = run(context, "", &LARGE_BLOCKS, &blank(512)?)?;
            // The host waits for a digest that cannot be made; what counts is that the run came to its end.
            let ended =
                report.guest.done().is_some() && records!(report.guest, Record::Violation { .. } => ()).count() == 0;
            expect(ended && text.contains(NO_BLOCK), "not served").map_err(|why| format!("{why}\n{text}"))
        }),
        check(Guest::Bare, "qemu/disk-below-a-block", |context| {
            let (report, text) = run(context, "--bare", &LARGE_BLOCKS, &blank(512)?)?;
            refused(&report, "no-block", "no whole block of 4096 bytes").map_err(|why| why + &text)
        }),
        check(Guest::Minix, "minix/clock-steps-back", clock_steps_back),
    ]
}

fn check(guest: Guest, name: &'static str, run: impl Fn(&Context) -> Verdict + Send + Sync + 'static) -> Check {
    Check::booting(guest, name, run)
}

fn blank(bytes: u64) -> Result<Disk, String> {
    foreign(|path| std::fs::File::create(path)?.set_len(bytes).map(|()| true))
}

/// What a person would type to give QEMU these words.
fn flags(flags: &str, words: &[&str]) -> String {
    let words = words.iter().map(|word| format!(" --qemu-arg={word}"));
    flags.to_owned() + &words.collect::<String>()
}

fn run(context: &Context, words: &str, qemu: &[&str], disk: &Disk) -> Result<(Report, String), String> {
    boot::run_once(context, &flags(words, qemu), disk, None)
}

/// The guest gave up with one error of this kind, whose text has this in it.
fn refused(report: &Report, kind: &str, part: &str) -> Verdict {
    let errors = records!(report.guest, Record::Error { kind, text, .. } => (kind, text));
    let errors: Vec<_> = errors.collect();
    let [(found, text)] = errors.as_slice() else {
        return Err(format!("{} errors, wanted one\n", errors.len()));
    };
    expect(
        *found == kind && text.contains(part) && report.exit_status.is_some(),
        &format!("stopped with {found}: {text}\n"),
    )
}

/// The hart on which the firmware starts the guest is left to chance: on one the disk can be served, on the other it cannot. The
/// machine is started until the guest had to refuse it, but not for ever.
fn served_or_refused(context: &Context, words: &str, qemu: &[&str], kind: &str, part: &str) -> Verdict {
    const STARTS: usize = 6;
    for _ in 0..STARTS {
        let (report, text) = run(context, words, qemu, &Disk::Prepared)?;
        if !report.passed {
            return refused(&report, kind, part).map_err(|why| why + &text);
        }
        // The service would get along without interrupts, and slowly. That is not meant.
        let lost = text.contains("an interrupt of the device is lost");
        expect(!lost, "served without interrupts").map_err(|why| format!("{why}\n{text}"))?;
    }
    Ok(())
}

/// A snapshot is taken in the middle of a load and loaded later: the time counter then shows less than before, even less than
/// at its start, which looks like a very large number.
fn clock_steps_back(context: &Context) -> Verdict {
    const ROUNDS: usize = 80;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let socket = directory.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let words = format!("--kill-during-io --rounds {ROUNDS} --seed 7 --format qcow2");
    let snapshot = thread::spawn(move || snapshot(&socket));
    let (report, text) = run(context, &words, &["-monitor", &monitor], &Disk::Prepared)?;
    let with_text = |why: String| format!("{why}\n{text}");
    snapshot
        .join()
        .map_err(|_| "the monitor's thread has died".to_owned())?
        .map_err(|error| with_text(format!("no snapshot was loaded: {error}")))?;
    let kills = records!(report.guest, Record::Killed { micros, .. } => micros);
    let kills: Vec<u64> = kills.collect();
    // What came after the snapshot was said twice.
    expect(kills.len() > ROUNDS, "the snapshot changed nothing").map_err(with_text)?;
    let longest = kills.into_iter().max().unwrap_or(0);
    expect(longest < 600_000_000, &format!("a kill came after {longest} us")).map_err(with_text)?;
    let done = report.guest.done().is_some_and(|(_, failed)| failed == 0);
    expect(done, "the run did not come to a good end").map_err(with_text)
}

/// Takes a snapshot while the guest runs, lets it go on, and loads it.
fn snapshot(socket: &Path) -> std::io::Result<()> {
    let mut monitor = connect(socket.to_owned())?;
    wait_for_prompt(&mut monitor)?;
    for command in ["savevm before\n", "loadvm before\n"] {
        thread::sleep(Duration::from_secs(2));
        monitor.write_all(command.as_bytes())?;
        wait_for_prompt(&mut monitor)?;
    }
    // QEMU goes on without anybody at its monitor.
    Ok(())
}

fn connect(socket: PathBuf) -> std::io::Result<UnixStream> {
    let mut last = None;
    for _ in 0..600 {
        match UnixStream::connect(&socket) {
            Ok(monitor) => {
                monitor.set_read_timeout(Some(Duration::from_secs(60)))?;
                return Ok(monitor);
            }
            Err(error) => last = Some(error),
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::TimedOut.into()))
}

/// Reads up to the next prompt. While a command is typed the monitor repeats the prompt after a carriage return only, so a prompt
/// counts at the start of a line.
fn wait_for_prompt(monitor: &mut UnixStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.ends_with(b"\n(qemu) ") {
        match monitor.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => seen.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}
