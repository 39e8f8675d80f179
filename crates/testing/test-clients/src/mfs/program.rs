//! The program: walks a file system on a minor and tells what it finds.

use core::cell::RefCell;
use core::fmt::{self, Display};

use guest_protocol::Record;
use minix_abi::bdev::BdevAccess;
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};
use minix_rt::{Args, Fixed, Ipc};

use super::error::MfsError;
use super::layout::{BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, Inode, LINK, PIPE};
use super::reader::{Buffers, Mfs, RUN_BYTES};
use super::tree::{Found, Visitor};
use super::volume::Volume;
use super::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES};
use crate::args::{BadWord, Word};
use crate::bdev::{Direction, Session, Trouble};
use crate::buffer::{Kind, Memory, Piece};
use crate::client::Client;
use crate::post;
use crate::report::Outcome;

/// Elements of the longest vector: a run of the smallest blocks.
const MAX_BLOCKS: usize = RUN_BYTES / MIN_BLOCK_BYTES;
/// Distance of blocks in memory. Each is on pages of its own, in a cache they would not be side by side either.
const STRIDE: usize = MAX_BLOCK_BYTES;
/// Restarts of the driver that a request is repeated after.
const RESTARTS: u32 = 20;

static BUFFERS: Fixed<Buffers> = Fixed::new(Buffers::new());

struct Settings {
    label: &'static str,
    minor: Minor,
}

impl Settings {
    fn parse(words: impl Iterator<Item = &'static str>) -> Result<Self, BadWord<'static>> {
        let mut settings = Self {
            label: "",
            minor: Minor(0),
        };
        for word in words.map(Word::new) {
            match word.key() {
                "label" => settings.label = word.string()?,
                "minor" => settings.minor = word.minor()?,
                _ => return Err(word.unknown()),
            }
        }
        if settings.label.is_empty() {
            return Err(BadWord::missing("label"));
        }
        Ok(settings)
    }
}

/// The program `mfs`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if the file system cannot be read or is
/// damaged, and what the driver says to being opened.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let Settings { label, minor } = Settings::parse(args).map_err(|bad| {
        client.error("args", "bad-word", &bad);
        Errno::EINVAL
    })?;
    let (session, place) = open(client, label, minor).map_err(|trouble| {
        client.error("open", "driver", &trouble);
        Errno::EIO
    })?;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, MAX_BLOCKS * STRIDE)?;
    let buffers = BUFFERS.take().ok_or(Errno::EBUSY)?;

    let shared = RefCell::new(client);
    let disk = Disk {
        client: &shared,
        session,
        minor,
        memory,
        bytes: place.bytes,
    };
    let mut listing = Listing::new(&shared);
    let walked = Mfs::open(disk, buffers).and_then(|mut mfs| {
        let geometry = *mfs.geometry();
        shared.borrow_mut().say(format_args!(
            "MINIX file system: {} inodes, {} zones of {} bytes",
            geometry.inodes,
            geometry.zones,
            geometry.zone_bytes()
        ));
        mfs.walk(&mut listing)?;
        mfs.into_volume().close().map_err(MfsError::Read)
    });
    let Listing {
        directories,
        files,
        others,
        bytes,
        ..
    } = listing;
    let client = shared.into_inner();
    match walked {
        Ok(()) => {
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

/// Opens the minor and asks where it is.
fn open<I: Ipc>(client: &mut Client<I>, label: &str, minor: Minor) -> Result<(Session, PartGeom), Trouble> {
    let (mut session, opened) = post::connect(client, label, 1, minor, BdevAccess::READ)?;
    opened.result().map_err(Trouble::Ipc)?;
    loop {
        match session.partition(client, minor) {
            Err(Trouble::Died) => post::recover(&mut session, client)?,
            Err(trouble) => return Err(trouble),
            Ok((status, place)) => return status.result().map_err(Trouble::Ipc).map(|_| (session, place)),
        }
    }
}

/// A minor as a volume.
struct Disk<'c, 'i, I: Ipc> {
    client: &'c RefCell<&'i mut Client<I>>,
    session: Session,
    minor: Minor,
    memory: Memory,
    bytes: u64,
}

impl<I: Ipc> Disk<'_, '_, I> {
    fn request(&mut self, position: u64, pieces: &[Piece]) -> Result<Status, Trouble> {
        let mut client = self.client.borrow_mut();
        match pieces {
            [piece] => self.session.read(&mut client, self.minor, position, *piece),
            _ => self
                .session
                .transfer_pieces(&mut client, Direction::Read, self.minor, position, pieces),
        }
    }

    fn close(mut self) -> Result<(), ReadError> {
        let mut client = self.client.borrow_mut();
        match self.session.close(&mut client, self.minor) {
            // With the driver, everything that was open has gone.
            Ok(Status::OK) | Err(Trouble::Died) => Ok(()),
            Ok(status) => Err(ReadError::Status(status)),
            Err(trouble) => Err(ReadError::Trouble(trouble)),
        }
    }
}

impl<I: Ipc> Volume for Disk<'_, '_, I> {
    type Error = ReadError;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, position: u64, block: usize, into: &mut [u8]) -> Result<(), ReadError> {
        let mut pieces = heapless::Vec::<Piece, MAX_BLOCKS>::new();
        for (nth, chunk) in into.chunks(block).enumerate() {
            // What is left from another block must not pass for this one.
            self.memory.fill(nth * STRIDE, chunk.len(), 0xEE);
            let piece = self.memory.piece(nth * STRIDE, chunk.len());
            pieces.push(piece).map_err(|_| ReadError::Trouble(Trouble::NoRoom))?;
        }
        let mut restarts = 0;
        let status = loop {
            let result = self.request(position, &pieces);
            let again = result == Err(Trouble::Died) || result == Ok(Errno::ERESTART.into());
            if !again || restarts == RESTARTS {
                break result.map_err(ReadError::Trouble)?;
            }
            restarts += 1;
            let mut client = self.client.borrow_mut();
            post::recover(&mut self.session, &mut client).map_err(ReadError::Trouble)?;
        };
        if Status::count(into.len() as u64) != Some(status) {
            return Err(ReadError::Status(status));
        }
        for (nth, chunk) in into.chunks_mut(block).enumerate() {
            self.memory.read(nth * STRIDE, chunk);
        }
        Ok(())
    }
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadError {
    Trouble(Trouble),
    Status(Status),
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Status(status) => write!(f, "the driver says {status:?}"),
        }
    }
}

/// Prints what is found.
struct Listing<'c, 'i, I: Ipc> {
    client: &'c RefCell<&'i mut Client<I>>,
    directories: u32,
    files: u32,
    others: u32,
    bytes: u64,
}

impl<'c, 'i, I: Ipc> Listing<'c, 'i, I> {
    const fn new(client: &'c RefCell<&'i mut Client<I>>) -> Self {
        Self {
            client,
            directories: 0,
            files: 0,
            others: 0,
            bytes: 0,
        }
    }
}

impl<I: Ipc> Visitor for Listing<'_, '_, I> {
    fn found(&mut self, found: Found<'_>) {
        match found.inode.kind() {
            DIRECTORY => self.directories += 1,
            super::layout::REGULAR => self.files += 1,
            _ => self.others += 1,
        }
        let Found { path, number, inode } = found;
        let (links, bytes) = (inode.links.get(), inode.bytes.get());
        self.client.borrow_mut().say(format_args!(
            "{number:>6} {} {links:>3} {bytes:>10} {path}",
            Mode(inode)
        ));
    }

    fn contents(&mut self, found: Found<'_>, bytes: u64, crc64: u64) {
        self.bytes += bytes;
        let path = found.path;
        self.client.borrow_mut().record(&Record::File { path, bytes, crc64 });
    }
}

/// Kind and permissions as directory listings show them.
struct Mode<'i>(&'i Inode);

impl Display for Mode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind() {
            DIRECTORY => "d",
            LINK => "l",
            BLOCK_DEVICE => "b",
            CHARACTER_DEVICE => "c",
            PIPE => "p",
            _ => "-",
        })?;
        for bit in (0..9).rev() {
            let is_set = self.0.mode.get() >> bit & 1 != 0;
            let letter = ["x", "w", "r"][bit % 3];
            f.write_str(if is_set { letter } else { "-" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn modes_look_as_usual() {
        let mode = |mode: u16| {
            let inode = Inode {
                mode: mode.into(),
                ..Default::default()
            };
            format!("{}", Mode(&inode))
        };
        assert_eq!(mode(0o040_755), "drwxr-xr-x");
        assert_eq!(mode(0o100_640), "-rw-r-----");
        assert_eq!(mode(0o120_777), "lrwxrwxrwx");
    }
}
