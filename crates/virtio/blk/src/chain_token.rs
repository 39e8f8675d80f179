//! What a chain in the ring belongs to.

use virtio_blk_proto::{SECTOR_BYTES, Sector};

use crate::transfer::Transfer;
use crate::{Answer, Completion, IoError, Operation, Request};

/// The token of a chain. A request that is one chain, the common case, lies in the slot of its chain.
// The number of the variant fills a word, so that all after it is moved in words.
#[derive(Debug)]
#[repr(u64)]
pub(crate) enum ChainToken<B, K> {
    /// All of a read.
    Read(WholeTransfer<B, K>),
    /// All of a write.
    Write(WholeTransfer<B, K>),
    /// All of another request, which is about `sectors`.
    Command { request: Request<B, K>, sectors: u32 },
    /// A part of a request that takes several.
    Part(Part),
}

/// A read or a write that is one device request.
#[derive(Debug)]
pub(crate) struct WholeTransfer<B, K> {
    pub(crate) first: Sector,
    pub(crate) sectors: u32,
    pub(crate) buffer: B,
    pub(crate) token: K,
}

impl<B, K> WholeTransfer<B, K> {
    /// The end of the transfer, which is a `transfer`.
    #[inline]
    pub(crate) fn complete(self, transfer: Transfer, result: Result<Answer, IoError>) -> Completion<B, K> {
        Completion {
            operation: match transfer {
                Transfer::Read => Operation::Read(self.first),
                Transfer::Write => Operation::Write(self.first),
            },
            buffer: Some(self.buffer),
            token: self.token,
            bytes: match result {
                Ok(_) => u64::from(self.sectors) * SECTOR_BYTES,
                Err(_) => 0,
            },
            result,
        }
    }
}

impl<B, K> ChainToken<B, K> {
    /// The token of the only chain of `request`, which is about `sectors`.
    #[inline]
    pub(crate) fn whole(request: Request<B, K>, sectors: u32) -> Self {
        let Request {
            operation,
            buffer,
            token,
        } = request;
        match (operation, buffer) {
            (Operation::Read(first), Some(buffer)) if crate::FRAMES => Self::Read(WholeTransfer {
                first,
                sectors,
                buffer,
                token,
            }),
            (Operation::Write(first), Some(buffer)) if crate::FRAMES => Self::Write(WholeTransfer {
                first,
                sectors,
                buffer,
                token,
            }),
            (operation, buffer) => Self::Command {
                request: Request {
                    operation,
                    buffer,
                    token,
                },
                sectors,
            },
        }
    }

    /// The token of the only chain of a read or a write.
    #[inline]
    pub(crate) fn transfer(transfer: Transfer, whole: WholeTransfer<B, K>) -> Self {
        match transfer {
            Transfer::Read => Self::Read(whole),
            Transfer::Write => Self::Write(whole),
        }
    }

    /// The whole read or write that this chain carries; `None` for any other chain.
    #[inline]
    pub(crate) fn into_transfer(self) -> Option<(Transfer, WholeTransfer<B, K>)> {
        match self {
            Self::Read(whole) => Some((Transfer::Read, whole)),
            Self::Write(whole) => Some((Transfer::Write, whole)),
            Self::Command { .. } | Self::Part(_) => None,
        }
    }
}

/// One device request out of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The number of the [split request](crate::split_requests::SplitRequests).
    pub(crate) request: u16,
    /// Sectors that the part accounts for.
    pub(crate) sectors: u32,
}
