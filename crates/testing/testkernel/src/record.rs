//! The lines by which kernel and clients tell the host what happened, as data that prints and parses itself.
//!
//! Kernel, clients and host agree on these lines and on nothing else, so each is written down once, here. Clients may
//! print theirs without this module, as long as the keys are the same.

use core::fmt::{self, Write};

use guest_protocol::{Fields, LineWriter, number};

/// A number that is printed in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Yes or no, printed as 1 or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", u8::from(self.0))
    }
}

/// An enumeration that is printed as a word.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $( $(#[$word_meta:meta])* $word:ident = $text:literal, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$word_meta])* $word, )* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $( Self::$word => $text, )* })
            }
        }

        impl Value<'_> for $name {
            fn read(text: &str) -> Option<Self> {
                match text { $( $text => Some(Self::$word), )* _ => None }
            }
        }
    };
}

words! {
    /// How a test ended.
    Verdict {
        /// As it should.
        Pass = "pass",
        /// Not as it should.
        Fail = "fail",
        /// It does not apply here.
        Skip = "skip",
    }
}

words! {
    /// How a process ended.
    End {
        /// By itself.
        Exit = "exit",
        /// By the kernel, on request.
        Killed = "killed",
        /// By touching what is not its own.
        Segv = "segv",
        /// By an instruction or a call that no process may use.
        Panic = "panic",
    }
}

words! {
    /// From when on a service that was to stop could leave.
    Since {
        /// It was told to.
        Term = "term",
        /// It was told to before, and then got the last request to close its disk.
        Close = "close",
    }
}

/// A value that can be read back from a line.
trait Value<'a>: Sized {
    fn read(text: &'a str) -> Option<Self>;
}

impl<'a> Value<'a> for &'a str {
    fn read(text: &'a str) -> Option<Self> {
        Some(text)
    }
}

impl Value<'_> for u64 {
    fn read(text: &str) -> Option<Self> {
        number(text)
    }
}

impl Value<'_> for i32 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value<'_> for Hex {
    fn read(text: &str) -> Option<Self> {
        number(text).map(Hex)
    }
}

impl Value<'_> for Flag {
    fn read(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Flag(false)),
            "1" => Some(Flag(true)),
            _ => None,
        }
    }
}

/// Makes the enumeration, its printer and its parser out of one list of names, keys and types.
macro_rules! records {
    ($(#[$meta:meta])* pub enum $record:ident<$life:lifetime> {
        $( $(#[$variant_meta:meta])* $variant:ident = $name:literal {
            $( $(#[$field_meta:meta])* $field:ident: $ty:ty, )*
        } )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $record<$life> {
            $( $(#[$variant_meta])* $variant { $( $(#[$field_meta])* $field: $ty, )* }, )*
            /// Free counters of a service: `counters`.
            Counters {
                /// Whose.
                label: &$life str,
                /// Everything on the line, the label included.
                fields: Fields<$life>,
            },
        }

        impl<$life> $record<$life> {
            /// Prints the line.
            ///
            /// # Errors
            ///
            /// Those of `out`.
            pub fn write(&self, out: &mut impl Write) -> fmt::Result {
                match self {
                    $( Self::$variant { $( $field, )* } => LineWriter::begin(out, $name)
                        $( .field(stringify!($field), $field) )*
                        .finish(), )*
                    Self::Counters { fields, .. } => fields
                        .iter()
                        .fold(LineWriter::begin(out, "counters"), |line, (key, value)| line.field(key, value))
                        .finish(),
                }
            }

            fn read(name: &$life str, fields: Fields<$life>) -> Result<Self, BadRecord<$life>> {
                match name {
                    $( $name => Ok(Self::$variant { $( $field: field(name, fields, stringify!($field))?, )* }), )*
                    "counters" => Ok(Self::Counters { label: field(name, fields, "label")?, fields }),
                    _ => Err(BadRecord { name, key: None }),
                }
            }
        }
    };
}

fn field<'a, T: Value<'a>>(name: &'a str, fields: Fields<'a>, key: &'static str) -> Result<T, BadRecord<'a>> {
    fields
        .get(key)
        .and_then(T::read)
        .ok_or(BadRecord { name, key: Some(key) })
}

records! {
    /// One machine-readable line. Sectors have 512 bytes, times are in microseconds.
    pub enum Record<'a> {
        /// A process runs.
        Started = "started" {
            /// Its label.
            label: &'a str,
            /// Its endpoint.
            endpoint: i32,
            /// The file it was loaded from.
            program: &'a str,
        }
        /// A process is gone.
        Ended = "ended" {
            /// Its label.
            label: &'a str,
            /// Its endpoint.
            endpoint: i32,
            /// Why.
            how: End,
            /// What it said about its initialisation, zero or a negative errno.
            result: i32,
        }
        /// A service is back under another endpoint.
        Restarted = "restarted" {
            /// Its label.
            label: &'a str,
            /// The endpoint that died.
            old: i32,
            /// The endpoint that answers now.
            new: i32,
        }
        /// A service was killed on purpose.
        Killed = "killed" {
            /// Its label.
            label: &'a str,
            /// The number of the kill, from 1.
            round: u64,
            /// Time since the last start of the service.
            us: u64,
            /// Requests that it had not answered.
            inflight: u64,
        }
        /// What became of the memory of dead instances.
        Poison = "poison" {
            /// Frames looked at.
            frames: u64,
            /// Frames that changed until the replacement, which inherits them on MINIX, had answered.
            before: u64,
            /// Frames that changed after that. Must be zero.
            after: u64,
        }
        /// A service was asked to stop.
        Down = "down" {
            /// Its label.
            label: &'a str,
            /// Time until it was gone, from when it could leave.
            us: u64,
            /// What it was that let it leave.
            since: Since,
            /// The status register of its device afterwards; zero after a reset.
            status: u64,
            /// Whether it had to be killed.
            forced: Flag,
        }
        /// How much a process computed between two statements of the scenario.
        Measure = "measure" {
            /// What the scenario calls it.
            name: &'a str,
            /// Which process.
            label: &'a str,
            /// Instructions in user mode.
            instructions: u64,
            /// Time that passed.
            us: u64,
        }
        /// The kernel saw a breach of protocol. A failure.
        Violation = "violation" {
            /// Which.
            text: &'a str,
        }
        /// One check of the block test.
        Check = "check" {
            /// Its number.
            number: u64,
            /// Its group, a letter.
            group: &'a str,
            /// Its name.
            name: &'a str,
            /// How it ended.
            result: Verdict,
            /// More about it.
            detail: &'a str,
        }
        /// One test of another client.
        Test = "test" {
            /// Its name.
            name: &'a str,
            /// How it ended.
            result: Verdict,
            /// More about it.
            detail: &'a str,
        }
        /// A partition.
        Partition = "partition" {
            /// Its minor number.
            minor: i32,
            /// First byte.
            base: u64,
            /// How many bytes.
            bytes: u64,
        }
        /// Sectors now hold `pattern(seed, sector)`; the write was acknowledged.
        Wrote = "wrote" {
            /// The first sector, from the start of the disk.
            first: u64,
            /// How many.
            count: u64,
            /// The seed.
            seed: Hex,
        }
        /// Sectors now hold zeroes.
        Zeroed = "zeroed" {
            /// The first sector.
            first: u64,
            /// How many.
            count: u64,
        }
        /// The digest of sectors.
        Digest = "digest" {
            /// The first sector.
            first: u64,
            /// How many.
            count: u64,
            /// CRC-64/XZ.
            crc64: Hex,
        }
        /// Nothing is known of the content of these sectors from now on.
        Touched = "touched" {
            /// The first sector.
            first: u64,
            /// How many.
            count: u64,
        }
        /// A file that was read.
        File = "file" {
            /// Its path from the root of its file system.
            path: &'a str,
            /// Its length.
            bytes: u64,
            /// CRC-64/XZ of its content.
            crc64: Hex,
        }
        /// What a client of the mixed load did.
        Load = "load" {
            /// The client.
            label: &'a str,
            /// Requests that were acknowledged.
            acked: u64,
            /// Reads among them.
            reads: u64,
            /// Writes among them.
            writes: u64,
            /// Requests that were sent again.
            retried: u64,
            /// How often the device was opened again.
            reopened: u64,
        }
        /// How far requests of several clients overlapped.
        Overlap = "overlap" {
            /// Clients.
            clients: u64,
            /// Requests that each client had out at a time.
            outstanding: u64,
            /// Most requests that were out at a time.
            max_in_flight: u64,
        }
        /// The scenario is over; the machine powers off.
        Done = "done" {
            /// Statements that passed.
            passed: u64,
            /// Statements that failed.
            failed: u64,
        }
        /// Something that ends the run.
        Error = "error" {
            /// While doing what.
            stage: &'a str,
            /// What kind of error.
            kind: &'a str,
            /// More about it.
            text: &'a str,
        }
    }
}

impl<'a> Record<'a> {
    /// Takes a line apart; `None` if it is no record but text for people.
    ///
    /// # Errors
    ///
    /// [`BadRecord`] if the line is marked as a record but is not one of these.
    pub fn parse(line: &'a str) -> Option<Result<Self, BadRecord<'a>>> {
        let (name, fields) = Fields::split(line)?;
        Some(Self::read(name, fields))
    }
}

/// A marked line that is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord<'a> {
    /// The name on the line.
    pub name: &'a str,
    /// The key that is missing or has no proper value; `None` if there is no record of that name.
    pub key: Option<&'static str>,
}

impl fmt::Display for BadRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "record '{}' without a proper '{key}'", self.name),
            None => write!(f, "no record is called '{}'", self.name),
        }
    }
}

impl core::error::Error for BadRecord<'_> {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::String;

    use super::*;

    fn line(record: &Record<'_>) -> String {
        let mut out = String::new();
        record.write(&mut out).unwrap();
        out
    }

    /// Each record as it stands on the line, without mark and end.
    const LINES: [&str; 23] = [
        "started label=virtio_blk_mmio endpoint=32780 program=virtio_blk_mmio",
        "ended label=a endpoint=-1 how=exit result=0",
        "ended label=a endpoint=32780 how=killed result=-200",
        "ended label=a endpoint=32780 how=segv result=0",
        "ended label=a endpoint=32780 how=panic result=0",
        "restarted label=a old=32780 new=32784",
        "killed label=a round=1 us=1500 inflight=8",
        "poison frames=399 before=2 after=0",
        "down label=a us=10537 since=close status=15 forced=1",
        "measure name=idle label=a instructions=18446744073709551615 us=5",
        "violation text=double_reply",
        "check number=51 group=L name=close result=skip detail=",
        "test name=vfs-open result=fail detail=EIO",
        "partition minor=128 base=512 bytes=4608",
        "wrote first=1 count=2 seed=0xffffffffffffffff",
        "zeroed first=1 count=2",
        "digest first=1 count=2 crc64=0xabc",
        "touched first=0 count=1",
        "file path=/etc/rc bytes=3 crc64=0x0",
        "load label=a acked=1 reads=2 writes=3 retried=4 reopened=5",
        "overlap clients=4 outstanding=2 max_in_flight=8",
        "done passed=6 failed=0",
        "error stage=init kind=queue-too-small text=no_room",
    ];

    #[test]
    fn every_record_is_parsed_and_printed_as_agreed() {
        for text in LINES {
            let expected = format!("\u{1e}{text}\n");
            let record = Record::parse(&expected)
                .unwrap()
                .unwrap_or_else(|bad| panic!("{text}: {bad}"));
            assert_eq!(line(&record), expected);
        }
        let check = Record::parse("\u{1e}check number=7 group=B name=n result=pass detail=d");
        let (group, name, detail) = ("B", "n", "d");
        assert_eq!(
            check,
            Some(Ok(Record::Check {
                number: 7,
                group,
                name,
                result: Verdict::Pass,
                detail
            }))
        );
    }

    #[test]
    fn counters_keep_every_key() {
        let printed = "\u{1e}counters label=virtio_blk_mmio reads=3 x=0x10\n";
        let Some(Ok(record @ Record::Counters { label, fields })) = Record::parse(printed) else {
            panic!("not counters");
        };
        assert_eq!((label, fields.get("x")), ("virtio_blk_mmio", Some("0x10")));
        assert_eq!(line(&record), printed);
    }

    #[test]
    fn lines_of_clients_are_understood_as_they_print_them() {
        let printed = "\u{1e}wrote first=8 count=16 seed=99 extra=1\r\n";
        assert_eq!(
            Record::parse(printed),
            Some(Ok(Record::Wrote {
                first: 8,
                count: 16,
                seed: Hex(99)
            }))
        );
        assert_eq!(
            line(&Record::Down {
                label: "a",
                us: 5,
                since: Since::Term,
                status: 0,
                forced: Flag(false)
            }),
            "\u{1e}down label=a us=5 since=term status=0 forced=0\n"
        );
    }

    #[test]
    fn what_is_no_record_is_told_from_a_bad_one() {
        assert_eq!(Record::parse("wrote first=1"), None);
        let bad = |line: &'static str| Record::parse(line).unwrap().unwrap_err();
        assert_eq!(
            bad("\u{1e}nonsense a=1"),
            BadRecord {
                name: "nonsense",
                key: None
            }
        );
        assert_eq!(bad("\u{1e}wrote first=1 count=x seed=1").key, Some("count"));
        assert_eq!(bad("\u{1e}test name=a detail=b").key, Some("result"));
        assert_eq!(bad("\u{1e}test name=a result=maybe detail=b").key, Some("result"));
        let down = bad("\u{1e}down label=a us=1 since=term status=0 forced=2");
        assert_eq!(down.key, Some("forced"));
        let down = bad("\u{1e}down label=a us=1 since=gone status=0 forced=1");
        assert_eq!(down.key, Some("since"));
        assert_eq!(
            format!("{}", bad("\u{1e}done passed=1")),
            "record 'done' without a proper 'failed'"
        );
    }
}
