//! Commands for a disk, as words.
//!
//! | word | what |
//! |---|---|
//! | `open`, `close`, `flush` | of the minor |
//! | `partitions` | of the minor's drive |
//! | `geometry` | where the minor lies, and what shape it claims to have |
//! | `read=FIRST:COUNT` | reads sectors, and shows the beginning |
//! | `digest=FIRST:COUNT` | reads sectors, and tells the digest |
//! | `write=FIRST:COUNT:SEED` | writes a pattern |
//! | `force=FIRST:COUNT:SEED` | writes a pattern, which is on the medium when that is answered |
//! | `verify=FIRST:COUNT:SEED` | reads sectors, and compares with a pattern |
//! | `undefined=FIRST:COUNT` | only tells the host that these sectors may hold anything by now |
//!
//! Sectors are counted from the start of the minor; the pattern of a sector is that of its place on the disk.

use guest_protocol::pattern::Digest;
use guest_protocol::{Record, SECTOR_BYTES, SectorRange};
use minix_abi::Errno;
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::{Minor, PARTITIONS, Place};
use minix_rt::{Args, Ipc};

use crate::args::{self, BadWord, Word};
use crate::bdev::{READ_WRITE, Session, Trouble};
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// Most commands of a shell.
const MAX_COMMANDS: usize = 10;
/// Sectors of one request.
const SECTORS_AT_ONCE: u64 = 256;
/// Bytes of a sector that are shown.
const SHOWN_BYTES: usize = 16;
/// The noise that memory holds before a read.
const NOISE: u64 = 0x5e11_0000_0000;

#[derive(Clone, Copy, Debug)]
enum Command {
    Open,
    Partitions,
    Geometry,
    Flush,
    Close,
    Read(SectorRange),
    Digest(SectorRange),
    Write(SectorRange, u64, BdevFlags),
    Verify(SectorRange, u64),
    Undefined(SectorRange),
}

/// The command in a word, if there is one in it.
fn command(word: &Word) -> Result<Option<Command>, BadWord> {
    let write = |flags| {
        let (range, seed) = word.range_and_seed()?;
        Ok(Some(Command::Write(range, seed, flags)))
    };
    let plain = match word.key {
        "open" => Command::Open,
        "partitions" => Command::Partitions,
        "geometry" => Command::Geometry,
        "flush" => Command::Flush,
        "close" => Command::Close,
        "read" => return Ok(Some(Command::Read(word.range()?))),
        "digest" => return Ok(Some(Command::Digest(word.range()?))),
        "write" => return write(BdevFlags::empty()),
        "force" => return write(BdevFlags::FORCEWRITE),
        "undefined" => return Ok(Some(Command::Undefined(word.range()?))),
        "verify" => {
            return word
                .range_and_seed()
                .map(|(range, seed)| Some(Command::Verify(range, seed)));
        }
        _ => return Ok(None),
    };
    word.switch()?;
    Ok(Some(plain))
}

/// The program `shell`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if a command failed.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let mut commands = heapless::Vec::<(&str, Command), MAX_COMMANDS>::new();
    let target = args::parse(client, args, |word| {
        let Some(command) = command(word)? else {
            return Ok(false);
        };
        let pushed = commands.push((word.key, command));
        pushed.map_err(|_| word.bad("is one too many"))?;
        Ok(true)
    })?;
    let bytes = SECTORS_AT_ONCE as usize * SECTOR_BYTES;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, bytes)?;
    let mut shell = Shell {
        session: Session::new(client, target.label, 1)?,
        minor: target.minor,
        memory,
    };
    for (name, command) in commands {
        let result = shell.run(command);
        let client = &mut *shell.session.client;
        let outcome = Outcome::of(result.is_ok());
        if let Err(trouble) = result {
            client.error("shell", name, &trouble);
        }
        client.test(name, outcome, &"");
    }
    if client.tally().failed == 0 {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

struct Shell<'c, I: Ipc> {
    session: Session<'c, I>,
    minor: Minor,
    memory: Memory,
}

impl<I: Ipc> Shell<'_, I> {
    fn run(&mut self, command: Command) -> Result<(), Trouble> {
        match command {
            Command::Open => self.open(),
            Command::Partitions => self.partitions(),
            Command::Geometry => self.geometry(),
            Command::Flush => self.flush(),
            Command::Close => Trouble::unless_moved(self.session.close(self.minor)?, 0),
            Command::Read(range) => self.read(range),
            Command::Digest(range) => self.digest(range),
            Command::Write(range, seed, flags) => self.write(range, seed, flags),
            Command::Verify(range, seed) => self.verify(range, seed),
            Command::Undefined(range) => {
                let base = self.base()?;
                self.session.client.touched(base + range.first, range.count);
                Ok(())
            }
        }
    }

    fn open(&mut self) -> Result<(), Trouble> {
        let status = self.session.open(self.minor, READ_WRITE)?;
        if status != Errno::EACCES.into() {
            return Trouble::unless_moved(status, 0);
        }
        self.session.client.say(format_args!("the disk is read-only"));
        Trouble::unless_moved(self.session.open(self.minor, BdevAccess::READ)?, 0)
    }

    fn place(&mut self, minor: Minor) -> Result<PartGeom, Trouble> {
        let (status, place) = self.session.partition(minor)?;
        Trouble::unless_moved(status, 0)?;
        Ok(place)
    }

    /// The first sector of the minor on the disk.
    fn base(&mut self) -> Result<u64, Trouble> {
        Ok(self.place(self.minor)?.base / SECTOR_BYTES as u64)
    }

    /// The drive, its partitions, and their sub-partitions.
    fn partitions(&mut self) -> Result<(), Trouble> {
        let drive = self.minor.place().map_or(0, Place::drive);
        let title = "minor        first sector        sectors";
        self.session.client.say(format_args!("{title}"));
        self.partition(Place::Drive { drive }, "drive")?;
        for partition in 0..PARTITIONS {
            if self.partition(Place::Partition { drive, partition }, "  partition")? {
                for sub in 0..PARTITIONS {
                    self.partition(Place::SubPartition { drive, partition, sub }, "    sub-partition")?;
                }
            }
        }
        Ok(())
    }

    /// Prints a partition that has sectors, and tells whether it has.
    fn partition(&mut self, place: Place, what: &str) -> Result<bool, Trouble> {
        let minor = place.minor().unwrap_or_default();
        Trouble::unless_moved(self.session.open(minor, BdevAccess::READ)?, 0)?;
        let found = self.place(minor);
        Trouble::unless_moved(self.session.close(minor)?, 0)?;
        let PartGeom { base, bytes, .. } = found?;
        if bytes > 0 {
            let (first, sectors) = (base / SECTOR_BYTES as u64, bytes / SECTOR_BYTES as u64);
            let client = &mut *self.session.client;
            client.say(format_args!("{:>5} {first:>19} {sectors:>14} {what}", minor.0));
            client.record(&Record::Partition {
                number: minor.0,
                first_byte: base,
                bytes,
            });
        }
        Ok(bytes > 0)
    }

    fn geometry(&mut self) -> Result<(), Trouble> {
        let place = self.place(self.minor)?;
        self.session.client.say(format_args!(
            "minor {}: {} bytes from byte {} on; {} cylinders, {} heads, {} sectors",
            self.minor.0, place.bytes, place.base, place.cylinders, place.heads, place.sectors
        ));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let status = self.session.flush(self.minor)?;
        if status == Errno::EOPNOTSUPP.into() {
            self.session.client.say(format_args!("the device has nothing to flush"));
            return Ok(());
        }
        Trouble::unless_moved(status, 0)
    }

    fn read(&mut self, range: SectorRange) -> Result<(), Trouble> {
        self.each_part(range, |shell, part, first| {
            if part.first == range.first {
                let mut start = [0; SHOWN_BYTES];
                shell.memory.read(0, &mut start);
                let client = &mut *shell.session.client;
                client.say(format_args!("sector {first}: {start:02x?} ..."));
            }
            Ok(())
        })?;
        self.session.client.say(format_args!("{} sectors read", range.count));
        Ok(())
    }

    fn verify(&mut self, range: SectorRange, seed: u64) -> Result<(), Trouble> {
        self.each_part(range, |shell, part, first| {
            let bytes = part.count as usize * SECTOR_BYTES;
            let checked = shell.memory.check_pattern(0, bytes, seed, first);
            checked.map_err(|at| Trouble::Content(first + (at / SECTOR_BYTES) as u64))
        })
    }

    fn digest(&mut self, range: SectorRange) -> Result<(), Trouble> {
        let mut digest = Digest::new();
        let first = self.base()? + range.first;
        self.each_part(range, |shell, part, _| {
            shell.memory.update(&mut digest, 0, part.count as usize * SECTOR_BYTES);
            Ok(())
        })?;
        let crc64 = digest.finish();
        let on_disk = SectorRange { first, ..range };
        let client = &mut *self.session.client;
        client.record(&Record::Digest { range: on_disk, crc64 });
        client.say(format_args!("digest of sectors {range}: {crc64:016x}"));
        Ok(())
    }

    fn write(&mut self, range: SectorRange, seed: u64, flags: BdevFlags) -> Result<(), Trouble> {
        let base = self.base()?;
        for part in parts(range) {
            let bytes = part.count as usize * SECTOR_BYTES;
            self.memory.fill_pattern(0, bytes, seed, base + part.first);
            let (position, piece) = (part.first * SECTOR_BYTES as u64, self.memory.piece(0, bytes));
            Trouble::unless_moved(self.session.write(self.minor, position, piece, flags)?, bytes)?;
            self.session.client.wrote(base + part.first, part.count, seed);
        }
        self.session.client.say(format_args!("{} sectors written", range.count));
        Ok(())
    }

    /// Reads a range part by part, and shows each to `look`: the part, and its first sector on the disk.
    fn each_part(
        &mut self,
        range: SectorRange,
        mut look: impl FnMut(&mut Self, SectorRange, u64) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let base = self.base()?;
        for part in parts(range) {
            let bytes = part.count as usize * SECTOR_BYTES;
            self.memory.fill_noise(0, bytes, NOISE);
            let (position, piece) = (part.first * SECTOR_BYTES as u64, self.memory.piece(0, bytes));
            Trouble::unless_moved(self.session.read(self.minor, position, piece)?, bytes)?;
            look(self, part, base + part.first)?;
        }
        Ok(())
    }
}

/// A range in parts that fit into a request.
fn parts(range: SectorRange) -> impl Iterator<Item = SectorRange> {
    let starts = (range.first..range.end()).step_by(SECTORS_AT_ONCE as usize);
    starts.map(move |first| SectorRange {
        first,
        count: (range.end() - first).min(SECTORS_AT_ONCE),
    })
}
