//! A block driver by the book, with places where it can be made to do one thing wrong.

use std::collections::{BTreeMap, BTreeSet};

use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::minor::{Minor, Place};
use minix_abi::partition::{SystemId, read_table};
use minix_abi::{Errno, GrantId, MessageType, Status};
use zerocopy::{FromBytes, IntoBytes};

use super::bug::Bug;
use super::disk::Disk;
use super::granted::Granted;
use super::{READ, WRITE};

pub(crate) struct Driver {
    pub(crate) disk: Disk,
    bug: Bug,
    /// Base and size in bytes.
    places: BTreeMap<i32, (u64, u64)>,
    opened: BTreeSet<i32>,
    opens: BTreeMap<i32, u32>,
    scanned: bool,
    wedged: bool,
}

impl Driver {
    pub(crate) fn new(sectors: u64, bug: Bug) -> Self {
        Self {
            disk: Disk::new(sectors),
            bug,
            places: BTreeMap::new(),
            opened: BTreeSet::new(),
            opens: BTreeMap::new(),
            scanned: false,
            wedged: false,
        }
    }

    /// A new instance: all that stays is the disk.
    pub(crate) fn forget(&mut self) {
        self.opened.clear();
        self.opens.clear();
        self.places.clear();
        self.scanned = false;
    }

    pub(crate) fn handle(&mut self, memory: &Granted, kind: MessageType, request: &BdevRequest) -> Status {
        let minor = request.minor.0;
        if !self.opened.contains(&minor) && kind != MessageType::BDEV_OPEN {
            return Errno::ERESTART.into();
        }
        let done = match kind {
            MessageType::BDEV_OPEN => self.open(minor),
            MessageType::BDEV_CLOSE => self.close(minor),
            MessageType::BDEV_IOCTL => self.ioctl(memory, request),
            MessageType::BDEV_READ | MessageType::BDEV_WRITE => self.simple(memory, kind, request),
            MessageType::BDEV_GATHER | MessageType::BDEV_SCATTER => self.vector(memory, kind, request),
            _ => Err(Errno::EINVAL),
        };
        match done {
            Ok(count) => Status(count as i32),
            Err(errno) => errno.into(),
        }
    }

    fn open(&mut self, minor: i32) -> Result<u64, Errno> {
        if self.bug == Bug::OpenFails {
            return Err(Errno::EIO);
        }
        Minor(minor)
            .place()
            .filter(|place| place.drive() == 0)
            .ok_or(Errno::ENXIO)?;
        self.opened.insert(minor);
        if self.open_count() == 0 && !(self.bug == Bug::TableIsReadOnce && self.scanned) {
            self.scan();
        }
        let place = Minor(minor).place();
        let inside = !matches!(place, Some(Place::Drive { .. }));
        if self.bug == Bug::EmptyPartitionIsNone && inside && self.place(minor).1 == 0 {
            return Err(Errno::ENXIO);
        }
        let count = self.opens.entry(minor).or_default();
        if self.bug != Bug::CountsOnce || *count == 0 {
            *count += 1;
        }
        Ok(0)
    }

    fn close(&mut self, minor: i32) -> Result<u64, Errno> {
        if self.bug == Bug::CloseFails {
            return Err(Errno::EIO);
        }
        let count = self
            .opens
            .get_mut(&minor)
            .filter(|count| **count > 0)
            .ok_or(Errno::EINVAL)?;
        if self.bug != Bug::CloseDoesNotCount {
            *count -= 1;
        }
        Ok(0)
    }

    fn open_count(&self) -> u32 {
        self.opens.values().sum()
    }

    fn place(&self, minor: i32) -> (u64, u64) {
        self.places.get(&minor).copied().unwrap_or_default()
    }

    fn scan(&mut self) {
        self.scanned = true;
        if self.bug != Bug::TableStays {
            self.places.clear();
        }
        self.places.insert(0, (0, self.disk.sectors * 512));
        self.scan_one(0, self.disk.sectors, [1, 2, 3, 4], true);
    }

    /// Reads the table at `base`; all in sectors.
    fn scan_one(&mut self, base: u64, sectors: u64, minors: [i32; 4], primary: bool) {
        if sectors == 0 {
            return;
        }
        let Some(mut table) = read_table(&self.disk.read(base)) else {
            return;
        };
        if primary {
            table.sort_by_key(|entry| (entry.system == SystemId::NONE, entry.first.get()));
        }
        let limit = base + sectors;
        for (entry, minor) in table.into_iter().zip(minors) {
            let shift = if self.bug == Bug::TableIsRelative { 1 } else { 0 };
            let (first, end) = (
                u64::from(entry.first.get()) + shift,
                u64::from(entry.first.get() + entry.sectors.get()),
            );
            let first = first.max(base);
            let sectors = end.min(limit).saturating_sub(first);
            self.places.insert(minor, (first * 512, sectors * 512));
            if primary && entry.system == SystemId::MINIX {
                let sub = 128 + 4 * (minor - 1);
                self.scan_one(first, sectors, [sub, sub + 1, sub + 2, sub + 3], false);
            }
        }
    }

    fn ioctl(&mut self, memory: &Granted, request: &BdevRequest) -> Result<u64, Errno> {
        let minor = request.minor.0;
        match request.request {
            IoctlCode::DIOCGETP if self.bug == Bug::NoPlace => Err(Errno::ENOTTY),
            IoctlCode::DIOCGETP => {
                let (base, bytes) = self.place(minor);
                memory.write(request.grant, 0, PartGeom::made_up(base, bytes).as_bytes())?;
                Ok(0)
            }
            IoctlCode::DIOCSETP => {
                let mut raw = [0; 32];
                memory.read(request.grant, 0, &mut raw)?;
                let place = PartGeom::read_from_bytes(&raw).unwrap();
                match self.bug {
                    Bug::SetIsIgnored => {}
                    Bug::SetForgetsSize => drop(self.places.insert(minor, (place.base, 0))),
                    _ => drop(self.places.insert(minor, (place.base, place.bytes))),
                }
                Ok(0)
            }
            IoctlCode::DIOCOPENCT => {
                let count = match self.bug {
                    Bug::CountsNothing => 0,
                    _ => self.open_count(),
                };
                memory.write(request.grant, 0, count.as_bytes())?;
                Ok(0)
            }
            IoctlCode::DIOCFLUSH => Ok(0),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn simple(&mut self, memory: &Granted, kind: MessageType, request: &BdevRequest) -> Result<u64, Errno> {
        let bytes = u64::try_from(request.count).map_err(|_| Errno::EINVAL)?;
        let writes = kind == MessageType::BDEV_WRITE;
        self.transfer(memory, writes, request, vec![(request.grant, bytes)])
    }

    fn vector(&mut self, memory: &Granted, kind: MessageType, request: &BdevRequest) -> Result<u64, Errno> {
        let count = (request.count as u32 as usize).min(MAX_ELEMENTS);
        let mut raw = vec![0; count * size_of::<VectorElement>()];
        match memory.read(request.grant, 0, &mut raw) {
            Err(Errno::EDOM) if self.bug == Bug::NoElementsIsSuccess => return Ok(0),
            Err(Errno::EINVAL) if self.bug == Bug::BadVectorIsEmpty => return Ok(0),
            Err(Errno::EPERM) if self.bug == Bug::RevokedVectorIsEmpty => return Ok(0),
            Err(_) => {
                self.wedged = self.bug == Bug::ErrorsWedge;
                return Err(Errno::EINVAL);
            }
            Ok(()) => {}
        }
        let mut elements: Vec<_> = raw
            .chunks(size_of::<VectorElement>())
            .map(|raw| VectorElement::read_from_bytes(raw).unwrap())
            .map(|element| (element.grant, element.bytes))
            .collect();
        let writes = kind == MessageType::BDEV_SCATTER;
        if self.bug == Bug::ElementsSwapped && elements.len() == MAX_ELEMENTS && writes {
            elements.swap(7, 8);
        }
        if self.bug == Bug::ScatterTakesTheFirstOnly && writes {
            let all: u64 = elements.iter().map(|(_, bytes)| bytes).sum();
            elements.truncate(1);
            self.transfer(memory, writes, request, elements)?;
            return Ok(all);
        }
        self.transfer(memory, writes, request, elements)
    }

    fn transfer(
        &mut self,
        memory: &Granted,
        writes: bool,
        request: &BdevRequest,
        mut elements: Vec<(GrantId, u64)>,
    ) -> Result<u64, Errno> {
        let bug = self.bug;
        if std::mem::take(&mut self.wedged) {
            return Err(Errno::EIO);
        }
        let strange = request.flags.bits() & !BdevFlags::FORCEWRITE.bits() != 0;
        if bug == Bug::RefusesEverything || bug == Bug::StrangeFlagsAreInvalid && strange {
            return Err(Errno::EINVAL);
        }
        let capacity = self.disk.sectors * 512;
        let (mut base, bytes) = self.place(request.minor.0);
        if bug == Bug::BaseIsIgnored {
            base = 0;
        }
        let mut position = request.position;
        if bug == Bug::NegativeIsAnError && position > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        if bug == Bug::PartitionPosition32 {
            position &= u64::from(u32::MAX);
        }
        let wraps = bug == Bug::NegativeWraps && position > i64::MAX as u64;
        if position >= capacity && !wraps {
            return Ok(0);
        }
        if base.wrapping_add(position) % 512 != 0 {
            if bug != Bug::OddPositionIsRounded {
                self.wedged = bug == Bug::OddPositionWedges;
                return Err(Errno::EINVAL);
            }
            position &= !511;
        }
        if bug == Bug::ChangesBeforeChecking && !writes && elements.len() == 3 {
            let _ = memory.write(elements[0].0, 0, &[0xAA; 512]);
        }
        self.check_lengths(&mut elements)?;
        let left = if wraps { 512 } else { bytes.saturating_sub(position) };
        if left == 0 {
            return match bug {
                Bug::BehindTheEndIsAnError => Err(Errno::EINVAL),
                Bug::WritesBehindTheEnd if writes => {
                    let total = elements.iter().map(|(_, bytes)| bytes).sum();
                    self.carry_out(memory, writes, base + position, &elements, total)?;
                    Ok(0)
                }
                _ => Ok(0),
            };
        }
        let total = elements.iter().fold(0, |sum: u64, (_, bytes)| sum.wrapping_add(*bytes));
        let mut moved = total.min(left);
        if moved < total {
            match bug {
                Bug::EndIsAnError => return Err(Errno::EIO),
                Bug::NoEnd => moved = total,
                Bug::WritesHaveNoEnd if writes => {
                    self.carry_out(memory, writes, base + position, &elements, total)?;
                    return Ok(moved);
                }
                _ => {}
            }
        }
        if bug == Bug::AtMost64K {
            moved = moved.min(64 << 10);
        }
        if bug == Bug::RefusesAfterTheFirst && elements.len() > 1 {
            let first = elements[0].1;
            self.carry_out(memory, writes, base + position, &elements[..1], first)?;
        }
        let mut at = base.wrapping_add(position);
        match bug {
            Bug::WritePosition32 if writes => at &= u64::from(u32::MAX),
            Bug::Position32 => at &= u64::from(u32::MAX),
            Bug::Lba24 => at &= (512 << 24) - 1,
            Bug::Lba28 => at &= (512 << 28) - 1,
            _ => {}
        }
        let answered = if bug == Bug::SilentlyHalf && total > 128 << 10 {
            self.carry_out(memory, writes, at, &elements, moved / 2)?;
            moved
        } else {
            self.carry_out(memory, writes, at, &elements, moved)?
        };
        if bug == Bug::ThreeSectorsAreFour && writes && moved == 3 * 512 {
            let third = self.disk.read(at / 512 + 2);
            self.disk.write(at / 512 + 3, &third);
        }
        if bug == Bug::ReadsHalfASector && !writes {
            return Ok(answered - 256);
        }
        Ok(answered)
    }

    fn check_lengths(&self, elements: &mut [(GrantId, u64)]) -> Result<(), Errno> {
        let limit = i64::MAX as u64;
        let mut total = 0_u64;
        for (_, bytes) in elements.iter_mut() {
            match self.bug {
                Bug::EmptyElementIsFine if *bytes == 0 => continue,
                Bug::LengthsIn32Bits if *bytes > u64::from(u32::MAX) => {
                    *bytes &= u64::from(u32::MAX);
                    continue;
                }
                Bug::TotalIsNotChecked | Bug::TotalWraps if *bytes > 1 << 40 && *bytes <= limit => {
                    total = total.wrapping_add(*bytes);
                    continue;
                }
                Bug::OddLengthRoundsUp => *bytes = bytes.next_multiple_of(512),
                Bug::OddLengthIsIo if *bytes % 512 != 0 => return Err(Errno::EIO),
                _ => {}
            }
            let misplaced = *bytes % 512 != 0 && self.bug != Bug::OddAddressIsRounded;
            if *bytes == 0 || misplaced || *bytes > limit {
                return Err(Errno::EINVAL);
            }
            total = total.wrapping_add(*bytes);
        }
        if total > limit && self.bug != Bug::TotalIsNotChecked {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Moves so many bytes, from a position on the disk. All grants are looked at before anything is moved.
    fn carry_out(
        &mut self,
        memory: &Granted,
        writes: bool,
        at: u64,
        elements: &[(GrantId, u64)],
        moved: u64,
    ) -> Result<u64, Errno> {
        let access = match self.bug {
            Bug::AccessIsIgnored => minix_abi::grant::GrantFlags::empty(),
            _ if writes => READ,
            _ => WRITE,
        };
        let mut ranges = Vec::new();
        let mut left = moved;
        for (grant, bytes) in elements {
            let taken = (*bytes).min(left);
            left -= taken;
            if taken == 0 {
                continue;
            }
            let start = match memory.memory(*grant, 0, taken, access) {
                Err(Errno::EINVAL) if self.bug == Bug::BadElementIsSkipped => continue,
                Err(Errno::EPERM) if self.bug == Bug::RevokedIsIo => return Err(Errno::EIO),
                // More than is granted: what it does to the memory behind the grant is the bug.
                Err(Errno::EPERM) if self.bug == Bug::OddLengthRoundsUp => {
                    memory.memory(*grant, 0, taken - 1, access)?
                }
                other => other?,
            };
            let start = match self.bug {
                Bug::OddAddressIsRounded => start.map_addr(|address| address & !1),
                _ => start,
            };
            ranges.push((start, taken as usize));
        }
        if writes || self.bug != Bug::ReadsNothing {
            self.copy(writes, at, &ranges);
        }
        Ok(moved)
    }

    /// Copies between the disk and memory, byte by byte, as a device does that has one range after the other.
    fn copy(&mut self, writes: bool, at: u64, ranges: &[(*mut u8, usize)]) {
        let mut sector = at / 512;
        let mut offset = 0;
        let mut content = self.disk.read(sector);
        for &(start, bytes) in ranges {
            let mut done = 0;
            while done < bytes {
                let part = (512 - offset).min(bytes - done);
                // SAFETY: the client has granted the memory; where a bug goes beyond, there is more of the same mapping.
                unsafe {
                    let memory = start.add(done);
                    if writes {
                        memory.copy_to_nonoverlapping(content.as_mut_ptr().add(offset), part);
                    } else {
                        memory.copy_from_nonoverlapping(content.as_ptr().add(offset), part);
                    }
                }
                done += part;
                offset += part;
                if offset == 512 {
                    if writes {
                        self.disk.write(sector, &content);
                    }
                    sector += 1;
                    offset = 0;
                    if sector < self.disk.sectors {
                        content = self.disk.read(sector);
                    }
                }
            }
            if self.bug == Bug::LastByteTooMuch && !writes {
                // SAFETY: as above.
                unsafe { start.add(bytes).write(0) };
            }
            if self.bug == Bug::FirstByteTooEarly && !writes {
                // SAFETY: as above.
                unsafe { start.sub(1).write(0) };
            }
            if self.bug == Bug::DisturbsMemoryOnWrites && writes {
                // SAFETY: as above.
                unsafe { start.write(!start.read()) };
            }
        }
    }
}
