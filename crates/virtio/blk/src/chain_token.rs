//! What a chain in the ring belongs to.

use crate::Request;

/// The token of a chain. A request that is one chain, the common case, lies in the slot of its chain.
#[derive(Debug)]
pub(crate) enum ChainToken<B, K> {
    /// All of a read or a write.
    Transfer(WholeRequest<B, K>),
    /// All of another request.
    Command(WholeRequest<B, K>),
    /// A part of a request that takes several.
    Part(Part),
}

/// A request that is one device request.
#[derive(Debug)]
pub(crate) struct WholeRequest<B, K> {
    pub(crate) request: Request<B, K>,
    /// How many sectors it is about.
    pub(crate) sectors: u32,
}

/// One device request out of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The number of the [split request](crate::split_requests::SplitRequests).
    pub(crate) request: u16,
    /// Sectors that the part accounts for.
    pub(crate) sectors: u32,
}
