//! Requests as descriptor chains, read in the two ways that devices read them.

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemory};

use crate::SECTOR_BYTES;

/// Bytes of a request header: type, reserved, sector.
const HEADER_BYTES: u32 = 16;

/// A request as the device understands it. A chain that is none is an error in words; the device returns it without a status and with
/// length 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The type: a `VIRTIO_BLK_T_` constant, or any other number.
    pub kind: u32,
    /// Where on the disk.
    pub sector: u64,
    /// Its data, as far as the device sees it: address and bytes of each piece.
    pub data: Vec<(GuestAddress, u32)>,
    /// Where the status byte goes.
    pub status: GuestAddress,
    /// Bytes of all writable descriptors of the chain.
    pub writable: u32,
}

const TOO_SHORT: &str = "the chain has no descriptor for the status";
const BAD_HEADER: &str = "the header is not 16 readable bytes";

impl Request {
    /// Reads a chain as the specification lays it out: the last writable byte is the status, and everything between it and
    /// the header is data.
    pub fn read(memory: &impl GuestMemory, chain: &[Descriptor]) -> Result<Request, &'static str> {
        let (head, rest) = chain.split_first().ok_or(TOO_SHORT)?;
        let (last, data) = rest.split_last().ok_or(TOO_SHORT)?;
        // The last descriptor may carry data in front of the status.
        let is_data = last.len() > 1 && last.addr().checked_add(last.len().into()).is_some();
        let in_front = is_data.then(|| (last.addr(), last.len() - 1));
        Request::put_together(memory, head, data, (last, in_front), chain)
    }

    /// Reads a chain as Firecracker does: the second descriptor of a chain of three or more is the data, the third is the
    /// status, and the rest is ignored.
    pub fn read_one_segment(memory: &impl GuestMemory, chain: &[Descriptor]) -> Result<Request, &'static str> {
        match chain {
            [head, status] => {
                let request = Request::put_together(memory, head, &[], (status, None), chain)?;
                // Only a flush may come without data.
                Some(request)
                    .filter(|request| request.kind == VIRTIO_BLK_T_FLUSH)
                    .ok_or(TOO_SHORT)
            }
            [head, data, status, ..] => {
                Request::put_together(memory, head, std::slice::from_ref(data), (status, None), chain)
            }
            _ => Err(TOO_SHORT),
        }
    }

    fn put_together(
        memory: &impl GuestMemory,
        head: &Descriptor,
        data: &[Descriptor],
        (status, in_front): (&Descriptor, Option<(GuestAddress, u32)>),
        chain: &[Descriptor],
    ) -> Result<Request, &'static str> {
        if head.is_write_only() || head.len() != HEADER_BYTES {
            return Err(BAD_HEADER);
        }
        let mut header = [0; HEADER_BYTES as usize];
        memory.read_slice(&mut header, head.addr()).map_err(|_| BAD_HEADER)?;
        let (words, sector) = header.split_at(8);
        let kind = little_endian(&words[..4]) as u32;
        let wrong = |data: &Descriptor| match kind {
            VIRTIO_BLK_T_IN | VIRTIO_BLK_T_GET_ID => !data.is_write_only(),
            VIRTIO_BLK_T_OUT => data.is_write_only(),
            _ => false,
        };
        if data.iter().any(wrong) {
            return Err("a data descriptor has the wrong direction");
        }
        if !status.is_write_only() || status.len() == 0 {
            return Err("the descriptor taken for the status is not writable");
        }
        let data = data.iter().map(|data| (data.addr(), data.len()));
        let writable = chain.iter().filter(|descriptor| descriptor.is_write_only());
        let request = Request {
            kind,
            sector: little_endian(sector),
            data: data.chain(in_front).collect(),
            status: in_front.map_or(status.addr(), |(address, bytes)| address.unchecked_add(bytes.into())),
            writable: writable.fold(0, |sum, descriptor| sum.saturating_add(descriptor.len())),
        };
        let whole = request.data_bytes().is_multiple_of(SECTOR_BYTES);
        if matches!(kind, VIRTIO_BLK_T_IN | VIRTIO_BLK_T_OUT) && !whole {
            return Err("the data is no whole number of sectors");
        }
        Ok(request)
    }

    /// Bytes of its data.
    pub fn data_bytes(&self) -> u64 {
        self.data.iter().map(|(_, bytes)| u64::from(*bytes)).sum()
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
