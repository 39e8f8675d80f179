//! Zones: a plain model of sequential zones with their states.

use crate::config::ModelConfig;
use crate::device::Device;
use crate::request::Request;
use crate::wire::{SECTOR, answer, feature, kind};

/// Zone states by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZoneState {
    NotWritePointer = 0,
    Empty = 1,
    ImplicitlyOpen = 2,
    ExplicitlyOpen = 3,
    Closed = 4,
    Full = 14,
}

impl ZoneState {
    fn open(self) -> bool {
        matches!(self, Self::ImplicitlyOpen | Self::ExplicitlyOpen)
    }

    fn active(self) -> bool {
        self.open() || self == Self::Closed
    }
}

#[derive(Clone, Copy)]
struct Zone {
    start: u64,
    sectors: u64,
    pointer: u64,
    state: ZoneState,
}

impl Zone {
    fn end(&self) -> u64 {
        self.start + self.sectors
    }

    fn conventional(&self) -> bool {
        self.state == ZoneState::NotWritePointer
    }
}

/// All zones of the device.
#[derive(Default)]
pub(crate) struct ZoneTable(Vec<Zone>);

impl ZoneTable {
    /// The last zone may be short (`BLK-N-21`).
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let size = u64::from(config.zones.zone_sectors);
        if !config.offers(feature::ZONED) || size == 0 || config.zones.model == 0 {
            return Self::default();
        }
        let count = config.capacity.div_ceil(size);
        let zone = |i: u64| Zone {
            start: i * size,
            sectors: size.min(config.capacity - i * size),
            pointer: i * size,
            state: if i < u64::from(config.zones.conventional) {
                ZoneState::NotWritePointer
            } else {
                ZoneState::Empty
            },
        };
        Self((0..count).map(zone).collect())
    }

    fn at(&self, sector: u64) -> Option<usize> {
        self.0
            .iter()
            .position(|zone| (zone.start..zone.end()).contains(&sector))
    }

    fn count(&self, which: impl Fn(ZoneState) -> bool) -> u32 {
        self.0.iter().filter(|zone| which(zone.state)).count() as u32
    }
}

impl Device {
    /// What the driver may not do with zones (`BLK-D-28` to `BLK-D-38`).
    pub(crate) fn check_zone_request(&mut self, request: &Request) {
        let sector = request.sector;
        let zone = self.zones.at(sector).map(|i| self.zones.0[i]);
        match request.kind {
            kind::ZONE_REPORT if zone.is_none() => {
                self.log.report(
                    "BLK-D-28",
                    format!("a report from sector {sector}, which is in no zone"),
                );
            }
            kind::ZONE_OPEN | kind::ZONE_CLOSE | kind::ZONE_FINISH | kind::ZONE_RESET
                if zone.is_none_or(|zone| zone.start != sector) =>
            {
                self.log
                    .report("BLK-D-30", format!("sector {sector} is not the first of a zone"));
            }
            kind::ZONE_APPEND => {
                let bytes = request.data.len() as u64;
                let granularity = u64::from(self.config.zones.write_granularity).max(1);
                if zone.is_none_or(|zone| zone.start != sector) {
                    self.log.report(
                        "BLK-D-32",
                        format!("an append at sector {sector}, not the first of a zone"),
                    );
                }
                if !bytes.is_multiple_of(granularity) {
                    self.log.report("BLK-D-33", format!("an append of {bytes} bytes"));
                }
                if bytes > u64::from(self.config.zones.max_append_sectors) * SECTOR {
                    self.log.report("BLK-D-34", format!("an append of {bytes} bytes"));
                }
            }
            _ => (),
        }
    }

    /// Moves the write pointer for a write of `bytes` at `sector`; the status.
    pub(crate) fn zone_write(&mut self, sector: u64, bytes: u64) -> u8 {
        let Some(index) = self.zones.at(sector) else {
            return answer::OK;
        };
        let zone = self.zones.0[index];
        let count = bytes / SECTOR;
        if zone.conventional() || self.config.zones.model != 1 {
            return answer::OK;
        }
        let granularity = u64::from(self.config.zones.write_granularity).max(1);
        if !bytes.is_multiple_of(granularity) {
            self.log
                .report("BLK-D-36", format!("a write of {bytes} bytes to a sequential zone"));
        }
        if !(sector * SECTOR).is_multiple_of(granularity) {
            self.log
                .report("BLK-D-37", format!("a write at sector {sector} of a sequential zone"));
        }
        if sector + count > zone.end() {
            self.log.report(
                "BLK-D-38",
                format!("a write of {count} sectors at {sector}, past the end of its zone"),
            );
            return answer::ZONE_INVALID_CMD;
        }
        if zone.state == ZoneState::Full {
            return answer::ZONE_INVALID_CMD;
        }
        if sector != zone.pointer {
            return answer::ZONE_UNALIGNED_WP;
        }
        self.advance(index, count)
    }

    /// Opens a zone for a write, if the limits allow it, and moves its pointer.
    fn advance(&mut self, index: usize, count: u64) -> u8 {
        if !self.zones.0[index].state.open() {
            let status = self.open_zone(index, ZoneState::ImplicitlyOpen);
            if status != answer::OK {
                return status;
            }
        }
        let zone = &mut self.zones.0[index];
        zone.pointer += count;
        if zone.pointer == zone.end() {
            zone.state = ZoneState::Full;
        }
        answer::OK
    }

    /// If both limits are hit, the one on active zones is told (`BLK-N-25`).
    fn open_zone(&mut self, index: usize, state: ZoneState) -> u8 {
        let limits = self.config.zones;
        let old = self.zones.0[index].state;
        if limits.max_active > 0 && !old.active() && self.zones.count(ZoneState::active) >= limits.max_active {
            return answer::ZONE_ACTIVE_RESOURCE;
        }
        if limits.max_open > 0 && !old.open() && self.zones.count(ZoneState::open) >= limits.max_open {
            // Pressure closes a zone nobody asked to keep open.
            let victim = self
                .zones
                .0
                .iter()
                .position(|zone| zone.state == ZoneState::ImplicitlyOpen);
            let Some(victim) = victim else {
                return answer::ZONE_OPEN_RESOURCE;
            };
            self.zones.0[victim].state = ZoneState::Closed;
        }
        self.zones.0[index].state = state;
        answer::OK
    }

    /// Requests of the zoned set; the status and what is written for the driver.
    pub(crate) fn zone_request(&mut self, request: &Request) -> (u8, Vec<u8>) {
        if request.kind == kind::ZONE_RESET_ALL {
            for index in 0..self.zones.0.len() {
                self.reset_zone(index);
            }
            return (answer::OK, Vec::new());
        }
        let Some(index) = self.zones.at(request.sector) else {
            return (answer::ZONE_INVALID_CMD, Vec::new());
        };
        match request.kind {
            kind::ZONE_REPORT => self.report_zones(index, request.room),
            kind::ZONE_APPEND => self.append(index, request),
            _ => (self.manage_zone(index, request), Vec::new()),
        }
    }

    fn manage_zone(&mut self, index: usize, request: &Request) -> u8 {
        let zone = self.zones.0[index];
        if zone.conventional() || zone.start != request.sector {
            return answer::ZONE_INVALID_CMD;
        }
        let next = match (request.kind, zone.state) {
            (kind::ZONE_RESET, _) => {
                self.reset_zone(index);
                return answer::OK;
            }
            (kind::ZONE_OPEN, state) if state != ZoneState::Full => {
                return self.open_zone(index, ZoneState::ExplicitlyOpen);
            }
            (kind::ZONE_CLOSE, state) if state.active() => {
                let unwritten = zone.pointer == zone.start && state == ZoneState::ExplicitlyOpen;
                if unwritten { ZoneState::Empty } else { ZoneState::Closed }
            }
            (kind::ZONE_FINISH, state) if state != ZoneState::Empty => ZoneState::Full,
            _ => return answer::ZONE_INVALID_CMD,
        };
        self.zones.0[index].state = next;
        answer::OK
    }

    fn reset_zone(&mut self, index: usize) {
        let zone = &mut self.zones.0[index];
        if !zone.conventional() {
            zone.pointer = zone.start;
            zone.state = ZoneState::Empty;
        }
    }

    fn append(&mut self, index: usize, request: &Request) -> (u8, Vec<u8>) {
        let zone = self.zones.0[index];
        let bytes = request.data.len() as u64;
        let limit = u64::from(self.config.zones.max_append_sectors);
        if limit == 0 {
            return (answer::UNSUPP, Vec::new());
        }
        let misplaced = zone.conventional() || zone.state == ZoneState::Full || zone.start != request.sector;
        let count = bytes / SECTOR;
        if misplaced || !bytes.is_multiple_of(SECTOR) || count > limit || zone.pointer + count > zone.end() {
            return (answer::ZONE_INVALID_CMD, Vec::new());
        }
        let status = self.advance(index, count);
        if status != answer::OK {
            return (status, Vec::new());
        }
        self.store(zone.pointer, &request.data);
        (answer::OK, zone.pointer.to_le_bytes().to_vec())
    }

    /// As many complete descriptors as there is room for (`BLK-N-24`).
    fn report_zones(&self, first: usize, room: u64) -> (u8, Vec<u8>) {
        let Some(fitting) = room.checked_sub(64).map(|rest| rest / 64) else {
            return (answer::ZONE_INVALID_CMD, Vec::new());
        };
        let zones: Vec<&Zone> = self.zones.0[first..].iter().take(fitting as usize).collect();
        let mut report = vec![0; 64];
        report[..8].copy_from_slice(&(zones.len() as u64).to_le_bytes());
        for zone in zones {
            let mut descriptor = [0; 64];
            descriptor[0..8].copy_from_slice(&zone.sectors.to_le_bytes());
            descriptor[8..16].copy_from_slice(&zone.start.to_le_bytes());
            descriptor[16..24].copy_from_slice(&zone.pointer.to_le_bytes());
            descriptor[24] = match (zone.conventional(), self.config.zones.model) {
                (true, _) => 1,
                (false, 1) => 2,
                (false, _) => 3,
            };
            descriptor[25] = zone.state as u8;
            report.extend(descriptor);
        }
        (answer::OK, report)
    }
}
