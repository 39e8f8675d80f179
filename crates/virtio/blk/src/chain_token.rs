//! What a chain in the ring belongs to.

use crate::{Operation, Request};

/// The token of a chain.
#[derive(Debug)]
pub(crate) enum ChainToken<B, K> {
    /// The chain is all of this request: the common case. The request lies in the slot of its chain.
    Request {
        request: Request<B, K>,
        /// How many sectors the request is about.
        sectors: u32,
    },
    /// The chain is a part of a request that takes several.
    Part(Part),
}

impl<B, K> ChainToken<B, K> {
    /// Whether it is a read or a write in one device request.
    #[inline]
    pub(crate) fn is_transfer(&self) -> bool {
        match self {
            Self::Request { request, .. } => matches!(request.operation, Operation::Read(_) | Operation::Write(_)),
            Self::Part(_) => false,
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
