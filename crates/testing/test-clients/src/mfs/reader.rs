//! Inodes and contents: from a file and a place in it to bytes of the volume.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros};

use guest_protocol::pattern::Digest;
use minix_rt::Ipc;

use super::disk::{Disk, MAX_BLOCK_BYTES, MfsError, RUN_BYTES, damaged};
use super::geometry::{Geometry, SUPER_READ_BYTES, TOO_SHORT};
use super::layout::{DIRECT_ZONES, DIRECTORY, Inode, LINK, REGULAR};

/// Levels of indirect blocks.
const LEVELS: usize = 3;

/// A block that is kept, and its position; zero if there is none, as the boot block is never kept.
#[derive(FromZeros)]
struct Kept {
    position: u64,
    bytes: [u8; MAX_BLOCK_BYTES],
}

impl Kept {
    /// The block at `position`, read if it is not the one that is here already.
    fn get<I: Ipc>(&mut self, disk: &mut Disk<'_, I>, position: u64, block: usize) -> Result<&[u8], MfsError> {
        if self.position != position {
            self.position = 0;
            let into = &mut self.bytes[..block];
            disk.read(position, block, into)?;
            self.position = position;
        }
        Ok(&self.bytes[..block])
    }
}

/// The memory of a reader. It is empty if it is zeroed.
#[derive(FromZeros)]
pub(super) struct Buffers {
    inodes: Kept,
    directory: Kept,
    indirect: [Kept; LEVELS],
    run: [u8; RUN_BYTES],
}

/// A file system that is being read.
pub(super) struct Mfs<'b, 'c, I: Ipc> {
    pub(super) disk: Disk<'c, I>,
    pub(super) geometry: Geometry,
    buffers: &'b mut Buffers,
}

impl<'b, 'c, I: Ipc> Mfs<'b, 'c, I> {
    /// Reads and checks the superblock.
    pub(super) fn open(mut disk: Disk<'c, I>, buffers: &'b mut Buffers) -> Result<Self, MfsError> {
        let bytes = disk.bytes;
        if bytes < SUPER_READ_BYTES as u64 {
            return Err(TOO_SHORT);
        }
        let start = &mut buffers.run[..SUPER_READ_BYTES];
        disk.read(0, SUPER_READ_BYTES, start)?;
        let geometry = Geometry::read(start, bytes)?;
        Ok(Self {
            disk,
            geometry,
            buffers,
        })
    }

    /// An inode by its number.
    pub(super) fn inode(&mut self, number: u32) -> Result<Inode, MfsError> {
        let (position, offset) = self.geometry.inode_place(number)?;
        let kept = &mut self.buffers.inodes;
        let block = kept.get(&mut self.disk, position, self.geometry.block_bytes)?;
        let no_inode = damaged("no inode", number);
        let (inode, _) = Inode::read_from_prefix(&block[offset..]).map_err(|_| no_inode)?;
        let has_contents = matches!(inode.kind(), DIRECTORY | REGULAR | LINK);
        let bytes = u64::from(inode.bytes.get());
        let geometry = &self.geometry;
        let longest = geometry.zones_per_file().saturating_mul(geometry.zone_bytes());
        if has_contents && bytes > geometry.max_bytes.min(longest) {
            return Err(damaged("too long is inode", number));
        }
        Ok(inode)
    }

    /// The block of a directory that holds the byte at `offset`. It must not be a hole.
    pub(super) fn directory_block(&mut self, number: u32, directory: &Inode, offset: u64) -> Result<&[u8], MfsError> {
        let block = self.geometry.block_bytes;
        let position = self.position(directory, offset / block as u64)?;
        let position = position.ok_or(damaged("a hole in directory", number))?;
        self.buffers.directory.get(&mut self.disk, position, block)
    }

    /// Reads a file from beginning to end, and tells its digest. Holes are zeroes.
    pub(super) fn digest(&mut self, file: &Inode) -> Result<u64, MfsError> {
        let bytes = u64::from(file.bytes.get());
        let mut digest = Digest::new();
        let mut done = 0;
        while done < bytes {
            let wanted = bytes - done;
            // A run has at most RUN_BYTES, so the shorter of the two is a length in memory.
            let run = self.run(file, done, wanted)?;
            let taken = (run.len() as u64).min(wanted);
            digest.update(&run[..taken as usize]);
            done += taken;
        }
        Ok(digest.finish())
    }

    /// The contents from `offset` (a multiple of a block) on: as many whole blocks as lie side by side on the volume, at
    /// least one, and not many more than `wanted` bytes.
    fn run(&mut self, file: &Inode, offset: u64, wanted: u64) -> Result<&[u8], MfsError> {
        let block = self.geometry.block_bytes;
        let first = offset / block as u64;
        let most = (RUN_BYTES / block).min(usize::try_from(wanted.div_ceil(block as u64)).unwrap_or(usize::MAX));
        let start = self.position(file, first)?;
        let mut blocks = 1;
        while blocks < most {
            let next = self.position(file, first + blocks as u64)?;
            let follows = start.map(|start| start + (blocks * block) as u64);
            if next != follows {
                break;
            }
            blocks += 1;
        }
        let run = &mut self.buffers.run[..blocks * block];
        match start {
            Some(position) => self.disk.read(position, block, run)?,
            None => run.fill(0),
        }
        Ok(run)
    }

    /// Where block `nth` of a file is, in bytes; `None` for a hole.
    fn position(&mut self, file: &Inode, nth: u64) -> Result<Option<u64>, MfsError> {
        let log = self.geometry.log_zone_size;
        let zone = self.zone(file, nth >> log)?;
        if zone == 0 {
            return Ok(None);
        }
        let in_zone = (nth & ((1 << log) - 1)) * self.geometry.block_bytes as u64;
        Ok(Some(self.geometry.zone_position(zone)? + in_zone))
    }

    /// The number of zone `nth` of a file; 0 for a hole.
    fn zone(&mut self, file: &Inode, nth: u64) -> Result<u32, MfsError> {
        if let Some(zone) = usize::try_from(nth)
            .ok()
            .and_then(|nth| file.zones[..DIRECT_ZONES].get(nth))
        {
            return Ok(zone.get());
        }
        let per_block = self.geometry.zones_per_block();
        let mut nth = nth - DIRECT_ZONES as u64;
        let mut span = 1;
        for (level, top) in file.zones[DIRECT_ZONES..].iter().enumerate() {
            // What one zone number of the topmost block stands for; `span * per_block` for the whole tree.
            let whole = span * per_block;
            if nth < whole {
                return self.indirect_zone(top.get(), level + 1, span, nth);
            }
            nth -= whole;
            span = whole;
        }
        // Nothing asks for it: lengths are checked when the inode is read.
        Ok(0)
    }

    /// Follows `levels` of indirect blocks.
    fn indirect_zone(&mut self, mut zone: u32, levels: usize, mut span: u64, mut nth: u64) -> Result<u32, MfsError> {
        let block = self.geometry.block_bytes;
        for kept in self.buffers.indirect[LEVELS - levels..].iter_mut() {
            if zone == 0 {
                return Ok(0);
            }
            // Only the first block of such a zone is used.
            let position = self.geometry.zone_position(zone)?;
            let bytes = kept.get(&mut self.disk, position, block)?;
            let index = (nth / span) as usize * size_of::<U32>();
            let number = bytes.get(index..).and_then(|bytes| U32::read_from_prefix(bytes).ok());
            zone = number.map_or(0, |(number, _)| number.get());
            nth %= span;
            span = (span / self.geometry.zones_per_block()).max(1);
        }
        Ok(zone)
    }
}
