//! The walk from the root through everything.

use core::fmt::Write;

use heapless::{String, Vec};
use minix_rt::Ipc;
use zerocopy::FromBytes;

use super::disk::{Disk, MfsError, damaged};
use super::layout::{
    BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, DirEntry, ENTRY_BYTES, Inode, LINK, PIPE, REGULAR, ROOT_INODE,
};
use super::reader::Mfs;

/// Directories inside each other that the walk follows.
const MAX_DEPTH: usize = 32;
/// Longest path the walk makes, in bytes.
const MAX_PATH_BYTES: usize = 1024;
const TOO_DEEP: &str = "too deep is inode";

/// A file of any kind that the walk has come upon. Directories come before what is in them; `.` and `..` do not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'p> {
    /// From the root: `/` and more. Bytes of a name that are no UTF-8 are replaced.
    pub(super) path: &'p str,
    /// The number of its inode.
    pub(super) number: u32,
    pub(super) inode: &'p Inode,
    /// The CRC-64/XZ of the contents of a regular file.
    pub(super) crc64: Option<u64>,
}

/// A directory that the walk is in.
struct Level {
    number: u32,
    inode: Inode,
    /// How far it has been read, in bytes.
    offset: u64,
    /// How long the path to it is, in bytes.
    path_bytes: usize,
}

impl<'c, I: Ipc> Mfs<'_, 'c, I> {
    /// Visits everything that can be reached from the root, and reads every regular file. It stops at the first thing that cannot
    /// be read or makes no sense; what was visited before was in order.
    pub(super) fn walk(&mut self, visit: &mut impl FnMut(&mut Disk<'c, I>, Found<'_>)) -> Result<(), MfsError> {
        let root = self.inode(ROOT_INODE)?;
        if root.kind() != DIRECTORY {
            return Err(damaged("no directory is the root, inode", ROOT_INODE));
        }
        let mut path = String::<MAX_PATH_BYTES>::new();
        let mut levels = Vec::<Level, MAX_DEPTH>::new();
        self.enter(&mut levels, ROOT_INODE, root, 0)?;
        let found = Found {
            path: "/",
            number: ROOT_INODE,
            inode: &root,
            crc64: None,
        };
        visit(&mut self.disk, found);

        // Every block belongs to one directory, and every directory has one parent. A walk that reads more of them than there
        // are goes in circles.
        let geometry = self.geometry;
        let mut blocks_left = u64::from(geometry.zones - geometry.first_data_zone) << geometry.log_zone_size;
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_bytes);
            if level.offset >= u64::from(level.inode.bytes.get()) {
                levels.pop();
                continue;
            }
            let (directory, offset) = (level.number, level.offset);
            level.offset += ENTRY_BYTES as u64;
            let inode = level.inode;

            let block_bytes = geometry.block_bytes as u64;
            if offset % block_bytes == 0 {
                blocks_left = blocks_left
                    .checked_sub(1)
                    .ok_or(damaged("a loop at directory", directory))?;
            }
            let block = self.directory_block(directory, &inode, offset)?;
            let entry = block.get((offset % block_bytes) as usize..);
            let Some((entry, _)) = entry.and_then(|bytes| DirEntry::read_from_prefix(bytes).ok()) else {
                return Err(damaged("half an entry in directory", directory));
            };
            if entry.inode.get() != 0 {
                self.visit(visit, &mut levels, &mut path, directory, &entry)?;
            }
        }
        Ok(())
    }

    fn visit(
        &mut self,
        visit: &mut impl FnMut(&mut Disk<'c, I>, Found<'_>),
        levels: &mut Vec<Level, MAX_DEPTH>,
        path: &mut String<MAX_PATH_BYTES>,
        directory: u32,
        entry: &DirEntry,
    ) -> Result<(), MfsError> {
        let name = entry.name();
        if name.is_empty() || name.contains(&b'/') {
            return Err(damaged("a bad name in directory", directory));
        }
        if name == b"." || name == b".." {
            return Ok(());
        }
        let number = entry.inode.get();
        push_name(path, name).map_err(|_| damaged(TOO_DEEP, number))?;
        let inode = self.inode(number)?;
        let crc64 = match inode.kind() {
            REGULAR => Some(self.digest(&inode)?),
            DIRECTORY | LINK | PIPE | CHARACTER_DEVICE | BLOCK_DEVICE => None,
            _ => return Err(damaged("no file is inode", number)),
        };
        let found = Found {
            path,
            number,
            inode: &inode,
            crc64,
        };
        visit(&mut self.disk, found);
        if inode.kind() == DIRECTORY {
            self.enter(levels, number, inode, path.len())?;
        }
        Ok(())
    }

    fn enter(
        &self,
        levels: &mut Vec<Level, MAX_DEPTH>,
        number: u32,
        inode: Inode,
        path_bytes: usize,
    ) -> Result<(), MfsError> {
        if !inode.bytes.get().is_multiple_of(ENTRY_BYTES as u32) {
            return Err(damaged("half an entry in directory", number));
        }
        let level = Level {
            number,
            inode,
            offset: 0,
            path_bytes,
        };
        levels.push(level).map_err(|_| damaged(TOO_DEEP, number))
    }
}

fn push_name(path: &mut String<MAX_PATH_BYTES>, name: &[u8]) -> Result<(), core::fmt::Error> {
    path.write_char('/')?;
    for chunk in name.utf8_chunks() {
        path.write_str(chunk.valid())?;
        if !chunk.invalid().is_empty() {
            path.write_char(char::REPLACEMENT_CHARACTER)?;
        }
    }
    Ok(())
}
