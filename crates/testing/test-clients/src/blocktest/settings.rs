//! What the block test is told: which disk, whether it may be written, what buffers to use.

use minix_abi::minor::{Minor, Place};

use crate::args::{BadWord, Word};
use crate::buffer::Kind;

/// The largest `max`: buffers have to fit into one piece of contiguous memory, with something around them.
pub const LARGEST_MAX: u64 = (1 << 20) - 8192;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The driver's label.
    pub label: &'a str,
    /// The minor to test.
    pub minor: Minor,
    /// It may be written.
    pub write: bool,
    /// Bytes of the largest transfer to try, apart from those that are always tried.
    pub max: usize,
    /// What memory to use.
    pub kind: Kind,
    /// No lines for people, records only.
    pub silent: bool,
}

impl<'a> Settings<'a> {
    /// Reads the words `label= minor= rw ro max= nocontig silent`.
    ///
    /// # Errors
    ///
    /// The first word that cannot be used, or a key that is missing.
    pub fn parse(words: impl Iterator<Item = &'a str>) -> Result<Self, BadWord<'a>> {
        let mut label = None;
        let mut minor = None;
        let (mut write, mut max, mut kind, mut silent) = (false, 128 << 10, Kind::Contiguous, false);
        for word in words.map(Word::new) {
            match word.key() {
                "label" => label = Some(word.string()?),
                "minor" => minor = Some(word.minor()?),
                "rw" => write = word.switch().map(|()| true)?,
                "ro" => write = word.switch().map(|()| false)?,
                "max" => max = word.number_up_to(LARGEST_MAX)?,
                "nocontig" => kind = word.switch().map(|()| Kind::Scattered)?,
                "silent" => silent = word.switch().map(|()| true)?,
                _ => return Err(word.unknown()),
            }
        }
        Ok(Self {
            label: label.ok_or(BadWord::missing("label"))?,
            minor: minor.ok_or(BadWord::missing("minor"))?,
            write,
            max,
            kind,
            silent,
        })
    }
}

/// The first two minors inside of a minor: partitions of a drive, sub-partitions of a partition.
pub(super) fn minors_inside(minor: Minor) -> Option<[Minor; 2]> {
    let inside = |nth| match minor.place()? {
        Place::Drive { drive } => Place::Partition { drive, partition: nth }.minor(),
        Place::Partition { drive, partition } => Place::SubPartition {
            drive,
            partition,
            sub: nth,
        }
        .minor(),
        Place::SubPartition { .. } => None,
    };
    Some([inside(0)?, inside(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_have_their_effect() {
        let settings = Settings::parse(["label=disk", "minor=5", "rw", "max=65536", "nocontig"].into_iter()).unwrap();
        let expected = Settings {
            label: "disk",
            minor: Minor(5),
            write: true,
            max: 65536,
            kind: Kind::Scattered,
            silent: false,
        };
        assert_eq!(settings, expected);
        let settings = Settings::parse(["minor=0", "label=d", "silent"].into_iter()).unwrap();
        assert_eq!(
            (settings.write, settings.max, settings.kind),
            (false, 131072, Kind::Contiguous)
        );
        assert!(settings.silent);
    }

    #[test]
    fn other_words_do_not_pass() {
        let bad = |words: &[&'static str]| Settings::parse(words.iter().copied()).unwrap_err().word;
        assert_eq!(bad(&["label=d", "minor=0", "verbose"]), "verbose");
        assert_eq!(bad(&["label=d", "minor=0", "max=1048576"]), "max=1048576");
        assert_eq!(bad(&["label=d"]), "minor");
        assert_eq!(bad(&["minor=1", "rw"]), "label");
        assert_eq!(bad(&["rw=1"]), "rw=1");
    }

    #[test]
    fn minors_inside_are_one_level_down() {
        assert_eq!(minors_inside(Minor(0)), Some([Minor(1), Minor(2)]));
        assert_eq!(minors_inside(Minor(5)), Some([Minor(6), Minor(7)]));
        assert_eq!(minors_inside(Minor(1)), Some([Minor(128), Minor(129)]));
        assert_eq!(minors_inside(Minor(4)), Some([Minor(140), Minor(141)]));
        assert_eq!(minors_inside(Minor(128)), None);
        assert_eq!(minors_inside(Minor(60)), None);
    }
}
