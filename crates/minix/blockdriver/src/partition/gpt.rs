//! The partition table of UEFI: a header, checked by a sum of its own, and an array of entries, checked by a sum in the
//! header. A second copy of both lies at the end of the disk.
//!
//! Positions in it count blocks of the disk, which may be longer than a sector. Only the first four entries matter here,
//! since there are no more partitions on a drive, and of these only type and place.

use core::array;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::table::Extent;
use crate::device::BOUNCE_BYTES;

/// A scan takes so many entries.
pub(crate) const ENTRIES: usize = 4;

/// The longest array of entries that is read, in bytes: 8192 entries of the usual length. The whole array has to be read for
/// its sum, and the first open waits for that; tools make 128 entries.
pub(crate) const MOST_ARRAY_BYTES: usize = 1 << 20;

/// The block of the first copy of the header.
pub(crate) const FIRST_HEADER_BLOCK: u64 = 1;

const SIGNATURE: [u8; 8] = *b"EFI PART";
/// The part of the header that has a meaning. A header may claim to be longer, and then its sum covers more.
const HEADER_BYTES: usize = size_of::<WireHeader>();
/// Entries are this long, or a multiple of it.
const ENTRY_BYTES: usize = 128;

/// Without a table: the sum is mostly taken over a few thousand bytes, once per first open, and a table would be code to load.
const SUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WireHeader {
    signature: [u8; 8],
    revision: U32,
    header_bytes: U32,
    header_sum: U32,
    reserved: U32,
    this_block: U64,
    other_block: U64,
    first_usable_block: U64,
    last_usable_block: U64,
    disk_guid: [u8; 16],
    array_block: U64,
    entries: U32,
    entry_bytes: U32,
    array_sum: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WireEntry {
    kind: [u8; 16],
    partition_guid: [u8; 16],
    first_block: U64,
    last_block: U64,
    attributes: U64,
    name: [u8; 72],
}

const _: () = assert!(HEADER_BYTES == 92 && size_of::<WireEntry>() == ENTRY_BYTES);

/// A header that was found good: where the entries are, and how to tell that they are good too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The block in which the array of entries starts.
    pub(crate) array_block: u64,
    /// Bytes of the whole array.
    pub(crate) array_bytes: usize,
    entry_bytes: usize,
    /// The sum of the whole array.
    array_sum: u32,
}

/// An array of entries while it is read, piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    pub(crate) header: Header,
    /// Bytes read so far.
    pub(crate) done_bytes: usize,
    /// The sum of these bytes.
    sum: u32,
    /// What the first entries say.
    partitions: [Extent; ENTRIES],
}

impl Header {
    /// Checks the content of block `at_block` of the disk. `None` if it is no good header, or not of that block, or if its
    /// array is one that no tool makes: entries that are no multiple of 128 bytes or longer than 4096, or more than
    /// [`MOST_ARRAY_BYTES`] of them.
    pub(crate) fn check(block: &[u8], at_block: u64) -> Option<Self> {
        let (wire, _) = WireHeader::ref_from_prefix(block).ok()?;
        let header = block.get(..usize::try_from(wire.header_bytes.get()).ok()?)?;
        let good = wire.signature == SIGNATURE
            && header.len() >= HEADER_BYTES
            && wire.header_sum.get() == header_sum(header)
            && wire.this_block.get() == at_block;
        if !good {
            return None;
        }
        let entries = usize::try_from(wire.entries.get()).ok()?;
        let entry_bytes = usize::try_from(wire.entry_bytes.get()).ok()?;
        let sizes = ENTRY_BYTES..=BOUNCE_BYTES / ENTRIES;
        if !sizes.contains(&entry_bytes) || !entry_bytes.is_multiple_of(ENTRY_BYTES) {
            return None;
        }
        let array_bytes = entries.checked_mul(entry_bytes)?;
        (array_bytes <= MOST_ARRAY_BYTES).then_some(Self {
            array_block: wire.array_block.get(),
            array_bytes,
            entry_bytes,
            array_sum: wire.array_sum.get(),
        })
    }

    /// Bytes that the first piece of the array must have at least: the entries that are taken.
    pub(crate) fn head_bytes(&self) -> usize {
        self.array_bytes.min(ENTRIES * self.entry_bytes)
    }
}

impl Array {
    pub(crate) const fn new(header: Header) -> Self {
        Self {
            header,
            done_bytes: 0,
            sum: 0,
            partitions: [Extent::EMPTY; ENTRIES],
        }
    }

    /// Bytes that are still to be read.
    pub(crate) fn left_bytes(&self) -> usize {
        self.header.array_bytes.saturating_sub(self.done_bytes)
    }

    /// Takes the next bytes of the array, at first at least [`Header::head_bytes`]. The disk has so many blocks of
    /// `block_bytes`.
    ///
    /// An entry that reaches past the disk is cut at its end. One that is unused, or lies past the disk, or ends before it
    /// starts, is empty.
    pub(crate) fn take(&mut self, piece: &[u8], block_bytes: u64, disk_blocks: u64) {
        if self.done_bytes == 0 {
            let mut entries = piece.chunks_exact(self.header.entry_bytes);
            self.partitions = array::from_fn(|_| {
                let entry = entries.next().and_then(|entry| WireEntry::ref_from_prefix(entry).ok());
                entry.map_or(Extent::EMPTY, |(entry, _)| entry.extent(block_bytes, disk_blocks))
            });
        }
        self.sum = continued_sum(self.sum, piece);
        self.done_bytes = self.done_bytes.saturating_add(piece.len());
    }

    /// The partitions of the first four entries, when the array was read to its end. `None` if its sum is wrong.
    pub(crate) fn partitions(&self) -> Option<[Extent; ENTRIES]> {
        (self.done_bytes == self.header.array_bytes && self.sum == self.header.array_sum).then_some(self.partitions)
    }
}

impl WireEntry {
    fn extent(&self, block_bytes: u64, disk_blocks: u64) -> Extent {
        let first = self.first_block.get();
        let end = self.last_block.get().saturating_add(1).min(disk_blocks);
        if self.kind == [0; 16] || first >= end {
            return Extent::EMPTY;
        }
        Extent {
            base_bytes: first * block_bytes,
            size_bytes: (end - first) * block_bytes,
        }
    }
}

/// The sum of what has the sum `sum` and then `more`.
fn continued_sum(sum: u32, more: &[u8]) -> u32 {
    // The state of this sum is its complement, and a start value is given with its bits the other way round.
    let mut digest = SUM.digest_with_initial((!sum).reverse_bits());
    digest.update(more);
    digest.finalize()
}

/// The sum of a header, in which the sum itself counts as zero.
fn header_sum(header: &[u8]) -> u32 {
    let (front, rest) = header.split_at(core::mem::offset_of!(WireHeader, header_sum));
    let mut sum = SUM.digest();
    sum.update(front);
    sum.update(&[0; 4]);
    sum.update(rest.get(4..).unwrap_or(&[]));
    sum.finalize()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// The header of a disk with this array of entries in its second block.
    fn header(array: &[u8], entries: u32, entry_bytes: u32) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&[0, 0, 1, 0]);
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[24] = 1;
        header[72] = 2;
        header[80..84].copy_from_slice(&entries.to_le_bytes());
        header[84..88].copy_from_slice(&entry_bytes.to_le_bytes());
        header[88..92].copy_from_slice(&SUM.checksum(array).to_le_bytes());
        let sum = SUM.checksum(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    fn entry(bytes: usize, first: u64, last: u64) -> Vec<u8> {
        let mut entry = vec![0; bytes];
        entry[0] = 1;
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        entry
    }

    /// The partitions of an array that comes in pieces of so many bytes.
    fn partitions(header: Header, array: &[u8], piece_bytes: usize) -> Option<[Extent; ENTRIES]> {
        let mut taken = Array::new(header);
        for piece in array.chunks(piece_bytes) {
            assert_eq!(taken.partitions(), None, "not before all is there");
            assert!(taken.left_bytes() >= piece.len());
            taken.take(piece, 512, 1000);
        }
        taken.partitions()
    }

    #[test]
    fn a_sum_goes_on_from_piece_to_piece() {
        let bytes: Vec<u8> = (0..1000u32).map(|number| (number * 7) as u8).collect();
        for cut in [0, 1, 500, 999, 1000] {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(continued_sum(continued_sum(0, front), back), SUM.checksum(&bytes));
        }
    }

    #[test]
    fn a_header_is_good_with_its_sum_in_its_block() {
        let block = header(&[0; 512], 4, 128);
        let good = Header::check(&block, 1).unwrap();
        assert_eq!((good.array_block, good.array_bytes), (2, 512));
        assert_eq!(Header::check(&block, 2), None);
        assert_eq!(Header::check(&block[..91], 1), None);
        assert!(Header::check(&block[..92], 1).is_some());
        for byte in 0..92 {
            let mut bad = block.clone();
            bad[byte] ^= 1;
            assert_eq!(Header::check(&bad, 1), None, "byte {byte}");
        }
    }

    #[test]
    fn entries_may_be_longer_than_their_meaning() {
        let array: Vec<u8> = [entry(384, 10, 19), entry(384, 20, 29)].concat();
        let good = Header::check(&header(&array, 2, 384), 1).unwrap();
        let partitions = partitions(good, &array, 768).unwrap();
        assert_eq!(partitions.map(|extent| extent.base_bytes / 512), [10, 20, 0, 0]);
        assert_eq!(partitions.map(|extent| extent.size_bytes / 512), [10, 10, 0, 0]);
    }

    #[test]
    fn only_as_many_entries_count_as_there_are() {
        let array: Vec<u8> = [entry(128, 10, 19), entry(128, 20, 29)].concat();
        let block = header(&array[..128], 1, 128);
        let good = Header::check(&block, 1).unwrap();
        assert_eq!(partitions(good, &array[..128], 128).unwrap()[1], Extent::EMPTY);
        assert_eq!(partitions(good, &array[..127], 128), None);
    }

    #[test]
    fn an_array_is_checked_to_its_last_byte() {
        for entries in [128, 129, 8192] {
            let array: Vec<u8> = entry(entries as usize * 128, 10, 19);
            let header = Header::check(&header(&array, entries, 128), 1).unwrap();
            assert_eq!(header.array_bytes, entries as usize * 128);
            let mut damaged = array.clone();
            *damaged.last_mut().unwrap() = 1;
            for piece_bytes in [512, BOUNCE_BYTES] {
                let found = partitions(header, &array, piece_bytes).unwrap();
                assert_eq!(found[0].base_bytes, 5120);
                assert_eq!(partitions(header, &damaged, piece_bytes), None);
            }
        }
    }

    #[test]
    fn arrays_that_no_tool_makes_are_none() {
        for (entries, bytes) in [
            (8193, 128),
            (257, 4096),
            (1, 4096 + 128),
            (u32::MAX, 4096),
            (u32::MAX, 128),
        ] {
            assert_eq!(
                Header::check(&header(&[], entries, bytes), 1),
                None,
                "{entries} of {bytes}"
            );
        }
        let widest = Header::check(&header(&[], 256, 4096), 1).unwrap();
        assert_eq!(widest.head_bytes(), BOUNCE_BYTES);
    }
}
