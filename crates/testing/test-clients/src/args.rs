//! The words a program is started with: `key=value`, or a key alone for something to be switched on.
//!
//! A word that a program does not know, or that makes no sense to it, is an error: a test that silently ran with other
//! settings than the ones asked for would show nothing.

use core::fmt;

use guest_protocol::SectorRange;
use minix_abi::Errno;
use minix_abi::minor::Minor;
use minix_rt::{Args, Ipc};

use crate::client::Client;

/// The driver and the minor: words of every program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The label of the driver.
    pub label: &'static str,
    pub minor: Minor,
}

/// Reads the words of a program: `label=` and `minor=`, and others by `other`, which says whether it knows the word.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL), after it was reported which word is wrong or missing.
pub fn parse<I: Ipc>(
    client: &mut Client<I>,
    args: Args,
    mut other: impl FnMut(&Word) -> Result<bool, BadWord>,
) -> Result<Target, Errno> {
    let mut target = Target::default();
    let read = || {
        for text in args {
            let word = Word::new(text);
            match word.key {
                "label" => target.label = word.string()?,
                "minor" => target.minor = Minor(word.number_up_to(255)? as i32),
                _ if other(&word)? => {}
                _ => return Err(word.bad("is not known")),
            }
        }
        if target.label.is_empty() {
            return Err(missing("label"));
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(target),
        Err(bad) => Err(report(client, bad)),
    }
}

/// Reports a word that is wrong or missing.
pub fn report<I: Ipc>(client: &mut Client<I>, bad: BadWord) -> Errno {
    client.error("args", "bad-word", &bad);
    Errno::EINVAL
}

/// Checks the words `first=`, `count=` and `depth=` of a program that has so many requests at a time in a range.
///
/// # Errors
///
/// Without sectors or requests, or if the range does not end.
pub fn requests_in(range: SectorRange, depth: usize) -> Result<(), BadWord> {
    if range.count == 0 || range.first.checked_add(range.count).is_none() || depth == 0 {
        return Err(missing(if depth == 0 { "depth" } else { "count" }));
    }
    Ok(())
}

/// For a key that has to be there and is not.
pub const fn missing(key: &'static str) -> BadWord {
    BadWord {
        word: key,
        why: "is missing",
    }
}

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    text: &'static str,
    /// The part before the `=`, or the whole word.
    pub key: &'static str,
    value: Option<&'static str>,
}

impl Word {
    /// Splits a word at its first `=`.
    pub fn new(text: &'static str) -> Self {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        Self { text, key, value }
    }

    /// The value, which may not be empty.
    pub fn string(&self) -> Result<&'static str, BadWord> {
        let value = self.value.filter(|value| !value.is_empty());
        value.ok_or(self.bad("needs a value"))
    }

    /// The value as a number, decimal or hexadecimal after `0x`.
    pub fn number(&self) -> Result<u64, BadWord> {
        guest_protocol::number(self.string()?).ok_or(self.bad("is not a number"))
    }

    pub fn number_up_to(&self, max: u64) -> Result<u64, BadWord> {
        let number = self.number()?;
        if number <= max {
            Ok(number)
        } else {
            Err(self.bad("is too large"))
        }
    }

    /// The value as a range of sectors, `FIRST:COUNT`.
    pub fn range(&self) -> Result<SectorRange, BadWord> {
        self.string()?.parse().map_err(|_| self.bad("is not FIRST:COUNT"))
    }

    /// The value as `FIRST:COUNT:SEED`.
    pub fn range_and_seed(&self) -> Result<(SectorRange, u64), BadWord> {
        let bad = || self.bad("is not FIRST:COUNT:SEED");
        let (range, seed) = self.string()?.rsplit_once(':').ok_or_else(bad)?;
        let range = range.parse().map_err(|_| bad())?;
        Ok((range, guest_protocol::number(seed).ok_or_else(bad)?))
    }

    /// Makes sure that the word is a switch.
    pub fn switch(&self) -> Result<(), BadWord> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.bad("takes no value")),
        }
    }

    /// A complaint about the word: `why` continues the sentence that begins with it.
    pub const fn bad(&self, why: &'static str) -> BadWord {
        BadWord { word: self.text, why }
    }
}

/// A word that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord {
    /// The word, or the key that is missing.
    pub word: &'static str,
    /// Continues the sentence that begins with the word.
    pub why: &'static str,
}

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.word, self.why)
    }
}
