//! What the chain of a device request belongs to.

/// The token of a chain in the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartToken {
    /// The record of the request.
    pub(crate) record: u16,
    pub(crate) sent: Sent,
}

/// What the completion of one device request has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Sectors of the request this part accounts for.
    pub(crate) sectors: u32,
    /// Bytes the device has to write before the status, or [`ANY_LENGTH`](Self::ANY_LENGTH).
    pub(crate) answer: u32,
}

impl Sent {
    /// The device knows how much it writes.
    pub(crate) const ANY_LENGTH: u32 = u32::MAX;
}
