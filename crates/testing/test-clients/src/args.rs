//! The words a program is started with: `key=value`, or a key alone for something to be switched on.
//!
//! A word that a program does not know, or that makes no sense to it, is an error: a test that silently ran with other
//! settings than the ones asked for would show nothing.

use core::fmt;

use guest_protocol::SectorRange;
use minix_abi::minor::Minor;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    text: &'a str,
    key: &'a str,
    value: Option<&'a str>,
}

impl<'a> Word<'a> {
    /// Splits a word at its first `=`.
    pub fn new(text: &'a str) -> Self {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        Self { text, key, value }
    }

    /// What is in front of the `=`, or the whole word.
    pub const fn key(&self) -> &'a str {
        self.key
    }

    /// What is behind the `=`, if there is one.
    pub const fn value(&self) -> Option<&'a str> {
        self.value
    }

    /// The whole word.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The value, which may not be empty.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if there is none.
    pub fn string(&self) -> Result<&'a str, BadWord<'a>> {
        self.value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.bad("needs a value"))
    }

    /// The value as a number, decimal or hexadecimal after `0x`.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if it is none.
    pub fn number(&self) -> Result<u64, BadWord<'a>> {
        guest_protocol::number(self.string()?).ok_or_else(|| self.bad("is not a number"))
    }

    /// The value as a number that fits in a `usize` and is at most `max`.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if it is none, or larger.
    pub fn number_up_to(&self, max: u64) -> Result<usize, BadWord<'a>> {
        let number = self.number()?;
        usize::try_from(number)
            .ok()
            .filter(|_| number <= max)
            .ok_or_else(|| self.bad("is too large"))
    }

    /// The value as a minor number, 0 to 255.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if it is none.
    pub fn minor(&self) -> Result<Minor, BadWord<'a>> {
        Ok(Minor(self.number_up_to(255)? as i32))
    }

    /// The value as a range of sectors, `FIRST:COUNT`.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if it is none.
    pub fn range(&self) -> Result<SectorRange, BadWord<'a>> {
        self.string()?.parse().map_err(|_| self.bad("is not FIRST:COUNT"))
    }

    /// Makes sure that the word is a switch.
    ///
    /// # Errors
    ///
    /// [`BadWord`] if it has a value.
    pub fn switch(&self) -> Result<(), BadWord<'a>> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.bad("takes no value")),
        }
    }

    /// For a word whose key nobody knows.
    pub const fn unknown(&self) -> BadWord<'a> {
        self.bad("is not known")
    }

    /// A complaint about the word: `why` continues the sentence that begins with it.
    pub const fn bad(&self, why: &'static str) -> BadWord<'a> {
        BadWord { word: self.text, why }
    }
}

/// A word that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'a> {
    /// The word, or the key that is missing.
    pub word: &'a str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl BadWord<'static> {
    /// For a key that has to be there and is not.
    pub const fn missing(key: &'static str) -> Self {
        Self {
            word: key,
            why: "is missing",
        }
    }
}

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.word, self.why)
    }
}

impl core::error::Error for BadWord<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_a_key_and_possibly_a_value() {
        let word = Word::new("label=virtio_blk_mmio");
        assert_eq!((word.key(), word.string()), ("label", Ok("virtio_blk_mmio")));
        assert!(word.switch().is_err());
        let word = Word::new("rw");
        assert_eq!((word.key(), word.value(), word.switch()), ("rw", None, Ok(())));
        assert_eq!(word.string().unwrap_err().why, "needs a value");
        assert_eq!(Word::new("key=a=b").string(), Ok("a=b"));
        assert_eq!(Word::new("key=").string().unwrap_err().word, "key=");
    }

    #[test]
    fn numbers_and_ranges_are_checked() {
        assert_eq!(Word::new("seed=0x10").number(), Ok(16));
        assert!(Word::new("seed=ten").number().is_err());
        assert_eq!(Word::new("max=131072").number_up_to(1 << 20), Ok(131072));
        assert!(Word::new("max=131072").number_up_to(131071).is_err());
        assert_eq!(Word::new("minor=255").minor(), Ok(Minor(255)));
        assert!(Word::new("minor=256").minor().is_err());
        assert_eq!(Word::new("read=4:8").range(), Ok(SectorRange { first: 4, count: 8 }));
        assert!(Word::new("read=4").range().is_err());
    }
}
