//! What the host asks of the image: the words of the boot command line.
//!
//! The host formats an [`Options`] with `Display` and passes it to QEMU's `-append`; the image finds the text in the
//! device tree (`/chosen/bootargs`) and reads it back with [`Options::parse`]. A word nobody knows is an error rather than
//! ignored, so that a typing mistake cannot turn a test off unseen.

use core::fmt;

use guest_protocol::number;
pub use guest_protocol::{BadRange, SectorRange};

/// The most `digest=` words one command line may carry.
pub const MAX_DIGESTS: usize = 16;

/// What the image runs once the disk is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The self-test, then measurements, then power-off.
    #[default]
    SelfTest,
    /// The monitor on the console, until `quit`.
    Shell,
}

/// How the driver learns of completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// Device interrupts through the PLIC.
    #[default]
    Interrupts,
    /// Looking at the used ring, with interrupts suppressed.
    Polled,
}

/// The ranges to digest, in the order they were asked for; at most [`MAX_DIGESTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    ranges: [SectorRange; MAX_DIGESTS],
    used: usize,
}

impl Digests {
    /// Adds a range at the end.
    ///
    /// # Errors
    ///
    /// Gives the range back when [`MAX_DIGESTS`] are there already.
    pub fn push(&mut self, range: SectorRange) -> Result<(), SectorRange> {
        let slot = self.ranges.get_mut(self.used).ok_or(range)?;
        *slot = range;
        self.used += 1;
        Ok(())
    }

    /// The ranges, in order.
    pub fn as_slice(&self) -> &[SectorRange] {
        self.ranges.get(..self.used).unwrap_or(&[])
    }
}

/// Everything the command line can say. `Default` is the empty command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `mode=selftest|shell`
    pub mode: Mode,
    /// `completion=irq|poll`
    pub completion: Completion,
    /// `queue=N`: upper bound the driver puts on the queue size, in descriptors. None: what the device offers.
    pub queue: Option<u16>,
    /// `scratch=FIRST:COUNT`: the sectors the image may overwrite. None: the image writes nothing.
    pub scratch: Option<SectorRange>,
    /// `pattern=SEED`: every sector but sector 0 holds `pattern(SEED, sector)`. None: the content is not known.
    pub pattern: Option<u64>,
    /// `digest=FIRST:COUNT`, repeatable: ranges to read, before anything is written, and report the digest of.
    pub digests: Digests,
    /// `bench=on|off`: short measurements at the end.
    pub bench: bool,
    /// `defmt=on|off`: defmt frames leave by semihosting. Off unless the host knows that QEMU has semihosting on, since
    /// the semihosting call is an `ebreak` that traps otherwise.
    pub defmt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::default(),
            completion: Completion::default(),
            queue: None,
            scratch: None,
            pattern: None,
            digests: Digests::default(),
            bench: true,
            defmt: false,
        }
    }
}

impl Options {
    /// Reads a command line. Words are separated by white space; the last of a repeated word counts, except that every
    /// `digest=` adds a range.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] names the first word that is not understood.
    pub fn parse(text: &str) -> Result<Options, OptionsError<'_>> {
        let mut options = Options::default();
        for word in text.split_ascii_whitespace() {
            options.apply(word)?;
        }
        Ok(options)
    }

    fn apply<'a>(&mut self, word: &'a str) -> Result<(), OptionsError<'a>> {
        let bad = OptionsError::BadValue(word);
        let (key, value) = word.split_once('=').ok_or(OptionsError::UnknownWord(word))?;
        match key {
            "mode" => {
                self.mode = match value {
                    "selftest" => Mode::SelfTest,
                    "shell" => Mode::Shell,
                    _ => return Err(bad),
                }
            }
            "completion" => {
                self.completion = match value {
                    "irq" => Completion::Interrupts,
                    "poll" => Completion::Polled,
                    _ => return Err(bad),
                }
            }
            "queue" => self.queue = Some(value.parse().map_err(|_| bad)?),
            "scratch" => self.scratch = Some(value.parse().map_err(|_| bad)?),
            "pattern" => self.pattern = Some(number(value).ok_or(bad)?),
            "digest" => {
                let range = value.parse().map_err(|_| bad)?;
                self.digests.push(range).map_err(|_| OptionsError::TooManyDigests)?;
            }
            "bench" => self.bench = switch(value).ok_or(bad)?,
            "defmt" => self.defmt = switch(value).ok_or(bad)?,
            _ => return Err(OptionsError::UnknownWord(word)),
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::SelfTest => "mode=selftest",
            Mode::Shell => "mode=shell",
        })?;
        f.write_str(match self.completion {
            Completion::Interrupts => " completion=irq",
            Completion::Polled => " completion=poll",
        })?;
        if let Some(queue) = self.queue {
            write!(f, " queue={queue}")?;
        }
        if let Some(scratch) = self.scratch {
            write!(f, " scratch={scratch}")?;
        }
        if let Some(seed) = self.pattern {
            write!(f, " pattern={seed:#x}")?;
        }
        for range in self.digests.as_slice() {
            write!(f, " digest={range}")?;
        }
        write!(f, " bench={} defmt={}", on_off(self.bench), on_off(self.defmt))
    }
}

/// A word of the command line that the image cannot act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsError<'a> {
    /// No option has this name.
    UnknownWord(&'a str),
    /// The option exists, its value does not.
    BadValue(&'a str),
    /// More than [`MAX_DIGESTS`] `digest=` words.
    TooManyDigests,
}

impl fmt::Display for OptionsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionsError::UnknownWord(word) => write!(f, "unknown boot option `{word}`"),
            OptionsError::BadValue(word) => write!(f, "bad value in boot option `{word}`"),
            OptionsError::TooManyDigests => {
                write!(f, "more than {MAX_DIGESTS} digest= boot options")
            }
        }
    }
}

impl core::error::Error for OptionsError<'_> {}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_formatted_is_parsed_back() {
        let mut options = Options {
            mode: Mode::Shell,
            completion: Completion::Polled,
            queue: Some(8),
            scratch: Some(SectorRange {
                first: 65536,
                count: 8192,
            }),
            pattern: Some(0xdead_beef_0123_4567),
            bench: false,
            defmt: true,
            ..Options::default()
        };
        for first in 0..16 {
            options
                .digests
                .push(SectorRange {
                    first,
                    count: first * 3,
                })
                .unwrap();
        }
        assert_eq!(Options::parse(&options.to_string()), Ok(options));
        assert_eq!(Options::parse(""), Ok(Options::default()));
        assert_eq!(Options::parse(&Options::default().to_string()), Ok(Options::default()));
    }

    #[test]
    fn a_word_that_is_not_understood_is_named() {
        for (text, expected) in [
            ("bench=on mode", OptionsError::UnknownWord("mode")),
            ("mode=turbo", OptionsError::BadValue("mode=turbo")),
            ("queue=65536", OptionsError::BadValue("queue=65536")),
            ("scratch=5", OptionsError::BadValue("scratch=5")),
            (
                "scratch=18446744073709551615:2",
                OptionsError::BadValue("scratch=18446744073709551615:2"),
            ),
            ("pattern=0x+1", OptionsError::BadValue("pattern=0x+1")),
            ("defmt=1", OptionsError::BadValue("defmt=1")),
            ("colour=red", OptionsError::UnknownWord("colour=red")),
        ] {
            assert_eq!(Options::parse(text), Err(expected), "{text}");
        }
        let seventeen = "digest=1:1 ".repeat(17);
        assert_eq!(Options::parse(&seventeen), Err(OptionsError::TooManyDigests));
    }

    proptest::proptest! {
        #[test]
        fn any_command_line_is_understood_or_named(text in "([a-z]{0,10}=?[-+:x0-9a-f]{0,20} ?){0,9}|.*") {
            if let Ok(options) = Options::parse(&text) {
                let again = options.to_string();
                proptest::prop_assert_eq!(Options::parse(&again), Ok(options));
            }
        }
    }

    #[test]
    fn containment_survives_the_ends_of_the_number_range() {
        let all = SectorRange {
            first: 0,
            count: u64::MAX,
        };
        let range = SectorRange { first: 8, count: 8 };
        assert!(all.contains(range) && range.contains(range));
        assert!(!range.contains(SectorRange { first: 15, count: 2 }));
        assert!(!range.contains(SectorRange { first: 7, count: 2 }));
        assert!(!all.contains(SectorRange {
            first: u64::MAX,
            count: u64::MAX
        }));
    }
}
