//! The records of the bare image, as a report.

use image_blk::record::{Outcome, Record};
use serde::Serialize;

use super::{Digest, Done, Guest, GuestError, Test, spaced};
use crate::ledger::State;

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

impl Guest {
    /// Makes sense of the records of the bare image.
    pub(crate) fn of_bare(lines: &[String]) -> Guest {
        let mut guest = Guest::default();
        for line in lines {
            match Record::parse(line) {
                Ok(record) => guest.enter(&record),
                Err(error) => guest.damaged(line, error),
            }
        }
        guest
    }

    fn enter(&mut self, record: &Record<'_>) {
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
                client: String::new(),
                name: name.to_owned(),
                result: match outcome {
                    Outcome::Pass => "pass",
                    Outcome::Fail => "fail",
                    Outcome::Skip => "skip",
                },
                detail: spaced(detail),
            }),
            Record::Digest { range, crc64 } => self.digests.push(Digest {
                disk: 0,
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
                    client: String::new(),
                    stage: stage.to_owned(),
                    kind: kind.to_owned(),
                    text: spaced(text),
                });
            }
            Record::Wrote { range, seed } => self.disks[0].enter(range, State::Pattern { seed }),
            Record::Zeroed { range } => self.disks[0].enter(range, State::Zeros),
            Record::Discarded { range } => self.disks[0].enter(range, State::Undefined),
            Record::Done { passed, failed } => {
                self.done = Some(Done {
                    passed: passed.into(),
                    failed: failed.into(),
                });
            }
            Record::Other { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::SectorRange;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| format!("\x1e{line}")).collect()
    }

    #[test]
    fn records_become_a_report() {
        let guest = Guest::of_bare(&lines(
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
        assert_eq!(guest.digest(0, SectorRange { first: 0, count: 64 }), Some(0xff));
        assert_eq!(guest.digest(0, SectorRange { first: 0, count: 65 }), None);
        assert_eq!(guest.disks[0].ranges, [SectorRange { first: 65536, count: 8 }]);
        assert_eq!(guest.disks[0].ledger.sectors(), 8);
        assert_eq!(guest.counters, [("reads".to_owned(), "2".to_owned())]);
        assert_eq!(guest.damaged, ["wrote first=1: field `count` is missing"]);
        assert_eq!(guest.done.as_ref().map(|done| (done.passed, done.failed)), Some((1, 0)));
        let json = serde_json::to_value(&guest).unwrap();
        assert_eq!(json["device"]["queue_size"], 256);
        assert_eq!(json["benches"][0]["interrupts"], 9);
    }
}
