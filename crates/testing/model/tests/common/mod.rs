//! A driver written by hand: raw registers, raw rings, no help from the crates under test.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::alloc::Layout;
use std::sync::Arc;

use virtio_blk_model::{Memory, Model, ModelConfig, ModelDma, ModelRegisters, feature};
use virtio_core::{Dma, DmaRegion, Interface};
use virtio_mmio::RegisterAccess;
use vm_memory::{Bytes, GuestAddress};

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

pub(crate) const IN: u32 = 0;
pub(crate) const OUT: u32 = 1;
pub(crate) const FLUSH: u32 = 4;
pub(crate) const GET_ID: u32 = 8;
pub(crate) const GET_LIFETIME: u32 = 10;
pub(crate) const DISCARD: u32 = 11;
pub(crate) const WRITE_ZEROES: u32 = 13;
pub(crate) const SECURE_ERASE: u32 = 14;
pub(crate) const ZONE_APPEND: u32 = 15;
pub(crate) const ZONE_REPORT: u32 = 16;
pub(crate) const ZONE_OPEN: u32 = 18;
pub(crate) const ZONE_RESET_ALL: u32 = 26;

/// What [`Driver::up`] accepts on a modern device unless told otherwise.
pub(crate) const USUAL: u64 = feature::VERSION_1
    | feature::FLUSH
    | feature::CONFIG_WCE
    | feature::BLK_SIZE
    | feature::SEG_MAX
    | feature::DISCARD
    | feature::WRITE_ZEROES;

pub(crate) struct Driver {
    pub(crate) model: Model,
    pub(crate) regs: ModelRegisters,
    pub(crate) dma: ModelDma,
    pub(crate) mem: Arc<Memory>,
    pub(crate) legacy: bool,
    pub(crate) size: u16,
    pub(crate) table: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
    pub(crate) avail_idx: u16,
    pub(crate) used_seen: u16,
    pub(crate) regions: Vec<DmaRegion>,
}

impl Driver {
    /// Probes, and does nothing else.
    pub(crate) fn probe(config: ModelConfig) -> Self {
        let legacy = config.interface == Interface::Legacy;
        let model = Model::new(config);
        let regs = model.registers();
        assert_eq!(regs.read_u32(0), 0x7472_6976);
        assert_eq!(regs.read_u32(4), if legacy { 1 } else { 2 });
        regs.read_u32(8);
        Self {
            dma: model.dma(),
            mem: model.memory(),
            model,
            regs,
            legacy,
            size: 0,
            table: 0,
            avail: 0,
            used: 0,
            avail_idx: 0,
            used_seen: 0,
            regions: Vec::new(),
        }
    }

    pub(crate) fn status(&self, value: u32) {
        self.regs.write_u32(0x070, value);
    }

    /// Resets and sets ACKNOWLEDGE and DRIVER.
    pub(crate) fn greet(&self) {
        self.status(0);
        assert_eq!(self.regs.read_u32(0x070), 0);
        self.status(1);
        self.status(3);
    }

    /// Writes the accepted features.
    pub(crate) fn write_features(&self, bits: u64) {
        let words = if self.legacy { 1 } else { 2 };
        for word in 0..words {
            self.regs.write_u32(0x024, word);
            self.regs.write_u32(0x020, (bits >> (32 * word)) as u32);
        }
    }

    /// Writes the accepted features and, on a modern device, FEATURES_OK; whether the device keeps it.
    pub(crate) fn accept(&self, bits: u64) -> bool {
        self.write_features(bits);
        if self.legacy {
            return true;
        }
        self.status(0x0B);
        self.regs.read_u32(0x070) == 0x0B
    }

    pub(crate) fn allocate(&mut self, bytes: usize) -> u64 {
        let region = self.dma.allocate(Layout::from_size_align(bytes, 8).unwrap()).unwrap();
        let addr = region.device_addr().get();
        self.regions.push(region);
        addr
    }

    /// Gets memory for a queue, laid out the legacy way, which suits both.
    pub(crate) fn place_queue(&mut self, size: u16) {
        let n = u64::from(size);
        let used = (18 * n + 6).next_multiple_of(4096);
        self.table = self.allocate((used + 6 + 8 * n) as usize);
        self.avail = self.table + 16 * n;
        self.used = self.table + used;
        self.size = size;
        self.avail_idx = 0;
        self.used_seen = 0;
    }

    pub(crate) fn enable_queue(&self) {
        let regs = &self.regs;
        if self.legacy {
            regs.write_u32(0x028, 4096);
            regs.write_u32(0x030, 0);
            assert_eq!(regs.read_u32(0x040), 0);
            regs.write_u32(0x038, u32::from(self.size));
            regs.write_u32(0x03C, 4096);
            regs.write_u32(0x040, (self.table / 4096) as u32);
        } else {
            regs.write_u32(0x030, 0);
            assert_eq!(regs.read_u32(0x044), 0);
            regs.write_u32(0x038, u32::from(self.size));
            for (low, addr) in [(0x080, self.table), (0x090, self.avail), (0x0A0, self.used)] {
                regs.write_u32(low, addr as u32);
                regs.write_u32(low + 4, (addr >> 32) as u32);
            }
            regs.write_u32(0x044, 1);
        }
    }

    /// A driver with a queue of 16 on a live device.
    pub(crate) fn up(config: ModelConfig, accepted: u64) -> Self {
        let mut driver = Self::probe(config);
        driver.start_with(accepted);
        driver
    }

    pub(crate) fn start(&mut self) {
        self.start_with(USUAL);
    }

    fn start_with(&mut self, accepted: u64) {
        self.greet();
        assert!(self.accept(accepted), "the device takes the features");
        self.place_queue(16);
        self.enable_queue();
        self.status(if self.legacy { 0x07 } else { 0x0F });
    }

    pub(crate) fn usual() -> Self {
        Self::up(ModelConfig::modern(), USUAL)
    }

    pub(crate) fn put(&self, addr: u64, bytes: &[u8]) {
        self.mem.write_slice(bytes, GuestAddress(addr)).unwrap();
    }

    pub(crate) fn get(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read_slice(&mut bytes, GuestAddress(addr)).unwrap();
        bytes
    }

    pub(crate) fn put16(&self, addr: u64, value: u16) {
        self.put(addr, &value.to_le_bytes());
    }

    pub(crate) fn get16(&self, addr: u64) -> u16 {
        u16::from_le_bytes(self.get(addr, 2).try_into().unwrap())
    }

    /// Writes descriptor `index` of the table at `table`.
    pub(crate) fn desc_at(&self, table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let at = table + 16 * u64::from(index);
        self.put(at, &addr.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put16(at + 12, flags);
        self.put16(at + 14, next);
    }

    pub(crate) fn desc(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        self.desc_at(self.table, index, addr, len, flags, next);
    }

    /// Puts a head into the available ring and moves the index.
    pub(crate) fn publish(&mut self, head: u16) {
        self.put16(self.avail + 4 + 2 * u64::from(self.avail_idx % self.size), head);
        self.avail_idx = self.avail_idx.wrapping_add(1);
        self.put16(self.avail + 2, self.avail_idx);
    }

    pub(crate) fn notify(&self) {
        self.regs.write_u32(0x050, 0);
    }

    /// Publishes, notifies and has it served.
    pub(crate) fn serve(&mut self, head: u16) {
        self.publish(head);
        self.notify();
        self.model.process(1);
    }

    /// A header in memory.
    pub(crate) fn header(&mut self, kind: u32, sector: u64) -> u64 {
        let at = self.allocate(16);
        self.put(at, &kind.to_le_bytes());
        self.put(at + 8, &sector.to_le_bytes());
        at
    }

    /// Makes a chain of header, `out`, `room` writable bytes and status from descriptor `first` on, one descriptor
    /// each, empty ones left out. Returns the addresses of data and status.
    pub(crate) fn chain(&mut self, first: u16, kind: u32, sector: u64, out: &[u8], room: u32) -> (u64, u64) {
        let header = self.header(kind, sector);
        let data = self.allocate(out.len().max(room as usize).max(1));
        let status = self.allocate(1);
        self.put(data, out);
        self.put(status, &[0xFF]);
        let mut parts = vec![(header, 16, 0)];
        if !out.is_empty() {
            parts.push((data, out.len() as u32, 0));
        }
        if room > 0 {
            parts.push((data, room, WRITE));
        }
        parts.push((status, 1, WRITE));
        let last = parts.len() - 1;
        for (i, (addr, len, flags)) in parts.into_iter().enumerate() {
            let index = first + i as u16;
            let flags = if i < last { flags | NEXT } else { flags };
            self.desc(index, addr, len, flags, index + 1);
        }
        (data, status)
    }

    /// The next used element, if the device has written one.
    pub(crate) fn used(&mut self) -> Option<(u32, u32)> {
        if self.get16(self.used + 2) == self.used_seen {
            return None;
        }
        let at = self.used + 4 + 8 * u64::from(self.used_seen % self.size);
        self.used_seen = self.used_seen.wrapping_add(1);
        let word = |addr| u32::from_le_bytes(self.get(addr, 4).try_into().unwrap());
        Some((word(at), word(at + 4)))
    }

    /// One request from beginning to end: status, what the device wrote, and the used length.
    pub(crate) fn request(&mut self, kind: u32, sector: u64, out: &[u8], room: u32) -> (u8, Vec<u8>, u32) {
        let (data, status) = self.chain(0, kind, sector, out, room);
        self.serve(0);
        let (id, len) = self.used().expect("the request was served");
        assert_eq!(id, 0);
        (self.get(status, 1)[0], self.get(data, room as usize), len)
    }
}

/// A range as requests carry it.
pub(crate) fn range(sector: u64, count: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat()
}

/// Content that tells sectors apart.
pub(crate) fn content(sectors: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| {
        (i as u8)
            .wrapping_mul(31)
            .wrapping_add((i / 512) as u8)
            .wrapping_add(seed)
    };
    (0..sectors * 512).map(byte).collect()
}
