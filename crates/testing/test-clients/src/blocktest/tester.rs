//! The common part of all groups: the session, memory, and transfers with their checks.
//!
//! A transfer is checked against noise: the memory around and between its ranges must not change, and a read has to
//! change every sector in them.

use core::fmt::Display;
use core::ops::Range;

use guest_protocol::pattern::Digest;
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};
use minix_rt::Ipc;

use super::Settings;
use super::verdict::{Expect, Fault};
use crate::bdev::{Direction, READ_WRITE, Session, Trouble};
use crate::buffer::{Memory, Piece};
use crate::client::Client;
use crate::random::Random;
use crate::report::Outcome;

/// Bytes of a sector. The driver is one for disks: elements, positions and lengths are whole sectors.
pub(crate) const SECTOR: usize = 512;
/// The same for positions on a disk.
pub(crate) const SECTOR_BYTES: u64 = SECTOR as u64;
/// Elements of a full vector.
pub(crate) const ELEMENTS: usize = minix_abi::bdev::MAX_ELEMENTS;
/// Bytes of the large transfers that are made for every `max`.
pub(crate) const COMMON_BYTES: usize = ELEMENTS * 4096;
/// Bytes between elements that have to be left alone.
pub(crate) const GUARD: usize = 4;
/// Noise around a transfer.
pub(crate) const MARGIN: usize = 2 * SECTOR;

/// Where a run of sectors is: on a minor, whose base on the disk is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) minor: Minor,
    /// Where the minor starts on the disk, in bytes.
    pub(crate) base: u64,
    /// Position on the minor, in bytes.
    pub(crate) position: u64,
}

impl Spot {
    /// The place so many bytes further on.
    pub(crate) const fn plus(self, bytes: u64) -> Self {
        Self {
            position: self.position.wrapping_add(bytes),
            ..self
        }
    }

    /// The sector of the whole disk. Without meaning for a position that is not on the disk.
    pub(crate) const fn disk_sector(self) -> u64 {
        self.base.wrapping_add(self.position) / SECTOR_BYTES
    }
}

/// The form of a request. One range can be a vector, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Single,
    Vector,
}

/// The content that a place on the disk has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Pattern(u64),
    Digest(u64),
    /// A write failed. That was reported, and needs no second failure.
    Unknown,
}

/// A test under way.
pub(crate) struct Tester<'c, I: Ipc> {
    pub(crate) session: Session<'c, I>,
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    /// Where the tested minor is.
    pub(crate) place: PartGeom,
    random: Random,
    group: &'static str,
    /// No driver with the label can be found any more.
    lost: bool,
}

impl<'c, I: Ipc> Tester<'c, I> {
    /// Finds the driver and maps memory.
    pub(crate) fn new(client: &'c mut Client<I>, settings: Settings) -> Result<Self, Errno> {
        // The same at each run: what a failed one did can be had again.
        let mut random = Random::new(0x626c_6f63_6b74_6573);
        let bytes = settings.max.max(COMMON_BYTES) + (ELEMENTS + 1) * GUARD + 2 * MARGIN;
        let memory = Memory::new(&mut client.ipc, settings.kind, bytes)?;
        Ok(Self {
            session: Session::new(client, settings.target.label, random.next())?,
            settings,
            memory,
            place: PartGeom::default(),
            random,
            group: "",
            lost: false,
        })
    }

    /// Starts a group of checks.
    pub(crate) fn group(&mut self, letter: char, title: &'static str) {
        self.group = title;
        self.session.client.say(format_args!("{letter}: {title}"));
    }

    /// Reports a check. Tells whether it passed.
    pub(crate) fn check<T>(&mut self, number: u32, name: &str, result: Result<T, Fault>) -> bool {
        let client = &mut *self.session.client;
        match &result {
            Ok(_) => client.check(number, self.group, name, Outcome::Pass, &"ok"),
            Err(fault) => client.check(number, self.group, name, Outcome::Fail, fault),
        }
        if let Err(Fault::Trouble(Trouble::Died)) = result
            && !self.lost
            && let Err(trouble) = self.session.recover()
        {
            self.session.client.error("recovery", "driver", &trouble);
            // After such a time none comes back. The remaining checks fail without a wait for each.
            self.lost = true;
        }
        result.is_ok()
    }

    /// Reports a check that cannot be made.
    pub(crate) fn skip(&mut self, number: u32, name: &str, why: &dyn Display) {
        self.session.client.check(number, self.group, name, Outcome::Skip, why);
    }

    /// A number that was not used before: for noise and patterns.
    pub(crate) fn seed(&mut self) -> u64 {
        self.random.next()
    }

    /// A position on the tested minor.
    pub(crate) const fn at(&self, position: u64) -> Spot {
        Spot {
            minor: self.settings.target.minor,
            base: self.place.base,
            position,
        }
    }

    pub(crate) fn open(&mut self, minor: Minor) -> Result<Status, Fault> {
        let access = if self.settings.write {
            READ_WRITE
        } else {
            BdevAccess::READ
        };
        let outcome = self.session.open(minor, access);
        Expect::OK.judge(outcome)
    }

    pub(crate) fn close(&mut self, minor: Minor) -> Result<Status, Fault> {
        let outcome = self.session.close(minor);
        Expect::OK.judge(outcome)
    }

    /// Asks where a minor is.
    pub(crate) fn partition(&mut self, minor: Minor) -> Result<PartGeom, Fault> {
        let (status, place) = self.session.partition(minor)?;
        Expect::OK.judge(Ok(status))?;
        Ok(place)
    }

    /// Asks where a minor is, and compares.
    pub(crate) fn partition_is(&mut self, minor: Minor, base: u64, bytes: u64) -> Result<(), Fault> {
        let place = self.partition(minor)?;
        Fault::number("base", place.base, base)?;
        Fault::number("size", place.bytes, bytes)
    }

    /// Moves ranges of the memory.
    pub(crate) fn send(
        &mut self,
        direction: Direction,
        form: Form,
        at: Spot,
        ranges: &[Range<usize>],
    ) -> Result<Status, Trouble> {
        let pieces = ranges.iter().map(|range| self.memory.piece(range.start, range.len()));
        let pieces: heapless::Vec<Piece, ELEMENTS> = pieces.collect();
        match (form, &pieces[..]) {
            (Form::Single, [piece]) => {
                let flags = BdevFlags::empty();
                self.session.transfer(direction, at.minor, at.position, *piece, flags)
            }
            _ => self.session.transfer_pieces(direction, at.minor, at.position, &pieces),
        }
    }

    /// Reads to ranges of the memory. `expected` bytes have to come, and fill the ranges from the first one on.
    pub(crate) fn read_to(
        &mut self,
        form: Form,
        from: Spot,
        ranges: &[Range<usize>],
        expected: usize,
    ) -> Result<(), Fault> {
        let noise = self.seed();
        self.memory.fill_noise(0, end(ranges), noise);
        let outcome = self.send(Direction::Read, form, from, ranges);
        Expect::bytes(expected).judge(outcome)?;
        self.only_changed(ranges, expected, noise)
    }

    /// Writes a pattern from ranges of the memory, of which `expected` sectors have to be taken. Memory may not change. The host
    /// is told the new content of the disk: a pattern, or unknown after a failure.
    pub(crate) fn write_from(
        &mut self,
        form: Form,
        to: Spot,
        ranges: &[Range<usize>],
        seed: u64,
        expected: usize,
    ) -> Result<(), Fault> {
        let noise = self.seed();
        self.memory.fill_noise(0, end(ranges), noise);
        let first = to.disk_sector();
        let mut sector = first;
        for range in ranges {
            self.memory.fill_pattern(range.start, range.len(), seed, sector);
            sector = sector.wrapping_add((range.len() / SECTOR) as u64);
        }
        let outcome = self.send(Direction::Write, form, to, ranges);
        let judged = Expect::bytes(expected * SECTOR).judge(outcome);
        match judged {
            Ok(_) if expected == 0 => {}
            Ok(_) => self.session.client.wrote(first, expected as u64, seed),
            Err(_) => self.session.client.touched(first, sector - first),
        }
        judged?;
        self.noise_outside(ranges, noise)?;
        let (mut sector, memory) = (first, &self.memory);
        for range in ranges {
            let checked = memory.check_pattern(range.start, range.len(), seed, sector);
            checked.map_err(|at| touched(range.start + at))?;
            sector = sector.wrapping_add((range.len() / SECTOR) as u64);
        }
        Ok(())
    }

    /// Reads one piece to [`flat`].
    pub(crate) fn read(&mut self, from: Spot, bytes: usize, expected: usize) -> Result<(), Fault> {
        self.read_to(Form::Single, from, &[flat(bytes)], expected)
    }

    /// Writes a pattern from one piece.
    pub(crate) fn write(&mut self, to: Spot, sectors: usize, seed: u64, expected: usize) -> Result<(), Fault> {
        self.write_from(Form::Single, to, &[flat(sectors * SECTOR)], seed, expected)
    }

    /// Reads sectors, which have to hold a pattern.
    pub(crate) fn read_pattern(&mut self, from: Spot, sectors: usize, seed: u64) -> Result<(), Fault> {
        self.read(from, sectors * SECTOR, sectors * SECTOR)?;
        self.holds(&[flat(sectors * SECTOR)], from, Content::Pattern(seed))
    }

    /// Reads sectors, each of which has to hold its content.
    pub(crate) fn read_contents(&mut self, from: Spot, contents: &[Content]) -> Result<(), Fault> {
        let bytes = contents.len() * SECTOR;
        self.read(from, bytes, bytes)?;
        self.holds_each(from, contents)
    }

    /// Whether sectors that were just [read](Self::read) hold their contents.
    pub(crate) fn holds_each(&self, from: Spot, contents: &[Content]) -> Result<(), Fault> {
        let mut each = contents.iter().enumerate();
        each.try_for_each(|(nth, content)| self.holds(&[sector(nth)], from.plus(nth as u64 * SECTOR_BYTES), *content))
    }

    /// Whether ranges of the memory hold the content of a place on the disk.
    pub(crate) fn holds(&self, ranges: &[Range<usize>], from: Spot, content: Content) -> Result<(), Fault> {
        match content {
            Content::Unknown => Ok(()),
            Content::Digest(digest) if digest == self.digest(ranges) => Ok(()),
            Content::Digest(_) => Err(Fault::Data { at: 0 }),
            Content::Pattern(seed) => {
                let mut done = 0;
                for range in ranges {
                    let sector = from.plus(done as u64).disk_sector();
                    let checked = self.memory.check_pattern(range.start, range.len(), seed, sector);
                    checked.map_err(|at| Fault::Data { at: done + at })?;
                    done += range.len();
                }
                Ok(())
            }
        }
    }

    /// The digest of ranges of the memory.
    pub(crate) fn digest(&self, ranges: &[Range<usize>]) -> u64 {
        let mut digest = Digest::new();
        for range in ranges {
            self.memory.update(&mut digest, range.start, range.len());
        }
        digest.finish()
    }

    /// The contents of sectors that were just [read](Self::read).
    pub(crate) fn digests<const N: usize>(&self) -> [Content; N] {
        core::array::from_fn(|nth| Content::Digest(self.digest(&[sector(nth)])))
    }

    /// Whether the first `expected` bytes of ranges have changed, and nothing else.
    pub(crate) fn only_changed(&self, ranges: &[Range<usize>], expected: usize, noise: u64) -> Result<(), Fault> {
        let (mut done, mut left) = (0, expected);
        for range in ranges {
            let filled = left.min(range.len());
            left -= filled;
            self.is_noise(done, range.start, noise)?;
            done = range.start + filled;
            for at in (range.start..done).step_by(SECTOR) {
                if self.is_noise(at, done.min(at + SECTOR), noise).is_ok() {
                    return Err(Fault::Untouched { at });
                }
            }
        }
        self.is_noise(done, end(ranges), noise)
    }

    fn noise_outside(&self, ranges: &[Range<usize>], noise: u64) -> Result<(), Fault> {
        let mut done = 0;
        for range in ranges {
            self.is_noise(done, range.start, noise)?;
            done = range.end;
        }
        self.is_noise(done, end(ranges), noise)
    }

    /// Whether memory still holds noise.
    pub(crate) fn is_noise(&self, from: usize, until: usize, noise: u64) -> Result<(), Fault> {
        self.memory.check_noise(from, until - from, noise).map_err(touched)
    }
}

/// The memory of a transfer of one piece.
pub(crate) const fn flat(bytes: usize) -> Range<usize> {
    MARGIN..MARGIN + bytes
}

/// A sector of [`flat`] memory.
const fn sector(nth: usize) -> Range<usize> {
    MARGIN + nth * SECTOR..MARGIN + (nth + 1) * SECTOR
}

/// The end of the memory that is looked at.
fn end(ranges: &[Range<usize>]) -> usize {
    ranges.last().map_or(0, |range| range.end + MARGIN)
}

const fn touched(at: usize) -> Fault {
    Fault::Touched { at }
}
