//! The program: walks a file system on a minor and tells what it finds.

use core::fmt::{self, Display};

use guest_protocol::Record;
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};
use minix_rt::{Args, Ipc};

use super::error::MfsError;
use super::geometry::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES};
use super::layout::{DIRECTORY, REGULAR};
use super::reader::{Buffers, Mfs, RUN_BYTES, Volume};
use super::tree::Found;
use crate::args::{self, Target};
use crate::bdev::{Direction, Session, Trouble};
use crate::buffer::{Kind, Memory, Piece};
use crate::client::Client;
use crate::report::Outcome;

/// Elements of the longest vector: a run of the smallest blocks.
const MAX_BLOCKS: usize = RUN_BYTES / MIN_BLOCK_BYTES;
/// Distance of blocks in memory. Each is on pages of its own, as in a cache.
const STRIDE: usize = MAX_BLOCK_BYTES;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x3f50_0000_0000;

/// The program `mfs`, with the words `label= minor=`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if the file system cannot be read or is damaged.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let target = args::parse(client, args, |_| Ok(false))?;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, MAX_BLOCKS * STRIDE)?;
    let buffers: &mut Buffers = client.zeroed()?;
    let walked = Disk::open(client, target, memory)
        .map_err(|trouble| MfsError::Read(ReadError::Trouble(trouble)))
        .and_then(|disk| walk(disk, buffers));
    match walked {
        Ok(Counts {
            directories,
            files,
            others,
            bytes,
        }) => {
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

#[derive(Default)]
struct Counts {
    directories: u32,
    files: u32,
    others: u32,
    bytes: u64,
}

/// Prints what is found.
fn walk<I: Ipc>(disk: Disk<'_, I>, buffers: &mut Buffers) -> Result<Counts, MfsError<ReadError>> {
    let mut mfs = Mfs::open(disk, buffers)?;
    let geometry = mfs.geometry;
    mfs.volume.session.client.say(format_args!(
        "MINIX file system: {} inodes, {} zones of {} bytes",
        geometry.inodes,
        geometry.zones,
        geometry.zone_bytes()
    ));
    let mut counts = Counts::default();
    mfs.walk(&mut |disk: &mut Disk<'_, I>, found| {
        let Found {
            path,
            number,
            inode,
            crc64,
        } = found;
        match inode.kind() {
            DIRECTORY => counts.directories += 1,
            REGULAR => counts.files += 1,
            _ => counts.others += 1,
        }
        let (mode, links, bytes) = (inode.mode.get(), inode.links.get(), inode.bytes.get());
        let client = &mut *disk.session.client;
        client.say(format_args!("{number:>6} {mode:06o} {links:>3} {bytes:>10} {path}"));
        if let Some(crc64) = crc64 {
            let bytes = u64::from(bytes);
            counts.bytes += bytes;
            client.record(&Record::File { path, bytes, crc64 });
        }
    })?;
    let Disk { session, minor, .. } = &mut mfs.volume;
    match session.close(*minor) {
        // With the driver, everything that was open has gone.
        Ok(Status::OK) | Err(Trouble::Died) => Ok(counts),
        Ok(status) => Err(MfsError::Read(ReadError::Status(status))),
        Err(trouble) => Err(MfsError::Read(ReadError::Trouble(trouble))),
    }
}

/// A minor as a volume.
struct Disk<'c, I: Ipc> {
    session: Session<'c, I>,
    minor: Minor,
    memory: Memory,
    bytes: u64,
}

impl<'c, I: Ipc> Disk<'c, I> {
    fn open(client: &'c mut Client<I>, target: Target, memory: Memory) -> Result<Self, Trouble> {
        let minor = target.minor;
        let mut session = Session::connect(client, target.label, 1, minor, BdevAccess::READ)?;
        let mut place = PartGeom::default();
        let status = session.repeat(|session| {
            let (status, found) = session.partition(minor)?;
            place = found;
            Ok(status)
        })?;
        status.result()?;
        Ok(Self {
            session,
            minor,
            memory,
            bytes: place.bytes,
        })
    }
}

impl<I: Ipc> Volume for Disk<'_, I> {
    type Error = ReadError;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, position: u64, block: usize, into: &mut [u8]) -> Result<(), ReadError> {
        let mut pieces = heapless::Vec::<Piece, MAX_BLOCKS>::new();
        for (nth, chunk) in into.chunks(block).enumerate() {
            // Data of another block must not pass for this one.
            self.memory.fill_noise(nth * STRIDE, chunk.len(), NOISE);
            let piece = self.memory.piece(nth * STRIDE, chunk.len());
            let pushed = pieces.push(piece);
            pushed.map_err(|_| ReadError::Trouble(Trouble::NoRoom))?;
        }
        let (minor, read) = (self.minor, Direction::Read);
        let status = self.session.repeat(|session| match &pieces[..] {
            [piece] => session.transfer(read, minor, position, *piece, BdevFlags::empty()),
            _ => session.transfer_pieces(read, minor, position, &pieces),
        });
        let status = status.map_err(ReadError::Trouble)?;
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
