//! What a run comes to: what the guest reported, what the host found, and whether both agree.
//!
//! This is what `--json` writes. Fields are only ever added.

mod bare;
mod minix;

use guest_protocol::SectorRange;
use serde::Serialize;

use crate::defmt::Count;
use crate::foreign::Seen;
use crate::ledger::{Ledger, State};
use crate::verify::Comparison;

pub(crate) use bare::{Bench, Device, Partition, Window};
pub(crate) use minix::{Check, Load, Minix, MinorPartition, Poison, SECOND_DISK};

/// The result of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether guest and host agree that all is well.
    pub(crate) passed: bool,
    /// Why not, the most telling reason first.
    pub(crate) reasons: Vec<String>,
    pub(crate) qemu_version: String,
    pub(crate) command_line: String,
    /// What service and clients were to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<String>,
    pub(crate) seconds: f64,
    /// The exit status of QEMU, which the guest chooses. None if the guest was stopped or QEMU was killed.
    pub(crate) exit_status: Option<i32>,
    /// The guest's defmt frames.
    pub(crate) defmt: Count,
    pub(crate) guest: Guest,
    pub(crate) host: Host,
}

impl Report {
    /// Of a run that did not come about.
    pub(crate) fn of_no_run(why: &anyhow::Error) -> Report {
        Report {
            reasons: vec![format!("{why:#}")],
            ..Report::default()
        }
    }
}

/// What the guest reported.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Guest {
    pub(crate) windows: Vec<Window>,
    /// The disk as the bare image sees it.
    pub(crate) device: Option<Device>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) tests: Vec<Test>,
    pub(crate) digests: Vec<Digest>,
    pub(crate) benches: Vec<Bench>,
    /// The driver's counters as last reported.
    pub(crate) counters: Vec<(String, String)>,
    pub(crate) errors: Vec<GuestError>,
    /// The last record: tests of the bare image, or statements of a scenario.
    pub(crate) done: Option<Done>,
    /// What only the test kernel and its clients report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minix: Option<Minix>,
    /// Records that could not be read.
    pub(crate) damaged: Vec<String>,
    /// What was done to each disk.
    #[serde(skip)]
    pub(crate) disks: [Changes; 2],
}

/// What the guest says it did to a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Ranges reported as changed, in order.
    pub(crate) ranges: Vec<SectorRange>,
    pub(crate) ledger: Ledger,
}

impl Changes {
    fn enter(&mut self, range: SectorRange, state: State) {
        self.ranges.push(range);
        self.ledger.set(range, state);
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Test {
    /// The label of the client that tested; empty for the bare image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client: String,
    pub(crate) name: String,
    pub(crate) result: &'static str,
    pub(crate) detail: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Digest {
    /// Which of the disks.
    pub(crate) disk: usize,
    pub(crate) first_sector: u64,
    pub(crate) sectors: u64,
    /// Hexadecimal: JSON numbers are too small in many readers.
    pub(crate) crc64: String,
    #[serde(skip)]
    pub(crate) value: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct GuestError {
    /// The label of the client that ran; empty for the bare image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client: String,
    pub(crate) stage: String,
    pub(crate) kind: String,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// What the host found out by itself.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Host {
    /// The sectors of the disk after the run; None if there is nothing to compare.
    pub(crate) comparison: Option<Comparison>,
    /// Ranges the guest was asked to digest.
    pub(crate) digests: usize,
    /// Of those, the ones where guest and host agree.
    pub(crate) digests_equal: usize,
    /// Sectors in the ranges that agree.
    pub(crate) digested_sectors: u64,
    /// Files the guest found that are what the host made.
    pub(crate) files_equal: usize,
    /// Files the host made.
    pub(crate) files: usize,
    /// The first file that is missing, or not what the host made.
    #[serde(skip)]
    pub(crate) first_wrong_file: Option<String>,
    /// Most requests that were in the devices at once, where QEMU was asked to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_at_once: Option<u64>,
    /// Flushes after the last write, where QEMU was asked to say or a back-end has counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flushes_after_writes: Option<u64>,
    /// What the back-ends of the disks have seen, where QEMU does not serve them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) backends: Vec<Seen>,
    /// Whether the user's file is what it was; None if there is none or it was to be changed.
    pub(crate) file_unchanged: Option<bool>,
}

impl Guest {
    /// The digest the guest found for a range of a disk.
    pub(crate) fn digest(&self, disk: usize, range: SectorRange) -> Option<u64> {
        let same = |digest: &&Digest| {
            digest.disk == disk && digest.first_sector == range.first && digest.sectors == range.count
        };
        self.digests.iter().find(same).map(|digest| digest.value)
    }

    fn damaged(&mut self, line: &str, error: impl std::fmt::Display) {
        let line = line.trim_start_matches(guest_protocol::MARK);
        self.damaged.push(format!("{line}: {error}"));
    }
}

/// The sum of what a guest counted. It is exact: a guest may count up to the largest number, and more than once.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u128 {
    counts.into_iter().map(u128::from).sum()
}

/// A text for people, not for names: records have `_` where spaces were.
fn spaced(text: &str) -> String {
    text.replace('_', " ")
}
