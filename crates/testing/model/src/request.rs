//! Requests: reading them, and the driver's duties.

use std::io::Read;

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
    /// The readable part after the header.
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
        let range = |segment: &[u8; 16]| {
            let number = u128::from_le_bytes(*segment);
            Range {
                sector: number as u64,
                count: (number >> 64) as u32,
                flags: (number >> 96) as u32,
            }
        };
        self.data.as_chunks().0.iter().map(range).collect()
    }
}

impl Device {
    /// Reads a request and checks it. `None` if it has no header or no place for a status: a device cannot go on from
    /// that (`BLK-N-05`).
    pub(crate) fn parse(&mut self, number: u64, queue: u16, taken: &Taken) -> Option<(RequestInfo, Request)> {
        let (readable, writable) = (taken.walk.total(false), taken.walk.total(true));
        if readable < 16 || writable < 1 {
            let what = format_args!("a request with {readable} readable and {writable} writable bytes");
            self.log.report("BLK-N-05", what);
            return None;
        }
        let mut reader = taken.chain.clone().reader(&self.memory).ok()?;
        let [mut kind, priority, low, high] = reader.read_obj::<[u32; 4]>().ok()?.map(u32::from_le);
        let (mut data, mut room) = (Vec::new(), writable - 1);
        reader.read_to_end(&mut data).ok()?;
        if self.config.one_data_descriptor {
            // The device does not look at the rest.
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
        let barrier = self.config.is_legacy() && kind & kind::BARRIER != 0;
        if self.config.is_legacy() {
            let what = "a barrier though BARRIER was not accepted";
            self.log
                .require(!barrier || self.accepts(feature::BARRIER), "LEG-N-18", what);
            kind &= !kind::BARRIER;
            if kind == kind::FLUSH_OUT {
                kind = kind::FLUSH;
            }
        } else {
            let what = format_args!("{priority:#x} in the reserved field of a header");
            self.log.require(priority == 0, "BLK-N-07", what);
        }
        let sector = u64::from(low) | u64::from(high) << 32;
        let request = Request {
            kind,
            sector,
            data,
            room,
        };
        self.check_segments(taken, kind);
        self.check_request(&request);
        let info = RequestInfo {
            number,
            queue,
            head: taken.head,
            kind,
            priority,
            barrier,
            sector,
            data_bytes: request.data.len() as u64 + room,
            writable_bytes: writable,
        };
        Some((info, request))
    }

    /// Whether a request is a barrier: nothing overtakes it, and it overtakes nothing.
    pub(crate) fn is_barrier(&self, taken: &Taken) -> bool {
        let reader = taken.chain.clone().reader(&self.memory);
        let kind = reader.ok().and_then(|mut reader| reader.read_obj::<u32>().ok());
        self.accepts(feature::BARRIER) && kind.is_some_and(|kind| u32::from_le(kind) & kind::BARRIER != 0)
    }

    /// Number and size of the data segments (`BLK-N-04`).
    fn check_segments(&mut self, taken: &Taken, kind: u32) {
        // The place of an append is no data.
        let answer = if kind == kind::ZONE_APPEND { 8 } else { 0 };
        let (mut header, mut room) = (16, taken.walk.total(true).saturating_sub(1 + answer));
        let (mut count, mut longest) = (0, 0);
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
            longest = longest.max(data);
        }
        let (size_max, seg_max) = (self.config.size_max, self.config.seg_max);
        let short = !self.config.offers(feature::SIZE_MAX) || longest <= size_max.into();
        let few = !self.config.offers(feature::SEG_MAX) || count <= seg_max;
        let what = format_args!("{count} segments of up to {longest} bytes; the device takes {seg_max} of {size_max}");
        self.log.require(short && few, "BLK-N-04", what);
    }

    fn check_request(&mut self, request: &Request) {
        let Request { kind, sector, room, .. } = *request;
        let data = request.data.len() as u64;
        let what = format_args!("a request of type {kind}, sector {sector}, {data} bytes out and {room} in");
        let (needs, id) = match kind {
            kind::FLUSH => (feature::FLUSH, "BLK-D-01"),
            kind::GET_LIFETIME => (feature::LIFETIME, "FEAT-D-01"),
            kind::DISCARD => (feature::DISCARD, "FEAT-D-01"),
            kind::WRITE_ZEROES => (feature::WRITE_ZEROES, "FEAT-D-01"),
            kind::SECURE_ERASE => (feature::SECURE_ERASE, "FEAT-D-01"),
            kind::ZONE_APPEND..=kind::ZONE_RESET_ALL => (feature::ZONED, "FEAT-D-01"),
            _ => (0, ""),
        };
        self.log.require(self.accepts(needs), id, what);
        let positioned = matches!(kind, kind::IN | kind::OUT | kind::ZONE_APPEND..=kind::ZONE_RESET);
        let id = match kind {
            kind::FLUSH => "BLK-D-14",
            kind::ZONE_RESET_ALL => "BLK-D-31",
            _ => "BLK-N-06",
        };
        self.log.require(positioned || sector == 0, id, what);
        match kind {
            kind::IN | kind::OUT => {
                let (bytes, stray) = if kind == kind::IN { (room, data) } else { (data, room) };
                let whole = bytes > 0 && bytes.is_multiple_of(SECTOR);
                let writable = kind == kind::IN || !self.config.offers(feature::RO);
                self.log.require(stray == 0, "BLK-N-05", what);
                self.log.require(whole, "BLK-D-16", what);
                self.log.require(writable, "BLK-N-08", what);
                self.check_extent(sector, bytes.div_ceil(SECTOR));
            }
            kind::FLUSH => self.log.require(data + room == 0, "BLK-D-15", what),
            kind::GET_ID => self.log.require(room == 20 && data == 0, "BLK-D-18", what),
            kind::GET_LIFETIME => self.log.require(room == 6 && data == 0, "BLK-N-17", what),
            kind::DISCARD => self.check_ranges(request, "BLK-D-19", self.config.discard),
            kind::WRITE_ZEROES => self.check_ranges(request, "BLK-D-21", self.config.write_zeroes),
            kind::SECURE_ERASE => self.check_ranges(request, "BLK-D-20", self.config.secure_erase),
            _ => (),
        }
        if self.accepts(feature::ZONED) {
            self.zones.check(kind, sector, data, &mut self.log);
        }
    }

    /// Sectors lie on the disk and are whole blocks.
    fn check_extent(&mut self, sector: u64, count: u64) {
        let (on_disk, whole) = (self.on_disk(sector, count), self.whole_blocks(sector, count));
        let (capacity, block) = (self.capacity, self.config.block_size);
        let what = format_args!("{count} sectors at {sector}, of {capacity}, with blocks of {block} bytes");
        self.log.require(on_disk, "BLK-D-12", what);
        self.log.require(whole, "BLK-N-03", what);
    }

    pub(crate) fn on_disk(&self, sector: u64, count: u64) -> bool {
        sector.checked_add(count).is_some_and(|end| end <= self.capacity)
    }

    pub(crate) fn whole_blocks(&self, sector: u64, count: u64) -> bool {
        let block = u64::from(self.config.block_size) / SECTOR;
        let any = block == 0 || !self.config.offers(feature::BLK_SIZE);
        any || sector.is_multiple_of(block) && count.is_multiple_of(block)
    }

    fn check_ranges(&mut self, request: &Request, too_many: &'static str, limits: Limits) {
        let (bytes, room, kind) = (request.data.len(), request.room, request.kind);
        let whole = bytes > 0 && bytes.is_multiple_of(16) && room == 0;
        let what = format_args!("{bytes} bytes of ranges and {room} writable bytes");
        self.log.require(whole, "BLK-D-17", what);
        let ranges = request.ranges();
        let few = ranges.len() as u64 <= u64::from(limits.segments());
        self.log.require(few, too_many, format_args!("{} ranges", ranges.len()));
        let legal = u32::from(kind == kind::WRITE_ZEROES);
        let flag_rule = if kind == kind::DISCARD { "BLK-D-24" } else { "BLK-N-11" };
        let zone = self.config.zones.zone_sectors;
        let zones = kind == kind::SECURE_ERASE && self.accepts(feature::ZONED);
        for Range { sector, count, flags } in ranges {
            let what = format_args!("a range of {count} sectors with flags {flags:#x} in a request of type {kind}");
            self.log.require(count <= limits.sectors(), "BLK-N-09", what);
            self.log.require(flags & !legal == 0, flag_rule, what);
            let whole = !zones || zone > 0 && count.is_multiple_of(zone);
            self.log.require(whole, "BLK-D-39", what);
            self.check_extent(sector, count.into());
        }
    }
}
