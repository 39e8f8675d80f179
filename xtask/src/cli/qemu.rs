//! The options of `cargo xtask qemu`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use guest_protocol::{SECTOR_BYTES, number};

use super::hardware::{Bus, Hardware, Removal};
use crate::example;
use crate::minix::scenario::Name;

/// The format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// The name QEMU knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }
}

/// How a disk differs from one that QEMU serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Foreign {
    /// As the specification says, from another implementation than QEMU's.
    Plain,
    /// One data descriptor, and no SEG_MAX that says so, as Firecracker does.
    OneSegment,
    /// The used ring says 0 for every request.
    UsedLengthNone,
    /// The used ring says 1 for every request.
    UsedLengthOne,
    /// The used ring counts the data without the status byte.
    UsedLengthDataOnly,
    /// The used ring says more than the buffers hold.
    UsedLengthTooMuch,
    /// Served by `qemu-storage-daemon`, with as many queues as --queues says.
    StorageDaemon,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct QemuArgs {
    /// Boot the image that drives the disk without any kernel, and tests the driver alone.
    #[arg(long)]
    pub(crate) bare: bool,

    /// Boot this program of examples/ with disks of its own, show its output, and look at what it leaves on them.
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        conflicts_with_all = ["bare", "scenario", "kill_during_io", "foreign", "queue_size", "format", "json"]
    )]
    pub(crate) example: Option<example::Name>,

    /// What service and clients do. The default is a tour of everything.
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        conflicts_with = "bare",
        conflicts_with = "disk"
    )]
    pub(crate) scenario: Option<Name>,

    /// Kill the service again and again in the middle of a mixed load; short for --scenario kills.
    #[arg(long, conflicts_with_all = ["bare", "disk", "scenario", "read_only"])]
    pub(crate) kill_during_io: bool,

    /// How often it is killed, by --kill-during-io or in --scenario kills, slow-kills and power-cut [default: 20], or how often everything happens
    /// in --scenario faults [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Seed of the random times of the kills, or of the order of the faults [default: 1].
    #[arg(long, value_name = "S", value_parser = seed)]
    seed: Option<u64>,

    /// At how many moments the host makes some of the disks that a power cut can leave, in --scenario power-cut, beside judging
    /// all of them [default: 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    points: Option<u64>,

    /// Use this disk: a raw or qcow2 image, or a URL that QEMU understands (nbd://host/export). The file is never changed
    /// unless --write is given: what the guest writes lands in a throw-away overlay.
    #[arg(long, value_name = "PATH|URL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) disk: Option<String>,

    /// Attach the disk of --disk directly, so that writes reach it. Only the commands of --shell write.
    #[arg(long, requires = "disk", conflicts_with = "read_only")]
    pub(crate) write: bool,

    /// Use a device that behaves unlike QEMU's own. A separate back-end serves the disk to QEMU, and reports afterwards on the
    /// requests.
    #[arg(
        long,
        value_enum,
        value_name = "BEHAVIOUR",
        conflicts_with_all = ["disk", "format", "block_size", "no_flush"]
    )]
    pub(crate) foreign: Option<Foreign>,

    /// Take the disk away in the middle of the load, with --bare.
    #[arg(long, requires = "bare", conflicts_with_all = ["shell", "disk", "read_only"], value_enum, value_name = "KIND")]
    pub(crate) remove: Option<Removal>,

    /// Load the disk on all harts for this many seconds after the self-test, with --bare, and one queue alone for a quarter of that before,
    /// to compare; without it each writes its part once.
    #[arg(long, requires = "bare", conflicts_with_all = ["shell", "remove", "read_only", "write"], value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) load: Option<u32>,

    /// Count the instructions of a request on each queue in the place of self-test and load, with --bare. QEMU counts them exactly.
    #[arg(long, requires = "bare", conflicts_with_all = ["shell", "remove", "load"])]
    pub(crate) count: bool,

    /// Offer the legacy interface alone instead of the modern one: the register layout of version 1, or on the PCI bus the ports.
    #[arg(long)]
    pub(crate) legacy: bool,

    /// Make the device refuse writes.
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Logical and physical block size of the device, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = block_size)]
    pub(crate) block_size: u32,

    /// Largest queue size the driver may use, in descriptors; a power of two from 4 to 256 unless --bare is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub(crate) queue_size: Option<u16>,

    /// Do not offer the event index (VIRTIO_F_EVENT_IDX).
    #[arg(long)]
    pub(crate) no_event_idx: bool,

    /// Do not offer indirect descriptors (VIRTIO_F_INDIRECT_DESC).
    #[arg(long)]
    pub(crate) no_indirect: bool,

    /// Write-through: the device offers neither flush nor a switch for its write cache.
    #[arg(long, visible_alias = "write-through")]
    pub(crate) no_flush: bool,

    /// Format of the disk that is made; with --disk, the format to take it for instead of looking.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// Memory of the machine, e.g. 256M.
    #[arg(long, value_name = "SIZE", default_value = "128M", value_parser = memory_size)]
    pub(crate) memory: String,

    #[command(flatten)]
    pub(crate) hardware: Hardware,

    /// Wait for completions by polling instead of interrupts, with --bare.
    #[arg(long, requires = "bare")]
    pub(crate) poll: bool,

    /// Start the shell on this terminal instead of the self-test, with --bare. Input that is no terminal is fed one line per prompt.
    #[arg(long, requires = "bare")]
    pub(crate) shell: bool,

    /// Stop at the first instruction and wait for gdb on port 1234.
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Print the QEMU command line, and before it that of the back-end of a foreign disk, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write the result of the run to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Stop the guest after this many seconds, besides those of --load. Does not apply to --gdb and to --shell on a terminal.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,

    /// Use this QEMU (qemu-system-riscv64, 7.0 or newer) instead of looking for one.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// One more word for the command line of QEMU, after all others: --qemu-arg=-machine --qemu-arg=aia=aplic. May be given
    /// again and again.
    #[arg(
        long = "qemu-arg",
        value_name = "WORD",
        allow_hyphen_values = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) qemu_args: Vec<String>,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,

    /// Also print the machine-readable records of the guest and the QEMU command line.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Largest blocks of a disk that is made, in bytes: its parts begin and end with blocks of this size.
const MADE_BLOCK: u32 = 4096;

/// How long all faults may take once, in seconds: far more than they do on a host that has nothing else to do.
const FAULTS_SECONDS: u64 = 180;

/// Queue sizes that the service can be told to use.
const SERVICE_QUEUE: std::ops::RangeInclusive<u16> = 4..=256;

impl QemuArgs {
    /// Why these options make no sense together, in one line that names them, where clap does not say it.
    pub(super) fn contradiction(&self) -> Option<String> {
        let scenario = (!self.bare && self.example.is_none()).then(|| self.scenario());
        if (self.rounds.is_some() || self.seed.is_some()) && scenario.and_then(Name::rounds).is_none() {
            return Some(
                "--rounds and --seed need --kill-during-io, or --scenario kills, slow-kills, faults or power-cut"
                    .to_owned(),
            );
        }
        if self.points.is_some() && scenario != Some(Name::PowerCut) {
            return Some("--points needs --scenario power-cut".to_owned());
        }
        if let Some(line) = self.hardware.contradiction(self.legacy, self.remove.is_some()) {
            return Some(line);
        }
        let disks = self.hardware.buses.len();
        if disks > 1 && (self.disk.is_some() || self.shell) {
            let option = if self.shell { "--shell" } else { "--disk" };
            return Some(format!("{option} is about one disk, and --bus makes {disks}"));
        }
        if let Some(name) = self.example
            && self.disk.is_some()
            && name.example().disks.len() > 1
        {
            return Some(format!(
                "--disk is about one disk, and example {} has {}",
                name.package(),
                name.example().disks.len()
            ));
        }
        if self.disk.is_none() && self.block_size > MADE_BLOCK {
            return Some(format!(
                "--block-size {}: the disk that is made has blocks of up to {MADE_BLOCK} bytes; give another one with --disk",
                self.block_size
            ));
        }
        let is_daemon = self.foreign == Some(Foreign::StorageDaemon);
        if self.foreign.is_some() && !is_daemon && self.hardware.queues > 1 {
            return Some("--queues: of the back-ends of --foreign only storage-daemon serves several".to_owned());
        }
        if is_daemon && disks > 1 {
            return Some(format!(
                "--foreign storage-daemon: all its disks have the same id, and --bus makes {disks}"
            ));
        }
        if is_daemon && (self.legacy || self.no_event_idx || self.no_indirect) {
            return Some(
                "--foreign storage-daemon: it serves modern devices with all they have: leave out --legacy, --no-event-idx and \
                 --no-indirect"
                    .to_owned(),
            );
        }
        match self.remove {
            Some(_) if disks > 1 => return Some(format!("--remove is about one disk, and --bus makes {disks}")),
            Some(Removal::Killed) if self.foreign.is_none() => {
                return Some("--remove killed: without --foreign there is no back-end that can be killed".to_owned());
            }
            Some(Removal::Hot | Removal::Surprise) if self.hardware.buses == [Bus::Mmio] || self.foreign.is_some() => {
                return Some("--remove hot and --remove surprise need a disk of QEMU's own on --bus pci".to_owned());
            }
            _ => {}
        }
        let fits = |size: u16| size.is_power_of_two() && SERVICE_QUEUE.contains(&size);
        if scenario.is_some() && self.queue_size.is_some_and(|size| !fits(size)) {
            return Some("--queue-size: the service takes a power of two from 4 to 256".to_owned());
        }
        let scenario = scenario?;
        let value = scenario.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        if !scenario.allows_read_only() && self.read_only {
            return Some(format!("scenario {name} writes to the disk: leave out --read-only"));
        }
        if scenario.needs_plain_disk() && self.block_size != 512 {
            return Some(format!(
                "scenario {name} writes in sectors of 512 bytes: leave out --block-size"
            ));
        }
        if self.foreign.is_some() && scenario.needs_disk_of_qemu() {
            return Some(format!(
                "scenario {name} is about how QEMU serves its own disk: leave out --foreign"
            ));
        }
        if scenario == Name::Faults && self.format == Some(Format::Qcow2) {
            return Some(format!(
                "scenario {name} serves the disk in several ways, which raw images allow: leave out --format"
            ));
        }
        if scenario == Name::PowerCut && self.format == Some(Format::Qcow2) {
            // A qcow2 image leaves what is discarded as it was, unless that is whole clusters.
            return Some("scenario power-cut compares a raw image with the log: leave out --format qcow2".to_owned());
        }
        if matches!(scenario, Name::Flushes | Name::Vblkctl | Name::Faults | Name::PowerCut) && self.no_flush {
            return Some(format!("scenario {name} flushes the disk: leave out --no-flush"));
        }
        None
    }

    /// How long the guest may run, in seconds. The load on each disk is added, with the one on one queue that comes before it, and each
    /// round of faults.
    pub(crate) fn limit(&self) -> u64 {
        let load = self.load.map_or(0, |seconds| u64::from(seconds + seconds.div_ceil(4)));
        let faults = match self.scenario() {
            Name::Faults if !self.bare => u64::from(self.rounds()) * FAULTS_SECONDS,
            _ => 0,
        };
        self.timeout + faults + load * self.hardware.buses.len() as u64
    }

    /// How often what the scenario is about happens.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.or_else(|| self.scenario().rounds()).unwrap_or(1)
    }

    /// Seed of the random times of the kills.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    /// At how many moments disks are made that a power cut can leave.
    pub(crate) fn points(&self) -> u64 {
        self.points.unwrap_or(20)
    }

    /// The scenario of service and clients. The bare image has none.
    pub(crate) fn scenario(&self) -> Name {
        match self.scenario {
            _ if self.kill_during_io => Name::Kills,
            Some(name) => name,
            None => Name::Tour,
        }
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
fn seed(text: &str) -> Result<u64, String> {
    number(text).ok_or_else(|| "give a number, such as 7 or 0x7".to_owned())
}

/// QEMU takes larger ones, but the guests read whole blocks into buffers of this size.
fn block_size(text: &str) -> Result<u32, String> {
    const MOST: u32 = 64 << 10;
    match text.parse::<u32>() {
        Ok(bytes) if bytes.is_power_of_two() && (SECTOR_BYTES as u32..=MOST).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "a block has a power of two from {SECTOR_BYTES} to {MOST} bytes"
        )),
    }
}

/// A size as QEMU takes it after `-m`: digits and one of the letters K, M, G (none: MiB).
fn memory_size(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let number: u64 = digits
        .parse()
        .map_err(|_| "give a size such as 128M or 1G".to_owned())?;
    let shift = match &text[digits.len()..] {
        "" | "M" | "m" => 20,
        "K" | "k" => 10,
        "G" | "g" => 30,
        _ => return Err("give a size such as 128M or 1G".to_owned()),
    };
    let bytes = number.checked_mul(1 << shift).ok_or("that is too much")?;
    if bytes < 32 << 20 {
        return Err("the guest needs at least 32M".to_owned());
    }
    Ok(text.to_owned())
}
