//! A maker of file systems: as little as it takes to have every shape of file, and to break it afterwards.

use std::collections::BTreeMap;

use test_clients::mfs::layout::{
    DIRECT_ZONES, DIRECTORY, DirEntry, FIRST_MAP_BLOCK, INODE_BYTES, Inode, MAGIC, REGULAR, ROOT_INODE, SUPER_POSITION,
    SuperBlock, ZONES,
};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// A file system under construction. Zones are given out in a row and never taken back.
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    block_bytes: usize,
    log_zone_size: u32,
    inode_position: usize,
    next_inode: u32,
    next_zone: u32,
    directories: BTreeMap<u32, Vec<DirEntry>>,
}

impl Image {
    pub(crate) fn new(block_bytes: usize, log_zone_size: u32, inodes: u32, zones: u32) -> Self {
        let bits = block_bytes * 8;
        let inode_map_blocks = (inodes as usize + 1).div_ceil(bits);
        let zone_map_blocks = (zones as usize + 1).div_ceil(bits);
        let first_inode_block = FIRST_MAP_BLOCK as usize + inode_map_blocks + zone_map_blocks;
        let inode_blocks = (inodes as usize * INODE_BYTES).div_ceil(block_bytes);
        let first_data_zone = ((first_inode_block + inode_blocks) as u32).div_ceil(1 << log_zone_size);
        let zone_bytes = block_bytes << log_zone_size;
        let mut image = Self {
            bytes: vec![0; zones as usize * zone_bytes],
            block_bytes,
            log_zone_size,
            inode_position: first_inode_block * block_bytes,
            next_inode: ROOT_INODE + 1,
            next_zone: first_data_zone,
            directories: BTreeMap::new(),
        };
        let superblock = SuperBlock {
            inodes: U32::new(inodes),
            inode_map_blocks: U16::new(inode_map_blocks as u16),
            zone_map_blocks: U16::new(zone_map_blocks as u16),
            // Sixteen bits are not always enough, then the reader has to find out itself.
            first_data_zone: U16::new(u16::try_from(first_data_zone).unwrap_or(0)),
            log_zone_size: U16::new(log_zone_size as u16),
            max_bytes: U32::new(i32::MAX as u32),
            zones: U32::new(zones),
            magic: U16::new(MAGIC),
            block_bytes: U16::new(block_bytes as u16),
            ..Default::default()
        };
        image.put(SUPER_POSITION as usize, superblock.as_bytes());
        image.directories.insert(ROOT_INODE, Vec::new());
        image.link(ROOT_INODE, b".", ROOT_INODE);
        image.link(ROOT_INODE, b"..", ROOT_INODE);
        image
    }

    /// A directory in `parent`.
    pub(crate) fn directory(&mut self, parent: u32, name: &str) -> u32 {
        let number = self.take_inode();
        self.directories.insert(number, Vec::new());
        self.link(parent, name.as_bytes(), number);
        self.link(number, b".", number);
        self.link(number, b"..", parent);
        number
    }

    /// A regular file in `parent`.
    pub(crate) fn file(&mut self, parent: u32, name: &str, contents: &[u8]) -> u32 {
        let pieces: Vec<_> = contents.chunks(self.block_bytes).enumerate().collect();
        self.sparse_file(parent, name, contents.len(), &pieces)
    }

    /// A regular file with contents in certain blocks, holes elsewhere. With zones of several blocks, a piece has to be
    /// in every first block of a zone that is used.
    pub(crate) fn sparse_file(&mut self, parent: u32, name: &str, bytes: usize, pieces: &[(usize, &[u8])]) -> u32 {
        let number = self.take_inode();
        let zones = self.contents(pieces);
        self.set_inode(number, REGULAR | 0o644, bytes, zones);
        self.link(parent, name.as_bytes(), number);
        number
    }

    /// Anything else in `parent`, without contents.
    pub(crate) fn special(&mut self, parent: u32, name: &str, mode: u16) -> u32 {
        let number = self.take_inode();
        self.set_inode(number, mode, 0, [0x0302; ZONES]);
        self.link(parent, name.as_bytes(), number);
        number
    }

    /// An entry of any kind, also one that makes no sense.
    pub(crate) fn link(&mut self, directory: u32, name: &[u8], number: u32) {
        let entry = DirEntry::new(number, name).unwrap_or(DirEntry {
            inode: U32::new(number),
            name: [0; 60],
        });
        self.directories.get_mut(&directory).unwrap().push(entry);
    }

    /// Writes the directories: nothing can be added afterwards, only broken.
    pub(crate) fn finish(mut self) -> Self {
        for (number, entries) in std::mem::take(&mut self.directories) {
            let contents = entries.as_bytes().to_vec();
            let pieces: Vec<_> = contents.chunks(self.block_bytes).enumerate().collect();
            let zones = self.contents(&pieces);
            self.set_inode(number, DIRECTORY | 0o755, contents.len(), zones);
        }
        self
    }

    /// Where an inode is in [`bytes`](Self::bytes).
    pub(crate) fn inode_at(&self, number: u32) -> usize {
        self.inode_position + (number as usize - 1) * INODE_BYTES
    }

    /// Where a zone is in [`bytes`](Self::bytes).
    pub(crate) fn zone_at(&self, zone: u32) -> usize {
        zone as usize * (self.block_bytes << self.log_zone_size)
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn take_inode(&mut self) -> u32 {
        self.next_inode += 1;
        self.next_inode - 1
    }

    fn take_zone(&mut self) -> u32 {
        self.next_zone += 1;
        self.next_zone - 1
    }

    fn set_inode(&mut self, number: u32, mode: u16, bytes: usize, zones: [u32; ZONES]) {
        let inode = Inode {
            mode: U16::new(mode),
            links: U16::new(1),
            bytes: U32::new(bytes as u32),
            zones: zones.map(U32::new),
            ..Default::default()
        };
        self.put(self.inode_at(number), inode.as_bytes());
    }

    fn contents(&mut self, pieces: &[(usize, &[u8])]) -> [u32; ZONES] {
        let mut zones = [0; ZONES];
        for (block, bytes) in pieces {
            let nth = block >> self.log_zone_size;
            let in_zone = block & ((1 << self.log_zone_size) - 1);
            let zone = self.zone_for(&mut zones, nth);
            self.put(self.zone_at(zone) + in_zone * self.block_bytes, bytes);
        }
        zones
    }

    /// The zone of a place in a file, given out if there is none yet, with the indirect blocks on the way.
    fn zone_for(&mut self, zones: &mut [u32; ZONES], nth: usize) -> u32 {
        let per_block = self.block_bytes / 4;
        let (top, path) = if nth < DIRECT_ZONES {
            (nth, vec![])
        } else {
            let nth = nth - DIRECT_ZONES;
            if nth < per_block {
                (DIRECT_ZONES, vec![nth])
            } else if nth - per_block < per_block * per_block {
                let nth = nth - per_block;
                (DIRECT_ZONES + 1, vec![nth / per_block, nth % per_block])
            } else {
                let nth = nth - per_block - per_block * per_block;
                let (high, low) = (nth / per_block, nth % per_block);
                (DIRECT_ZONES + 2, vec![high / per_block, high % per_block, low])
            }
        };
        if zones[top] == 0 {
            zones[top] = self.take_zone();
        }
        let mut zone = zones[top];
        for index in path {
            let at = self.zone_at(zone) + index * 4;
            let next = u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap());
            zone = if next == 0 { self.take_zone() } else { next };
            self.put(at, &zone.to_le_bytes());
        }
        zone
    }
}
