//! The scripts themselves.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use guest_protocol::SectorRange;

use super::programs::SERVICE;
use super::scenario::{LOADS, Name, THROTTLED_OPS};
use super::volumes;
use crate::cli::QemuArgs;
use crate::disk::Disk;
use crate::disk::layout::{BLOCK_TEST, OTHERS};
use crate::report::SECOND_DISK;

/// Clients whose label begins like this must fail.
pub(crate) const REFUSED: &str = "refused";
/// How the labels of all services begin.
pub(crate) const SERVICES: &str = "virtio_blk";

/// Labels of services that want a disk which another one has: one that says so, one that may say nothing, one with a word that
/// makes no sense, one that comes after a restart; and one that comes when the disk is free.
pub(crate) const TWINS: [&str; 5] = [
    "virtio_blk_twin",
    "virtio_blk_mute",
    "virtio_blk_odd",
    "virtio_blk_late",
    "virtio_blk_heir",
];

/// Major number of the first disk on MINIX, and of the second.
const MAJORS: [u32; 2] = [3, 8];

/// Words of a command line that are left once program, label and minor are there.
const WORDS: usize = 7;

/// Longest times between a start of the service and its end by a kill, in microseconds.
const KILL_AFTER: (u64, u64) = (1000, 120_000);
/// The same where a request takes tens of milliseconds.
const KILL_LATER: (u64, u64) = (200_000, 600_000);

/// Pages in one piece where memory is fragmented: too few for the tables that the service asks for first.
const FRAGMENT: u64 = 8;

/// Writes the script of a scenario.
pub(super) fn of(name: Name, args: &QemuArgs, disks: &[Disk], directory: &Path) -> Result<String> {
    let mut script = Script::default();
    let Some((disk, others)) = disks.split_first() else {
        return Ok(String::new());
    };
    if name == Name::TwoDisks {
        script.two_disks(args, disk, others);
        return Ok(script.0);
    }
    if name == Name::Masked {
        script.masked(disk);
        return Ok(script.0);
    }
    script.service(args, SERVICE, 0, 0);
    script.look(SERVICE, "", disk);
    if name == Name::Twins {
        script.twins();
        return Ok(script.0);
    }
    match name {
        Name::Tour => script.tour(args, disk, directory)?,
        Name::Large => script.large(),
        Name::Kills => script.kills(args, KILL_AFTER),
        Name::SlowKills => script.kills(args, KILL_LATER),
        Name::Throttled => script.throttled(),
        Name::Overlap => script.loads("overlap", "depth=2 ops=100"),
        Name::Flushes => script.flushes(),
        Name::Abuse => script.abuse(),
        Name::Life => script.life(args),
        Name::TwoDisks | Name::Twins | Name::Masked => {}
    }
    script.line(format_args!("down {SERVICE}"));
    Ok(script.0)
}

#[derive(Default)]
struct Script(String);

impl Script {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.0, "{line}");
    }

    /// A service that drives one of the disks, counted by address.
    fn service(&mut self, args: &QemuArgs, label: &str, disk: usize, instance: usize) {
        let queue = args.queue_size.map(|size| format!(" queue={size}")).unwrap_or_default();
        let major = MAJORS[disk];
        self.line(format_args!(
            "service {SERVICE} as {label} major={major} instance={instance}{queue} log=info"
        ));
    }

    /// Partitions, and the digests of the samples, by as many shells as it takes. Labels begin with `prefix`.
    fn look(&mut self, service: &str, prefix: &str, disk: &Disk) {
        let mut commands: Vec<String> = vec!["partitions".into(), "geometry".into()];
        commands.extend(disk.outline.samples.iter().map(|range| format!("digest={range}")));
        for (number, commands) in (1..).zip(commands.chunks(WORDS - 2)) {
            let commands = commands.join(" ");
            self.line(format_args!(
                "run shell as {prefix}look{number} label={service} minor=0 open {commands} close"
            ));
        }
    }

    fn shell(&mut self, label: &str, service: &str, minor: u32, commands: &str) {
        self.line(format_args!(
            "run shell as {label} label={service} minor={minor} {commands}"
        ));
    }

    /// The block test with both kinds of memory.
    fn block_test(&mut self, label: &str, minor: u32, write: bool) {
        let write = if write { " rw" } else { "" };
        for (suffix, memory) in [("", ""), ("_sc", " nocontig")] {
            self.line(format_args!(
                "run blocktest as {label}{suffix} label={SERVICE} minor={minor}{write} max=131072{memory}"
            ));
        }
    }

    fn tour(&mut self, args: &QemuArgs, disk: &Disk, directory: &Path) -> Result<()> {
        if disk.outline.scratch.contains(&OTHERS) {
            self.shell(
                "writer",
                SERVICE,
                3,
                "open write=0:8:0x77000000000 write=8:2000:0x78000000000 flush verify=0:8:0x77000000000 \
                 verify=8:2000:0x78000000000 close",
            );
        }
        // The block test knows no other size of a sector.
        if args.block_size == 512 && !disk.files().is_empty() {
            self.block_test("blocktest", 2, !args.read_only);
        }
        for (number, minor) in (1..).zip(volumes::minix_file_systems(disk, args.block_size, directory)?) {
            self.line(format_args!("run mfs as mfs{number} label={SERVICE} minor={minor}"));
        }
        Ok(())
    }

    fn large(&mut self) {
        self.block_test("part", 2, true);
        // Last, as it leaves a partition table of its own behind.
        self.block_test("whole", 0, true);
    }

    /// Four clients of a kind in the background, each on a quarter of the place for them.
    fn load(&mut self, program: &str, words: &str) {
        let quarter = OTHERS.count / LOADS / 8 * 8;
        for number in 0..LOADS {
            let place = SectorRange {
                first: OTHERS.first + number * quarter,
                count: quarter,
            };
            // Patterns are apart if their seeds differ above bit 32.
            self.line(format_args!(
                "start {program} as {program}{number} label={SERVICE} first={} count={} seed={:#x} {words}",
                place.first,
                place.count,
                (number + 1) << 40
            ));
        }
    }

    fn loads(&mut self, program: &str, words: &str) {
        self.load(program, words);
        self.line(format_args!("wait"));
    }

    fn kills(&mut self, args: &QemuArgs, (min, max): (u64, u64)) {
        // A file of the file server's stays open through all of it.
        self.line(format_args!("vfs {SERVICE} open"));
        self.load("load", "depth=4");
        let (rounds, seed) = (args.rounds(), args.seed());
        self.line(format_args!(
            "kill {SERVICE} rounds={rounds} seed={seed} min_us={min} max_us={max}"
        ));
        self.line(format_args!("wait"));
        self.line(format_args!("vfs {SERVICE} close"));
        self.shell("after", SERVICE, 0, "open read=0:8 flush close");
    }

    fn throttled(&mut self) {
        self.load("overlap", &format!("depth=2 ops={THROTTLED_OPS}"));
        self.line(format_args!("measure begin waiting {SERVICE}"));
        self.line(format_args!("wait"));
        self.line(format_args!("measure end waiting {SERVICE}"));
    }

    /// A write that is forced and a flush each bring about a flush of their own. The last close has nothing left to flush.
    fn flushes(&mut self) {
        self.shell(
            "flusher",
            SERVICE,
            3,
            "open write=0:64:0x7d000000000 force=64:64:0x7e000000000 flush close",
        );
    }

    fn abuse(&mut self) {
        self.line(format_args!(
            "run abuse label={SERVICE} minor=3 seed=0x5eed count=10000 scratch=0:8192"
        ));
        self.shell(
            "after",
            SERVICE,
            3,
            "open write=8192:64:0x79000000000 flush verify=8192:64:0x79000000000 close",
        );
    }

    fn life(&mut self, args: &QemuArgs) {
        self.line(format_args!("ping {SERVICE}"));
        self.line(format_args!("prepare {SERVICE}"));
        self.shell("before", SERVICE, 3, "open write=0:64:0x7a000000000 flush close");
        self.line(format_args!("restart {SERVICE}"));
        self.line(format_args!("ping {SERVICE}"));
        self.shell("after", SERVICE, 3, "open verify=0:64:0x7a000000000 close");
        self.line(format_args!("prepare {SERVICE}"));
        // With nothing open.
        self.line(format_args!("down {SERVICE}"));
        // From here on, memory is in small pieces.
        self.line(format_args!("fragment {FRAGMENT}"));
        // With something open: it stays for those who have it, and lets nobody else in.
        self.service(args, SERVICE, 0, 0);
        self.line(format_args!(
            "start load as holder label={SERVICE} first={} count=64 seed=0x7b000000000 depth=2",
            BLOCK_TEST.first
        ));
        self.line(format_args!("vfs {SERVICE} open"));
        self.line(format_args!("vfs {SERVICE} ioctl=openct"));
        self.shell("ready", SERVICE, 3, "open read=0:64 close");
        // Long enough for the other one to be in the middle of it.
        self.line(format_args!("sleep 50000"));
        self.line(format_args!("signal {SERVICE} TERM"));
        self.shell(REFUSED, SERVICE, 3, "open");
        self.line(format_args!("signal holder TERM"));
        self.line(format_args!("wait"));
        // The last close. Its reply must get there, although the service leaves at once.
        self.line(format_args!("vfs {SERVICE} close"));
        self.line(format_args!("gone {SERVICE}"));
        self.service(args, SERVICE, 0, 0);
        self.shell("again", SERVICE, 3, "open verify=0:64:0x7a000000000 close");
    }

    fn two_disks(&mut self, args: &QemuArgs, first: &Disk, others: &[Disk]) {
        let labels = ["virtio_blk_a", "virtio_blk_b"];
        // QEMU gives the first disk the last window, and the service counts from the first window on.
        self.service(args, labels[0], 0, 1);
        self.service(args, labels[1], 1, 0);
        let disks = std::iter::once(first).chain(others);
        for ((label, prefix), disk) in labels.into_iter().zip(["", SECOND_DISK]).zip(disks) {
            self.look(label, prefix, disk);
            self.shell(
                &format!("{prefix}writer"),
                label,
                3,
                "open write=0:512:0x7c000000000 flush verify=0:512:0x7c000000000 close",
            );
            self.line(format_args!("run mfs as {prefix}mfs label={label} minor=1"));
        }
        // Both at once. This one tells nothing, so nobody can take it for the other.
        let rest = OTHERS.count - 512;
        let verify = |disk: &Disk| format!("verify=512:{rest}:{:#x}", disk.outline.pattern.unwrap_or_default());
        let second = others.first().map(verify).unwrap_or_default();
        self.line(format_args!(
            "start shell as {SECOND_DISK}reader label={} minor=3 open {second} close",
            labels[1],
        ));
        self.shell("reader", labels[0], 3, &format!("open {} close", verify(first)));
        self.line(format_args!("wait"));
        // One goes and comes again, the other does not mind. A client is busy meanwhile, so RS does not clean up.
        self.line(format_args!(
            "start shell as {SECOND_DISK}busy label={} minor=3 open {second} {second} {second} {second} close",
            labels[1],
        ));
        self.line(format_args!("down {}", labels[0]));
        self.service(args, labels[0], 0, 1);
        self.shell("again", labels[0], 3, "open verify=0:512:0x7c000000000 close");
        self.line(format_args!("wait"));
        self.line(format_args!("down {}", labels[0]));
        self.shell(
            &format!("{SECOND_DISK}last"),
            labels[1],
            3,
            "open verify=0:512:0x7c000000000 close",
        );
        self.line(format_args!("down {}", labels[1]));
    }

    /// A disk that has a service is refused to others, however busy it is, and whether it has just been restarted. When the
    /// service has left, another one gets the disk.
    fn twins(&mut self) {
        let [twin, mute, odd, late, heir] = TWINS;
        let want = |label: &str, words: &str| format!("{SERVICE} as {label} major={} instance=0 {words}", MAJORS[1]);
        self.line(format_args!(
            "start load as busy label={SERVICE} first={} count=64 seed=0x7f000000000 depth=2",
            BLOCK_TEST.first
        ));
        self.shell("writer", SERVICE, 3, "open write=0:64:0x7a000000000 flush close");
        self.line(format_args!("service? {}", want(twin, "log=info")));
        self.line(format_args!("service? {}", want(mute, "log=off")));
        self.line(format_args!("service? {}", want(odd, "queue=3")));
        self.shell("owner", SERVICE, 3, "open verify=0:64:0x7a000000000 close");
        self.line(format_args!("restart {SERVICE}"));
        self.line(format_args!("service? {}", want(late, "log=info")));
        self.shell("still", SERVICE, 3, "open verify=0:64:0x7a000000000 close");
        self.line(format_args!("signal busy TERM"));
        self.line(format_args!("wait"));
        self.line(format_args!("down {SERVICE}"));
        self.line(format_args!("service {}", want(heir, "queue=256 log=info")));
        self.line(format_args!("restart {heir}"));
        self.shell("heir", heir, 3, "open verify=0:64:0x7a000000000 close");
        self.line(format_args!("down {heir}"));
    }

    /// No interrupt comes for as long as a client is busy, twice: with a service that tells of it and with one that is to say
    /// nothing. It does not watch the device, so each request needs its interrupt or the clock.
    fn masked(&mut self, disk: &Disk) {
        for (number, words) in [(1, "log=info"), (2, "log=off")] {
            self.line(format_args!(
                "service {SERVICE} major={} instance=0 poll_us=0 {words}",
                MAJORS[0]
            ));
            if number == 1 {
                self.look(SERVICE, "", disk);
            }
            self.line(format_args!(
                "start load as busy{number} label={SERVICE} first={} count=64 seed={number:#x}0000000000 depth=2",
                BLOCK_TEST.first
            ));
            self.shell(&format!("before{number}"), SERVICE, 3, "open read=0:64 close");
            self.line(format_args!("dead-hook {SERVICE}"));
            self.shell(
                &format!("masked{number}"),
                SERVICE,
                3,
                "open read=0:64 read=64:64 read=128:64 close",
            );
            self.line(format_args!("signal busy{number} TERM"));
            self.line(format_args!("wait"));
            self.shell(&format!("open{number}"), SERVICE, 3, "open read=0:64 close");
            self.line(format_args!("down {SERVICE}"));
        }
    }
}
