//! The program: the single requests, then the storm.

use guest_protocol::{SECTOR_BYTES, SectorRange};
use minix_abi::Errno;
use minix_abi::bdev::BdevAccess;
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_rt::{Args, Ipc};

use super::bench::{Bench, MEMORY_BYTES};
use super::noise::Bounds;
use super::storm::Storm;
use super::{grants, protocol, sizes};
use crate::args;
use crate::bdev::{READ_WRITE, Session, Trouble};
use crate::buffer::{Kind, Memory};
use crate::client::Client;

/// Random messages, unless told otherwise.
const MESSAGES: u64 = 10_000;
/// The shortest minor that has room for all requests.
const MIN_BYTES: u64 = 1 << 20;

/// The program `abuse`. Its words are `label=`, `minor=`, `seed=`, `count=` (of random messages) and `scratch=FIRST:COUNT`
/// (sectors of the minor that may be written; without it nothing is).
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense or a minor that is too short, [`EIO`](Errno::EIO) if an answer was
/// wrong.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let (mut seed, mut messages, mut scratch) = (1, MESSAGES, SectorRange::default());
    let target = args::parse(client, args, |word| {
        match word.key {
            "seed" => seed = word.number()?,
            "count" => messages = word.number()?,
            "scratch" => scratch = word.range()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let data = Memory::new(&mut client.ipc, Kind::Scattered, MEMORY_BYTES)?;
    let mut session = Session::new(client, target.label, seed)?;
    let minor = target.minor;
    // The drive tells the length of the disk.
    let places = open(&mut session, Minor(0), BdevAccess::READ).and_then(|drive| {
        session.close(Minor(0))?.result()?;
        Ok((drive, open(&mut session, minor, READ_WRITE)?))
    });
    let (drive, place) = places.map_err(|trouble| {
        session.client.error("open", "driver", &trouble);
        Errno::EIO
    })?;
    let sector = SECTOR_BYTES as u64;
    if scratch.end() > place.bytes / sector || place.bytes < MIN_BYTES {
        let why = format_args!("the minor has {} bytes", place.bytes);
        session.client.error("args", "too-short", &why);
        return Err(Errno::EINVAL);
    }
    if scratch.count > 0 {
        session
            .client
            .touched(place.base / sector + scratch.first, scratch.count);
    }
    let bounds = Bounds {
        minor,
        bytes: place.bytes,
        scratch: scratch.first * sector..scratch.end() * sector,
    };

    let mut bench = Bench {
        session,
        minor,
        bytes: bounds.bytes,
        scratch: bounds.scratch.clone(),
        data,
    };
    bench.normal_read("first");
    sizes::run(&mut bench);
    bench.normal_read("after-sizes");
    grants::run(&mut bench);
    bench.normal_read("after-grants");
    protocol::run(&mut bench);
    bench.normal_read("after-protocol");
    Storm::new(bench.session, bounds, drive.bytes, seed)?.run(messages);
    if client.tally().failed == 0 {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// Opens a minor and asks where it is.
fn open<I: Ipc>(session: &mut Session<'_, I>, minor: Minor, access: BdevAccess) -> Result<PartGeom, Trouble> {
    session.open(minor, access)?.result()?;
    let (status, place) = session.partition(minor)?;
    status.result()?;
    Ok(place)
}
