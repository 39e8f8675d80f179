//! The records of the test kernel and of the service's clients, as a report.

use guest_protocol::SectorRange;
use serde::Serialize;
use testkernel::record::{Record, Verdict};

use super::{Digest, Done, Guest, GuestError, Test, spaced};
use crate::ledger::State;

/// Clients whose label begins like this work on the second disk. Their records speak of sectors and not of disks.
pub(crate) const SECOND_DISK: &str = "second";

/// What kernel and clients reported beyond what every guest does.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Minix {
    pub(crate) started: Vec<Started>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) partitions: Vec<MinorPartition>,
    pub(crate) checks: Vec<Check>,
    pub(crate) files: Vec<File>,
    pub(crate) kills: Vec<Kill>,
    pub(crate) restarts: Vec<Restart>,
    pub(crate) poison: Vec<Poison>,
    pub(crate) downs: Vec<Down>,
    pub(crate) measures: Vec<Measure>,
    pub(crate) loads: Vec<Load>,
    pub(crate) overlaps: Vec<Overlap>,
    pub(crate) counters: Vec<Counters>,
    /// Breaches of protocol that the kernel saw.
    pub(crate) violations: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Started {
    pub(crate) label: String,
    pub(crate) endpoint: i32,
    pub(crate) program: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ended {
    pub(crate) label: String,
    pub(crate) endpoint: i32,
    pub(crate) how: String,
    pub(crate) result: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MinorPartition {
    /// Which of the disks.
    pub(crate) disk: usize,
    pub(crate) minor: i32,
    pub(crate) first_byte: u64,
    pub(crate) bytes: u64,
}

/// One check of the block test.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// The label of the client that checked.
    pub(crate) run: String,
    pub(crate) number: u64,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) result: &'static str,
    pub(crate) detail: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct File {
    /// Which of the disks.
    pub(crate) disk: usize,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Hexadecimal.
    pub(crate) crc64: String,
    #[serde(skip)]
    pub(crate) value: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kill {
    pub(crate) label: String,
    pub(crate) round: u64,
    pub(crate) micros: u64,
    pub(crate) in_flight: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) label: String,
    pub(crate) old_endpoint: i32,
    pub(crate) new_endpoint: i32,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Poison {
    pub(crate) frames: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Down {
    pub(crate) label: String,
    pub(crate) micros: u64,
    /// The status register of the device afterwards.
    pub(crate) status: u64,
    pub(crate) forced: bool,
    /// What the time counts from: "term" or "close".
    pub(crate) since: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) instructions: u64,
    pub(crate) micros: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) label: String,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) retried: u64,
    pub(crate) reopened: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overlap {
    pub(crate) clients: u64,
    pub(crate) outstanding: u64,
    pub(crate) max_in_flight: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counters {
    pub(crate) label: String,
    pub(crate) values: Vec<(String, String)>,
}

impl Guest {
    /// Makes sense of the records of test kernel, service and clients.
    pub(crate) fn of_minix(lines: &[String]) -> Guest {
        let mut guest = Guest {
            minix: Some(Minix::default()),
            ..Guest::default()
        };
        for line in lines {
            match Record::parse(line) {
                Some(Ok(record)) => guest.enter_minix(&record),
                Some(Err(error)) => guest.damaged(line, error),
                None => guest.damaged(line, "not a record"),
            }
        }
        guest
    }

    fn enter_minix(&mut self, record: &Record<'_>) {
        let Some(minix) = &mut self.minix else { return };
        // Clients run one at a time where it matters which of them said something.
        let client = minix.started.last().map_or("", |started| &started.label).to_owned();
        let disk = usize::from(client.starts_with(SECOND_DISK));
        let range = |first, count| SectorRange { first, count };
        match *record {
            Record::Wrote { first, count, seed } => {
                self.disks[disk].enter(range(first, count), State::Pattern { seed: seed.0 });
            }
            Record::Zeroed { first, count } => self.disks[disk].enter(range(first, count), State::Zeros),
            Record::Touched { first, count } => self.disks[disk].enter(range(first, count), State::Undefined),
            Record::Digest { first, count, crc64 } => self.digests.push(Digest {
                disk,
                first_sector: first,
                sectors: count,
                crc64: format!("{:#018x}", crc64.0),
                value: crc64.0,
            }),
            Record::Test { name, result, detail } => self.tests.push(Test {
                client,
                name: name.to_owned(),
                result: word(result),
                detail: minix.spaced(detail),
            }),
            Record::Error { stage, kind, text } => self.errors.push(GuestError {
                client,
                stage: stage.to_owned(),
                kind: kind.to_owned(),
                text: minix.spaced(text),
            }),
            Record::Done { passed, failed } => self.done = Some(Done { passed, failed }),
            Record::Check {
                number,
                group,
                name,
                result,
                detail,
            } => minix.checks.push(Check {
                run: client,
                number,
                group: group.to_owned(),
                name: name.to_owned(),
                result: word(result),
                detail: minix.spaced(detail),
            }),
            Record::Partition { minor, base, bytes } => minix.partitions.push(MinorPartition {
                disk,
                minor,
                first_byte: base,
                bytes,
            }),
            Record::File { path, bytes, crc64 } => minix.files.push(File {
                disk,
                path: path.to_owned(),
                bytes,
                crc64: format!("{:#018x}", crc64.0),
                value: crc64.0,
            }),
            _ => minix.enter(record),
        }
    }
}

impl Minix {
    /// Records that need nothing but themselves.
    fn enter(&mut self, record: &Record<'_>) {
        match *record {
            Record::Started {
                label,
                endpoint,
                program,
            } => self.started.push(Started {
                label: label.to_owned(),
                endpoint,
                program: program.to_owned(),
            }),
            Record::Ended {
                label,
                endpoint,
                how,
                result,
            } => self.ended.push(Ended {
                label: label.to_owned(),
                endpoint,
                how: how.to_string(),
                result,
            }),
            Record::Restarted { label, old, new } => self.restarts.push(Restart {
                label: label.to_owned(),
                old_endpoint: old,
                new_endpoint: new,
            }),
            Record::Killed {
                label,
                round,
                us,
                inflight,
            } => self.kills.push(Kill {
                label: label.to_owned(),
                round,
                micros: us,
                in_flight: inflight,
            }),
            Record::Poison { frames, before, after } => self.poison.push(Poison { frames, before, after }),
            Record::Down {
                label,
                us,
                status,
                forced,
                since,
            } => self.downs.push(Down {
                label: label.to_owned(),
                micros: us,
                status,
                forced: forced.0,
                since: since.to_string(),
            }),
            Record::Measure {
                name,
                label,
                instructions,
                us,
            } => self.measures.push(Measure {
                name: name.to_owned(),
                label: label.to_owned(),
                instructions,
                micros: us,
            }),
            Record::Load {
                label,
                acked,
                reads,
                writes,
                retried,
                reopened,
            } => {
                // A client reports now and then, each time all it has done; the last report is what counts.
                self.loads.retain(|load| load.label != label);
                self.loads.push(Load {
                    label: label.to_owned(),
                    acknowledged: acked,
                    reads,
                    writes,
                    retried,
                    reopened,
                });
            }
            Record::Overlap {
                clients,
                outstanding,
                max_in_flight,
            } => self.overlaps.push(Overlap {
                clients,
                outstanding,
                max_in_flight,
            }),
            Record::Counters { label, fields } => self.counters.push(Counters {
                label: label.to_owned(),
                values: fields
                    .iter()
                    .filter(|(key, _)| *key != "label")
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            }),
            Record::Violation { text } => self.violations.push(self.spaced(text)),
            _ => {}
        }
    }

    /// A text for people that may speak of processes by their labels, which stay as they are.
    fn spaced(&self, text: &str) -> String {
        let labels = self.started.iter().map(|started| &started.label);
        let labels = labels.filter(|label| label.contains('_'));
        labels.fold(spaced(text), |text, label| text.replace(&spaced(label), label))
    }

    /// The labels of the runs of the block test, in order.
    pub(crate) fn block_test_labels(&self) -> Vec<&str> {
        let block_tests = self.started.iter().filter(|started| started.program == "blocktest");
        block_tests.map(|started| started.label.as_str()).collect()
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Skip => "skip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_a_report() {
        let text = "started label=virtio_blk_mmio endpoint=10 program=virtio_blk_mmio\n\
             started label=shell endpoint=11 program=shell\n\
             partition minor=1 base=1048576 bytes=512\n\
             digest first=0 count=8 crc64=0x5\n\
             wrote first=8 count=8 seed=0x1\n\
             started label=blocktest endpoint=12 program=blocktest\n\
             check number=1 group=A name=open_it result=pass detail=\n\
             touched first=12 count=8\n\
             started label=second_shell endpoint=13 program=shell\n\
             digest first=0 count=8 crc64=0x6\n\
             zeroed first=100 count=1\n\
             violation text=two_replies_by_virtio_blk_mmio\n\
             counters label=virtio_blk_mmio max_in_flight=8 x=y\n\
             ended label=blocktest endpoint=12 how=exit result=-22\n\
             wrote first=1\n\
             done passed=3 failed=0";
        let lines: Vec<String> = text.lines().map(|line| format!("\x1e{line}")).collect();
        let guest = Guest::of_minix(&lines);
        let range = |first, count| SectorRange { first, count };
        assert_eq!(guest.disks[0].ranges, [range(8, 8), range(12, 8)]);
        assert_eq!(guest.disks[0].ledger.state(12), Some(State::Undefined));
        assert_eq!(guest.disks[1].ledger.state(100), Some(State::Zeros));
        assert_eq!(
            (guest.digest(0, range(0, 8)), guest.digest(1, range(0, 8))),
            (Some(5), Some(6))
        );
        assert_eq!(
            guest.damaged,
            ["wrote first=1: record 'wrote' without a proper 'count'"]
        );
        let minix = guest.minix.as_ref().unwrap();
        assert_eq!(minix.block_test_labels(), ["blocktest"]);
        assert_eq!(
            (minix.checks[0].run.as_str(), minix.checks[0].name.as_str()),
            ("blocktest", "open_it")
        );
        assert_eq!(minix.violations, ["two replies by virtio_blk_mmio"]);
        assert_eq!(
            minix.counters[0].values[0],
            ("max_in_flight".to_owned(), "8".to_owned())
        );
        let json = serde_json::to_value(&guest).unwrap();
        assert_eq!(json["minix"]["ended"][0]["result"], -22);
        assert_eq!(json["done"]["passed"], 3);
    }
}
