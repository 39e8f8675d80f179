//! What a guest tells the host, apart from the text for people: one [`Record`] a line.
//!
//! A line is the [`MARK`], the record as JSON, and the line feed. JSON has no other line feeds, and a line that was torn or cut
//! off is no JSON, so the host sees the damage.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::histogram::BUCKETS;
use crate::{Call, SectorRange};

/// The byte that opens a record: the ASCII record separator, which console text has no use for.
pub const MARK: char = '\u{1e}';

/// Bytes of the longest line, both ends included.
pub const LINE_BYTES: usize = 640;

/// The result of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Pass,
    Fail,
    /// The test does not apply here.
    Skip,
}

impl Outcome {
    /// [`Pass`](Self::Pass) if `ok`, else [`Fail`](Self::Fail).
    pub const fn of(ok: bool) -> Self {
        if ok { Self::Pass } else { Self::Fail }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// By itself.
    Exit,
    /// By the kernel, on request.
    Killed,
    /// By an access to memory that is not its own.
    Segv,
    /// By an instruction or a call that no process may use.
    Panic,
}

/// The event from which the time counts that a service takes to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// The signal to stop.
    Term,
    /// The last close of its disk, after the signal.
    Close,
}

/// How a disk is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    Mmio,
    Pci,
    /// A PCI function with both interfaces, used by its modern one.
    PciTransitional,
}

impl Bus {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mmio => "mmio",
            Self::Pci => "pci",
            Self::PciTransitional => "pci-transitional",
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The disk that the records after it are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device<'a> {
    pub bus: Bus,
    /// The interface that the driver uses: 1 (legacy) or 2 (modern).
    pub version: u32,
    /// Queues that the device has.
    pub queues: u32,
    /// MSI-X vectors that the device has; 0 where it interrupts by a line.
    pub vectors: u32,
    /// Feature bits that the device offered.
    pub offered: u64,
    /// Feature bits that the driver accepted.
    pub accepted: u64,
    /// Size in sectors.
    pub capacity: u64,
    pub block_bytes: u32,
    pub queue_size: u32,
    pub read_only: bool,
    pub id: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load<'a> {
    pub label: &'a str,
    pub acknowledged: u64,
    pub reads: u64,
    pub writes: u64,
    /// Requests that were answered with an error, where errors are allowed.
    pub failed: u64,
    /// Requests that were sent again.
    pub retried: u64,
    /// How often the device was opened again.
    pub reopened: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case<'a> {
    pub contender: &'a str,
    pub operation: &'a str,
    /// `polled`, `interrupts` or `blocking`.
    pub mode: &'a str,
    /// `direct`, `indirect`, or `either` if it is decided for each request; may be empty.
    pub chains: &'a str,
    /// The type of buffer; may be empty.
    pub buffer: &'a str,
    /// Requests in flight.
    pub depth: u32,
    /// Segments of a request.
    pub segments: u32,
    /// Bytes of a request.
    pub bytes: u32,
}

/// What a witness asks the driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    Open,
    Close,
    Read,
    /// Write into the device's cache: a power cut before the next flush may lose it.
    Write,
    /// Write past every cache.
    Force,
    /// Write zeroes by a command of the disk, which may give the storage back.
    Zero,
    /// Tell the disk that the content is of no use any more.
    Discard,
    /// Have caches written back.
    Flush,
}

/// The end of what a witness has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    Done,
    /// The driver answered an error.
    Failed,
    /// The driver died, and its successor has opened the disk.
    Lost,
}

/// One message to the host. Times are in microseconds, sectors have 512 bytes and count from the start of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record<'a> {
    /// The disk after bring-up.
    #[serde(borrow)]
    Device(Device<'a>),
    Partition {
        /// The minor number.
        number: i32,
        first_byte: u64,
        bytes: u64,
    },
    Test {
        /// The group of a check of the block test; empty for other tests.
        group: &'a str,
        /// The number of a check of the block test, from 1; 0 for other tests.
        number: u32,
        name: &'a str,
        outcome: Outcome,
        /// More for people; may be empty.
        detail: &'a str,
    },
    /// The CRC-64/XZ of sectors.
    Digest { range: SectorRange, crc64: u64 },
    /// Sectors now hold `pattern(seed, sector)`; the write was acknowledged.
    Wrote { range: SectorRange, seed: u64 },
    /// Sectors now hold zeros.
    Zeroed { range: SectorRange },
    /// The content of sectors is no longer defined.
    Undefined { range: SectorRange },
    /// A file that was read: its path from the root of its file system, and the CRC-64/XZ of its content.
    File { path: &'a str, bytes: u64, crc64: u64 },
    /// What the driver of the bare image did since it was last started.
    Driver {
        /// Requests that it sent to the device.
        requests: u64,
        /// Notifications sent to the device.
        notifies: u64,
        /// Interrupts taken.
        interrupts: u64,
    },
    /// The disk that the records after it are about, once more.
    Disk { id: &'a str },
    /// What a queue did in the load on all harts.
    Queue {
        number: u32,
        /// The hart that used it.
        hart: u64,
        /// Its interrupt vector, if it has one.
        vector: Option<u32>,
        /// Requests that the hart submitted and got back.
        requests: u64,
        /// Requests that the driver sent to the device, as it counts them.
        sent: u64,
        /// Notifications sent to the device.
        notifies: u64,
        /// Interrupts that were taken for it.
        interrupts: u64,
    },
    /// How often a vector interrupted a hart in the load on all harts, as the interrupt controller says. None: the line of the device.
    Vector {
        vector: Option<u32>,
        hart: u64,
        interrupts: u64,
    },
    /// Instructions of a batch of requests on one of several queues, all of one hart: to submit them, and to take them back with one
    /// poll.
    Cost {
        /// Queues that the device was started with.
        queues: u32,
        number: u32,
        requests: u64,
        submit: u64,
        poll: u64,
    },
    /// The disk may be taken away: so many requests are in flight.
    Removable { in_flight: u64 },
    /// The disk was taken away. Each request that was submitted has completed, or was given back without an answer.
    Removed {
        submitted: u64,
        completed: u64,
        given_back: u64,
    },
    /// The load on so many queues of the disk, each with a hart of its own: time, and the number of its requests.
    Loaded { queues: u32, requests: u64, micros: u64 },
    /// Instructions of a stage, in all of the requests together.
    Counted {
        #[serde(borrow)]
        case: Case<'a>,
        /// `submit`, `publish`, `pop`, ...: what the bracket was around.
        stage: &'a str,
        requests: u64,
        instructions: u64,
        /// Notifications sent to the device.
        notifies: u64,
        /// Interrupts taken.
        interrupts: u64,
    },
    /// How fast requests were done, in slices of time that contenders had in turn.
    Rated {
        #[serde(borrow)]
        case: Case<'a>,
        /// Slices.
        rounds: u32,
        /// Requests per second: the median of the slices.
        per_second: u64,
        /// The rate against that of the raw ring in the same round, in millionths: lower quartile, median, upper quartile.
        against_raw: [u64; 3],
    },
    /// How long single requests took.
    Timed {
        #[serde(borrow)]
        case: Case<'a>,
        /// Half of them, nine in ten, and 99 in a hundred took at most so many nanoseconds.
        nanos: [u64; 3],
        /// How many there are in each bucket of [`histogram`](crate::histogram).
        buckets: [u32; BUCKETS],
    },
    /// A witness is about to ask for something. A write fills its sectors with the pattern of [`witness::seed`](crate::witness::seed).
    Asked {
        /// Which witness.
        client: u32,
        /// Which of its requests.
        number: u32,
        /// The driver that it asks.
        driver: i32,
        ask: Ask,
        /// Where on the disk; empty for requests without sectors.
        range: SectorRange,
    },
    /// A witness has heard what became of a request.
    Heard { client: u32, number: u32, fate: Fate },
    /// What a client of the mixed load has done so far.
    #[serde(borrow)]
    Load(Load<'a>),
    /// A process runs.
    Started {
        label: &'a str,
        endpoint: i32,
        program: &'a str,
    },
    /// A process has ended. The result is that of its initialisation: zero or a negative errno.
    Ended {
        label: &'a str,
        endpoint: i32,
        how: End,
        result: i32,
    },
    /// A program has written to standard output (descriptor 1) or standard error output (2).
    Output {
        label: &'a str,
        descriptor: i32,
        /// Not necessarily a whole line.
        text: &'a str,
    },
    /// The scenario waits for the host, which types a line when it has done what was asked for.
    WaitsForHost { what: &'a str },
    /// A service is back under another endpoint.
    Restarted { label: &'a str, old: i32, new: i32 },
    /// A service was killed on purpose.
    Killed {
        label: &'a str,
        /// The number of the kill, from 1.
        round: u64,
        /// Time since the last start of the service.
        micros: u64,
        /// Requests without an answer.
        in_flight: u64,
    },
    /// The memory of dead instances was looked at.
    Poison {
        frames: u64,
        /// Frames that changed while the replacement had not yet answered. On MINIX it inherits them until then.
        before: u64,
        /// Frames that changed later. Must be zero.
        after: u64,
    },
    /// A service was asked to stop.
    Down {
        label: &'a str,
        /// Duration of the stop.
        micros: u64,
        since: Since,
        /// The status register of its device afterwards; zero after a reset.
        status: u64,
        /// Whether it had to be killed.
        forced: bool,
    },
    /// What a process took between two statements of the scenario, or between two [marks](crate::MARK_CODE) of a client.
    Measure {
        name: &'a str,
        label: &'a str,
        /// Instructions in user mode.
        instructions: u64,
        micros: u64,
    },
    /// The device of such a process meanwhile. Comes after the [`Measure`](Self::Measure) of that name.
    Signals {
        name: &'a str,
        /// Notifications that the device got.
        notifies: u64,
        /// Interrupts that the process was told of.
        interrupts: u64,
    },
    /// What such a process took from one call to the next. Comes after the [`Measure`](Self::Measure) of that name.
    Stage {
        name: &'a str,
        from: Call,
        to: Call,
        /// How often the two calls followed each other.
        times: u64,
        /// Instructions in user mode, the second call included.
        instructions: u64,
    },
    /// Requests of a client, all alike. Comes after the [`Measure`](Self::Measure) of that name, if there is one.
    Requests {
        name: &'a str,
        /// `read` or `write`.
        operation: &'a str,
        /// Requests in flight.
        depth: u32,
        /// Pieces of memory of each.
        segments: u32,
        /// Bytes of each.
        bytes: u32,
        /// Requests done.
        ops: u64,
        micros: u64,
        /// Half of them, nine in ten, and 99 in a hundred took at most so many nanoseconds.
        nanos: [u64; 3],
        /// How many there are in each bucket of [`histogram`](crate::histogram).
        buckets: [u32; BUCKETS],
    },
    /// The kernel saw a breach of protocol. A failure.
    Violation { text: &'a str },
    /// The guest cannot go on, or a client of it.
    Error {
        /// Where: `boot`, `probe`, `init`, `run` ...
        stage: &'a str,
        /// What, as one hyphenated word, e.g. `queue-too-small`.
        kind: &'a str,
        /// The same for people.
        text: &'a str,
    },
    /// The last record: tests, or statements of the scenario, that passed and failed.
    Done { passed: u64, failed: u64 },
}

impl Record<'_> {
    /// The line of this record. A record that is too long becomes an error in its place.
    pub fn line<'b>(&self, buffer: &'b mut [u8; LINE_BYTES]) -> &'b [u8] {
        buffer[0] = MARK as u8;
        let json = &mut buffer[1..LINE_BYTES - 1];
        let too_long = Record::Error {
            stage: "record",
            kind: "too-long",
            text: "",
        };
        let length = serde_json_core::to_slice(self, json).or_else(|_| serde_json_core::to_slice(&too_long, json));
        let end = length.unwrap_or(0) + 1;
        buffer[end] = b'\n';
        &buffer[..=end]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::borrow::ToOwned;
    use std::boxed::Box;
    use std::string::String;

    use super::*;

    /// Reads a line as the host does.
    fn parse(line: &str) -> Option<Record<'static>> {
        let value: serde_json::Value = serde_json::from_str(line.strip_prefix(MARK)?).ok()?;
        let value: &'static serde_json::Value = Box::leak(Box::new(value));
        Record::deserialize(value).ok()
    }

    fn round_trip(record: Record<'_>) -> (String, Record<'static>) {
        let mut buffer = [0; LINE_BYTES];
        let line = core::str::from_utf8(record.line(&mut buffer)).unwrap().to_owned();
        assert!(line.starts_with(MARK) && line.ends_with("}\n"), "{line}");
        assert_eq!(line.lines().count(), 1);
        let parsed = parse(&line).unwrap();
        (line, parsed)
    }

    #[test]
    fn extreme_values_survive_the_line() {
        let range = SectorRange {
            first: u64::MAX,
            count: u64::MAX,
        };
        for record in [
            Record::Wrote { range, seed: u64::MAX },
            Record::Partition {
                number: i32::MIN,
                first_byte: 0,
                bytes: u64::MAX,
            },
            Record::Device(Device {
                bus: Bus::PciTransitional,
                version: 2,
                queues: 1,
                vectors: u32::MAX,
                offered: u64::MAX,
                accepted: 0,
                capacity: 1,
                block_bytes: 512,
                queue_size: 4,
                read_only: true,
                id: "",
            }),
            Record::Test {
                group: "B",
                number: 51,
                name: "two words",
                outcome: Outcome::Skip,
                detail: "a \"quote\", a \\, a line\nend, \u{1e}, \u{7f}, é and \t",
            },
        ] {
            assert_eq!(round_trip(record).1, record);
        }
    }

    #[test]
    fn the_spelling_is_json_behind_the_mark() {
        let (line, _) = round_trip(Record::Zeroed {
            range: SectorRange { first: 1, count: 2 },
        });
        assert_eq!(line, "\u{1e}{\"zeroed\":{\"range\":{\"first\":1,\"count\":2}}}\n");
    }

    #[test]
    fn a_record_too_long_for_a_line_is_an_error_record() {
        let long = "x".repeat(LINE_BYTES);
        let (_, parsed) = round_trip(Record::Violation { text: &long });
        assert!(matches!(parsed, Record::Error { kind: "too-long", .. }), "{parsed:?}");
    }

    #[test]
    fn a_line_cut_anywhere_is_damage() {
        let (line, _) = round_trip(Record::Done { passed: 12, failed: 0 });
        for end in 1..line.len() - 1 {
            assert!(parse(&line[..end]).is_none());
        }
        assert!(parse(&line[1..]).is_none());
    }
}
