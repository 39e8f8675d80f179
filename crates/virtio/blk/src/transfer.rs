//! The two requests that move data.

use virtio_blk_proto::{RequestHeader, RequestType, Sector};

use crate::Operation;

/// A request that moves the data of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    Read,
    Write,
}

impl Transfer {
    /// Direction and position, if the operation is one.
    #[inline]
    pub(crate) fn of(operation: Operation) -> Option<(Self, Sector)> {
        match operation {
            Operation::Read(first) => Some((Self::Read, first)),
            Operation::Write(first) => Some((Self::Write, first)),
            _ => None,
        }
    }

    /// The header of the device request at `first`.
    #[inline]
    pub(crate) fn header(self, first: Sector) -> RequestHeader {
        let kind = match self {
            Self::Write => RequestType::OUT,
            Self::Read => RequestType::IN,
        };
        RequestHeader::at(kind, first)
    }
}
