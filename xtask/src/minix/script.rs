//! The statements of each scenario.

use std::fmt::Display;
use std::path::Path;

use anyhow::Result;
use testkernel::scenario::Statement::{
    DeadHook, Down, Fragment, Gone, Kill, LateInterrupts, NeverCharge, Ping, Prepare, Restart, Run, Service,
    ServiceMayFail, Shell, Sleep, Start, Term, Vfs, Wait, WaitMeasured,
};
use testkernel::scenario::{Program, VfsRequest};

use super::programs::SERVICE;
use super::scenario::{LOADS, Name, PATIENT, REFUSED, STARVED, Scenario, Statement, THROTTLED_OPS, TWINS};
use super::{faults, power_cut, vblkctl, volumes};
use crate::cli::QemuArgs;
use crate::disk::Disk;
use crate::disk::layout::{BLOCK_TEST, OTHERS};
use crate::report::SECOND_DISK;

/// What a person types at the terminal of a program.
const TYPED: &str = "yes";

/// Major number of the first disk on MINIX, and of the second.
const MAJORS: [u32; 2] = [3, 8];
/// Words of a command line that are left once program, label and minor are there.
const WORDS: usize = 7;
/// Longest times between a start of the service and its end by a kill, in microseconds.
const KILL_AFTER: (u64, u64) = (1000, 120_000);
/// The same where a request takes tens of milliseconds.
const KILL_LATER: (u64, u64) = (200_000, 600_000);
/// Contiguous free pages where memory is fragmented: too few for the tables that the service asks for first.
const FRAGMENT: u64 = 8;

/// For the times by which interrupts are late.
const LATENESS_SEED: u64 = 0x1a7e;

/// Requests of a client under which the service is killed once.
const STARVED_OPS: u64 = 1000;

const FLUSHES: &str = "open write=0:64:0x7d000000000 force=64:64:0x7e000000000 flush close";
const ABUSE: &str = "minor=3 seed=0x5eed count=10000 scratch=0:8192";
const AFTER_ABUSE: &str = "open write=8192:64:0x79000000000 flush verify=8192:64:0x79000000000 close";
const TOUR: &str = "open write=0:8:0x77000000000 write=8:2000:0x78000000000 flush verify=0:8:0x77000000000 \
                    verify=8:2000:0x78000000000 close";

impl Scenario {
    /// The scenario that the options ask for. `directory` is for files.
    pub(crate) fn new(args: &QemuArgs, disks: &[Disk], directory: &Path) -> Result<Scenario> {
        let name = args.scenario();
        let script = script(name, args, disks, directory)?;
        Ok(Scenario { name, script })
    }
}

fn script(name: Name, args: &QemuArgs, disks: &[Disk], directory: &Path) -> Result<Vec<Statement>> {
    let Some((disk, others)) = disks.split_first() else {
        return Ok(Vec::new());
    };
    let mut script = vec![service(args, SERVICE, 0, 0)];
    script.extend(look(SERVICE, "", disk));
    script.extend(match name {
        Name::Tour => tour(args, disk, directory)?,
        // The test of the whole disk comes last, as it leaves a partition table of its own.
        Name::Large => [block_test("part", 2, true), block_test("whole", 0, true)].concat(),
        Name::Kills => kills(args, KILL_AFTER),
        Name::SlowKills => kills(args, KILL_LATER),
        Name::Throttled => throttled(),
        Name::Overlap => [load("overlap", "depth=2 ops=100"), vec![Wait]].concat(),
        // A write that is forced and a flush each bring about a flush of their own. The last close has nothing left to flush.
        Name::Flushes => vec![shell("flusher", FLUSHES)],
        Name::Abuse => vec![
            Run(client(SERVICE, "abuse", "abuse", ABUSE)),
            shell("after", AFTER_ABUSE),
        ],
        Name::Life => life(args),
        Name::Starved => starved(),
        Name::Programs => programs(),
        Name::Twins => return Ok([script, twins()].concat()),
        Name::Vblkctl => {
            let load = load("load", &vblkctl::load_words());
            return Ok([script, vblkctl::script(LATENESS_SEED, args.read_only, load)].concat());
        }
        Name::Faults => return Ok([script, faults::script(LATENESS_SEED)].concat()),
        Name::PowerCut => power_cut::script(args),
        Name::TwoDisks => return Ok(two_disks(args, disk, others)),
        Name::Masked => return Ok(masked(disk)),
    });
    script.push(Down(SERVICE.into()));
    Ok(script)
}

fn client(service: &str, program: &str, label: impl Into<String>, words: impl Display) -> Program<String> {
    let arguments = format!("label={service} {words}");
    launch(program, label, arguments)
}

fn launch(program: &str, label: impl Into<String>, arguments: String) -> Program<String> {
    let (program, label) = (program.to_owned(), label.into());
    Program {
        program,
        label,
        arguments,
    }
}

/// A service that drives one of the disks, counted by address.
fn service(args: &QemuArgs, label: &str, disk: usize, instance: usize) -> Statement {
    let queue = args.queue_size.map(|size| format!(" queue={size}")).unwrap_or_default();
    let words = format!("instance={instance}{queue} log=info");
    Service(launch(SERVICE, label, words), MAJORS[disk])
}

fn vfs(request: VfsRequest) -> Statement {
    Vfs(SERVICE.into(), request)
}

/// A shell on the partition that is there for writing.
fn shell(label: impl Into<String>, commands: &str) -> Statement {
    shell_of(label, SERVICE, commands)
}

fn shell_of(label: impl Into<String>, service: &str, commands: &str) -> Statement {
    Run(client(service, "shell", label, format!("minor=3 {commands}")))
}

/// Partitions, and the digests of the samples, by as many shells as it takes. Labels begin with `prefix`.
fn look(service: &str, prefix: &str, disk: &Disk) -> Vec<Statement> {
    let mut commands: Vec<String> = vec!["partitions".into(), "geometry".into()];
    commands.extend(disk.outline.samples.iter().map(|range| format!("digest={range}")));
    let shells = (1..).zip(commands.chunks(WORDS - 2)).map(|(number, commands)| {
        let (label, commands) = (format!("{prefix}look{number}"), commands.join(" "));
        Run(client(
            service,
            "shell",
            label,
            format!("minor=0 open {commands} close"),
        ))
    });
    shells.collect()
}

/// The block test with both kinds of memory.
fn block_test(label: &str, minor: u32, write: bool) -> Vec<Statement> {
    let write = if write { " rw" } else { "" };
    let test = |(suffix, memory)| {
        let words = format_args!("minor={minor}{write} {memory}");
        Run(client(SERVICE, "blocktest", format!("{label}{suffix}"), words))
    };
    // With scattered memory, the longest transfer has more ranges than the kernel looks up at a time.
    [("", "max=131072"), ("_sc", "max=524288 nocontig")].map(test).into()
}

fn tour(args: &QemuArgs, disk: &Disk, directory: &Path) -> Result<Vec<Statement>> {
    let mut script = Vec::new();
    if disk.outline.scratch.contains(&OTHERS) {
        script.push(shell("writer", TOUR));
    }
    // The block test knows no other size of a sector.
    if args.block_size == 512 && !disk.files().is_empty() {
        script.extend(block_test("blocktest", 2, !args.read_only));
    }
    let volumes = volumes::minix_file_systems(disk, args.block_size, directory)?;
    for (number, minor) in (1..).zip(volumes) {
        let (label, words) = (format!("mfs{number}"), format!("minor={minor}"));
        script.push(Run(client(SERVICE, "mfs", label, words)));
    }
    Ok(script)
}

/// Four clients of a kind in the background, each on a quarter of the place for them.
fn load(program: &str, words: &str) -> Vec<Statement> {
    let count = OTHERS.count / LOADS / 8 * 8;
    // Patterns are apart if their seeds differ above bit 32.
    let client = |n| {
        busy(
            program,
            format!("{program}{n}"),
            OTHERS.first + n * count,
            count,
            n + 1,
            words,
        )
    };
    (0..LOADS).map(client).collect()
}

/// A client in the background that reads and writes in a place.
fn busy(program: &str, label: impl Into<String>, first: u64, count: u64, seed: u64, words: &str) -> Statement {
    let seed = seed << 40;
    let words = format_args!("first={first} count={count} seed={seed:#x} {words}");
    Start(client(SERVICE, program, label, words))
}

/// One load in the first sectors of the block test's place.
fn one_load(label: impl Into<String>) -> Statement {
    busy("load", label, BLOCK_TEST.first, 64, 0x7f, "depth=2")
}

fn kills(args: &QemuArgs, (min_us, max_us): (u64, u64)) -> Vec<Statement> {
    let kill = Kill {
        label: SERVICE.into(),
        rounds: args.rounds().into(),
        seed: args.seed(),
        min_us,
        max_us,
    };
    let after = client(SERVICE, "shell", "after", "minor=0 open read=0:8 flush close");
    // A file of the file server's stays open through all of it.
    let mut script = vec![LateInterrupts(LATENESS_SEED), vfs(VfsRequest::Open)];
    script.extend(load("load", "depth=4"));
    script.extend([kill, Wait, vfs(VfsRequest::Close), Run(after)]);
    script
}

fn throttled() -> Vec<Statement> {
    let mut script = load("overlap", &format!("depth=2 ops={THROTTLED_OPS}"));
    script.push(WaitMeasured(SERVICE.into()));
    script
}

fn life(args: &QemuArgs) -> Vec<Statement> {
    let own = || SERVICE.to_owned();
    vec![
        Ping(own()),
        Prepare(own()),
        shell("before", "open write=0:64:0x7a000000000 flush close"),
        Restart(own()),
        Ping(own()),
        shell("after", "open verify=0:64:0x7a000000000 close"),
        Prepare(own()),
        // With nothing open.
        Down(own()),
        // From here on, memory is in small pieces.
        Fragment(FRAGMENT),
        // With the disk open: the service stays for those who have it open, and refuses other clients.
        service(args, SERVICE, 0, 0),
        one_load("holder"),
        vfs(VfsRequest::Open),
        vfs(VfsRequest::OpenCount),
        shell("ready", "open read=0:64 close"),
        // Long enough for `holder` to have requests in flight.
        Sleep(50_000),
        Term(own()),
        shell(REFUSED, "open"),
        Term("holder".into()),
        Wait,
        // The last close. Its reply must get there, although the service leaves at once.
        vfs(VfsRequest::Close),
        Gone(own()),
        service(args, SERVICE, 0, 0),
        shell("again", "open verify=0:64:0x7a000000000 close"),
    ]
}

/// What MINIX does to a file system that writes while its driver is killed, with the queue of the file server and with one
/// below the servers.
fn starved() -> Vec<Statement> {
    let mut script = vec![LateInterrupts(LATENESS_SEED), NeverCharge];
    for (place, label) in [STARVED, PATIENT].into_iter().enumerate() {
        let first = OTHERS.first + 64 * place as u64;
        script.extend([
            busy(
                "load",
                label,
                first,
                64,
                1 + place as u64,
                &format!("depth=1 ops={STARVED_OPS} spin"),
            ),
            // It has far to go yet.
            Sleep(100_000),
            Restart(SERVICE.into()),
        ]);
        script.push(Wait);
    }
    script
}

/// One program at a terminal, on a partition; one without, on the whole disk, whose exit status is one of its own.
fn programs() -> Vec<Statement> {
    let user = |number: u8, file: &str, typed: Option<&str>, status: u8| Shell {
        program: launch("user", format!("user{number}"), format!("{file} {status}")),
        typed: typed.map(str::to_owned),
        status,
        end_after_us: None,
    };
    vec![user(1, "/dev/c0d0p2", Some(TYPED), 0), user(2, "/dev/c0d0", None, 7)]
}

fn two_disks(args: &QemuArgs, first: &Disk, others: &[Disk]) -> Vec<Statement> {
    let labels = ["virtio_blk_a", "virtio_blk_b"];
    let second = |label: &str| format!("{SECOND_DISK}{label}");
    // QEMU gives the first disk the last window, and the service counts from the first window on.
    let mut script = vec![service(args, labels[0], 0, 1), service(args, labels[1], 1, 0)];
    let disks = std::iter::once(first).chain(others);
    for ((label, prefix), disk) in labels.into_iter().zip(["", SECOND_DISK]).zip(disks) {
        let commands = "open write=0:512:0x7c000000000 flush verify=0:512:0x7c000000000 close";
        script.extend(look(label, prefix, disk));
        script.push(shell_of(format!("{prefix}writer"), label, commands));
        script.push(Run(client(label, "mfs", format!("{prefix}mfs"), "minor=1")));
    }
    let rest = OTHERS.count - 512;
    let verify = |disk: &Disk| format!("verify=512:{rest}:{:#x}", disk.outline.pattern.unwrap_or_default());
    let verify_second = others.first().map(verify).unwrap_or_default();
    let read_second = |label: &str, times: usize| {
        let commands = vec![&*verify_second; times].join(" ");
        let words = format!("minor=3 open {commands} close");
        Start(client(labels[1], "shell", second(label), words))
    };
    let verify_written = "open verify=0:512:0x7c000000000 close";
    script.extend([
        // Both at once. This one prints nothing that could be taken for the other's.
        read_second("reader", 1),
        shell_of("reader", labels[0], &format!("open {} close", verify(first))),
        Wait,
        // One stops and starts again while the other goes on. A client is busy meanwhile, so RS does not clean up.
        read_second("busy", 4),
        Down(labels[0].into()),
        service(args, labels[0], 0, 1),
        shell_of("again", labels[0], verify_written),
        Wait,
        Down(labels[0].into()),
        shell_of(second("last"), labels[1], verify_written),
        Down(labels[1].into()),
    ]);
    script
}

/// A disk that has a service is refused to others, however busy it is, and whether it has just been restarted. When the
/// service has left, another one gets the disk.
fn twins() -> Vec<Statement> {
    let [twin, mute, odd, late, heir] = TWINS;
    let service = |label: &str, words: &str| launch(SERVICE, label, format!("instance=0 {words}"));
    let refused = |label, words| ServiceMayFail(service(label, words), MAJORS[1]);
    let verify = "open verify=0:64:0x7a000000000 close";
    vec![
        one_load("busy"),
        shell("writer", "open write=0:64:0x7a000000000 flush close"),
        refused(twin, "log=info"),
        refused(mute, "log=off"),
        refused(odd, "queue=3"),
        shell("owner", verify),
        Restart(SERVICE.into()),
        refused(late, "log=info"),
        shell("still", verify),
        Term("busy".into()),
        Wait,
        Down(SERVICE.into()),
        Service(service(heir, "queue=256 log=info"), MAJORS[1]),
        Restart(heir.into()),
        shell_of("heir", heir, verify),
        Down(heir.into()),
    ]
}

/// No interrupt comes while a client is busy, twice: with a service that logs it and with one that logs nothing. The service
/// does not poll the device, and the client has one request out and is alone for a second. So each of its requests needs an
/// interrupt or the clock: with two requests out, the message of one may be the look that finds the other.
fn masked(disk: &Disk) -> Vec<Statement> {
    let mut script = Vec::new();
    for (number, log) in [(1, "info"), (2, "off")] {
        let words = format!("instance=0 poll_us=0 log={log}");
        script.push(Service(launch(SERVICE, SERVICE, words), MAJORS[0]));
        if number == 1 {
            script.extend(look(SERVICE, "", disk));
        }
        script.extend([
            busy("load", format!("busy{number}"), BLOCK_TEST.first, 64, 0x7f, "depth=1"),
            shell(format!("before{number}"), "open read=0:64 close"),
            DeadHook(SERVICE.into()),
            Sleep(1_000_000),
            shell(format!("masked{number}"), "open read=0:64 read=64:64 read=128:64 close"),
            Term(format!("busy{number}")),
            Wait,
            shell(format!("open{number}"), "open read=0:64 close"),
            Down(SERVICE.into()),
        ]);
    }
    script
}
