//! The disks after power-off: whether they hold what the guest said.
//!
//! The guest says which sectors it changed, and to what. Every such sector must hold what was said, every other sector must
//! be unchanged.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use guest_protocol::{Record, SECTOR_BYTES, SectorRange, pattern};
use rangemap::{RangeMap, RangeSet};
use serde::Serialize;

use super::parse::Guest;
use super::{Host, Share};
use crate::cli::QemuArgs;
use crate::disk::{Disk, Source};
use crate::minix::programs::SERVICE;

/// Sectors read at a time.
const CHUNK: u64 = 2048;
/// How many differences are described in words.
const DESCRIBED: usize = 8;

/// The content of a sector after the guest has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `pattern(seed, sector)`.
    Pattern(u64),
    Zeros,
    Anything,
}

impl Guest {
    /// The changes to a disk that the guest reported, in order.
    pub(crate) fn changes(&self, disk: usize) -> Vec<(SectorRange, Expected)> {
        let changes = self.of_disk(disk).filter_map(|reported| match reported.record {
            Record::Wrote { range, seed } => Some((range, Expected::Pattern(seed))),
            Record::Zeroed { range } => Some((range, Expected::Zeros)),
            Record::Undefined { range } => Some((range, Expected::Anything)),
            _ => None,
        });
        changes.collect()
    }
}

impl Guest {
    /// Writes since the last boot that were told of before they were sent, and not answered.
    pub(crate) fn unanswered_writes(&self) -> usize {
        let boot = self
            .records
            .iter()
            .rposition(|reported| matches!(reported.record, Record::Started { program, .. } if program == SERVICE));
        let mut open: Vec<SectorRange> = Vec::new();
        for reported in &self.records[boot.unwrap_or(0)..] {
            match reported.record {
                Record::Undefined { range } if reported.client.starts_with("load") => open.push(range),
                Record::Wrote { range, .. } => open.retain(|other| *other != range),
                _ => {}
            }
        }
        open.len()
    }
}

/// For every sector that was changed, the last change.
pub(super) fn last_changes(changes: &[(SectorRange, Expected)]) -> RangeMap<u64, Expected> {
    let mut last = RangeMap::new();
    for (range, expected) in changes {
        let sectors = sectors(*range);
        if !sectors.is_empty() {
            last.insert(sectors, *expected);
        }
    }
    last
}

fn sectors(range: SectorRange) -> Range<u64> {
    range.first..range.end()
}

/// Looks at the disks after the run, and adds to `host` what is found.
pub(crate) fn examine(args: &QemuArgs, disks: &[Disk], guest: &Guest, directory: &Path, host: &mut Host) -> Result<()> {
    let whole_run = guest.done().is_some() && !args.shell;
    for (number, disk) in disks.iter().enumerate() {
        if whole_run {
            digests(number, disk, guest, host);
            files(number, disk, guest, host);
        }
        if disk.is_compared {
            let comparison = host.comparison.get_or_insert_with(Comparison::default);
            compare(number, disk, guest, directory, comparison)?;
        }
        if let Some(given) = &disk.given
            && !(args.write && args.shell)
        {
            host.file_unchanged = Some(given.still_fits()?);
        }
    }
    Ok(())
}

/// Compares a disk that no guest uses at the moment.
pub(crate) fn compare(
    number: usize,
    disk: &Disk,
    guest: &Guest,
    directory: &Path,
    comparison: &mut Comparison,
) -> Result<()> {
    let changes = last_changes(&guest.changes(number));
    let mut ranges: RangeSet<u64> = disk.touched()?.into_iter().map(sectors).collect();
    // A write that was reported may also have been lost on the way to where nothing is stored.
    let defined = changes.iter().filter(|(_, expected)| **expected != Expected::Anything);
    ranges.extend(
        defined
            .map(|(range, _)| range.clone())
            .filter(|range| range.end <= disk.sectors),
    );
    for Range { start, end } in ranges {
        let range = SectorRange {
            first: start,
            count: end - start,
        };
        let mut before = disk.before(range, directory)?;
        let mut after = disk.after(range, directory)?;
        comparison.add(range, &mut before, &mut after, &changes)?;
    }
    Ok(())
}

/// Whether both sides read the same.
fn digests(number: usize, disk: &Disk, guest: &Guest, host: &mut Host) {
    let pairs = disk.digests.iter().map(|(range, expected)| {
        let found = guest.of_disk(number).filter_map(|reported| match reported.record {
            Record::Digest { range: of, crc64 } if of == *range => Some(crc64),
            _ => None,
        });
        let found: Vec<u64> = found.collect();
        let is_equal = !found.is_empty() && found.iter().all(|crc64| crc64 == expected);
        let place = format!("sectors {} to {}", range.first, range.end() - 1);
        (place, is_equal, !found.is_empty())
    });
    share(pairs, &mut host.digests, &mut host.findings);
}

/// The files the guest found, against those the host made. A guest that reported none was not asked to look.
fn files(number: usize, disk: &Disk, guest: &Guest, host: &mut Host) {
    let found: HashMap<&str, (u64, u64)> = guest
        .of_disk(number)
        .filter_map(|reported| match reported.record {
            Record::File { path, bytes, crc64 } => Some((path, (bytes, crc64))),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return;
    }
    let pairs = disk.files().iter().map(|file| {
        let content = found.get(file.path.as_str());
        let is_equal = content == Some(&(file.bytes, file.crc64));
        (format!("file {}", file.path), is_equal, content.is_some())
    });
    share(pairs, &mut host.files, &mut host.findings);
}

/// Counts things that are named, equal on both sides or not, and read by the guest or not. The first that is wrong is a finding.
fn share(things: impl Iterator<Item = (String, bool, bool)>, share: &mut Share, findings: &mut Vec<String>) {
    let mut wrong = None;
    for (what, is_equal, is_read) in things {
        share.of += 1;
        share.equal += usize::from(is_equal);
        if !is_equal {
            wrong.get_or_insert(match is_read {
                true => format!("{what}: read differently in the guest and on the host"),
                false => format!("{what}: never read in the guest"),
            });
        }
    }
    findings.extend(wrong);
}

/// The result of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// Sectors looked at.
    pub(crate) compared: u64,
    /// Sectors the guest reported as changed, and that are as it said.
    pub(crate) changed_as_reported: u64,
    /// Sectors the guest reported as changed, and that are not as it said.
    pub(crate) not_as_reported: u64,
    /// Sectors that changed and were not reported.
    pub(crate) unexpected: u64,
    /// The first few differences.
    pub(crate) differences: Vec<String>,
}

impl Comparison {
    /// Compares one range and adds to the counts.
    pub(crate) fn add(
        &mut self,
        range: SectorRange,
        before: &mut Source,
        after: &mut Source,
        changes: &RangeMap<u64, Expected>,
    ) -> Result<()> {
        let mut sector = range.first;
        let mut was = vec![0; CHUNK.min(range.count) as usize * SECTOR_BYTES];
        let mut is = was.clone();
        while sector < range.end() {
            let count = CHUNK.min(range.end() - sector);
            let bytes = count as usize * SECTOR_BYTES;
            before.read(sector, &mut was[..bytes])?;
            after.read(sector, &mut is[..bytes])?;
            let pairs = was[..bytes].chunks(SECTOR_BYTES).zip(is[..bytes].chunks(SECTOR_BYTES));
            for (number, (was, is)) in (sector..).zip(pairs) {
                self.sector(number, was, is, changes.get(&number).copied());
            }
            sector += count;
        }
        Ok(())
    }

    fn sector(&mut self, number: u64, was: &[u8], is: &[u8], expected: Option<Expected>) {
        self.compared += 1;
        let difference = match expected {
            // Comparing whole first is what makes this fast: nearly all sectors are equal.
            None if was == is => None,
            None => was.iter().zip(is).position(|(was, is)| was != is),
            Some(Expected::Pattern(seed)) => pattern::check(seed, number, is).err(),
            Some(Expected::Zeros) => is.iter().position(|byte| *byte != 0),
            Some(Expected::Anything) => None,
        };
        match (expected, difference) {
            (None, None) => {}
            (Some(_), None) => self.changed_as_reported += 1,
            (None, Some(byte)) => {
                self.unexpected += 1;
                self.describe(format!(
                    "sector {number} changed at byte {byte}, which the guest did not report"
                ));
            }
            (Some(expected), Some(byte)) => {
                self.not_as_reported += 1;
                let should = match expected {
                    Expected::Pattern(seed) => format!("pattern {seed:#x}"),
                    Expected::Zeros => "zeros".to_owned(),
                    Expected::Anything => "anything".to_owned(),
                };
                self.describe(format!(
                    "sector {number} should hold {should}, but differs at byte {byte}"
                ));
            }
        }
    }

    fn describe(&mut self, text: String) {
        if self.differences.len() < DESCRIBED {
            self.differences.push(text);
        }
    }

    /// Whether every sector is as it should be.
    pub(crate) fn agrees(&self) -> bool {
        self.unexpected == 0 && self.not_as_reported == 0
    }
}
