//! What all groups of checks use: the session, two stretches of memory, an account of what is on the disk, and the
//! requests in the form in which they are checked.

use core::fmt::Display;

use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::ioctl::PartGeom;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};
use minix_rt::Ipc;

use super::settings::Settings;
use super::verdict::{Expect, Fault};
use crate::bdev::{Direction, Session, Trouble};
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
/// Bytes of the large transfers that are made whatever `max` says.
pub(crate) const COMMON_BYTES: usize = ELEMENTS * 4096;
/// Bytes between elements that nobody may touch.
pub(crate) const GUARD: usize = 4;
/// Noise around a transfer in the flat memory.
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

/// A test under way.
pub(crate) struct Tester<'a, I: Ipc> {
    pub(crate) client: &'a mut Client<I>,
    pub(crate) session: Session,
    pub(crate) settings: Settings<'a>,
    /// For transfers of one piece.
    pub(crate) flat: Memory,
    /// For transfers of several pieces.
    pub(crate) pieces: Memory,
    /// Where the tested minor is.
    pub(crate) place: PartGeom,
    random: Random,
    group: &'static str,
    /// No driver with the label can be found any more.
    lost: bool,
}

impl<'a, I: Ipc> Tester<'a, I> {
    /// Finds the driver and maps memory.
    pub(crate) fn new(client: &'a mut Client<I>, settings: Settings<'a>) -> Result<Self, Errno> {
        // The same at each run: what a failed one did can be had again.
        let mut random = Random::new(0x626c_6f63_6b74_6573);
        let session = Session::new(client, settings.label, random.next())?;
        let largest = settings.max.max(COMMON_BYTES);
        let flat = Memory::new(&mut client.ipc, settings.kind, largest + 2 * MARGIN)?;
        let pieces = Memory::new(
            &mut client.ipc,
            settings.kind,
            largest + (ELEMENTS + 1) * GUARD + MARGIN,
        )?;
        Ok(Self {
            client,
            session,
            settings,
            flat,
            pieces,
            place: PartGeom::default(),
            random,
            group: "",
            lost: false,
        })
    }

    /// Starts a group of checks.
    pub(crate) fn group(&mut self, letter: char, title: &'static str) {
        self.group = title;
        if !self.settings.silent {
            self.client.say(format_args!("{letter}: {title}"));
        }
    }

    /// Reports a check. Tells whether it passed.
    pub(crate) fn check<T>(&mut self, number: u32, name: &str, result: Result<T, Fault>) -> bool {
        let group = self.group;
        match &result {
            Ok(_) => self.client.check(number, group, name, Outcome::Pass, &"ok"),
            Err(fault) => self.client.check(number, group, name, Outcome::Fail, fault),
        }
        if let Err(Fault::Trouble(Trouble::Died)) = result {
            self.recover();
        }
        result.is_ok()
    }

    /// Reports a check that cannot be made.
    pub(crate) fn skip(&mut self, number: u32, name: &str, why: &dyn Display) {
        self.client.check(number, self.group, name, Outcome::Skip, why);
    }

    fn recover(&mut self) {
        if self.lost {
            return;
        }
        if let Err(trouble) = self.session.recover(self.client) {
            self.client.error("recovery", "driver", &trouble);
            // Nobody comes back after that long. What is left fails without a wait for each.
            self.lost = true;
        }
    }

    /// A number that was not used before: for noise and patterns.
    pub(crate) fn seed(&mut self) -> u64 {
        self.random.next()
    }

    /// What minors are opened for.
    pub(crate) const fn access(&self) -> BdevAccess {
        if self.settings.write {
            BdevAccess::READ.union(BdevAccess::WRITE)
        } else {
            BdevAccess::READ
        }
    }

    /// A position on the tested minor.
    pub(crate) const fn at(&self, position: u64) -> Spot {
        Spot {
            minor: self.settings.minor,
            base: self.place.base,
            position,
        }
    }

    pub(crate) fn open(&mut self, minor: Minor) -> Result<Status, Fault> {
        let outcome = self.session.open(self.client, minor, self.access());
        Expect::OK.judge(outcome)
    }

    pub(crate) fn close(&mut self, minor: Minor) -> Result<Status, Fault> {
        let outcome = self.session.close(self.client, minor);
        Expect::OK.judge(outcome)
    }

    /// Asks where a minor is.
    pub(crate) fn partition(&mut self, minor: Minor) -> Result<PartGeom, Fault> {
        let (status, place) = self.session.partition(self.client, minor)?;
        Expect::OK.judge(Ok(status))?;
        Ok(place)
    }

    /// Asks where a minor is, and compares.
    pub(crate) fn partition_is(&mut self, minor: Minor, base: u64, bytes: u64) -> Result<(), Fault> {
        let place = self.partition(minor)?;
        Fault::number("base", place.base, base)?;
        Fault::number("size", place.bytes, bytes)
    }

    /// Reads into the flat memory from [`MARGIN`] on. Of `bytes`, `expected` have to come; every sector of those has to
    /// change, and nothing else may.
    pub(crate) fn read(&mut self, from: Spot, bytes: usize, expected: usize) -> Result<(), Fault> {
        let noise = self.seed();
        self.flat.fill_noise(0, bytes + 2 * MARGIN, noise);
        let into = self.flat.piece(MARGIN, bytes);
        let outcome = self.session.read(self.client, from.minor, from.position, into);
        Expect::bytes(expected).judge(outcome)?;
        self.flat.check_noise(0, MARGIN, noise).map_err(touched)?;
        changed(&self.flat, MARGIN, expected, noise)?;
        let rest = MARGIN + expected;
        self.flat
            .check_noise(rest, bytes + 2 * MARGIN - rest, noise)
            .map_err(touched)
    }

    /// Reads sectors, which have to hold a pattern.
    pub(crate) fn read_pattern(&mut self, from: Spot, sectors: usize, seed: u64) -> Result<(), Fault> {
        self.read(from, sectors * SECTOR, sectors * SECTOR)?;
        self.holds_pattern(0, sectors, seed, from.disk_sector())
    }

    /// Whether sectors that were just read, from number `nth` on, hold a pattern.
    pub(crate) fn holds_pattern(&self, nth: usize, sectors: usize, seed: u64, disk_sector: u64) -> Result<(), Fault> {
        self.flat
            .check_pattern(MARGIN + nth * SECTOR, sectors * SECTOR, seed, disk_sector)
            .map_err(|at| Fault::Data { at: nth * SECTOR + at })
    }

    /// Writes a pattern, of which `expected` sectors have to be taken. Memory may not change.
    pub(crate) fn write_pattern(&mut self, to: Spot, sectors: usize, seed: u64, expected: usize) -> Result<(), Fault> {
        let (noise, bytes) = (self.seed(), sectors * SECTOR);
        self.flat.fill_noise(0, bytes + 2 * MARGIN, noise);
        self.flat.fill_pattern(MARGIN, bytes, seed, to.disk_sector());
        let from = self.flat.piece(MARGIN, bytes);
        let outcome = self
            .session
            .write(self.client, to.minor, to.position, from, BdevFlags::empty());
        let judged = Expect::bytes(expected * SECTOR).judge(outcome);
        self.wrote(&judged, to, sectors, seed, expected);
        judged?;
        self.flat.check_noise(0, MARGIN, noise).map_err(touched)?;
        self.flat
            .check_pattern(MARGIN, bytes, seed, to.disk_sector())
            .map_err(|at| Fault::Touched { at: MARGIN + at })?;
        self.flat.check_noise(MARGIN + bytes, MARGIN, noise).map_err(touched)
    }

    /// Tells the host what is on the disk after a write: a pattern, or after a failure who knows what.
    pub(crate) fn wrote<T>(&mut self, result: &Result<T, Fault>, to: Spot, sectors: usize, seed: u64, expected: usize) {
        let first = to.disk_sector();
        match result {
            Ok(_) if expected == 0 => {}
            Ok(_) => self.client.wrote(first, expected as u64, seed),
            Err(_) => self.client.touched(first, sectors as u64),
        }
    }

    /// Moves pieces of memory; all of it has to be moved.
    pub(crate) fn move_pieces(&mut self, direction: Direction, at: Spot, pieces: &[Piece]) -> Result<(), Fault> {
        let bytes: u64 = pieces.iter().map(|piece| piece.bytes()).sum();
        let outcome = self
            .session
            .transfer_pieces(self.client, direction, at.minor, at.position, pieces);
        Expect::bytes(bytes as usize).judge(outcome).map(drop)
    }
}

/// Memory that should have been left alone was not.
pub(crate) const fn touched(at: usize) -> Fault {
    Fault::Touched { at }
}

/// Whether every sector's length of memory has something else than noise. The last one may be shorter.
pub(crate) fn changed(memory: &Memory, offset: usize, bytes: usize, noise: u64) -> Result<(), Fault> {
    let end = offset + bytes;
    for at in (offset..end).step_by(SECTOR) {
        if memory.check_noise(at, SECTOR.min(end - at), noise).is_ok() {
            return Err(Fault::Untouched { at });
        }
    }
    Ok(())
}
