//! The program: carries out the commands, and says what came of each.

use core::fmt::Display;

use guest_protocol::pattern::Digest;
use guest_protocol::{Record, SECTOR_BYTES, SectorRange};
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::{Minor, PARTITIONS, Place};
use minix_abi::{Errno, Status};
use minix_rt::{Args, Ipc};

use super::command::{Command, Settings};
use crate::bdev::{Session, Trouble};
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// Sectors of one request.
const SECTORS_AT_ONCE: u64 = 256;
/// Bytes of a sector that are shown.
const SHOWN_BYTES: usize = 16;

/// The program `shell`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if a command failed.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let settings = Settings::parse(args).map_err(|bad| {
        client.error("args", "bad-word", &bad);
        Errno::EINVAL
    })?;
    let session = Session::new(client, settings.label, 1)?;
    let memory = Memory::new(
        &mut client.ipc,
        Kind::Scattered,
        SECTORS_AT_ONCE as usize * SECTOR_BYTES,
    )?;
    let mut shell = Shell {
        client,
        session,
        minor: settings.minor,
        memory,
    };
    let mut all_went_well = true;
    for command in &settings.commands {
        let outcome = match shell.run(command) {
            Ok(()) => Outcome::Pass,
            Err(Problem::Trouble(trouble)) => shell.complain(command, &trouble),
            Err(Problem::Status(status)) => shell.complain(command, &format_args!("the driver says {status:?}")),
            Err(Problem::Content(sector)) => {
                shell.complain(command, &format_args!("sector {sector} holds something else"))
            }
        };
        shell.client.test(command.name(), outcome, &"");
        all_went_well &= outcome == Outcome::Pass;
    }
    if all_went_well { Ok(()) } else { Err(Errno::EIO) }
}

/// Why a command failed.
enum Problem {
    Trouble(Trouble),
    Status(Status),
    /// This sector of the disk holds something else.
    Content(u64),
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

fn ok(status: Status) -> Result<(), Problem> {
    match status {
        Status::OK => Ok(()),
        status => Err(Problem::Status(status)),
    }
}

struct Shell<'c, I: Ipc> {
    client: &'c mut Client<I>,
    session: Session,
    minor: Minor,
    memory: Memory,
}

impl<I: Ipc> Shell<'_, I> {
    fn run(&mut self, command: &Command) -> Result<(), Problem> {
        match *command {
            Command::Open => self.open(),
            Command::Partitions => self.partitions(),
            Command::Geometry => self.geometry(),
            Command::Read(range) => self.read(range),
            Command::Write(range, seed) => self.write(range, seed, BdevFlags::empty()),
            Command::Force(range, seed) => self.write(range, seed, BdevFlags::FORCEWRITE),
            Command::Verify(range, seed) => self.verify(range, seed),
            Command::Digest(range) => self.digest(range),
            Command::Flush => self.flush(),
            Command::Close => ok(self.session.close(self.client, self.minor)?),
        }
    }

    fn complain(&mut self, command: &Command, why: &dyn Display) -> Outcome {
        self.client.error("shell", command.name(), why);
        Outcome::Fail
    }

    fn open(&mut self) -> Result<(), Problem> {
        let both = BdevAccess::READ | BdevAccess::WRITE;
        let status = self.session.open(self.client, self.minor, both)?;
        if status != Errno::EACCES.into() {
            return ok(status);
        }
        self.client.say(format_args!("the disk is read-only"));
        ok(self.session.open(self.client, self.minor, BdevAccess::READ)?)
    }

    fn place(&mut self, minor: Minor) -> Result<PartGeom, Problem> {
        let (status, place) = self.session.partition(self.client, minor)?;
        ok(status)?;
        Ok(place)
    }

    /// The drive, its partitions, and what is in those that are there.
    fn partitions(&mut self) -> Result<(), Problem> {
        let drive = self.minor.place().map_or(0, Place::drive);
        self.client
            .say(format_args!("minor        first sector        sectors"));
        self.partition(Place::Drive { drive }, "drive")?;
        for partition in 0..PARTITIONS {
            let bytes = self.partition(Place::Partition { drive, partition }, "  partition")?;
            if bytes == 0 {
                continue;
            }
            for sub in 0..PARTITIONS {
                self.partition(Place::SubPartition { drive, partition, sub }, "    sub-partition")?;
            }
        }
        Ok(())
    }

    /// Tells of one, if it has any sectors. Returns its length in bytes.
    fn partition(&mut self, place: Place, what: &str) -> Result<u64, Problem> {
        let minor = place.minor().unwrap_or_default();
        ok(self.session.open(self.client, minor, BdevAccess::READ)?)?;
        let found = self.place(minor);
        ok(self.session.close(self.client, minor)?)?;
        let PartGeom { base, bytes, .. } = found?;
        if bytes > 0 {
            let sector = SECTOR_BYTES as u64;
            self.client.say(format_args!(
                "{:>5} {:>19} {:>14} {what}",
                minor.0,
                base / sector,
                bytes / sector
            ));
            self.client.record(&Record::Partition {
                number: minor.0,
                kind: None,
                first_byte: base,
                bytes,
            });
        }
        Ok(bytes)
    }

    fn geometry(&mut self) -> Result<(), Problem> {
        let place = self.place(self.minor)?;
        let PartGeom {
            base,
            bytes,
            cylinders,
            heads,
            sectors,
            ..
        } = place;
        self.client.say(format_args!(
            "minor {}: {bytes} bytes from byte {base} on; {cylinders} cylinders, {heads} heads, {sectors} sectors",
            self.minor.0
        ));
        Ok(())
    }

    fn read(&mut self, range: SectorRange) -> Result<(), Problem> {
        self.each_part(range, |shell, part, first| {
            if part.first == range.first {
                let mut start = [0; SHOWN_BYTES];
                shell.memory.read(0, &mut start);
                shell.client.say(format_args!("sector {first}: {start:02x?} ..."));
            }
            Ok(())
        })?;
        self.client.say(format_args!("{} sectors read", range.count));
        Ok(())
    }

    fn verify(&mut self, range: SectorRange, seed: u64) -> Result<(), Problem> {
        self.each_part(range, |shell, part, first| {
            let bytes = part.count as usize * SECTOR_BYTES;
            shell
                .memory
                .check_pattern(0, bytes, seed, first)
                .map_err(|at| Problem::Content(first + (at / SECTOR_BYTES) as u64))
        })
    }

    fn digest(&mut self, range: SectorRange) -> Result<(), Problem> {
        let mut digest = Digest::new();
        let mut start = None;
        self.each_part(range, |shell, part, first| {
            start.get_or_insert(first);
            let mut sector = [0; SECTOR_BYTES];
            for nth in 0..part.count as usize {
                shell.memory.read(nth * SECTOR_BYTES, &mut sector);
                digest.update(&sector);
            }
            Ok(())
        })?;
        let crc64 = digest.finish();
        let on_disk = SectorRange {
            first: start.unwrap_or(range.first),
            count: range.count,
        };
        self.client.record(&Record::Digest { range: on_disk, crc64 });
        self.client.say(format_args!("digest of sectors {range}: {crc64:016x}"));
        Ok(())
    }

    fn write(&mut self, range: SectorRange, seed: u64, flags: BdevFlags) -> Result<(), Problem> {
        let base = self.place(self.minor)?.base / SECTOR_BYTES as u64;
        for part in parts(range) {
            let bytes = part.count as usize * SECTOR_BYTES;
            self.memory.fill_pattern(0, bytes, seed, base + part.first);
            let piece = self.memory.piece(0, bytes);
            let position = part.first * SECTOR_BYTES as u64;
            let status = self.session.write(self.client, self.minor, position, piece, flags)?;
            full(status, bytes)?;
            self.client.wrote(base + part.first, part.count, seed);
        }
        self.client.say(format_args!("{} sectors written", range.count));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Problem> {
        let status = self.session.flush(self.client, self.minor)?;
        if status == Errno::EOPNOTSUPP.into() {
            self.client.say(format_args!("the device has nothing to flush"));
            return Ok(());
        }
        ok(status)
    }

    /// Reads a range part by part, and lets `look` at each: which part, and its first sector on the disk.
    fn each_part(
        &mut self,
        range: SectorRange,
        mut look: impl FnMut(&mut Self, SectorRange, u64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let base = self.place(self.minor)?.base / SECTOR_BYTES as u64;
        for part in parts(range) {
            let bytes = part.count as usize * SECTOR_BYTES;
            self.memory.fill(0, bytes, 0xEE);
            let piece = self.memory.piece(0, bytes);
            let position = part.first * SECTOR_BYTES as u64;
            full(self.session.read(self.client, self.minor, position, piece)?, bytes)?;
            look(self, part, base + part.first)?;
        }
        Ok(())
    }
}

fn full(status: Status, bytes: usize) -> Result<(), Problem> {
    if Status::count(bytes as u64) == Some(status) {
        Ok(())
    } else {
        Err(Problem::Status(status))
    }
}

/// A range in pieces that fit into a request.
fn parts(range: SectorRange) -> impl Iterator<Item = SectorRange> {
    (range.first..range.end())
        .step_by(SECTORS_AT_ONCE as usize)
        .map(move |first| SectorRange {
            first,
            count: (range.end() - first).min(SECTORS_AT_ONCE),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole() {
        for count in [0, 1, 255, 256, 257, 1000] {
            let range = SectorRange { first: 7, count };
            let mut next = 7;
            for part in parts(range) {
                assert_eq!(part.first, next);
                assert!(part.count > 0 && part.count <= SECTORS_AT_ONCE);
                next = part.end();
            }
            assert_eq!(next, range.end());
        }
    }
}
