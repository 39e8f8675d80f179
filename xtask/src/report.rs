//! What a run comes to: what the guest reported, what the host found, and whether both agree.
//!
//! This is what `--json` writes. Fields are only ever added.

use image_blk::options::SectorRange;
use image_blk::record::{Outcome, Record};
use serde::Serialize;

use crate::defmt::Count;
use crate::ledger::Ledger;
use crate::verify::Comparison;

/// The result of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether guest and host agree that all is well.
    pub(crate) passed: bool,
    /// Why not, the most telling reason first.
    pub(crate) reasons: Vec<String>,
    pub(crate) qemu_version: String,
    pub(crate) command_line: String,
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
    pub(crate) device: Option<Device>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) tests: Vec<Test>,
    pub(crate) digests: Vec<Digest>,
    pub(crate) benches: Vec<Bench>,
    /// The driver's counters as last reported.
    pub(crate) counters: Vec<(String, String)>,
    pub(crate) errors: Vec<GuestError>,
    /// The last record of the self-test.
    pub(crate) done: Option<Done>,
    /// Records that could not be read.
    pub(crate) damaged: Vec<String>,
    /// Ranges reported as changed, in order.
    #[serde(skip)]
    pub(crate) changes: Vec<SectorRange>,
    #[serde(skip)]
    pub(crate) ledger: Ledger,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Window {
    pub(crate) address: u64,
    pub(crate) interrupt: u32,
    /// None: the magic value was wrong.
    pub(crate) version: Option<u32>,
    pub(crate) device: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    pub(crate) version: u32,
    /// Hexadecimal.
    pub(crate) offered: String,
    /// Hexadecimal.
    pub(crate) accepted: String,
    pub(crate) capacity_sectors: u64,
    pub(crate) block_bytes: u32,
    pub(crate) queue_size: u32,
    pub(crate) read_only: bool,
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) offered_bits: u128,
    #[serde(skip)]
    pub(crate) accepted_bits: u128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Partition {
    pub(crate) index: u32,
    pub(crate) kind: u8,
    pub(crate) first_sector: u64,
    pub(crate) sectors: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) result: &'static str,
    pub(crate) detail: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Digest {
    pub(crate) first_sector: u64,
    pub(crate) sectors: u64,
    /// Hexadecimal: JSON numbers are too small in many readers.
    pub(crate) crc64: String,
    #[serde(skip)]
    pub(crate) value: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bench {
    pub(crate) name: String,
    pub(crate) depth: u32,
    pub(crate) bytes: u64,
    pub(crate) ops: u64,
    pub(crate) micros: u64,
    pub(crate) notifies: u64,
    pub(crate) interrupts: u64,
    pub(crate) instructions: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct GuestError {
    pub(crate) stage: String,
    pub(crate) kind: String,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
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
    /// Whether the user's file is what it was; None if there is none or it was to be changed.
    pub(crate) file_unchanged: Option<bool>,
}

impl Guest {
    /// Makes sense of the records of a run.
    pub(crate) fn read(lines: &[String]) -> Guest {
        let mut guest = Guest::default();
        for line in lines {
            match Record::parse(line) {
                Ok(record) => guest.enter(&record),
                Err(error) => guest
                    .damaged
                    .push(format!("{}: {error}", line.trim_start_matches(image_blk::MARK))),
            }
        }
        guest
    }

    fn enter(&mut self, record: &Record<'_>) {
        if let Some(range) = self.ledger.enter(record) {
            self.changes.push(range);
            return;
        }
        match *record {
            Record::Window {
                address,
                interrupt,
                identity,
            } => self.windows.push(Window {
                address,
                interrupt,
                version: identity.map(|identity| identity.version),
                device: identity.map(|identity| identity.device),
            }),
            Record::Device {
                version,
                offered,
                accepted,
                capacity,
                block,
                queue,
                read_only,
                id,
            } => {
                self.device = Some(Device {
                    version,
                    offered: format!("{offered:#x}"),
                    accepted: format!("{accepted:#x}"),
                    capacity_sectors: capacity,
                    block_bytes: block,
                    queue_size: queue,
                    read_only,
                    id: id.to_owned(),
                    offered_bits: offered,
                    accepted_bits: accepted,
                });
            }
            Record::Partition { index, kind, range } => {
                self.partitions.push(Partition {
                    index,
                    kind,
                    first_sector: range.first,
                    sectors: range.count,
                });
            }
            Record::Test { name, outcome, detail } => self.tests.push(Test {
                name: name.to_owned(),
                result: match outcome {
                    Outcome::Pass => "pass",
                    Outcome::Fail => "fail",
                    Outcome::Skip => "skip",
                },
                detail: spaced(detail),
            }),
            Record::Digest { range, crc64 } => self.digests.push(Digest {
                first_sector: range.first,
                sectors: range.count,
                crc64: format!("{crc64:#018x}"),
                value: crc64,
            }),
            Record::Bench {
                name,
                depth,
                bytes,
                ops,
                micros,
                notifies,
                interrupts,
                instructions,
            } => {
                let name = name.to_owned();
                self.benches.push(Bench {
                    name,
                    depth,
                    bytes,
                    ops,
                    micros,
                    notifies,
                    interrupts,
                    instructions,
                });
            }
            Record::Counters(fields) => {
                self.counters = fields
                    .iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect();
            }
            Record::Error { stage, kind, text } => {
                self.errors.push(GuestError {
                    stage: stage.to_owned(),
                    kind: kind.to_owned(),
                    text: spaced(text),
                });
            }
            Record::Done { passed, failed } => self.done = Some(Done { passed, failed }),
            Record::Wrote { .. } | Record::Zeroed { .. } | Record::Discarded { .. } | Record::Other { .. } => {}
        }
    }

    /// The digest the guest found for a range.
    pub(crate) fn digest(&self, range: SectorRange) -> Option<u64> {
        let same = |digest: &&Digest| digest.first_sector == range.first && digest.sectors == range.count;
        self.digests.iter().find(same).map(|digest| digest.value)
    }
}

/// A text for people: records have `_` where spaces were.
fn spaced(text: &str) -> String {
    text.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| format!("\x1e{line}")).collect()
    }

    #[test]
    fn records_become_a_report() {
        let guest = Guest::read(&lines(
            "window addr=0x10001000 irq=1 version=2 device=2\n\
             window addr=0x10002000 irq=2 bad=1\n\
             device version=2 offered=0x130006e54 accepted=0x130000000 capacity=131072 block=512 queue=256 readonly=0 id=d\n\
             partition index=0 type=0x83 first=2048 count=32768\n\
             test name=read result=pass detail=all_is_well\n\
             digest first=0 count=64 crc64=0xff\n\
             wrote first=65536 count=8 seed=0x1\n\
             bench name=read depth=1 bytes=4096 ops=10 micros=20 notifies=10 interrupts=9 instructions=0\n\
             counters reads=1\n\
             counters reads=2\n\
             wrote first=1\n\
             later x=1\n\
             done passed=1 failed=0",
        ));
        assert_eq!((guest.windows.len(), guest.windows[1].version), (2, None));
        assert_eq!(
            guest.device.as_ref().map(|device| device.accepted_bits),
            Some(0x1_3000_0000)
        );
        assert_eq!(guest.partitions[0].kind, 0x83);
        assert_eq!(
            (guest.tests[0].result, guest.tests[0].detail.as_str()),
            ("pass", "all is well")
        );
        assert_eq!(guest.digest(SectorRange { first: 0, count: 64 }), Some(0xff));
        assert_eq!(guest.digest(SectorRange { first: 0, count: 65 }), None);
        assert_eq!(guest.changes, [SectorRange { first: 65536, count: 8 }]);
        assert_eq!(guest.ledger.sectors(), 8);
        assert_eq!(guest.counters, [("reads".to_owned(), "2".to_owned())]);
        assert_eq!(guest.damaged, ["wrote first=1: field `count` is missing"]);
        assert_eq!(guest.done.as_ref().map(|done| (done.passed, done.failed)), Some((1, 0)));
        let json = serde_json::to_value(&guest).unwrap();
        assert_eq!(json["device"]["queue_size"], 256);
        assert_eq!(json["benches"][0]["interrupts"], 9);
    }
}
