//! Carrying requests out.

use std::io::Write;

use vm_memory::{Bytes, GuestAddress};

use crate::config::Limits;
use crate::device::Device;
use crate::disk::noise;
use crate::request::{Range, Request};
use crate::ring::Taken;
use crate::wire::{SECTOR, answer, feature, kind};

impl Device {
    /// Does what a request asks for; `half` stops after half of the ranges, or of the sectors written. Returns the status and how many bytes of
    /// data were written for the driver.
    pub(crate) fn execute(&mut self, request: &Request, taken: &Taken, half: bool) -> (u8, u32) {
        let (status, data) = match request.kind {
            kind::IN => self.read_disk(request),
            kind::OUT => (self.write_disk(request, half), Vec::new()),
            kind::FLUSH if self.accepts(feature::FLUSH) => {
                self.disk.flush();
                (answer::OK, Vec::new())
            }
            kind::GET_ID => (answer::OK, self.config.id.to_vec()),
            kind::GET_LIFETIME if self.accepts(feature::LIFETIME) => {
                let bytes = self.config.lifetime.iter().flat_map(|word| word.to_le_bytes());
                (answer::OK, bytes.collect())
            }
            kind::DISCARD if self.accepts(feature::DISCARD) => {
                (self.change_ranges(request, self.config.discard, half), Vec::new())
            }
            kind::WRITE_ZEROES if self.accepts(feature::WRITE_ZEROES) => {
                (self.change_ranges(request, self.config.write_zeroes, half), Vec::new())
            }
            kind::SECURE_ERASE if self.accepts(feature::SECURE_ERASE) => {
                (self.change_ranges(request, self.config.secure_erase, half), Vec::new())
            }
            kind::ZONE_APPEND..=kind::ZONE_RESET_ALL if self.accepts(feature::ZONED) => self.zone_request(request),
            _ => (answer::UNSUPP, Vec::new()),
        };
        let written = data.len().min(request.room as usize);
        if written > 0 {
            let writer = taken.chain.clone().writer(&self.memory);
            let done = writer
                .ok()
                .and_then(|mut writer| writer.write_all(&data[..written]).ok());
            if done.is_none() {
                return (answer::IOERR, 0);
            }
        }
        if request.kind == kind::IN {
            self.counters.bytes_read += written as u64;
        }
        (status, written as u32)
    }

    /// Puts the status into the last writable byte, or where a device takes it for that knows one data descriptor only.
    pub(crate) fn write_status_byte(&mut self, taken: &Taken, status: u8) {
        if self.config.one_data_descriptor {
            // It was checked to be there.
            if let Some(place) = taken.walk.elements.get(2).or(taken.walk.elements.get(1)) {
                let _ = self.memory.write_obj(status, GuestAddress(place.addr));
            }
            return;
        }
        let room = taken.walk.total(true) as usize - 1;
        let writer = taken.chain.clone().writer(&self.memory);
        let tail = writer.ok().and_then(|mut writer| writer.split_at(room).ok());
        // Memory that is not there was reported when the chain was taken.
        let _ = tail.map(|mut tail| tail.write_all(&[status]));
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

    fn transferable(&self, sector: u64, bytes: u64) -> bool {
        let count = bytes / SECTOR;
        bytes.is_multiple_of(SECTOR) && self.on_disk(sector, count) && self.whole_blocks(sector, count)
    }

    fn read_disk(&mut self, request: &Request) -> (u8, Vec<u8>) {
        if !self.transferable(request.sector, request.room) {
            return (answer::IOERR, Vec::new());
        }
        (answer::OK, self.disk.read_many(request.sector, request.room / SECTOR))
    }

    fn write_disk(&mut self, request: &Request, half: bool) -> u8 {
        if self.config.offers(feature::RO) || !self.transferable(request.sector, request.data.len() as u64) {
            return answer::IOERR;
        }
        if self.accepts(feature::ZONED) {
            let status = self.zone_write(request.sector, request.data.len() as u64);
            if status != answer::OK {
                return status;
            }
        }
        let sectors = request.data.len() / SECTOR as usize;
        let part = if half { sectors / 2 } else { sectors };
        self.store(request.sector, &request.data[..part * SECTOR as usize]);
        answer::OK
    }

    pub(crate) fn store(&mut self, sector: u64, data: &[u8]) {
        let durable = !self.volatile();
        self.disk.write_many(sector, data, durable);
        self.counters.bytes_written += data.len() as u64;
    }

    fn change_ranges(&mut self, request: &Request, limits: Limits, half: bool) -> u8 {
        let ranges = request.ranges();
        if ranges.is_empty() || !request.data.len().is_multiple_of(16) {
            return answer::UNSUPP;
        }
        let legal = u32::from(request.kind == kind::WRITE_ZEROES);
        if ranges.len() as u64 > u64::from(limits.segments()) || ranges.iter().any(|r| r.flags & !legal != 0) {
            return answer::UNSUPP;
        }
        let fits = |range: &Range| {
            let count = u64::from(range.count);
            range.count <= limits.sectors()
                && self.on_disk(range.sector, count)
                && self.whole_blocks(range.sector, count)
        };
        if self.config.offers(feature::RO) || !ranges.iter().all(fits) {
            return answer::IOERR;
        }
        let part = if half { ranges.len() / 2 } else { ranges.len() };
        let durable = !self.volatile();
        for range in &ranges[..part] {
            for sector in range.sector..range.sector + u64::from(range.count) {
                // Whoever relies on what a discarded or erased sector reads as, reads noise.
                let content = if request.kind == kind::WRITE_ZEROES {
                    [0; 512]
                } else {
                    noise(sector)
                };
                self.disk.write(sector, &content, durable);
            }
        }
        answer::OK
    }
}
