//! The scenarios: a script for the test kernel, the disks and the machine it needs, and the clients that must fail.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use testkernel::scenario;

use crate::disk::layout::Recipe;

/// Clients whose label begins like this must fail when they open the disk.
pub(super) const REFUSED: &str = "refused";
/// The client that must fail since it does not find the successor of its driver, and the one that must find it. Their
/// priorities stand in the configuration of the clients.
pub(crate) const STARVED: &str = "starved";
pub(crate) const PATIENT: &str = "patient";
/// How the labels of all services begin.
const SERVICES: &str = "virtio_blk";
/// Labels of services that want a disk which another one has: one that logs, one that logs nothing, one with an invalid
/// argument, one that comes after a restart; and one that comes when the disk is free.
pub(crate) const TWINS: [&str; 5] = [
    "virtio_blk_twin",
    "virtio_blk_mute",
    "virtio_blk_odd",
    "virtio_blk_late",
    "virtio_blk_heir",
];

/// Clients of a load.
pub(crate) const LOADS: u64 = 4;
/// Requests of each of them at the slow disk, where the service must wait.
pub(crate) const THROTTLED_OPS: u64 = 20;
/// Requests per second that the slow disk does.
pub(crate) const THROTTLED_RATE: u64 = 20;

/// The scenarios that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Three clients: a shell that looks at the disk, the block test, and a reader of the MINIX file system.
    Tour,
    /// The block test on a sparse disk of 140 GiB, up to its far end.
    Large,
    /// Random kills during a mixed load; --kill-during-io says how many.
    Kills,
    /// The same on a slow disk, so that each kill meets requests in flight.
    SlowKills,
    /// Four clients wait for a disk that does 20 requests per second, while the service's instructions are counted.
    Throttled,
    /// Four clients have two requests each at the disk at once.
    Overlap,
    /// A forced write, a flush and a close, counted as flushes that reach the device.
    Flushes,
    /// Ten thousand malformed and hostile messages.
    Abuse,
    /// Ping, live update, restart, SIGTERM.
    Life,
    /// Two disks, each with a service of its own.
    TwoDisks,
    /// The interrupt line stays masked for a while, since the hook of a dead process is on it.
    Masked,
    /// The service is killed under clients that spin as file systems do, on a system that charges no process for its time: one
    /// with a priority above that of the servers does not survive, one below does.
    Starved,
    /// A program of a shell checks what VFS, PM and the kernel answer to it.
    Programs,
    /// Every command of `vblkctl` on a disk that others use.
    Vblkctl,
    /// Several services that want the same disk; one at a time gets it.
    Twins,
    /// What a host does to its guests, under four clients: a disk on the network that hangs and comes back, errors, one request a second,
    /// other sizes, QEMU killed, stopped, reset and moved; --rounds says how often. Needs nbdkit.
    Faults,
    /// Clients tell what they ask for and what they are told, while the service is killed and its device is reset; every disk that
    /// a power cut can leave holds what they were promised.
    PowerCut,
}

/// A scenario for certain disks.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: Name,
    pub(super) script: Vec<Statement>,
}

pub(super) type Statement = scenario::Statement<String>;

/// What a scenario needs of the machine, beyond what a person can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Requests that each disk does per second at most.
    pub(crate) iops: Option<u64>,
    /// One instruction takes one nanosecond of the guest's time.
    pub(crate) counts_instructions: bool,
    /// Where QEMU writes down each request of the block devices.
    pub(crate) trace: Option<PathBuf>,
    /// Where QEMU serves its machine protocol.
    pub(crate) qmp: Option<PathBuf>,
    /// What serves the disk is replaced now and then while the guest runs, and its errors are the guest's.
    pub(crate) faults: bool,
    /// Where QEMU logs what is written to the first disk.
    pub(crate) writes: Option<PathBuf>,
}

impl Name {
    /// The disks it needs. The first is the one that --disk would replace.
    pub(crate) fn disks(self) -> &'static [Recipe] {
        match self {
            Name::Large => &[Recipe::Large],
            Name::TwoDisks => &[Recipe::Service, Recipe::Second],
            _ => &[Recipe::Service],
        }
    }

    /// The requirements on the machine. `directory` is for files.
    pub(crate) fn extras(self, directory: &Path) -> Extras {
        match self {
            Name::Throttled => Extras {
                iops: Some(THROTTLED_RATE),
                counts_instructions: true,
                ..Extras::default()
            },
            Name::SlowKills => Extras {
                iops: Some(40),
                ..Extras::default()
            },
            // How long it takes to stop is measured.
            Name::Life => Extras {
                counts_instructions: true,
                ..Extras::default()
            },
            Name::Overlap => Extras {
                iops: Some(200),
                trace: Some(directory.join("trace")),
                ..Extras::default()
            },
            Name::Vblkctl => Extras {
                qmp: Some(directory.join("qmp")),
                ..Extras::default()
            },
            Name::Faults => Extras {
                qmp: Some(directory.join("qmp")),
                faults: true,
                ..Extras::default()
            },
            Name::PowerCut => Extras {
                qmp: Some(directory.join("qmp")),
                writes: Some(directory.join("writes")),
                ..Extras::default()
            },
            Name::Flushes => Extras {
                trace: Some(directory.join("trace")),
                ..Extras::default()
            },
            _ => Extras::default(),
        }
    }

    /// How often it is repeated unless a person says otherwise; none if it happens once.
    pub(crate) fn rounds(self) -> Option<u32> {
        match self {
            Name::Kills | Name::SlowKills | Name::PowerCut => Some(20),
            Name::Faults => Some(1),
            _ => None,
        }
    }

    /// Whether QEMU must slow its disk down or write down its requests.
    pub(crate) fn needs_disk_of_qemu(self) -> bool {
        matches!(
            self,
            Name::Throttled | Name::SlowKills | Name::Overlap | Name::Vblkctl | Name::Faults | Name::PowerCut
        )
    }

    /// Whether it needs a disk that can be written in blocks of 512 bytes.
    pub(crate) fn needs_plain_disk(self) -> bool {
        self != Name::Tour
    }

    /// Whether it has a use for a disk that cannot be written.
    pub(crate) fn allows_read_only(self) -> bool {
        matches!(self, Name::Tour | Name::Vblkctl)
    }
}

/// Whether a client must be refused, by its label.
pub(crate) fn is_refused(label: &str) -> bool {
    label.starts_with(REFUSED)
}

/// Whether a client must fail, by its label.
pub(crate) fn must_fail(label: &str) -> bool {
    is_refused(label) || label == STARVED
}

impl Scenario {
    /// The script as the test kernel reads it: a line of JSON for each statement.
    pub(crate) fn script(&self) -> String {
        let line = |statement| serde_json::to_string(statement).expect("statements are plain data") + "\n";
        self.script.iter().map(line).collect()
    }

    /// The labels of its clients and programs.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &str> {
        self.script.iter().filter_map(|statement| match statement {
            Statement::Run(program) | Statement::Start(program) | Statement::Shell { program, .. } => {
                Some(&*program.label)
            }
            _ => None,
        })
    }

    /// How many statements must fail.
    pub(crate) fn failures(&self) -> usize {
        self.clients().filter(|label| must_fail(label)).count()
    }

    /// The services that must exit by themselves, as often as they are named here.
    pub(crate) fn must_leave(&self) -> impl Iterator<Item = &str> {
        self.script.iter().filter_map(|statement| match statement {
            Statement::Down(label) | Statement::Term(label) if label.starts_with(SERVICES) => Some(&**label),
            _ => None,
        })
    }
}
