//! The records in the bytes of the UART, each with its time, its client and its disk.

use std::collections::BTreeSet;
use std::time::Duration;

use guest_protocol::stream::{Piece, Stream};
use guest_protocol::{Device, Load, MARK, Outcome, Record};
use serde::{Deserialize, Serialize};

use crate::machine::number_of_disk;

/// Clients whose label begins like this work on the second disk. Their records speak of sectors and not of disks.
pub(crate) const SECOND_DISK: &str = "second";

/// What the guest reported.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Guest {
    pub(crate) records: Vec<Reported>,
    /// Records that could not be read.
    pub(crate) damaged: Vec<String>,
    /// What it printed for people.
    #[serde(skip)]
    pub(crate) text: String,
    /// What is no whole piece yet.
    #[serde(skip)]
    stream: Stream,
}

/// A record, with its time, its client and its disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reported {
    /// When it came, in seconds since the start of QEMU.
    pub(crate) at: f64,
    /// The process that was started last; empty for the bare image. Clients run one at a time where it matters.
    pub(crate) client: &'static str,
    /// Which of the disks: the one that the client works on, or that the bare image named last.
    pub(crate) disk: usize,
    #[serde(flatten)]
    pub(crate) record: Record<'static>,
}

/// The values of those records of a guest that match a pattern.
macro_rules! records {
    ($guest:expr, $pattern:pat $(if $condition:expr)? => $value:expr) => {
        $guest.records.iter().filter_map(|reported| match reported.record {
            $pattern $(if $condition)? => Some($value),
            _ => None,
        })
    };
}
pub(crate) use records;

impl Guest {
    /// Takes in the next bytes of the UART and returns the pieces that they complete.
    pub(crate) fn hear(&mut self, at: Duration, bytes: &[u8]) -> Vec<Piece> {
        let pieces = self.stream.hear(bytes);
        for piece in &pieces {
            match piece {
                Piece::Record(line) => self.enter(at, line),
                Piece::Text(text) => self.text += &String::from_utf8_lossy(text),
            }
        }
        pieces
    }

    /// The machine has lost its power, and another boot follows. What is left of a record was torn by that.
    pub(crate) fn lost_power(&mut self) {
        self.stream.end();
    }

    /// The output has ended. What is left of a record is damage.
    pub(crate) fn end(&mut self) {
        if let Some(line) = self.stream.end() {
            self.enter(Duration::ZERO, &line);
        }
    }

    fn enter(&mut self, at: Duration, line: &str) {
        let json = line.trim_start_matches(MARK);
        match record(json) {
            Ok(record) => {
                let before = self.records.last();
                let (client, disk) = before.map_or(("", 0), |before| (before.client, before.disk));
                let (client, disk) = match record {
                    Record::Started { label, .. } => (label, usize::from(label.starts_with(SECOND_DISK))),
                    Record::Device(Device { id, .. }) | Record::Disk { id } => (client, number_of_disk(id)),
                    _ => (client, disk),
                };
                self.records.push(Reported {
                    at: at.as_secs_f64(),
                    client,
                    disk,
                    record,
                });
            }
            Err(error) => self.damaged.push(format!("{json}: {error}")),
        }
    }

    /// How many tests, or statements of the scenario, passed and failed, if the guest came to its end.
    pub(crate) fn done(&self) -> Option<(u64, u64)> {
        records!(self, Record::Done { passed, failed } => (passed, failed)).last()
    }

    /// What a program wrote to a descriptor.
    pub(crate) fn output(&self, program: &str, to: i32) -> String {
        records!(self, Record::Output { label, descriptor, text } if (label, descriptor) == (program, to) => text)
            .collect()
    }

    /// What was reported of a disk.
    pub(crate) fn of_disk(&self, disk: usize) -> impl Iterator<Item = &Reported> {
        self.records.iter().filter(move |reported| reported.disk == disk)
    }

    /// The numbers of the disks that the bare image found, each once.
    pub(crate) fn disks(&self) -> BTreeSet<usize> {
        let named = self.records.iter();
        named
            .filter(|reported| matches!(reported.record, Record::Device(_)))
            .map(|reported| reported.disk)
            .collect()
    }

    /// A disk as the bare image sees it.
    pub(crate) fn device(&self, disk: usize) -> Option<Device<'static>> {
        self.of_disk(disk)
            .filter_map(|reported| match reported.record {
                Record::Device(device) => Some(device),
                _ => None,
            })
            .last()
    }

    /// What each client of the load has done. A client reports now and then, each time all it has done.
    pub(crate) fn loads(&self) -> Vec<Load<'static>> {
        let mut last: Vec<Load<'_>> = Vec::new();
        for load in records!(self, Record::Load(load) => load) {
            last.retain(|other| other.label != load.label);
            last.push(load);
        }
        last
    }

    /// The labels of the runs of the block test, in order.
    pub(crate) fn block_tests(&self) -> Vec<&'static str> {
        records!(self, Record::Started { label, program: "blocktest", .. } => label).collect()
    }

    /// What a client said of its tests: the group, the number, the name and the outcome of each.
    pub(crate) fn tests_of(&self, client: &str) -> impl Iterator<Item = (&'static str, u32, &'static str, Outcome)> {
        let of_client = self.records.iter().filter(move |reported| reported.client == client);
        of_client.filter_map(|reported| match reported.record {
            Record::Test {
                group,
                number,
                name,
                outcome,
                ..
            } => Some((group, number, name, outcome)),
            _ => None,
        })
    }
}

/// Reads a record. Its texts are never freed: a run has some thousand, and this tool ends after it.
fn record(json: &str) -> serde_json::Result<Record<'static>> {
    let value: &'static serde_json::Value = Box::leak(Box::new(serde_json::from_str(json)?));
    Record::deserialize(value)
}

/// The sum of what a guest counted. It is exact: a guest may count up to the largest number, and more than once.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u128 {
    counts.into_iter().map(u128::from).sum()
}

#[cfg(test)]
mod tests {
    use guest_protocol::stream::LONGEST;

    use super::*;

    const STREAM: &str = "OpenSBI v1.6\r\n\x1e{\"violation\":{\"text\":\"a\"}}\nblk> \x1e{\"done\":{\"passed\":1,\
                          \"failed\":0}}\r\nbye \u{e9}\n\x1e{\"torn\n\x1e{\"done\":";

    fn hear(chunk: usize) -> (Guest, Vec<u8>) {
        let (mut guest, mut text) = (Guest::default(), Vec::new());
        for bytes in STREAM.as_bytes().chunks(chunk) {
            for piece in guest.hear(Duration::ZERO, bytes) {
                if let Piece::Text(bytes) = piece {
                    text.extend(bytes);
                }
            }
        }
        guest.end();
        (guest, text)
    }

    #[test]
    fn any_division_into_reads_gives_the_same() {
        for chunk in 1..=STREAM.len() {
            let (guest, text) = hear(chunk);
            assert_eq!(text, "OpenSBI v1.6\r\nblk> bye \u{e9}\n".as_bytes());
            assert_eq!(guest.records[0].record, Record::Violation { text: "a" });
            assert_eq!(guest.done(), Some((1, 0)));
            assert_eq!(guest.damaged.len(), 2, "{:?}", guest.damaged);
        }
    }

    #[test]
    fn a_prompt_is_text_at_once_and_so_is_an_endless_record() {
        let mut guest = Guest::default();
        assert_eq!(guest.hear(Duration::ZERO, b"blk> "), [Piece::Text(b"blk> ".to_vec())]);
        let mut endless = vec![b'x'; 2 * LONGEST];
        endless[0] = MARK as u8;
        assert_eq!(guest.hear(Duration::ZERO, &endless), [Piece::Text(endless)]);
    }
}
