//! Where the blocks come from, and what can be wrong with them.

use core::fmt;

use minix_abi::Status;
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_rt::Ipc;

use crate::args::Target;
use crate::bdev::{Direction, Session, Trouble};
use crate::buffer::{Memory, Piece};
use crate::client::Client;

/// The smallest block: the superblock has to begin at a block.
pub(super) const MIN_BLOCK_BYTES: usize = 1024;
/// The largest block this reader has room for. MINIX makes blocks of 4096 bytes unless told otherwise.
pub(super) const MAX_BLOCK_BYTES: usize = 8192;
/// Most bytes of a file that are read in one go.
pub(super) const RUN_BYTES: usize = 64 << 10;
/// Elements of the longest vector: a run of the smallest blocks.
pub(super) const MAX_BLOCKS: usize = RUN_BYTES / MIN_BLOCK_BYTES;
/// Distance of blocks in memory. Each is on pages of its own, as in a cache.
pub(super) const STRIDE: usize = MAX_BLOCK_BYTES;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x3f50_0000_0000;

/// Why a file system could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MfsError {
    Trouble(Trouble),
    /// What the driver says.
    Status(Status),
    /// A statement that makes no sense of a file system, and the number that it is about.
    Damaged(&'static str, u32),
}

impl From<Trouble> for MfsError {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl fmt::Display for MfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => write!(f, "cannot read: {trouble}"),
            Self::Status(status) => write!(f, "cannot read: the driver says {status:?}"),
            Self::Damaged(what, number) => write!(f, "damaged: {what} {number}"),
        }
    }
}

/// A file system that makes no sense.
pub(super) fn damaged(what: &'static str, number: impl Into<u32>) -> MfsError {
    MfsError::Damaged(what, number.into())
}

/// A minor that is read.
pub(super) struct Disk<'c, I: Ipc> {
    pub(super) session: Session<'c, I>,
    pub(super) minor: Minor,
    memory: Memory,
    pub(super) bytes: u64,
}

impl<'c, I: Ipc> Disk<'c, I> {
    pub(super) fn open(client: &'c mut Client<I>, target: Target, memory: Memory) -> Result<Self, MfsError> {
        let minor = target.minor;
        let mut session = Session::connect(client, target.label, 1, minor, BdevAccess::READ)?;
        let mut place = PartGeom::default();
        let status = session.repeat(|session| {
            let (status, found) = session.partition(minor)?;
            place = found;
            Ok(status)
        })?;
        status.result().map_err(|_| MfsError::Status(status))?;
        Ok(Self {
            session,
            minor,
            memory,
            bytes: place.bytes,
        })
    }

    /// Reads from `position` (in bytes, a multiple of `block`) until `into` is full. Its length is a multiple of `block` too:
    /// one is an ordinary read, more are contiguous blocks of a file, which one request gets together.
    pub(super) fn read(&mut self, position: u64, block: usize, into: &mut [u8]) -> Result<(), MfsError> {
        let mut pieces = heapless::Vec::<Piece, MAX_BLOCKS>::new();
        for (nth, chunk) in into.chunks(block).enumerate() {
            // Data of another block must not pass for this one.
            self.memory.fill_noise(nth * STRIDE, chunk.len(), NOISE);
            let piece = self.memory.piece(nth * STRIDE, chunk.len());
            let pushed = pieces.push(piece);
            pushed.map_err(|_| Trouble::NoRoom)?;
        }
        let (minor, read) = (self.minor, Direction::Read);
        let status = self.session.repeat(|session| match &pieces[..] {
            [piece] => session.transfer(read, minor, position, *piece, BdevFlags::empty()),
            _ => session.transfer_pieces(read, minor, position, &pieces),
        })?;
        if Status::count(into.len() as u64) != Some(status) {
            return Err(MfsError::Status(status));
        }
        for (nth, chunk) in into.chunks_mut(block).enumerate() {
            self.memory.read(nth * STRIDE, chunk);
        }
        Ok(())
    }
}
