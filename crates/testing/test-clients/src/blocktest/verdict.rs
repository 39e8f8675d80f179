//! The expected answer to a request, and the ways a check fails.

use core::fmt;

use minix_abi::{Errno, Status};

use crate::bdev::Trouble;

/// The right answers to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// This number.
    Exactly(i32),
    /// Any error.
    AnyError,
    /// One of these errors.
    Error(&'static [Errno]),
    /// This number, or this error if the driver cannot do it.
    Either(i32, Errno),
}

impl Expect {
    /// Success without a count.
    pub(crate) const OK: Self = Self::Exactly(0);

    /// So many bytes, which are fewer than 2^31 in all tests.
    pub(crate) const fn bytes(bytes: usize) -> Self {
        Self::Exactly(bytes as i32)
    }

    /// Compares with the answer of the driver.
    pub(crate) fn judge(self, outcome: Result<Status, Trouble>) -> Result<Status, Fault> {
        let got = outcome.map_err(Fault::Trouble)?;
        let right = match self {
            Self::Exactly(number) => got == Status(number),
            Self::AnyError => got.result().is_err(),
            Self::Error(errors) => got.result().is_err_and(|errno| errors.contains(&errno)),
            Self::Either(number, errno) => got == Status(number) || got == Status::from(errno),
        };
        if right {
            Ok(got)
        } else {
            Err(Fault::Answer { got, expected: self })
        }
    }
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request did not get through, or its reply was no reply to it.
    Trouble(Trouble),
    /// The driver gave another answer.
    Answer { got: Status, expected: Expect },
    /// Memory outside of the transfer was changed.
    Touched {
        /// The first byte, from the start of the memory.
        at: usize,
    },
    /// A sector of memory was not changed by a successful read.
    Untouched {
        /// Its first byte, from the start of the memory.
        at: usize,
    },
    /// Wrong data was read.
    Data {
        /// The first byte that differs, from the start of the transfer.
        at: usize,
    },
    /// A number that came with the answer is wrong.
    Number {
        what: &'static str,
        got: u64,
        expected: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Answer { got, expected } => write!(f, "answered {got:?}, expected {expected:?}"),
            Self::Touched { at } => write!(f, "memory changed at {at:#x}"),
            Self::Untouched { at } => write!(f, "memory not changed at {at:#x}"),
            Self::Data { at } => write!(f, "wrong data at byte {at}"),
            Self::Number { what, got, expected } => write!(f, "{what} is {got}, expected {expected}"),
        }
    }
}

impl Fault {
    /// Compares a number.
    pub(crate) const fn number(what: &'static str, got: u64, expected: u64) -> Result<(), Self> {
        if got == expected {
            Ok(())
        } else {
            Err(Self::Number { what, got, expected })
        }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}
