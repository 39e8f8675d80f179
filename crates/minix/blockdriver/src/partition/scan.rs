//! The scan of the partition tables, as a state machine without input and output.
//!
//! It starts with the first sector. Is the table there a placeholder for a GPT, the GPT gives the four partitions. Otherwise,
//! or if no copy of the GPT is good, the table gives them, without the placeholder. The scan goes on into each of its
//! partitions: into a MINIX partition for a table of sub-partitions, into an extended partition along its chain.
//!
//! The disk is not trusted. Every read lies inside the disk and inside the partition whose table it is to get, and the
//! number of reads is bounded for any content of the tables.

use crate::log_line;
use core::mem;

use minix_abi::partition::{PartitionEntry, SystemId, TABLE_ENTRIES, TABLE_READ_BYTES, read_table};

use super::gpt::{self, Array, FIRST_HEADER_BLOCK, Header};
use super::mbr::{self, Table};
use super::table::{DeviceTable, Extent};
use crate::device::{BOUNCE_BYTES, SECTOR_BYTES};

/// Tables that are read along the chain of one extended partition. Each is to give at least one of four logical partitions,
/// so a chain that is longer goes in circles or means mischief.
const CHAIN_TABLES: u8 = 32;

/// A read that a [`Scan`] wants: whole blocks inside the disk, not more than a bounce buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRead {
    /// Where to start, in bytes from the start of the disk: a multiple of the block size.
    pub first_byte: u64,
    /// How many bytes: a multiple of the block size, not more than [`BOUNCE_BYTES`].
    pub bytes: usize,
}

impl ScanRead {
    /// The sector to start with.
    pub const fn first_sector(self) -> u64 {
        self.first_byte / SECTOR_BYTES
    }
}

/// A scan under way. Ask for the [next read](Self::next_read), [feed](Self::feed) it back, until there is none.
#[derive(Clone, Debug)]
pub struct Scan {
    disk_bytes: u64,
    block_bytes: u64,
    /// The first table, sorted.
    primaries: Table,
    step: ScanStep,
    piece: Piece,
}

/// What the next read is for.
#[derive(Clone, Copy, Debug)]
enum ScanStep {
    Primary,
    GptHeader(Copy),
    GptArray(Copy, Array),
    Sub(u8),
    Chain(Chain),
    Done,
}

/// Which copy of the GPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    First,
    Backup,
}

/// Where the scan is in an extended partition.
#[derive(Clone, Copy, Debug)]
struct Chain {
    partition: u8,
    /// Where the table is, in blocks from the start of the extended partition.
    link: u32,
    /// Logical partitions found so far.
    found: u8,
    /// Tables read, this one included.
    tables: u8,
}

/// What is wanted of a read.
#[derive(Clone, Copy, Debug)]
struct Piece {
    read: ScanRead,
    skip: usize,
    bytes: usize,
}

impl Piece {
    const NONE: Self = Self {
        read: ScanRead {
            first_byte: 0,
            bytes: 0,
        },
        skip: 0,
        bytes: 0,
    };

    fn of<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        let data = Some(data).filter(|data| data.len() == self.read.bytes)?;
        data.get(self.skip..)?.get(..self.bytes)
    }
}

impl Scan {
    /// A scan ends after so many reads at the latest: the first table, header and entries of a GPT in two copies, and the
    /// chains. A piece of the entries is at least half a bounce buffer.
    pub const MOST_READS: usize =
        1 + 2 * (1 + 2 * gpt::MOST_ARRAY_BYTES / BOUNCE_BYTES) + TABLE_ENTRIES * CHAIN_TABLES as usize;

    /// The scan of a disk of so many bytes, in blocks of so many bytes, a multiple of 512. Nothing is read from a disk that
    /// is too small, or whose blocks do not fit into a bounce buffer.
    pub fn new(disk_bytes: u64, block_bytes: u32) -> Self {
        let mut scan = Self {
            // Half a sector cannot be read.
            disk_bytes: disk_bytes - disk_bytes % SECTOR_BYTES,
            block_bytes: block_bytes.into(),
            primaries: [PartitionEntry::new(SystemId::NONE, 0, 0); TABLE_ENTRIES],
            step: ScanStep::Done,
            piece: Piece::NONE,
        };
        let disk = scan.disk();
        scan.ask_for_table(ScanStep::Primary, disk, 0);
        scan
    }

    /// The read to do next; `None` when the scan is done. Asking again changes nothing.
    pub fn next_read(&self) -> Option<ScanRead> {
        match self.step {
            ScanStep::Done => None,
            _ => Some(self.piece.read),
        }
    }

    /// Takes all bytes of the [next read](Self::next_read), and enters its partitions into the table. `None`, as
    /// any other number of bytes, is a read that failed: then there is no table.
    ///
    /// The table is [reset](DeviceTable::reset) before the scan; what the disk does not have is left as it is.
    pub fn feed(&mut self, table: &mut DeviceTable, data: Option<&[u8]>) {
        let data = data.and_then(|data| self.piece.of(data));
        match mem::replace(&mut self.step, ScanStep::Done) {
            ScanStep::Primary => self.primary(table, data),
            ScanStep::GptHeader(copy) => self.gpt_header(table, copy, data),
            ScanStep::GptArray(copy, array) => self.gpt_array(table, copy, array, data),
            ScanStep::Sub(partition) => {
                self.sub(table, partition, data);
                self.scan_partitions(partition + 1);
            }
            ScanStep::Chain(chain) => {
                if !self.chain(table, chain, data) {
                    self.scan_partitions(chain.partition + 1);
                }
            }
            ScanStep::Done => {}
        }
    }

    fn primary(&mut self, table: &mut DeviceTable, data: Option<&[u8]>) {
        let Some(mut entries) = data.and_then(read_table) else {
            return;
        };
        mbr::sort(&mut entries);
        self.primaries = entries;
        if entries.iter().any(|entry| entry.system == SystemId::PROTECTIVE) {
            self.ask_for_gpt_header(table, Copy::First);
        } else {
            self.take_primaries(table);
        }
    }

    /// Makes the entries of the first table the partitions, and goes on with what they hold.
    fn take_primaries(&mut self, table: &mut DeviceTable) {
        if self.block_bytes > SECTOR_BYTES {
            log_line!(Info, "the partition table counts blocks of {} bytes", self.block_bytes);
        }
        // The placeholder of a GPT is no partition: its sectors belong to the partitions of the GPT.
        let offered = |entry: &PartitionEntry| entry.system != SystemId::PROTECTIVE;
        for (partition, entry) in (0..).zip(&self.primaries).filter(|(_, entry)| offered(entry)) {
            table.set_partition(partition, self.clipped(entry, self.disk()));
        }
        self.scan_partitions(0);
    }

    /// Asks for the first table inside a partition, beginning with partition `from`.
    fn scan_partitions(&mut self, from: u8) {
        for (partition, entry) in (0..).zip(self.primaries).skip(from.into()) {
            let step = match entry.system {
                SystemId::MINIX => ScanStep::Sub(partition),
                system if system.is_extended() => ScanStep::Chain(Chain {
                    partition,
                    link: 0,
                    found: 0,
                    tables: 1,
                }),
                _ => continue,
            };
            if self.ask_for_table(step, self.clipped(&entry, self.disk()), 0) {
                return;
            }
        }
    }

    fn sub(&mut self, table: &mut DeviceTable, partition: u8, data: Option<&[u8]>) {
        let parent = self.primary_extent(partition);
        for (sub, entry) in (0..).zip(data.and_then(read_table).iter().flatten()) {
            table.set_sub_partition(partition, sub, self.clipped(entry, parent));
        }
    }

    /// Takes a table of a chain and asks for the next. Whether there is one.
    fn chain(&mut self, table: &mut DeviceTable, mut chain: Chain, data: Option<&[u8]>) -> bool {
        let Some(mut entries) = data.and_then(read_table) else {
            return false;
        };
        mbr::sort(&mut entries);
        let extended = self.primary_extent(chain.partition);
        let mut next = 0;
        for entry in &entries {
            if entry.system.is_extended() {
                next = entry.first.get();
            } else if entry.system != SystemId::NONE {
                let logical = mbr::logical(entry, extended, chain.link, self.block_bytes);
                table.set_sub_partition(chain.partition, chain.found, logical);
                chain.found += 1;
                if usize::from(chain.found) == TABLE_ENTRIES {
                    return false;
                }
            }
        }
        if next == 0 || chain.tables == CHAIN_TABLES {
            return false;
        }
        chain.link = next;
        chain.tables += 1;
        self.ask_for_table(ScanStep::Chain(chain), extended, next)
    }

    fn gpt_header(&mut self, table: &mut DeviceTable, copy: Copy, data: Option<&[u8]>) {
        let header = data.and_then(|data| Header::check(data, self.header_block(copy)));
        let asked = header.is_some_and(|header| self.ask_for_gpt_array(copy, Array::new(header)));
        if !asked {
            self.without_gpt_copy(table, copy);
        }
    }

    fn gpt_array(&mut self, table: &mut DeviceTable, copy: Copy, mut array: Array, data: Option<&[u8]>) {
        if let Some(data) = data {
            array.take(data, self.block_bytes, self.disk_blocks());
            if let Some(partitions) = array.partitions() {
                if copy == Copy::Backup {
                    log_line!(
                        Warn,
                        "the first copy of the GUID partition table is damaged: the backup is used"
                    );
                }
                for (partition, extent) in (0..).zip(partitions) {
                    table.set_partition(partition, extent);
                }
                return;
            }
            if self.ask_for_gpt_array(copy, array) {
                return;
            }
        }
        self.without_gpt_copy(table, copy);
    }

    /// Asks for the next piece of the entries. Whether there is one.
    fn ask_for_gpt_array(&mut self, copy: Copy, array: Array) -> bool {
        let header = array.header;
        let piece_bytes = self.most_read_bytes().min(array.left_bytes());
        // The first piece has to hold the entries that are taken.
        if array.done_bytes == 0 && piece_bytes < header.head_bytes() {
            return false;
        }
        let first = header.array_block.checked_mul(self.block_bytes);
        let first = first.and_then(|first| first.checked_add(array.done_bytes as u64));
        first.is_some_and(|first| self.ask(ScanStep::GptArray(copy, array), first, piece_bytes, self.disk_bytes))
    }

    fn ask_for_gpt_header(&mut self, table: &mut DeviceTable, copy: Copy) {
        let first = self.header_block(copy).saturating_mul(self.block_bytes);
        // A block fits into memory: it was checked when the first table was asked for.
        let bytes = usize::try_from(self.block_bytes).unwrap_or(usize::MAX);
        if !self.ask(ScanStep::GptHeader(copy), first, bytes, self.disk_bytes) {
            self.without_gpt_copy(table, copy);
        }
    }

    fn without_gpt_copy(&mut self, table: &mut DeviceTable, copy: Copy) {
        match copy {
            Copy::First => self.ask_for_gpt_header(table, Copy::Backup),
            Copy::Backup => {
                log_line!(
                    Warn,
                    "both copies of the GUID partition table are damaged: none of its partitions is offered"
                );
                self.take_primaries(table);
            }
        }
    }

    fn header_block(&self, copy: Copy) -> u64 {
        match copy {
            Copy::First => FIRST_HEADER_BLOCK,
            Copy::Backup => self.disk_blocks().saturating_sub(1),
        }
    }

    /// Bytes of the most whole blocks that fit into a bounce buffer.
    fn most_read_bytes(&self) -> usize {
        let block_bytes = usize::try_from(self.block_bytes).unwrap_or(usize::MAX);
        BOUNCE_BYTES - BOUNCE_BYTES.checked_rem(block_bytes).unwrap_or(BOUNCE_BYTES)
    }

    fn clipped(&self, entry: &PartitionEntry, parent: Extent) -> Extent {
        mbr::clipped(entry, parent, self.block_bytes)
    }

    const fn disk(&self) -> Extent {
        Extent {
            base_bytes: 0,
            size_bytes: self.disk_bytes,
        }
    }

    fn disk_blocks(&self) -> u64 {
        self.disk_bytes.checked_div(self.block_bytes).unwrap_or(0)
    }

    fn primary_extent(&self, partition: u8) -> Extent {
        let entry = self.primaries.get(usize::from(partition));
        entry.map_or(Extent::EMPTY, |entry| self.clipped(entry, self.disk()))
    }

    /// Asks for the table that lies `block` blocks into `device`. A table that does not lie in it as a whole, with the
    /// sectors that are read along with it, is none.
    fn ask_for_table(&mut self, step: ScanStep, device: Extent, block: u32) -> bool {
        let offset = u64::from(block).saturating_mul(self.block_bytes);
        let first = device.base_bytes.saturating_add(offset);
        self.ask(step, first, TABLE_READ_BYTES, device.end_bytes())
    }

    /// Asks for these bytes, which have to end at `end_byte` at the latest. Whether they can be read.
    fn ask(&mut self, step: ScanStep, first_byte: u64, bytes: usize, end_byte: u64) -> bool {
        let Some(piece) = self.piece(first_byte, bytes, end_byte) else {
            return false;
        };
        self.step = step;
        self.piece = piece;
        true
    }

    /// The blocks around these bytes.
    fn piece(&self, first_byte: u64, bytes: usize, end_byte: u64) -> Option<Piece> {
        let end = first_byte.checked_add(u64::try_from(bytes).ok()?)?;
        if bytes == 0 || end > end_byte || self.block_bytes == 0 || !self.block_bytes.is_multiple_of(SECTOR_BYTES) {
            return None;
        }
        let skip = first_byte % self.block_bytes;
        let read_first = first_byte - skip;
        let read_end = end.checked_next_multiple_of(self.block_bytes)?;
        let read_bytes = usize::try_from(read_end - read_first).ok()?;
        if read_end > self.disk_bytes || read_bytes > BOUNCE_BYTES {
            return None;
        }
        Some(Piece {
            read: ScanRead {
                first_byte: read_first,
                bytes: read_bytes,
            },
            skip: usize::try_from(skip).ok()?,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(scan: &Scan, first_byte: u64, bytes: usize, end_byte: u64) -> Option<(u64, usize, usize)> {
        let piece = scan.piece(first_byte, bytes, end_byte)?;
        Some((piece.read.first_byte, piece.read.bytes, piece.skip))
    }

    #[test]
    fn reads_are_rounded_to_blocks() {
        let scan = Scan::new(1 << 20, 4096);
        assert_eq!(piece(&scan, 4096, 2048, 1 << 20), Some((4096, 4096, 0)));
        assert_eq!(piece(&scan, 4608, 2048, 1 << 20), Some((4096, 4096, 512)));
        assert_eq!(piece(&scan, 7168, 2048, 1 << 20), Some((4096, 8192, 3072)));
        assert_eq!(piece(&scan, 0, BOUNCE_BYTES, 1 << 20), Some((0, BOUNCE_BYTES, 0)));
        assert_eq!(piece(&scan, 0, BOUNCE_BYTES + 1, 1 << 20), None);
    }

    #[test]
    fn reads_end_with_the_device_and_with_the_disk() {
        let scan = Scan::new(10 << 10, 4096);
        assert_eq!(piece(&scan, 4096, 2048, 6144), Some((4096, 4096, 0)));
        assert_eq!(piece(&scan, 4096, 2048, 6143), None);
        // The disk ends inside its last block, which cannot be read then.
        assert_eq!(piece(&scan, 8192, 2048, 10 << 10), None);
        assert_eq!(piece(&scan, u64::MAX - 100, 2048, u64::MAX), None);
    }

    #[test]
    fn blocks_that_make_no_sense_are_not_read() {
        for block_bytes in [0, 1, 511, 513, 32 << 10, u32::MAX] {
            assert_eq!(Scan::new(1 << 30, block_bytes).next_read(), None, "{block_bytes}");
        }
    }

    #[test]
    fn the_needed_bytes_are_taken_out_of_the_blocks() {
        let piece = Piece {
            read: ScanRead {
                first_byte: 0,
                bytes: 8,
            },
            skip: 3,
            bytes: 4,
        };
        assert_eq!(piece.of(&[0, 1, 2, 3, 4, 5, 6, 7]), Some(&[3, 4, 5, 6][..]));
        assert_eq!(piece.of(&[0, 1, 2, 3, 4, 5, 6]), None);
    }
}
