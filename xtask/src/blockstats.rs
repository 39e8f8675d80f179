//! QEMU's own statistics of a disk, asked for while the guest runs, and a disk that is slow for a while.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use guest_protocol::Record;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::minix::vblkctl::label;
use crate::qmp::Qmp;
use crate::report::{Guest, records};

/// QEMU's name of the first disk.
const DRIVE: &str = "d0";

/// What QEMU has counted for a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockStats {
    pub(crate) rd_operations: u64,
    pub(crate) rd_bytes: u64,
    pub(crate) wr_operations: u64,
    pub(crate) wr_bytes: u64,
    pub(crate) flush_operations: u64,
    /// What reached the file of a raw image. QEMU's devices do not count discards.
    #[serde(skip_deserializing)]
    pub(crate) discards: Option<Discards>,
}

/// Discards of a file that have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"))]
pub(crate) struct Discards {
    pub(crate) discard_nb_ok: u64,
    pub(crate) discard_bytes_ok: u64,
}

/// What the host does, each of it once, when a program has ended or starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask(&'static str),
    /// So many requests a second; none: as many as come.
    Throttle(Option<u64>),
}

/// In this order.
const STEPS: [(When, Step); 4] = [
    (When::Ended(label::BEFORE), Step::Ask(label::BEFORE)),
    (When::Ended(label::AFTER), Step::Ask(label::AFTER)),
    (When::Ended(label::SLOWER), Step::Throttle(Some(1))),
    (When::Started(label::FASTER), Step::Throttle(None)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Started(&'static str),
    Ended(&'static str),
}

/// Follows a guest, and takes the steps.
#[derive(Debug)]
pub(crate) struct Watcher {
    socket: PathBuf,
    qmp: Option<Qmp>,
    done: usize,
    /// The statistics, by the label of the program with whose end they were asked for.
    taken: Vec<(&'static str, BlockStats)>,
    failed: Option<String>,
}

impl Watcher {
    pub(crate) fn new(socket: &Path) -> Watcher {
        Watcher {
            socket: socket.to_owned(),
            qmp: None,
            done: 0,
            taken: Vec::new(),
            failed: None,
        }
    }

    /// Takes the steps whose time has come. The guest leaves time for it.
    pub(crate) fn follow(&mut self, guest: &Guest) {
        while let Some(&(when, step)) = STEPS
            .get(self.done)
            .filter(|(when, _)| self.failed.is_none() && has_come(guest, *when))
        {
            self.done += 1;
            self.failed = self.take(step).err().map(|error| format!("{when:?}: {error:#}"));
        }
    }

    fn take(&mut self, step: Step) -> Result<()> {
        let qmp = match &mut self.qmp {
            Some(qmp) => qmp,
            none => none.insert(Qmp::connect(&self.socket)?),
        };
        match step {
            Step::Ask(label) => {
                let answer = qmp.command("query-blockstats", json!({}))?;
                let mut disks = answer.as_array().into_iter().flatten();
                let disk = disks.find(|disk| disk["device"] == DRIVE);
                let disk = disk.context("QEMU has no such disk")?;
                let mut stats = BlockStats::deserialize(&disk["stats"])?;
                let file = disk.pointer("/parent/driver-specific");
                stats.discards = file.and_then(|file| Discards::deserialize(file).ok());
                self.taken.push((label, stats));
            }
            Step::Throttle(rate) => qmp.limit(DRIVE, rate.unwrap_or(0))?,
        }
        Ok(())
    }

    /// The statistics, and what went wrong.
    pub(crate) fn finish(self) -> (Vec<(&'static str, BlockStats)>, Option<String>) {
        let failed = self.failed.or_else(|| {
            let next = STEPS.get(self.done);
            next.map(|(when, _)| format!("{when:?} did not come"))
        });
        (self.taken, failed)
    }
}

fn has_come(guest: &Guest, when: When) -> bool {
    match when {
        When::Started(wanted) => records!(guest, Record::Started { label, .. } if label == wanted => ()).next(),
        When::Ended(wanted) => records!(guest, Record::Ended { label, .. } if label == wanted => ()).next(),
    }
    .is_some()
}
