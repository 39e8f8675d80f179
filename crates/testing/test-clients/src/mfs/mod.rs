//! A reader of MINIX file systems (MFS, version 3): it walks from the root through everything and digests every file.
//!
//! It asks a disk driver for what a file system server asks: single blocks, and contiguous blocks of a file with one
//! request. The host compares the digests with its own.
//!
//! A damaged file system is an error. Numbers on the disk are checked before they are used, and the depth and the number of
//! directories are bounded.

mod volume;

use core::fmt::Write;

use guest_protocol::Record;
use heapless::String;
use minix_abi::{Errno, Status};
use minix_rt::{Args, Ipc};

use crate::args::{self, Target};
use crate::bdev::Trouble;
use crate::client::Client;
use crate::report::Outcome;
use volume::{DIRECTORY, MfsError, REGULAR, ROOT_INODE, Volume, damaged};

/// Nested directories that the walk enters.
const MAX_DEPTH: usize = 32;

/// The program `mfs`, with the words `label= minor=`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if the file system cannot be read or is damaged.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let target = args::parse(client, args, |_| Ok(false))?;
    match walk(client, target) {
        Ok(counts) => {
            let [directories, files, others, bytes] = counts;
            let detail = format_args!("{directories} directories, {files} files of {bytes} bytes, {others} others");
            client.test("mfs", Outcome::Pass, &detail);
            Ok(())
        }
        Err(error) => {
            client.test("mfs", Outcome::Fail, &error);
            Err(Errno::EIO)
        }
    }
}

/// Prints everything in the file system. Returns the number of directories, files and others, and the bytes of all files.
fn walk<I: Ipc>(client: &mut Client<I>, target: Target) -> Result<[u64; 4], MfsError> {
    let mut walk = Walk {
        volume: Volume::open(client, target)?,
        path: String::new(),
        counts: [0; 4],
    };
    walk.visit(ROOT_INODE, 0)?;
    if walk.counts[0] == 0 {
        return Err(damaged("no directory is the root, inode", ROOT_INODE));
    }
    match walk.volume.session.close(target.minor) {
        // A driver that died has nothing open.
        Ok(Status::OK) | Err(Trouble::Died) => Ok(walk.counts),
        Ok(status) => Err(Trouble::Refused(status).into()),
        Err(trouble) => Err(trouble.into()),
    }
}

struct Walk<'c, I: Ipc> {
    volume: Volume<'c, I>,
    /// From the root; empty for the root itself.
    path: String<1024>,
    counts: [u64; 4],
}

impl<I: Ipc> Walk<'_, I> {
    /// Prints a file of any kind. A regular file is read, a directory is followed by its entries.
    fn visit(&mut self, number: u32, depth: usize) -> Result<(), MfsError> {
        let inode = self.volume.inode(number)?;
        let (mode, links, bytes) = (inode.mode.get(), inode.links.get(), inode.bytes.get());
        let (kind, crc64) = match inode.kind() {
            DIRECTORY => (0, None),
            REGULAR => (1, Some(self.volume.digest(&inode)?)),
            0 => return Err(damaged("no file is inode", number)),
            _ => (2, None),
        };
        self.counts[kind] += 1;
        let path = if depth == 0 { "/" } else { &self.path };
        let client = &mut *self.volume.session.client;
        client.say(format_args!("{number:>6} {mode:06o} {links:>3} {bytes:>10} {path}"));
        if let Some(crc64) = crc64 {
            let bytes = u64::from(bytes);
            self.counts[3] += bytes;
            client.record(&Record::File { path, bytes, crc64 });
        }
        if inode.kind() != DIRECTORY {
            return Ok(());
        }
        // Every directory has one parent. Too many mean that the walk goes in circles.
        if depth == MAX_DEPTH || self.counts[0] > u64::from(self.volume.inodes) {
            return Err(damaged("a loop at directory", number));
        }
        let end = self.path.len();
        for nth in 0..inode.entries() {
            let entry = self.volume.entry(number, &inode, nth)?;
            let name = entry.name();
            if entry.inode.get() == 0 || name == b"." || name == b".." {
                continue;
            }
            let name = core::str::from_utf8(name).unwrap_or("?");
            let pushed = write!(self.path, "/{name}");
            pushed.map_err(|_| damaged("a long path in directory", number))?;
            self.visit(entry.inode.get(), depth + 1)?;
            self.path.truncate(end);
        }
        Ok(())
    }
}
