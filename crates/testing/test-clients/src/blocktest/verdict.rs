//! What a request should come to, and the ways it can fail to.

use core::fmt;

use minix_abi::{Errno, Status};

use crate::bdev::Trouble;

/// What the driver should answer.
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

    /// Compares with what the driver did answer.
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

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{:?}", Status(*number)),
            Self::AnyError => f.write_str("an error"),
            Self::Error(errors) => {
                for (nth, errno) in errors.iter().enumerate() {
                    write!(f, "{}{errno:?}", if nth == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::Either(number, errno) => write!(f, "{:?} or {errno:?}", Status(*number)),
        }
    }
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request did not get through, or its reply was no reply to it.
    Trouble(Trouble),
    /// The driver answered something else.
    Answer {
        /// What it answered.
        got: Status,
        /// What it should have.
        expected: Expect,
    },
    /// Memory was changed that the request has nothing to do with, or that it should have left alone.
    Touched {
        /// The first byte, from the start of the memory.
        at: usize,
    },
    /// A sector of memory was not changed although the request says that it was read to.
    Untouched {
        /// Its first byte, from the start of the memory.
        at: usize,
    },
    /// What was read is not what should be there.
    Data {
        /// The first byte that differs, from the start of what was read.
        at: usize,
    },
    /// A number that came with the answer is wrong.
    Number {
        /// What it is about.
        what: &'static str,
        /// What it is.
        got: u64,
        /// What it should be.
        expected: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Answer { got, expected } => write!(f, "answered {got:?}, expected {expected}"),
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
