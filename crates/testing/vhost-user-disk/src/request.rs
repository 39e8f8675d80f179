//! Requests as descriptor chains, read in the two ways that devices read them.

use std::fmt;
use std::ops::Deref;

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemory};

use crate::SECTOR_BYTES;

/// Bytes of a request header: type, reserved, sector.
const HEADER_BYTES: u32 = 16;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Make completed writes durable.
    Flush,
    /// Read the identification string.
    Id,
    /// A type that the device does not know.
    Other(u32),
}

impl Kind {
    const fn of(kind: u32) -> Kind {
        match kind {
            VIRTIO_BLK_T_IN => Kind::Read,
            VIRTIO_BLK_T_OUT => Kind::Write,
            VIRTIO_BLK_T_FLUSH => Kind::Flush,
            VIRTIO_BLK_T_GET_ID => Kind::Id,
            other => Kind::Other(other),
        }
    }

    /// Whether its data descriptors must be writable (true) or readable (false). None: the type decides nothing.
    const fn data_is_writable(self) -> Option<bool> {
        match self {
            Kind::Read | Kind::Id => Some(true),
            Kind::Write => Some(false),
            Kind::Flush | Kind::Other(_) => None,
        }
    }
}

/// A piece of guest memory that carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub address: GuestAddress,
    /// Its size in bytes.
    pub bytes: u32,
}

/// A request as the device understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub kind: Kind,
    /// Where on the disk.
    pub sector: u64,
    /// Its data, as far as the device sees it.
    pub data: Vec<Piece>,
    /// Where the status byte goes.
    pub status: GuestAddress,
    /// Bytes of all writable descriptors of the chain.
    pub writable: u32,
}

/// Why a chain is no request. The device gives such a chain back without a status and with length 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// There is no descriptor for the status.
    TooShort,
    /// The header is not readable, is not 16 bytes long, or is outside memory.
    Header,
    /// A data descriptor has the wrong direction.
    DataDirection,
    /// The data of a read or write is no whole number of sectors.
    PartialSector,
    /// The status descriptor is not writable or empty.
    Status,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::TooShort => "the chain has no descriptor for the status",
            Broken::Header => "the header is not 16 readable bytes",
            Broken::DataDirection => "a data descriptor has the wrong direction",
            Broken::PartialSector => "the data is no whole number of sectors",
            Broken::Status => "the descriptor taken for the status is not writable",
        })
    }
}

/// The descriptors of a chain, in order.
pub(crate) fn descriptors<M>(chain: DescriptorChain<M>) -> Vec<Descriptor>
where
    M: Deref,
    M::Target: GuestMemory,
{
    chain.collect()
}

/// How many descriptors there are between the header and the last one.
pub(crate) fn data_descriptors(chain: &[Descriptor]) -> u64 {
    chain.len().saturating_sub(2) as u64
}

impl Request {
    /// Reads a chain as the specification lays it out: the last writable byte is the status, and everything between it and
    /// the header is data.
    ///
    /// # Errors
    ///
    /// The chain is no request.
    pub fn read(memory: &impl GuestMemory, chain: &[Descriptor]) -> Result<Request, Broken> {
        let (head, rest) = chain.split_first().ok_or(Broken::TooShort)?;
        let (last, data) = rest.split_last().ok_or(Broken::TooShort)?;
        // The last descriptor may carry data in front of the status.
        let in_front = (last.len() > 1 && last.addr().checked_add(last.len().into()).is_some()).then(|| Piece {
            address: last.addr(),
            bytes: last.len() - 1,
        });
        Request::put_together(memory, head, data, (last, in_front), chain)
    }

    /// Reads a chain as Firecracker does: the second descriptor of a chain of three or more is the data, the third is the
    /// status, and whatever follows is ignored.
    ///
    /// # Errors
    ///
    /// The chain is no request.
    pub fn read_one_segment(memory: &impl GuestMemory, chain: &[Descriptor]) -> Result<Request, Broken> {
        match chain {
            [head, status] => {
                let request = Request::put_together(memory, head, &[], (status, None), chain)?;
                // Only a flush may come without data.
                if request.kind == Kind::Flush {
                    Ok(request)
                } else {
                    Err(Broken::TooShort)
                }
            }
            [head, data, status, ..] => {
                Request::put_together(memory, head, std::slice::from_ref(data), (status, None), chain)
            }
            _ => Err(Broken::TooShort),
        }
    }

    fn put_together(
        memory: &impl GuestMemory,
        head: &Descriptor,
        data: &[Descriptor],
        (status, in_front): (&Descriptor, Option<Piece>),
        chain: &[Descriptor],
    ) -> Result<Request, Broken> {
        if head.is_write_only() || head.len() != HEADER_BYTES {
            return Err(Broken::Header);
        }
        let mut header = [0; HEADER_BYTES as usize];
        memory
            .read_slice(&mut header, head.addr())
            .map_err(|_| Broken::Header)?;
        let (words, sector) = header.split_at(8);
        let kind = Kind::of(little_endian(&words[..4]) as u32);
        let wrong = |data: &Descriptor| kind.data_is_writable().is_some_and(|is| is != data.is_write_only());
        if data.iter().any(wrong) {
            return Err(Broken::DataDirection);
        }
        if !status.is_write_only() || status.len() == 0 {
            return Err(Broken::Status);
        }
        let data = data.iter().map(|data| Piece {
            address: data.addr(),
            bytes: data.len(),
        });
        let writable = chain.iter().filter(|descriptor| descriptor.is_write_only());
        let request = Request {
            kind,
            sector: little_endian(sector),
            data: data.chain(in_front).collect(),
            status: in_front.map_or(status.addr(), |data| data.address.unchecked_add(data.bytes.into())),
            writable: writable.fold(0, |sum, descriptor| sum.saturating_add(descriptor.len())),
        };
        let whole = request.data_bytes().is_multiple_of(SECTOR_BYTES);
        if matches!(kind, Kind::Read | Kind::Write) && !whole {
            return Err(Broken::PartialSector);
        }
        Ok(request)
    }

    /// Bytes of its data.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.iter().map(|piece| u64::from(piece.bytes)).sum()
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
