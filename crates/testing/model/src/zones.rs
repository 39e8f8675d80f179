//! Zones and their states, as VirtIO 1.4 has them in "Block Device / Device Operation".

use crate::config::{ModelConfig, Zones};
use crate::violation::Log;
use crate::wire::{SECTOR, answer, feature, kind};

/// Zone states by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZoneState {
    NotWritePointer = 0,
    Empty = 1,
    ImplicitlyOpen = 2,
    ExplicitlyOpen = 3,
    Closed = 4,
    ReadOnly = 13,
    Full = 14,
    Offline = 15,
}

impl ZoneState {
    fn open(self) -> bool {
        matches!(self, Self::ImplicitlyOpen | Self::ExplicitlyOpen)
    }

    fn active(self) -> bool {
        self.open() || self == Self::Closed
    }

    /// Whether zones in this state have a write pointer, and can be written at it.
    fn writable(self) -> bool {
        self.active() || self == Self::Empty
    }
}

/// How a zone fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneFailure {
    /// It can only be read from now on.
    ReadOnly,
    /// It can neither be read nor written from now on.
    Offline,
}

#[derive(Clone, Copy)]
struct Zone {
    start: u64,
    end: u64,
    /// The end of the sectors that can be written.
    writable_end: u64,
    /// The end of the written sectors, also in a zone that was finished early.
    pointer: u64,
    state: ZoneState,
}

impl Zone {
    fn conventional(&self) -> bool {
        self.state == ZoneState::NotWritePointer
    }

    /// Whether `count` more sectors fit in from the write pointer on.
    fn has_room(&self, count: u64) -> bool {
        self.state.writable() && self.pointer + count <= self.writable_end
    }

    fn reset(&mut self) {
        self.pointer = self.start;
        self.state = ZoneState::Empty;
    }
}

/// All zones of the device.
pub(crate) struct ZoneTable {
    config: Zones,
    zones: Vec<Zone>,
}

impl ZoneTable {
    /// The last zone may be short (`BLK-N-21`).
    pub(crate) fn new(model: &ModelConfig) -> Self {
        let config = model.zones;
        let size = u64::from(config.zone_sectors);
        let zone = |i: u64| {
            let end = (i * size + size).min(model.capacity);
            Zone {
                start: i * size,
                end,
                writable_end: end.min(i * size + u64::from(config.zone_capacity)),
                pointer: i * size,
                state: if i < u64::from(config.conventional) {
                    ZoneState::NotWritePointer
                } else {
                    ZoneState::Empty
                },
            }
        };
        let zoned = model.offers(feature::ZONED) && config.model != 0;
        let count = model.capacity.div_ceil(size.max(1));
        let zones = if zoned && size > 0 {
            (0..count).map(zone).collect()
        } else {
            Vec::new()
        };
        Self { config, zones }
    }

    fn at(&self, sector: u64) -> Option<usize> {
        self.zones
            .iter()
            .position(|zone| (zone.start..zone.end).contains(&sector))
    }

    fn granularity(&self) -> u64 {
        u64::from(self.config.write_granularity).max(1)
    }

    fn host_managed(&self) -> bool {
        self.config.model == 1
    }

    pub(crate) fn fail(&mut self, sector: u64, failure: ZoneFailure) {
        let index = self.at(sector).expect("there is a zone");
        self.zones[index].state = match failure {
            ZoneFailure::ReadOnly => ZoneState::ReadOnly,
            ZoneFailure::Offline => ZoneState::Offline,
        };
    }

    /// Reports a request that the driver must not make (`BLK-D-28` to `BLK-D-38`).
    pub(crate) fn check(&self, kind: u32, sector: u64, bytes: u64, log: &mut Log) {
        let zone = self.at(sector).map(|i| self.zones[i]);
        let at_start = zone.is_some_and(|zone| zone.start == sector);
        let not_first = format_args!("sector {sector} is not the first of a zone");
        let too_long = format_args!("a write or append of {bytes} bytes at sector {sector}");
        match kind {
            kind::ZONE_REPORT => log.require(zone.is_some(), "BLK-D-28", "a report from a sector in no zone"),
            kind::ZONE_OPEN | kind::ZONE_CLOSE | kind::ZONE_FINISH | kind::ZONE_RESET => {
                log.require(at_start, "BLK-D-30", not_first);
            }
            kind::ZONE_APPEND => {
                log.require(at_start, "BLK-D-32", not_first);
                log.require(bytes.is_multiple_of(self.granularity()), "BLK-D-33", too_long);
                let limit = u64::from(self.config.max_append_sectors) * SECTOR;
                log.require(bytes <= limit, "BLK-D-34", too_long);
            }
            _ => (),
        }
        let Some(zone) = zone.filter(|zone| matches!(kind, kind::OUT | kind::ZONE_APPEND) && !zone.conventional())
        else {
            return;
        };
        log.require(bytes.is_multiple_of(self.granularity()), "BLK-D-36", too_long);
        let aligned = (sector * SECTOR).is_multiple_of(self.granularity());
        log.require(aligned, "BLK-D-37", too_long);
        let room = zone.has_room(bytes / SECTOR) || !zone.state.writable();
        let inside = kind != kind::OUT || sector + bytes / SECTOR <= zone.writable_end;
        log.require(room && inside, "BLK-D-38", too_long);
    }

    /// The status of a transfer that has sectors in several zones, one of them sequential (`BLK-N-31`).
    fn check_span(&self, sector: u64, count: u64) -> Result<Option<usize>, u8> {
        let (first, last) = (self.at(sector), self.at(sector + count.max(1) - 1));
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(None);
        };
        let zones = &self.zones[first..=last];
        let several = zones.len() > 1 && zones.iter().any(|zone| !zone.conventional());
        let offline = zones.iter().any(|zone| zone.state == ZoneState::Offline);
        if several || offline {
            Err(answer::ZONE_INVALID_CMD)
        } else {
            Ok(Some(first))
        }
    }

    /// The status of a read (`BLK-N-32`).
    pub(crate) fn read(&self, sector: u64, count: u64) -> Result<(), u8> {
        self.check_span(sector, count)?;
        let unwritten = (sector..sector + count).any(|sector| self.is_unwritten(sector));
        if unwritten && self.config.unwritten_reads_fail {
            return Err(answer::ZONE_INVALID_CMD);
        }
        Ok(())
    }

    /// Whether a sector of a sequential zone has no content.
    pub(crate) fn is_unwritten(&self, sector: u64) -> bool {
        let zone = self.at(sector).map(|i| &self.zones[i]);
        zone.is_some_and(|zone| !zone.conventional() && sector >= zone.pointer)
    }

    /// The status of a write, `done` sectors of which are carried out.
    pub(crate) fn write(&mut self, sector: u64, count: u64, done: u64) -> Result<(), u8> {
        let Some(index) = self.check_span(sector, count)? else {
            return Ok(());
        };
        let zone = self.zones[index];
        if zone.conventional() {
            return Ok(());
        }
        if !zone.has_room(count) {
            return Err(answer::ZONE_INVALID_CMD);
        }
        let aligned = ((sector + count) * SECTOR).is_multiple_of(self.granularity());
        if self.host_managed() && (sector != zone.pointer || !aligned) {
            return Err(answer::ZONE_UNALIGNED_WP);
        }
        self.advance(index, (sector + done).max(zone.pointer))
    }

    /// The status of an append, or the sector at which it is carried out.
    pub(crate) fn append(&mut self, sector: u64, bytes: u64) -> Result<u64, u8> {
        let limit = u64::from(self.config.max_append_sectors);
        if limit == 0 {
            return Err(answer::UNSUPP);
        }
        let index = self.at(sector).ok_or(answer::ZONE_INVALID_CMD)?;
        let (zone, count) = (self.zones[index], bytes / SECTOR);
        let misplaced = zone.start != sector || !self.host_managed() || !zone.has_room(count);
        if misplaced || count == 0 || !bytes.is_multiple_of(self.granularity().max(SECTOR)) || count > limit {
            return Err(answer::ZONE_INVALID_CMD);
        }
        self.advance(index, zone.pointer + count)?;
        Ok(zone.pointer)
    }

    /// Opens a zone for a write, if the limits allow it, and moves its pointer.
    fn advance(&mut self, index: usize, pointer: u64) -> Result<(), u8> {
        if !self.zones[index].state.open() {
            self.open(index, ZoneState::ImplicitlyOpen)?;
        }
        let zone = &mut self.zones[index];
        zone.pointer = pointer;
        if zone.pointer == zone.writable_end {
            zone.state = ZoneState::Full;
        }
        Ok(())
    }

    /// Opens a zone. If both limits are hit, the status is that of active zones (`BLK-N-25`).
    fn open(&mut self, index: usize, state: ZoneState) -> Result<(), u8> {
        let count = |which: fn(ZoneState) -> bool| self.zones.iter().filter(|zone| which(zone.state)).count() as u32;
        let (limits, old) = (self.config, self.zones[index].state);
        if limits.max_active > 0 && !old.active() && count(ZoneState::active) >= limits.max_active {
            return Err(answer::ZONE_ACTIVE_RESOURCE);
        }
        if limits.max_open > 0 && !old.open() && count(ZoneState::open) >= limits.max_open {
            // The device closes a zone that was opened by a write (`BLK-N-35`).
            let mut zones = self.zones.iter_mut();
            let implicit = zones.find(|zone| zone.state == ZoneState::ImplicitlyOpen);
            implicit.ok_or(answer::ZONE_OPEN_RESOURCE)?.state = ZoneState::Closed;
        }
        self.zones[index].state = state;
        Ok(())
    }

    /// Open, close, finish or reset.
    pub(crate) fn manage(&mut self, kind: u32, sector: u64) -> Result<(), u8> {
        if kind == kind::ZONE_RESET_ALL {
            let active = |zone: &&mut Zone| zone.state.active() || zone.state == ZoneState::Full;
            self.zones.iter_mut().filter(active).for_each(Zone::reset);
            return Ok(());
        }
        let index = self.at(sector).ok_or(answer::ZONE_INVALID_CMD)?;
        let zone = &mut self.zones[index];
        if zone.start != sector {
            return Err(answer::ZONE_INVALID_CMD);
        }
        match (kind, zone.state) {
            (kind::ZONE_RESET, state) if state.writable() || state == ZoneState::Full => zone.reset(),
            (kind::ZONE_OPEN, state) if state.writable() => self.open(index, ZoneState::ExplicitlyOpen)?,
            (kind::ZONE_CLOSE, ZoneState::ExplicitlyOpen) if zone.pointer == zone.start => zone.reset(),
            (kind::ZONE_CLOSE, state) if state.active() => zone.state = ZoneState::Closed,
            (kind::ZONE_FINISH, state) if state.open() || state == ZoneState::Full => zone.state = ZoneState::Full,
            _ => return Err(answer::ZONE_INVALID_CMD),
        }
        Ok(())
    }

    /// Resets the sequential zones of a range that is erased (`BLK-N-36`).
    pub(crate) fn erase(&mut self, sector: u64, count: u64) -> Result<(), u8> {
        let erased = |zone: &&Zone| (sector..sector + count).contains(&zone.start) && !zone.conventional();
        let starts: Vec<u64> = self.zones.iter().filter(erased).map(|zone| zone.start).collect();
        starts
            .into_iter()
            .try_for_each(|start| self.manage(kind::ZONE_RESET, start))
    }

    /// Whether a range has sectors that can only be written in order.
    pub(crate) fn in_order_only(&self, sector: u64, count: u64) -> bool {
        let overlaps = |zone: &Zone| zone.start < sector + count && sector < zone.end;
        self.host_managed() && self.zones.iter().any(|zone| overlaps(zone) && !zone.conventional())
    }

    /// A report of the zones from the one of `sector` on: as many complete descriptors as fit into `room` bytes
    /// (`BLK-N-24`).
    pub(crate) fn report(&self, sector: u64, room: u64) -> Result<Vec<u8>, u8> {
        let first = self.at(sector).ok_or(answer::ZONE_INVALID_CMD)?;
        let room = room.checked_sub(64).ok_or(answer::ZONE_INVALID_CMD)?;
        let zones: Vec<&Zone> = self.zones[first..].iter().take(room as usize / 64).collect();
        let mut report = vec![0; 64];
        report[..8].copy_from_slice(&(zones.len() as u64).to_le_bytes());
        for zone in zones {
            // A pointer that means nothing is told to be anywhere (`BLK-N-26`).
            let pointer = if zone.state.writable() { zone.pointer } else { u64::MAX };
            for word in [zone.writable_end - zone.start, zone.start, pointer] {
                report.extend(word.to_le_bytes());
            }
            let kind = match (zone.conventional(), self.host_managed()) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            report.extend([kind, zone.state as u8]);
            report.resize(report.len() + 38, 0);
        }
        Ok(report)
    }
}
