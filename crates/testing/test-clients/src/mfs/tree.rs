//! The walk from the root through everything.

use core::fmt::Write;

use heapless::{String, Vec};
use zerocopy::FromBytes;

use super::error::{Damage, MfsError};
use super::layout::{
    BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, DirEntry, ENTRY_BYTES, Inode, LINK, PIPE, REGULAR, ROOT_INODE,
};
use super::reader::Mfs;
use super::volume::Volume;

/// Directories inside each other that the walk follows.
pub const MAX_DEPTH: usize = 32;
/// Longest path the walk makes, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// Something the walk has come upon.
#[derive(Clone, Copy, Debug)]
pub struct Found<'p> {
    /// Where, from the root: `/` and more. Bytes of a name that are no UTF-8 are replaced.
    pub path: &'p str,
    /// The number of its inode.
    pub number: u32,
    /// Its inode.
    pub inode: &'p Inode,
}

/// Who is told of everything the walk comes upon. Directories come before what is in them; `.` and `..` do not come.
pub trait Visitor {
    /// A file of any kind.
    fn found(&mut self, found: Found<'_>);

    /// The contents of the regular file that was found last: length in bytes and CRC-64/XZ.
    fn contents(&mut self, found: Found<'_>, bytes: u64, crc64: u64);
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

impl<V: Volume> Mfs<'_, V> {
    /// Visits everything that can be reached from the root, and reads every regular file.
    ///
    /// # Errors
    ///
    /// The first thing that could not be read or made no sense. What was visited before was in order.
    pub fn walk(&mut self, visitor: &mut impl Visitor) -> Result<(), MfsError<V::Error>> {
        let root = self.inode(ROOT_INODE)?;
        if root.kind() != DIRECTORY {
            return Err(Damage::Root.into());
        }
        let mut path = String::<MAX_PATH_BYTES>::new();
        let mut levels = Vec::<Level, MAX_DEPTH>::new();
        self.enter(&mut levels, ROOT_INODE, root, 0)?;
        visitor.found(Found {
            path: "/",
            number: ROOT_INODE,
            inode: &root,
        });

        // Every block belongs to one directory, and every directory has one parent. Whoever reads more of them than
        // there are is going in circles.
        let geometry = self.geometry();
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

            let block_bytes = self.geometry().block_bytes as u64;
            if offset % block_bytes == 0 {
                blocks_left = blocks_left.checked_sub(1).ok_or(Damage::Loop)?;
            }
            let (block, _) = self.directory_block(directory, &inode, offset)?;
            let entry = block.get((offset % block_bytes) as usize..);
            let Some((entry, _)) = entry.and_then(|bytes| DirEntry::read_from_prefix(bytes).ok()) else {
                return Err(Damage::Directory(directory).into());
            };
            if entry.inode.get() != 0 {
                self.visit(visitor, &mut levels, &mut path, directory, &entry)?;
            }
        }
        Ok(())
    }

    fn visit(
        &mut self,
        visitor: &mut impl Visitor,
        levels: &mut Vec<Level, MAX_DEPTH>,
        path: &mut String<MAX_PATH_BYTES>,
        directory: u32,
        entry: &DirEntry,
    ) -> Result<(), MfsError<V::Error>> {
        let name = entry.name();
        if name.is_empty() || name.contains(&b'/') {
            return Err(Damage::Name(directory).into());
        }
        if name == b"." || name == b".." {
            return Ok(());
        }
        push_name(path, name)?;
        let number = entry.inode.get();
        let inode = self.inode(number)?;
        let found = Found {
            path,
            number,
            inode: &inode,
        };
        match inode.kind() {
            DIRECTORY => {
                visitor.found(found);
                self.enter(levels, number, inode, path.len())?;
            }
            REGULAR => {
                visitor.found(found);
                let (bytes, crc64) = self.digest(&inode)?;
                visitor.contents(found, bytes, crc64);
            }
            LINK | PIPE | CHARACTER_DEVICE | BLOCK_DEVICE => visitor.found(found),
            _ => return Err(Damage::InodeKind(number).into()),
        }
        Ok(())
    }

    fn enter(
        &self,
        levels: &mut Vec<Level, MAX_DEPTH>,
        number: u32,
        inode: Inode,
        path_bytes: usize,
    ) -> Result<(), MfsError<V::Error>> {
        if !inode.bytes.get().is_multiple_of(ENTRY_BYTES as u32) {
            return Err(Damage::Directory(number).into());
        }
        let level = Level {
            number,
            inode,
            offset: 0,
            path_bytes,
        };
        levels.push(level).map_err(|_| Damage::TooDeep.into())
    }
}

fn push_name(path: &mut String<MAX_PATH_BYTES>, name: &[u8]) -> Result<(), Damage> {
    path.push('/').map_err(|_| Damage::TooDeep)?;
    for chunk in name.utf8_chunks() {
        path.push_str(chunk.valid()).map_err(|_| Damage::TooDeep)?;
        if !chunk.invalid().is_empty() {
            path.write_char(char::REPLACEMENT_CHARACTER)
                .map_err(|_| Damage::TooDeep)?;
        }
    }
    Ok(())
}
