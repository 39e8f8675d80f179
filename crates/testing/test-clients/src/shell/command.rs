//! The words.

use guest_protocol::SectorRange;
use minix_abi::minor::Minor;

use crate::args::{BadWord, Word};

/// Most commands of a shell.
pub const MAX_COMMANDS: usize = 10;

/// What to do. Sectors are counted from the start of the minor; the pattern of a sector is that of its place on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the minor.
    Open,
    /// Tell the partitions of its drive.
    Partitions,
    /// Tell where it lies and what shape it claims to have.
    Geometry,
    /// Read, and show the beginning.
    Read(SectorRange),
    /// Write a pattern: its seed.
    Write(SectorRange, u64),
    /// Write a pattern, and have it on the medium when that is answered: its seed.
    Force(SectorRange, u64),
    /// Read and compare with a pattern: its seed.
    Verify(SectorRange, u64),
    /// Read and tell the digest.
    Digest(SectorRange),
    /// Have caches written back.
    Flush,
    /// Close the minor.
    Close,
}

impl Command {
    /// The command in a word, if there is one in it.
    fn parse(word: &Word<'static>) -> Result<Option<Self>, BadWord<'static>> {
        let plain = match word.key() {
            "open" => Self::Open,
            "partitions" => Self::Partitions,
            "geometry" => Self::Geometry,
            "flush" => Self::Flush,
            "close" => Self::Close,
            "read" => return word.range().map(|range| Some(Self::Read(range))),
            "digest" => return word.range().map(|range| Some(Self::Digest(range))),
            "write" => return with_seed(word).map(|(range, seed)| Some(Self::Write(range, seed))),
            "force" => return with_seed(word).map(|(range, seed)| Some(Self::Force(range, seed))),
            "verify" => return with_seed(word).map(|(range, seed)| Some(Self::Verify(range, seed))),
            _ => return Ok(None),
        };
        word.switch()?;
        Ok(Some(plain))
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Partitions => "partitions",
            Self::Geometry => "geometry",
            Self::Read(_) => "read",
            Self::Write(..) => "write",
            Self::Force(..) => "force",
            Self::Verify(..) => "verify",
            Self::Digest(_) => "digest",
            Self::Flush => "flush",
            Self::Close => "close",
        }
    }
}

/// The value `FIRST:COUNT:SEED`.
fn with_seed(word: &Word<'static>) -> Result<(SectorRange, u64), BadWord<'static>> {
    let bad = || word.bad("is not FIRST:COUNT:SEED");
    let (range, seed) = word.string()?.rsplit_once(':').ok_or_else(bad)?;
    let range = range.parse().map_err(|_| bad())?;
    let seed = guest_protocol::number(seed).ok_or_else(bad)?;
    Ok((range, seed))
}

/// Everything a shell is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) label: &'static str,
    pub(super) minor: Minor,
    pub(super) commands: heapless::Vec<Command, MAX_COMMANDS>,
}

impl Settings {
    pub(super) fn parse(words: impl Iterator<Item = &'static str>) -> Result<Self, BadWord<'static>> {
        let mut settings = Self {
            label: "",
            minor: Minor(0),
            commands: heapless::Vec::new(),
        };
        for word in words.map(Word::new) {
            match word.key() {
                "label" => settings.label = word.string()?,
                "minor" => settings.minor = word.minor()?,
                _ => {
                    let command = Command::parse(&word)?.ok_or_else(|| word.unknown())?;
                    settings
                        .commands
                        .push(command)
                        .map_err(|_| word.bad("is one too many"))?;
                }
            }
        }
        if settings.label.is_empty() {
            return Err(BadWord::missing("label"));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&'static str]) -> Result<Settings, BadWord<'static>> {
        Settings::parse(words.iter().copied())
    }

    #[test]
    fn commands_come_in_order() {
        let settings = parse(&[
            "label=disk",
            "open",
            "write=1:2:0x30",
            "force=6:7:8",
            "read=4:5",
            "minor=3",
            "close",
        ])
        .unwrap();
        assert_eq!((settings.label, settings.minor), ("disk", Minor(3)));
        let range = |first, count| SectorRange { first, count };
        let wanted = [
            Command::Open,
            Command::Write(range(1, 2), 0x30),
            Command::Force(range(6, 7), 8),
            Command::Read(range(4, 5)),
            Command::Close,
        ];
        assert_eq!(settings.commands, wanted);
    }

    #[test]
    fn words_that_make_no_sense_are_errors() {
        for word in [
            "opne",
            "open=1",
            "read",
            "read=1",
            "write=1:2",
            "write=1:2:x",
            "force=1:2",
            "verify=:1:2",
            "flush=no",
        ] {
            assert!(parse(&["label=disk", word]).is_err(), "{word}");
        }
        assert_eq!(parse(&["open"]).unwrap_err().word, "label");
        assert!(parse(&[&["label=disk"][..], &["flush"; 11]].concat()).is_err());
    }
}
