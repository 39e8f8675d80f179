//! Machines and disks of shapes that people have and that are seldom tested: they are served, or refused in one line that names
//! the cause. None makes a guest hang.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use guest_protocol::Record;

use super::boot::{Disk, Expectation, Run, blank, boots, expect};
use super::check::{Check, Context, Verdict};
use crate::report::records;

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

/// An APLIC that sends messages to interrupt files, with room for those of guests between them.
const IMSIC: [&str; 2] = ["-machine", "aia=aplic-imsic,aia-guests=3"];

/// Blocks of 4096 bytes that xtask does not know of: its own check of the size would come first.
const LARGE_BLOCKS: [&str; 4] = [
    "-global",
    "virtio-blk-device.logical_block_size=4096",
    "-global",
    "virtio-blk-device.physical_block_size=4096",
];

/// The log line of the service for a disk without a whole block.
const NO_BLOCK: &str = "the disk has no whole block";

/// The error of the test kernel for an interrupt controller that it does not drive.
const OTHER_CONTROLLER: &str = "interrupts go to interrupt-controller@";

/// Kills in the run whose clock steps back.
const ROUNDS: usize = 80;

/// Name, flags, words for QEMU, the size of the disk if it is not the one that is made, and what must be seen.
type Case = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<u64>,
    Expectation,
);

const CASES: [Case; 8] = [
    ("two-plics/poll", "--bare --poll", &TWO_SOCKETS, None, Run::passed),
    ("aplic", "", &APLIC, None, |run| {
        run.refused("cannot-start", OTHER_CONTROLLER)
    }),
    ("aplic", "--bare", &APLIC, None, Run::passed),
    ("imsic", "--bare", &IMSIC, None, Run::passed),
    ("empty-disk", "", &[], Some(0), |run| {
        run.passed()?;
        run.says(NO_BLOCK, 1)
    }),
    ("empty-disk", "--bare", &[], Some(0), Run::passed),
    ("disk-below-a-block", "", &LARGE_BLOCKS, Some(512), |run| {
        // The host waits for a digest that cannot be made; what counts is that the run came to its end.
        let violations = records!(run.report.guest, Record::Violation { .. } => ()).count();
        let ended = run.report.guest.done().is_some() && violations == 0;
        expect(ended, "not served")?;
        run.says(NO_BLOCK, 1)
    }),
    ("disk-below-a-block", "--bare", &LARGE_BLOCKS, Some(512), |run| {
        // As above: the guest skips the digest.
        expect(
            run.report.guest.done().is_some_and(|(_, failed)| failed == 0),
            "a test failed",
        )
    }),
];

pub(super) fn checks() -> Vec<Check> {
    let case = |(name, words, qemu, bytes, expectation): Case| {
        boots(name, flags(words, qemu), move |context, flags| {
            let disk = bytes.map_or(Ok(Disk::Prepared), blank)?;
            Run::of(context, flags, &disk)?.judge(expectation)
        })
    };
    let mut checks: Vec<Check> = CASES.map(case).into();
    for (words, kind) in [("", "cannot-start"), ("--bare", "no-interrupt")] {
        checks.push(boots("two-plics", flags(words, &TWO_SOCKETS), move |context, flags| {
            served_or_refused(context, flags, kind)
        }));
    }
    let rounds = format!("--kill-during-io --rounds {ROUNDS} --seed 7 --format qcow2");
    checks.push(boots("clock-steps-back", rounds, clock_steps_back));
    checks
}

/// The flags a person would type to give QEMU these words.
fn flags(flags: &str, words: &[&str]) -> String {
    let words = words.iter().map(|word| format!(" --qemu-arg={word}"));
    flags.to_owned() + &words.collect::<String>()
}

/// The hart on which the firmware starts the guest is left to chance: on one the disk can be served, on the other it cannot. The
/// machine is started until the guest had to refuse it, six times at most.
fn served_or_refused(context: &Context, flags: &str, kind: &str) -> Verdict {
    for _ in 0..6 {
        let run = Run::of(context, flags, &Disk::Prepared)?;
        if !run.report.passed {
            return run.judge(|run| run.refused(kind, "goes to plic@"));
        }
        // Without interrupts the service would still work, but slowly. That is a failure here.
        run.judge(|run| run.says("an interrupt of the device is lost", 0))?;
    }
    Ok(())
}

/// A snapshot is taken in the middle of a load and loaded later: the time counter then shows less than before, even less than
/// at its start, which looks like a very large number.
fn clock_steps_back(context: &Context, words: &str) -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let socket = directory.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let snapshot = thread::spawn(move || snapshot(&socket));
    let run = Run::of(context, &flags(words, &["-monitor", &monitor]), &Disk::Prepared)?;
    let snapshot = snapshot
        .join()
        .map_err(|_| "the monitor's thread has died".to_owned())?;
    run.judge(|run| {
        snapshot.map_err(|error| format!("no snapshot was loaded: {error}"))?;
        let kills: Vec<u64> = records!(run.report.guest, Record::Killed { micros, .. } => micros).collect();
        // Records after the snapshot come twice.
        expect(kills.len() > ROUNDS, "the snapshot changed nothing")?;
        let longest = kills.into_iter().max().unwrap_or(0);
        expect(longest < 600_000_000, &format!("a kill came after {longest} us"))?;
        let done = run.report.guest.done().is_some_and(|(_, failed)| failed == 0);
        expect(done, "the run did not come to a good end")
    })
}

/// Takes a snapshot while the guest runs, lets it go on, and loads it.
fn snapshot(socket: &Path) -> std::io::Result<()> {
    let mut monitor = connect(socket)?;
    monitor.set_read_timeout(Some(Duration::from_secs(60)))?;
    wait_for_prompt(&mut monitor)?;
    for command in ["savevm before\n", "loadvm before\n"] {
        thread::sleep(Duration::from_secs(2));
        monitor.write_all(command.as_bytes())?;
        wait_for_prompt(&mut monitor)?;
    }
    Ok(())
}

/// QEMU makes the socket when it starts.
fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let mut tries = 0..600;
    loop {
        match UnixStream::connect(socket) {
            Err(_) if tries.next().is_some() => thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
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
