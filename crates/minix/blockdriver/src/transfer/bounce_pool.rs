//! Bounce buffers, for memory whose addresses the device cannot be given: which are free, and the copies. `engine/submit`
//! chooses them.

use minix_abi::kernel_call::MapElement;
use minix_abi::{Endpoint, Errno};

use super::pieces;
use crate::device::BounceBuffer;
use crate::kernel::Kernel;

/// Which bounce buffers are free. At most 32 are used.
pub(crate) struct BouncePool {
    all: u32,
    free: u32,
}

impl BouncePool {
    pub(crate) const fn new(buffers: u8) -> Self {
        let all = if buffers >= 32 { u32::MAX } else { (1 << buffers) - 1 };
        Self { all, free: all }
    }

    /// Whether there is any, free or not.
    pub(crate) const fn exists(&self) -> bool {
        self.all != 0
    }

    pub(crate) const fn any_free(&self) -> bool {
        self.free != 0
    }

    pub(crate) fn take(&mut self) -> Option<BounceBuffer> {
        let buffer = u8::try_from(self.free.trailing_zeros())
            .ok()
            .filter(|&buffer| buffer < 32)?;
        self.free &= !(1 << buffer);
        Some(BounceBuffer(buffer))
    }

    pub(crate) fn put_back(&mut self, buffer: BounceBuffer) {
        self.free |= self.all & 1_u32.checked_shl(buffer.0.into()).unwrap_or(0);
    }

    /// No request uses any.
    pub(crate) fn reset(&mut self) {
        self.free = self.all;
    }
}

/// Copies from the memory of a client, from `offset` of its transfer on.
pub(crate) fn copy_in<K: Kernel>(
    kernel: &mut K,
    granter: Endpoint,
    elements: &[MapElement],
    offset: u32,
    buffer: &mut [u8],
) -> Result<(), Errno> {
    let mut rest = buffer;
    for piece in pieces(elements, offset, rest.len()) {
        let (part, after) = rest.split_at_mut(piece.bytes);
        kernel.copy_from(granter, piece.grant, piece.offset, part)?;
        rest = after;
    }
    Ok(())
}

/// Copies to the memory of a client, from `offset` of its transfer on.
pub(crate) fn copy_out<K: Kernel>(
    kernel: &mut K,
    granter: Endpoint,
    elements: &[MapElement],
    offset: u32,
    buffer: &[u8],
) -> Result<(), Errno> {
    let mut rest = buffer;
    for piece in pieces(elements, offset, rest.len()) {
        let (part, after) = rest.split_at(piece.bytes);
        kernel.copy_to(granter, piece.grant, piece.offset, part)?;
        rest = after;
    }
    Ok(())
}
