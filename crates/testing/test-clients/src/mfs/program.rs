//! The program: walks a file system on a minor and tells what it finds.

use guest_protocol::Record;
use minix_abi::{Errno, Status};
use minix_rt::{Args, Ipc};

use super::disk::{Disk, MAX_BLOCKS, MfsError, STRIDE};
use super::layout::{DIRECTORY, REGULAR};
use super::reader::{Buffers, Mfs};
use super::tree::Found;
use crate::args;
use crate::bdev::Trouble;
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// The program `mfs`, with the words `label= minor=`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if the file system cannot be read or is damaged.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let target = args::parse(client, args, |_| Ok(false))?;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, MAX_BLOCKS * STRIDE)?;
    let buffers: &mut Buffers = client.zeroed()?;
    let walked = Disk::open(client, target, memory).and_then(|disk| walk(disk, buffers));
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
fn walk<I: Ipc>(disk: Disk<'_, I>, buffers: &mut Buffers) -> Result<Counts, MfsError> {
    let mut mfs = Mfs::open(disk, buffers)?;
    let geometry = mfs.geometry;
    mfs.disk.session.client.say(format_args!(
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
    let Disk { session, minor, .. } = &mut mfs.disk;
    match session.close(*minor) {
        // With the driver, everything that was open has gone.
        Ok(Status::OK) | Err(Trouble::Died) => Ok(counts),
        Ok(status) => Err(MfsError::Status(status)),
        Err(trouble) => Err(trouble.into()),
    }
}
