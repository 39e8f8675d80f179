//! What the image tells the host, apart from the text meant for people.
//!
//! Each [`Record`] is one line on the console that starts with the record separator (byte 0x1E). `Display` writes the line
//! with its end; [`Record::parse`] reads it. Texts lose their white space on the way (`LineWriter`).

use core::fmt;

use guest_protocol::{Fields, LineWriter, SectorRange, number};

/// Who answered in a VirtIO window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowIdentity {
    /// Register layout: 1 (legacy) or 2.
    pub version: u32,
    /// Device type: 0 is an empty window, 2 a block device.
    pub device: u32,
}

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Pass,
    /// Not as it should.
    Fail,
    /// It does not apply to this disk.
    Skip,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
        }
    }
}

/// One machine-readable line of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A VirtIO window of the device tree, one record each.
    Window {
        /// Guest-physical address of the registers.
        address: u64,
        /// Interrupt number at its parent.
        interrupt: u32,
        /// Who answered; None if the magic value was wrong.
        identity: Option<WindowIdentity>,
    },
    /// The disk after bring-up.
    Device {
        /// Register layout: 1 (legacy) or 2.
        version: u32,
        /// Feature bits the device offered.
        offered: u128,
        /// Feature bits the driver accepted.
        accepted: u128,
        /// Size in 512-byte sectors.
        capacity: u64,
        /// Block size in bytes.
        block: u32,
        /// Queue size in use, in descriptors.
        queue: u32,
        /// Whether the device refuses writes.
        read_only: bool,
        /// The id string of the device.
        id: &'a str,
    },
    /// A partition found in the partition table.
    Partition {
        /// Place in the table, from 0.
        index: u32,
        /// MBR partition type.
        kind: u8,
        /// The sectors it covers.
        range: SectorRange,
    },
    /// A test ended.
    Test {
        /// Which.
        name: &'a str,
        /// How.
        outcome: Outcome,
        /// What a person should know about it; may be empty.
        detail: &'a str,
    },
    /// The digest of a range the host asked for.
    Digest {
        /// The range, as asked.
        range: SectorRange,
        /// Its CRC-64/XZ.
        crc64: u64,
    },
    /// These sectors now hold `pattern(seed, sector)`.
    Wrote {
        /// Which sectors.
        range: SectorRange,
        /// The seed of the pattern.
        seed: u64,
    },
    /// These sectors now hold zeros.
    Zeroed {
        /// Which sectors.
        range: SectorRange,
    },
    /// The content of these sectors is no longer defined.
    Discarded {
        /// Which sectors.
        range: SectorRange,
    },
    /// One measurement.
    Bench {
        /// What was done, e.g. `read`.
        name: &'a str,
        /// Requests in flight.
        depth: u32,
        /// Bytes per request.
        bytes: u64,
        /// Requests done.
        ops: u64,
        /// Time it took, in microseconds.
        micros: u64,
        /// Notifies sent to the device.
        notifies: u64,
        /// Interrupts taken.
        interrupts: u64,
        /// Guest instructions retired, 0 if the board cannot tell.
        instructions: u64,
    },
    /// The driver's counters: any names, each with a number. Written with [`LineWriter`].
    Counters(Fields<'a>),
    /// A failure the image met and reported in order.
    Error {
        /// Where: `boot`, `probe`, `init`, `run` …
        stage: &'a str,
        /// What, as one hyphenated word, e.g. `queue-too-small`.
        kind: &'a str,
        /// The same for people.
        text: &'a str,
    },
    /// The last record: nothing but the power-off follows.
    Done {
        /// Tests passed.
        passed: u32,
        /// Tests failed.
        failed: u32,
    },
    /// A record of a name this version does not know.
    Other {
        /// Its name.
        name: &'a str,
        /// Its fields.
        fields: Fields<'a>,
    },
}

impl<'a> Record<'a> {
    /// Reads one line, mark included; the end of line may be missing.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the line has no mark, or a field of a known record is missing or makes no sense. An unknown name is
    /// no error but [`Record::Other`].
    pub fn parse(line: &'a str) -> Result<Record<'a>, RecordError> {
        let (name, fields) = Fields::split(line).ok_or(RecordError::NotMarked)?;
        let f = Reader(fields);
        Ok(match name {
            "window" => Record::Window {
                address: f.number("addr")?,
                interrupt: f.small("irq")?,
                identity: match fields.get("bad") {
                    Some(_) => None,
                    None => Some(WindowIdentity {
                        version: f.small("version")?,
                        device: f.small("device")?,
                    }),
                },
            },
            "device" => Record::Device {
                version: f.small("version")?,
                offered: f.feature_set("offered")?,
                accepted: f.feature_set("accepted")?,
                capacity: f.number("capacity")?,
                block: f.small("block")?,
                queue: f.small("queue")?,
                read_only: f.number("readonly")? != 0,
                id: f.text("id")?,
            },
            "partition" => Record::Partition {
                index: f.small("index")?,
                kind: f.small("type")?,
                range: f.range()?,
            },
            "test" => Record::Test {
                name: f.text("name")?,
                outcome: match f.text("result")? {
                    "pass" => Outcome::Pass,
                    "fail" => Outcome::Fail,
                    "skip" => Outcome::Skip,
                    _ => return Err(RecordError::BadValue("result")),
                },
                detail: fields.get("detail").unwrap_or(""),
            },
            "digest" => Record::Digest {
                range: f.range()?,
                crc64: f.number("crc64")?,
            },
            "wrote" => Record::Wrote {
                range: f.range()?,
                seed: f.number("seed")?,
            },
            "zeroed" => Record::Zeroed { range: f.range()? },
            "discarded" => Record::Discarded { range: f.range()? },
            "bench" => Record::Bench {
                name: f.text("name")?,
                depth: f.small("depth")?,
                bytes: f.number("bytes")?,
                ops: f.number("ops")?,
                micros: f.number("micros")?,
                notifies: f.number("notifies")?,
                interrupts: f.number("interrupts")?,
                instructions: f.number("instructions")?,
            },
            "counters" => Record::Counters(fields),
            "error" => Record::Error {
                stage: f.text("stage")?,
                kind: f.text("kind")?,
                text: fields.get("text").unwrap_or(""),
            },
            "done" => Record::Done {
                passed: f.small("passed")?,
                failed: f.small("failed")?,
            },
            _ => Record::Other { name, fields },
        })
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Record::Window {
                address,
                interrupt,
                identity,
            } => {
                let line = LineWriter::begin(f, "window")
                    .field("addr", format_args!("{address:#x}"))
                    .field("irq", interrupt);
                match identity {
                    Some(id) => line.field("version", id.version).field("device", id.device),
                    None => line.field("bad", 1),
                }
                .finish()
            }
            Record::Device {
                version,
                offered,
                accepted,
                capacity,
                block,
                queue,
                read_only,
                id,
            } => LineWriter::begin(f, "device")
                .field("version", version)
                .field("offered", format_args!("{offered:#x}"))
                .field("accepted", format_args!("{accepted:#x}"))
                .field("capacity", capacity)
                .field("block", block)
                .field("queue", queue)
                .field("readonly", u8::from(read_only))
                .field("id", id)
                .finish(),
            Record::Partition { index, kind, range } => {
                let line = LineWriter::begin(f, "partition")
                    .field("index", index)
                    .field("type", format_args!("{kind:#x}"));
                ranged(line, range).finish()
            }
            Record::Test { name, outcome, detail } => LineWriter::begin(f, "test")
                .field("name", name)
                .field("result", outcome.word())
                .field("detail", detail)
                .finish(),
            Record::Digest { range, crc64 } => ranged(LineWriter::begin(f, "digest"), range)
                .field("crc64", format_args!("{crc64:#x}"))
                .finish(),
            Record::Wrote { range, seed } => ranged(LineWriter::begin(f, "wrote"), range)
                .field("seed", format_args!("{seed:#x}"))
                .finish(),
            Record::Zeroed { range } => ranged(LineWriter::begin(f, "zeroed"), range).finish(),
            Record::Discarded { range } => ranged(LineWriter::begin(f, "discarded"), range).finish(),
            Record::Bench {
                name,
                depth,
                bytes,
                ops,
                micros,
                notifies,
                interrupts,
                instructions,
            } => LineWriter::begin(f, "bench")
                .field("name", name)
                .field("depth", depth)
                .field("bytes", bytes)
                .field("ops", ops)
                .field("micros", micros)
                .field("notifies", notifies)
                .field("interrupts", interrupts)
                .field("instructions", instructions)
                .finish(),
            Record::Counters(fields) => copied(LineWriter::begin(f, "counters"), fields).finish(),
            Record::Error { stage, kind, text } => LineWriter::begin(f, "error")
                .field("stage", stage)
                .field("kind", kind)
                .field("text", text)
                .finish(),
            Record::Done { passed, failed } => LineWriter::begin(f, "done")
                .field("passed", passed)
                .field("failed", failed)
                .finish(),
            Record::Other { name, fields } => copied(LineWriter::begin(f, name), fields).finish(),
        }
    }
}

fn ranged<'w, W: fmt::Write>(line: LineWriter<'w, W>, range: SectorRange) -> LineWriter<'w, W> {
    line.field("first", range.first).field("count", range.count)
}

fn copied<'w, W: fmt::Write>(line: LineWriter<'w, W>, fields: Fields<'_>) -> LineWriter<'w, W> {
    fields.iter().fold(line, |line, (key, value)| line.field(key, value))
}

/// Why a line is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It does not start with the mark.
    NotMarked,
    /// A known record without this field.
    Missing(&'static str),
    /// This field of a known record makes no sense.
    BadValue(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::NotMarked => f.write_str("not a machine-readable line"),
            RecordError::Missing(key) => write!(f, "field `{key}` is missing"),
            RecordError::BadValue(key) => write!(f, "field `{key}` has a bad value"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Typed access to fields that must be there.
struct Reader<'a>(Fields<'a>);

impl<'a> Reader<'a> {
    fn text(&self, key: &'static str) -> Result<&'a str, RecordError> {
        self.0.get(key).ok_or(RecordError::Missing(key))
    }

    fn number(&self, key: &'static str) -> Result<u64, RecordError> {
        number(self.text(key)?).ok_or(RecordError::BadValue(key))
    }

    fn small<T: TryFrom<u64>>(&self, key: &'static str) -> Result<T, RecordError> {
        T::try_from(self.number(key)?).map_err(|_| RecordError::BadValue(key))
    }

    fn feature_set(&self, key: &'static str) -> Result<u128, RecordError> {
        let bad = RecordError::BadValue(key);
        let hex = self.text(key)?.strip_prefix("0x").ok_or(bad)?;
        u128::from_str_radix(hex, 16).map_err(|_| bad)
    }

    fn range(&self) -> Result<SectorRange, RecordError> {
        let range = SectorRange {
            first: self.number("first")?,
            count: self.number("count")?,
        };
        range
            .first
            .checked_add(range.count)
            .ok_or(RecordError::BadValue("count"))?;
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const RANGE: SectorRange = SectorRange { first: 65536, count: 8 };

    #[test]
    fn every_record_survives_the_line() {
        let (_, fields) = Fields::split("\u{1e}counters reads=3 writes=4").unwrap();
        for record in [
            Record::Window {
                address: 0x1000_8000,
                interrupt: 8,
                identity: Some(WindowIdentity { version: 2, device: 2 }),
            },
            Record::Window {
                address: 0x1000_1000,
                interrupt: 1,
                identity: None,
            },
            Record::Device {
                version: 2,
                offered: 1 << 127 | 0x1_3000_6e54,
                accepted: 0x1_3000_0000,
                capacity: 131_072,
                block: 4096,
                queue: 256,
                read_only: true,
                id: "disk-1",
            },
            Record::Partition {
                index: 1,
                kind: 0x81,
                range: RANGE,
            },
            Record::Test {
                name: "read",
                outcome: Outcome::Skip,
                detail: "no_such_disk",
            },
            Record::Test {
                name: "read",
                outcome: Outcome::Pass,
                detail: "",
            },
            Record::Digest {
                range: RANGE,
                crc64: 0xffff_0000_1234_5678,
            },
            Record::Wrote {
                range: RANGE,
                seed: u64::MAX,
            },
            Record::Zeroed { range: RANGE },
            Record::Discarded { range: RANGE },
            Record::Bench {
                name: "read",
                depth: 8,
                bytes: 4096,
                ops: 1000,
                micros: 12345,
                notifies: 125,
                interrupts: 124,
                instructions: 0,
            },
            Record::Counters(fields),
            Record::Error {
                stage: "init",
                kind: "queue-too-small",
                text: "needs_3_descriptors",
            },
            Record::Done { passed: 17, failed: 0 },
            Record::Other { name: "later", fields },
        ] {
            let line = record.to_string();
            assert!(line.starts_with('\u{1e}') && line.ends_with('\n'), "{line}");
            assert_eq!(Record::parse(&line), Ok(record), "{line}");
            assert_eq!(Record::parse(&line.replace('\n', "\r\n")), Ok(record), "{line}");
        }
    }

    #[test]
    fn the_spelling_is_fixed() {
        let line = Record::Test {
            name: "read back",
            outcome: Outcome::Fail,
            detail: "byte 3 differs",
        }
        .to_string();
        assert_eq!(line, "\u{1e}test name=read_back result=fail detail=byte_3_differs\n");
        let line = Record::Window {
            address: 0x1000_1000,
            interrupt: 1,
            identity: None,
        }
        .to_string();
        assert_eq!(line, "\u{1e}window addr=0x10001000 irq=1 bad=1\n");
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for (line, error) in [
            ("done passed=1 failed=0", RecordError::NotMarked),
            ("\u{1e}done passed=1", RecordError::Missing("failed")),
            ("\u{1e}done passed=1 failed=many", RecordError::BadValue("failed")),
            ("\u{1e}done passed=1 failed=4294967296", RecordError::BadValue("failed")),
            (
                "\u{1e}zeroed first=18446744073709551615 count=1",
                RecordError::BadValue("count"),
            ),
            ("\u{1e}test name=a result=maybe", RecordError::BadValue("result")),
        ] {
            assert_eq!(Record::parse(line), Err(error), "{line}");
        }
    }

    proptest::proptest! {
        /// A guest that runs wild can print anything; what is taken for a record must at least be one.
        #[test]
        fn any_text_is_a_record_or_an_error(name in "[a-z]{0,9}|window|device|wrote|done|test|bench", rest in "( [a-z0-9]{0,6}=?[-+x0-9a-f]{0,20}){0,9}|.*") {
            let line = std::format!("\u{1e}{name}{rest}");
            if let Ok(record) = Record::parse(&line) {
                let again = record.to_string();
                proptest::prop_assert!(Record::parse(&again).is_ok(), "{again}");
            }
        }

        #[test]
        fn any_command_line_is_understood_or_named(text in "([a-z]{0,10}=?[-+:x0-9a-f]{0,20} ?){0,9}|.*") {
            if let Ok(options) = crate::options::Options::parse(&text) {
                let again = options.to_string();
                proptest::prop_assert_eq!(crate::options::Options::parse(&again), Ok(options));
            }
        }
    }
}
