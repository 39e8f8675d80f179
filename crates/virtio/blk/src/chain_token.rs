//! What a chain in the ring belongs to.

use virtio_blk_proto::SECTOR_BYTES;

use crate::transfer::Transfer;
use crate::{Answer, Completion, IoError, Operation, Request};

/// The token of a chain. A request that is one chain, the common case, lies in the slot of its chain.
#[derive(Debug)]
pub(crate) enum ChainToken<B, K> {
    /// All of a request.
    Whole(Whole<B, K>),
    /// A part of a request that takes several.
    Part(Part),
}

/// A request that is one device request.
// The fields of the request one by one: then the sectors lie where the padding of a request would be.
#[derive(Debug)]
pub(crate) struct Whole<B, K> {
    pub(crate) operation: Operation,
    buffer: Option<B>,
    token: K,
    /// How many sectors it is about.
    pub(crate) sectors: u32,
}

impl<B, K> Whole<B, K> {
    /// The end of the request. Its sectors count if it went well.
    #[inline]
    pub(crate) fn complete(self, result: Result<Answer, IoError>) -> Completion<B, K> {
        Completion {
            operation: self.operation,
            buffer: self.buffer,
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
        Self::Whole(Whole {
            operation,
            buffer,
            token,
            sectors,
        })
    }

    /// Which transfer this is all of; `None` for any other chain.
    #[inline]
    pub(crate) fn transfer(&self) -> Option<Transfer> {
        match self {
            Self::Whole(whole) => Transfer::of(whole.operation).map(|(transfer, _)| transfer),
            Self::Part(_) => None,
        }
    }
}

/// One device request out of several.
// Both fill words, or what lies in the same place of another token would be moved in smaller pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    request: u64,
    sectors: u64,
}

impl Part {
    /// A part of the [split request](crate::split_requests::SplitRequests) of that number that accounts for `sectors`.
    pub(crate) fn new(request: u16, sectors: u32) -> Self {
        Self {
            request: request.into(),
            sectors: sectors.into(),
        }
    }

    /// The number of its request.
    pub(crate) fn request(self) -> u16 {
        self.request as u16
    }

    /// Bytes that it accounts for.
    pub(crate) fn bytes(self) -> u64 {
        self.sectors * SECTOR_BYTES
    }
}
