//! The result of a run: [`parse`] takes the guest's records from the console, [`disk`] and [`trace`] look at what is left after
//! power-off, [`check`] lists what is wrong, [`screen`] shows it to a person. [`Report`] is what `--json` writes.

mod block_test;
mod check;
mod defmt;
pub(crate) mod disk;
mod faulty;
#[cfg(test)]
mod hostile;
mod load;
pub(crate) mod parse;
pub(crate) mod screen;
#[cfg(test)]
mod tests;
mod trace;
mod vblkctl;

use serde::Serialize;

use crate::blockstats::BlockStats;
use crate::faults;
use crate::foreign::Seen;
use crate::power_cut::examine::Judged;

pub(crate) use check::Case;
pub(crate) use defmt::{Count, Frames, Strings};
pub(crate) use parse::{Guest, SECOND_DISK, records, total};
pub(crate) use trace::read as read_trace;

/// The result of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether there is no reason against it.
    pub(crate) passed: bool,
    /// Why not, the most telling reason first.
    pub(crate) reasons: Vec<String>,
    pub(crate) qemu_version: String,
    pub(crate) command_line: String,
    /// The script for service and clients.
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

/// The findings of the host.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Host {
    /// The sectors of the disks after the run; None if there is nothing to compare.
    pub(crate) comparison: Option<disk::Comparison>,
    /// Sampled ranges that guest and host read.
    pub(crate) digests: Share,
    /// Files in the MINIX file system that the host made.
    pub(crate) files: Share,
    /// The first of the above that is wrong.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
    /// Most requests that were in the devices at once, where QEMU was asked to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_at_once: Option<u64>,
    /// Flushes after the last write, where QEMU was asked to say or a back-end has counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flushes_after_writes: Option<u64>,
    /// QEMU's statistics of the first disk, by the program at whose end they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) block_stats: Vec<(&'static str, BlockStats)>,
    /// The faults that were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<faults::Total>,
    /// The reports of the back-ends, where QEMU does not serve the disks itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) backends: Vec<Seen>,
    /// The partitions of the user's disk and the file systems on them, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contents: Vec<String>,
    /// The judgement of every power cut, where QEMU was asked to log what is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) power_cut: Option<Judged>,
    /// Whether the user's file is unchanged. None: there is no such file, or it was meant to change.
    pub(crate) file_unchanged: Option<bool>,
}

/// How many things are equal in the guest and on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    pub(crate) equal: usize,
    pub(crate) of: usize,
}
