//! What can be wrong with a file system.

use core::fmt;

/// Why a file system could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfsError<E> {
    /// The volume could not be read.
    Read(E),
    Damaged(Damage),
}

impl<E> From<Damage> for MfsError<E> {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl<E: fmt::Display> fmt::Display for MfsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read: {error}"),
            Self::Damaged(Damage { what, number }) => write!(f, "damaged: {what} {number}"),
        }
    }
}

/// What makes no sense: a statement, and the number that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub what: &'static str,
    pub number: u32,
}

impl Damage {
    pub(super) const TOO_SHORT: Self = Self {
        what: "too short for a file system:",
        number: 0,
    };

    pub(super) fn new(what: &'static str, number: impl Into<u32>) -> Self {
        let number = number.into();
        Self { what, number }
    }
}
