//! Requests: reading them, and what the driver may not ask for.

use std::io::Read;

use vm_memory::{Bytes, GuestAddress};

use crate::chain::Element;
use crate::config::Limits;
use crate::device::Device;
use crate::faults::RequestInfo;
use crate::ring::Taken;
use crate::wire::{SECTOR, feature, kind};

/// A request as it was read.
pub(crate) struct Request {
    pub(crate) kind: u32,
    pub(crate) sector: u64,
    /// The readable part behind the header.
    pub(crate) data: Vec<u8>,
    /// Bytes of the writable part before the status.
    pub(crate) room: u64,
}

/// One range of a discard, write-zeroes or erase request.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) sector: u64,
    pub(crate) count: u32,
    pub(crate) flags: u32,
}

impl Request {
    pub(crate) fn ranges(&self) -> Vec<Range> {
        let (segments, _) = self.data.as_chunks::<16>();
        let range = |s: &[u8; 16]| Range {
            sector: u64::from_le_bytes(s[0..8].try_into().expect("8 bytes")),
            count: u32::from_le_bytes(s[8..12].try_into().expect("4 bytes")),
            flags: u32::from_le_bytes(s[12..16].try_into().expect("4 bytes")),
        };
        segments.iter().map(range).collect()
    }

    /// Bytes that move to or from the disk.
    pub(crate) fn transfer(&self) -> u64 {
        if self.kind == kind::IN {
            self.room
        } else {
            self.data.len() as u64
        }
    }
}

impl Device {
    /// Reads a request and looks at it. `None` if it has no header or no place for a status: a device cannot go on
    /// from that (`BLK-N-05`).
    pub(crate) fn parse(&mut self, number: u64, queue: u16, taken: &Taken) -> Option<(RequestInfo, Request)> {
        let (readable, writable) = (taken.walk.total(false), taken.walk.total(true));
        if readable < 16 || writable < 1 {
            let what = format!("a request with {readable} readable and {writable} writable bytes");
            self.log.report("BLK-N-05", what);
            return None;
        }
        let mut reader = taken.chain.clone().reader(&self.memory).ok()?;
        let mut header = [0; 16];
        reader.read_exact(&mut header).ok()?;
        let mut data = Vec::new();
        reader.read_to_end(&mut data).ok()?;
        let mut room = writable - 1;
        if self.config.one_data_descriptor {
            // The rest is not looked at.
            let elements = &taken.walk.elements;
            let seen = if elements.len() > 2 {
                elements[1]
            } else {
                Element::default()
            };
            let (readable, writable) = if seen.writable { (0, seen.len) } else { (seen.len, 0) };
            data.truncate(readable as usize);
            room = u64::from(writable);
        }
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let mut kind = word(0);
        if self.config.is_legacy() {
            kind &= !kind::BARRIER;
            if kind == kind::FLUSH_OUT {
                kind = kind::FLUSH;
            }
        } else if word(4) != 0 {
            self.log
                .report("BLK-N-07", format!("{:#x} in the reserved field of a header", word(4)));
        }
        let request = Request {
            kind,
            sector: u64::from(word(8)) | u64::from(word(12)) << 32,
            data,
            room,
        };
        self.check_segments(taken);
        self.check_request(&request);
        let info = RequestInfo {
            number,
            queue,
            head: taken.head,
            kind,
            sector: request.sector,
            data_bytes: request.data.len() as u64 + request.room,
            writable_bytes: writable,
        };
        Some((info, request))
    }

    /// Whether a device that knows one data descriptor only can make sense of a chain.
    pub(crate) fn fits_one_data_descriptor(&self, taken: &Taken) -> bool {
        let (header, status) = match taken.walk.elements[..] {
            [header, status] => {
                // Only a flush goes without data.
                let kind: Option<u32> = self.memory.read_obj(GuestAddress(header.addr)).ok();
                if kind.map(u32::from_le) != Some(kind::FLUSH) {
                    return false;
                }
                (header, status)
            }
            [header, _, status, ..] => (header, status),
            _ => return false,
        };
        !header.writable && header.len >= 16 && status.writable
    }

    /// Number and size of the data segments (`BLK-N-04`).
    fn check_segments(&mut self, taken: &Taken) {
        let (mut header, mut room) = (16, taken.walk.total(true) - 1);
        let mut count = 0;
        for element in &taken.walk.elements {
            let len = u64::from(element.len);
            let data = if element.writable {
                let data = len.min(room);
                room -= data;
                data
            } else {
                let skip = len.min(header);
                header -= skip;
                len - skip
            };
            count += u32::from(data > 0);
            if self.config.offers(feature::SIZE_MAX) && data > u64::from(self.config.size_max) {
                self.log.report(
                    "BLK-N-04",
                    format!("a segment of {data} bytes, size_max is {}", self.config.size_max),
                );
            }
        }
        if self.config.offers(feature::SEG_MAX) && count > self.config.seg_max {
            self.log.report(
                "BLK-N-04",
                format!("{count} segments, seg_max is {}", self.config.seg_max),
            );
        }
    }

    fn check_request(&mut self, request: &Request) {
        let Request { kind, sector, room, .. } = *request;
        let data = request.data.len() as u64;
        let positioned = matches!(kind, kind::IN | kind::OUT | kind::ZONE_APPEND..=kind::ZONE_RESET);
        if !positioned && sector != 0 {
            let id = match kind {
                kind::FLUSH => "BLK-D-14",
                kind::ZONE_RESET_ALL => "BLK-D-31",
                _ => "BLK-N-06",
            };
            self.log
                .report(id, format!("sector {sector} in a request of type {kind}"));
        }
        match kind {
            kind::IN | kind::OUT => self.check_transfer(request),
            kind::FLUSH => {
                self.check_negotiated(feature::FLUSH, "BLK-D-01", kind);
                if data + room > 0 {
                    self.log
                        .report("BLK-D-15", format!("a flush with {} bytes of data", data + room));
                }
            }
            kind::GET_ID if room != 20 || data > 0 => {
                self.log
                    .report("BLK-D-18", format!("{room} bytes for an identification string"));
            }
            kind::GET_LIFETIME => {
                self.check_negotiated(feature::LIFETIME, "FEAT-D-01", kind);
                if room != 6 || data > 0 {
                    self.log
                        .report("BLK-N-17", format!("{room} bytes for a lifetime answer"));
                }
            }
            kind::DISCARD => {
                self.check_negotiated(feature::DISCARD, "FEAT-D-01", kind);
                self.check_ranges(request, "BLK-D-19", self.config.discard);
            }
            kind::WRITE_ZEROES => {
                self.check_negotiated(feature::WRITE_ZEROES, "FEAT-D-01", kind);
                self.check_ranges(request, "BLK-D-21", self.config.write_zeroes);
            }
            kind::SECURE_ERASE => {
                self.check_negotiated(feature::SECURE_ERASE, "FEAT-D-01", kind);
                self.check_ranges(request, "BLK-D-20", self.config.secure_erase);
            }
            kind::ZONE_APPEND..=kind::ZONE_RESET_ALL => {
                self.check_negotiated(feature::ZONED, "FEAT-D-01", kind);
                if self.accepts(feature::ZONED) {
                    self.check_zone_request(request);
                }
            }
            _ => (),
        }
    }

    fn check_negotiated(&mut self, bits: u64, id: &'static str, kind: u32) {
        if !self.accepts(bits) {
            self.log
                .report(id, format!("a request of type {kind}, whose feature was not accepted"));
        }
    }

    fn check_transfer(&mut self, request: &Request) {
        let bytes = request.transfer();
        let stray = request.data.len() as u64 + request.room - bytes;
        if stray > 0 {
            self.log
                .report("BLK-N-05", format!("{stray} bytes of data in the wrong direction"));
        }
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
            self.log.report("BLK-D-16", format!("a transfer of {bytes} bytes"));
        }
        self.check_extent(request.sector, bytes.div_ceil(SECTOR));
        if request.kind == kind::OUT && self.config.offers(feature::RO) {
            self.log.report("BLK-N-08", "a write to a read-only device");
        }
    }

    /// Whether sectors lie on the disk and are whole blocks.
    fn check_extent(&mut self, sector: u64, count: u64) {
        if !self.on_disk(sector, count) {
            let what = format!("{count} sectors at {sector}, but the capacity is {}", self.capacity);
            self.log.report("BLK-D-12", what);
        }
        if !self.whole_blocks(sector, count) {
            let what = format!(
                "{count} sectors at {sector} are not whole blocks of {} bytes",
                self.config.block_size
            );
            self.log.report("BLK-N-03", what);
        }
    }

    pub(crate) fn on_disk(&self, sector: u64, count: u64) -> bool {
        sector.checked_add(count).is_some_and(|end| end <= self.capacity)
    }

    pub(crate) fn whole_blocks(&self, sector: u64, count: u64) -> bool {
        let block = if self.config.offers(feature::BLK_SIZE) {
            u64::from(self.config.block_size) / SECTOR
        } else {
            1
        };
        block == 0 || (sector.is_multiple_of(block) && count.is_multiple_of(block))
    }

    fn check_ranges(&mut self, request: &Request, too_many: &'static str, limits: Limits) {
        if request.data.is_empty() || !request.data.len().is_multiple_of(16) || request.room > 0 {
            let what = format!(
                "{} bytes of ranges and {} writable bytes",
                request.data.len(),
                request.room
            );
            self.log.report("BLK-D-17", what);
        }
        let ranges = request.ranges();
        if ranges.len() as u64 > u64::from(limits.segments()) {
            self.log.report(
                too_many,
                format!("{} ranges, at most {}", ranges.len(), limits.max_segments),
            );
        }
        for range in ranges {
            if range.count > limits.sectors() {
                let what = format!("a range of {} sectors, at most {}", range.count, limits.max_sectors);
                self.log.report("BLK-N-09", what);
            }
            let legal = u32::from(request.kind == kind::WRITE_ZEROES);
            if range.flags & !legal != 0 {
                let id = if request.kind == kind::DISCARD {
                    "BLK-D-24"
                } else {
                    "BLK-N-11"
                };
                self.log.report(
                    id,
                    format!("flags {:#x} in a range of request type {}", range.flags, request.kind),
                );
            }
            self.check_extent(range.sector, u64::from(range.count));
            if request.kind == kind::SECURE_ERASE && self.accepts(feature::ZONED) {
                let zone = self.config.zones.zone_sectors;
                if zone == 0 || !range.count.is_multiple_of(zone) {
                    self.log.report(
                        "BLK-D-39",
                        format!("an erase of {} sectors on zones of {zone}", range.count),
                    );
                }
            }
        }
    }
}
