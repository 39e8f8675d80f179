//! Carrying requests out.

use std::io::Write;

use vm_memory::{Bytes, GuestAddress};

use crate::config::Limits;
use crate::device::Device;
use crate::disk::noise;
use crate::request::{Range, Request};
use crate::ring::Taken;
use crate::wire::{SECTOR, answer, feature, kind};

/// The data for the driver, or the status.
type RequestResult = Result<Vec<u8>, u8>;

const DONE: RequestResult = Ok(Vec::new());

impl Device {
    /// Carries a request out; `half` stops after half of the ranges, or of the sectors written. Returns the status and the
    /// bytes of data that were written for the driver.
    pub(crate) fn execute(&mut self, request: &Request, taken: &Taken, half: bool) -> (u8, u32) {
        let outcome = match request.kind {
            kind::IN => self.read_disk(request),
            kind::OUT => self.write_disk(request, half),
            kind::FLUSH if self.accepts(feature::FLUSH) => {
                self.disk.flush();
                DONE
            }
            kind::GET_ID => Ok(self.config.id.to_vec()),
            kind::GET_LIFETIME if self.accepts(feature::LIFETIME) => Ok(self
                .config
                .lifetime
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect()),
            kind::DISCARD if self.accepts(feature::DISCARD) => self.change_ranges(request, self.config.discard, half),
            kind::WRITE_ZEROES if self.accepts(feature::WRITE_ZEROES) => {
                self.change_ranges(request, self.config.write_zeroes, half)
            }
            kind::SECURE_ERASE if self.accepts(feature::SECURE_ERASE) => {
                self.change_ranges(request, self.config.secure_erase, half)
            }
            kind::ZONE_APPEND..=kind::ZONE_RESET_ALL if self.accepts(feature::ZONED) => self.zone_request(request),
            _ => Err(answer::UNSUPP),
        };
        let mut data = match outcome {
            Ok(data) => data,
            Err(status) => return (status, 0),
        };
        data.truncate(request.room as usize);
        if self.write_answer(taken, 0, &data) {
            (answer::OK, data.len() as u32)
        } else {
            (answer::IOERR, 0)
        }
    }

    /// Writes into the writable part, `skip` bytes from its start.
    pub(crate) fn write_answer(&self, taken: &Taken, skip: u64, bytes: &[u8]) -> bool {
        let writer = taken.chain.clone().writer(&self.memory);
        let place = writer.and_then(|mut writer| writer.split_at(skip as usize));
        place.is_ok_and(|mut place| place.write_all(bytes).is_ok())
    }

    /// Writes the status into the last writable byte, or where a device that knows one data descriptor only expects it.
    pub(crate) fn write_status_byte(&mut self, taken: &Taken, status: u8) {
        if self.config.one_data_descriptor {
            let place = taken.walk.elements.get(2).or(taken.walk.elements.get(1));
            if let Some(place) = place.filter(|place| place.writable) {
                let _ = self.memory.write_obj(status, GuestAddress(place.addr));
            }
            return;
        }
        // Memory that is not there was reported when the chain was taken.
        let _ = self.write_answer(taken, taken.walk.total(true) - 1, &[status]);
    }

    /// Whether a completed write can be lost (`BLK-N-13`, `BLK-N-15`).
    fn volatile(&self) -> bool {
        if self.accepts(feature::CONFIG_WCE) {
            self.writeback
        } else if self.accepts(feature::FLUSH) {
            true
        } else {
            self.config.write_cache && !self.config.offers(feature::FLUSH)
        }
    }

    fn check_transfer(&self, sector: u64, bytes: u64) -> Result<(), u8> {
        let count = bytes / SECTOR;
        let possible = bytes.is_multiple_of(SECTOR) && self.on_disk(sector, count) && self.whole_blocks(sector, count);
        if possible { Ok(()) } else { Err(answer::IOERR) }
    }

    fn read_disk(&mut self, request: &Request) -> RequestResult {
        let (sector, count) = (request.sector, request.room / SECTOR);
        self.check_transfer(sector, request.room)?;
        let mut data = self.disk.read_many(sector, count);
        if self.accepts(feature::ZONED) {
            self.zones.read(sector, count)?;
            for (sector, content) in (sector..).zip(data.as_chunks_mut::<512>().0) {
                if self.zones.is_unwritten(sector) {
                    *content = noise(sector);
                }
            }
        }
        Ok(data)
    }

    fn write_disk(&mut self, request: &Request, half: bool) -> RequestResult {
        if self.config.offers(feature::RO) {
            return Err(answer::IOERR);
        }
        let sectors = request.data.len() / SECTOR as usize;
        let part = if half { sectors / 2 } else { sectors };
        self.check_transfer(request.sector, request.data.len() as u64)?;
        if self.accepts(feature::ZONED) {
            self.zones.write(request.sector, sectors as u64, part as u64)?;
        }
        self.store(request.sector, &request.data[..part * SECTOR as usize]);
        DONE
    }

    fn store(&mut self, sector: u64, data: &[u8]) {
        let durable = !self.volatile();
        self.disk.write_many(sector, data, durable);
    }

    fn zone_request(&mut self, request: &Request) -> RequestResult {
        match request.kind {
            kind::ZONE_REPORT => self.zones.report(request.sector, request.room),
            kind::ZONE_APPEND => {
                let sector = self.zones.append(request.sector, request.data.len() as u64)?;
                self.store(sector, &request.data);
                Ok(sector.to_le_bytes().to_vec())
            }
            kind => self.zones.manage(kind, request.sector).and(DONE),
        }
    }

    fn change_ranges(&mut self, request: &Request, limits: Limits, half: bool) -> RequestResult {
        let (kind, ranges) = (request.kind, request.ranges());
        let legal = u32::from(kind == kind::WRITE_ZEROES);
        let well_formed = !ranges.is_empty() && request.data.len().is_multiple_of(16);
        let few = ranges.len() as u64 <= u64::from(limits.segments());
        if !well_formed || !few || ranges.iter().any(|r| r.flags & !legal != 0) {
            return Err(answer::UNSUPP);
        }
        let fits = |range: &Range| {
            let short = range.count <= limits.sectors();
            short
                && self
                    .check_transfer(range.sector, u64::from(range.count) * SECTOR)
                    .is_ok()
        };
        if self.config.offers(feature::RO) || !ranges.iter().all(fits) {
            return Err(answer::IOERR);
        }
        let part = if half { ranges.len() / 2 } else { ranges.len() };
        let durable = !self.volatile();
        for &Range { sector, count, .. } in &ranges[..part] {
            if self.accepts(feature::ZONED) && kind == kind::SECURE_ERASE {
                self.zones.erase(sector, count.into())?;
            } else if self.accepts(feature::ZONED) && self.zones.in_order_only(sector, count.into()) {
                return Err(answer::ZONE_INVALID_CMD);
            }
            for sector in sector..sector + u64::from(count) {
                // A discarded or erased sector reads as noise, so that a driver that relies on its content fails.
                let content = if kind == kind::WRITE_ZEROES {
                    [0; 512]
                } else {
                    noise(sector)
                };
                self.disk.write(sector, &content, durable);
            }
        }
        DONE
    }
}
