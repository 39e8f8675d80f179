//! The register block as the device answers it.
//!
//! Offsets are numbers here, because they are what is being checked: the lists are the specification's, not the driver's.

use virtio_bindings::virtio_mmio::VIRTIO_MMIO_CONFIG as CONFIG;

use crate::device::Device;
use crate::space;
use crate::wire::feature;
use crate::wire::status::{DRIVER_OK, FEATURES_OK};

/// Registers that can be read.
const READABLE: [u32; 16] = [
    0x000, 0x004, 0x008, 0x00C, 0x010, 0x034, 0x040, 0x044, 0x060, 0x070, 0x0B0, 0x0B4, 0x0B8, 0x0BC, 0x0C0, 0x0FC,
];
/// Registers that can be written.
const WRITABLE: [u32; 20] = [
    0x014, 0x020, 0x024, 0x028, 0x030, 0x038, 0x03C, 0x040, 0x044, 0x050, 0x064, 0x070, 0x080, 0x084, 0x090, 0x094,
    0x0A0, 0x0A4, 0x0AC, 0x0C0,
];
/// Registers of version 1 only.
const LEGACY: [u32; 3] = [0x028, 0x03C, 0x040];
/// Registers of version 2 only.
const MODERN: [u32; 14] = [
    0x044, 0x080, 0x084, 0x090, 0x094, 0x0A0, 0x0A4, 0x0AC, 0x0B0, 0x0B4, 0x0B8, 0x0BC, 0x0C0, 0x0FC,
];

impl Device {
    /// A read of `width` bytes.
    pub(crate) fn read(&mut self, offset: u32, width: u32) -> u32 {
        if !self.answers() {
            return u32::MAX >> (32 - 8 * width);
        }
        self.note_probe(offset, false);
        let value = if offset >= CONFIG {
            self.read_config(offset - CONFIG, width)
        } else if self.allowed(offset, width, false) {
            self.read_register(offset)
        } else {
            u32::MAX
        };
        value & (u32::MAX >> (32 - 8 * width))
    }

    /// A write of `width` bytes.
    pub(crate) fn write(&mut self, offset: u32, width: u32, value: u32) {
        if !self.answers() {
            return;
        }
        self.note_probe(offset, true);
        // A reset that takes long can be asked for again, and an interrupt that comes meanwhile acknowledged.
        let legal = offset == 0x070 && value == 0 || offset == 0x064;
        let over = self.reset_seen && !self.reset_ignored;
        if self.was_reset && !over && !legal {
            let what = format_args!("register {offset:#x} written before the reset was seen to be over");
            self.log.report("INIT-D-05", what);
            // Once is enough.
            self.reset_seen = true;
            self.reset_ignored = false;
        }
        if offset >= CONFIG {
            self.write_config(offset - CONFIG, width, value);
        } else if self.allowed(offset, width, true) {
            self.write_register(offset, value);
        }
    }

    /// Magic value, version, device id, in this order; nothing more in an empty slot.
    fn note_probe(&mut self, offset: u32, write: bool) {
        const ORDER: [u32; 3] = [0x000, 0x004, 0x008];
        let what = format_args!("access to {offset:#x} as number {} of a probe", self.probe.len() + 1);
        if let Some(&expected) = ORDER.get(self.probe.len()) {
            let id = if expected == 0x008 { "MMIO-D-28" } else { "MMIO-D-27" };
            self.log.require(offset == expected && !write, id, what);
            self.probe.push(offset);
        } else if self.config.device_id == 0 {
            self.log.require(!write && ORDER.contains(&offset), "MMIO-D-33", what);
        }
    }

    fn allowed(&mut self, offset: u32, width: u32, write: bool) -> bool {
        let (readable, writable) = (READABLE.contains(&offset), WRITABLE.contains(&offset));
        let other_version = if self.config.is_legacy() {
            MODERN.contains(&offset)
        } else {
            LEGACY.contains(&offset)
        };
        let id = if width != 4 || !offset.is_multiple_of(4) {
            "MMIO-D-04"
        } else if !readable && !writable || other_version || offset == 0x0C0 && !self.accepts(feature::RING_RESET) {
            // QueueReset is there with RING_RESET only.
            "MMIO-D-01"
        } else if (0x0AC..=0x0BC).contains(&offset) {
            // Shared memory.
            "MMIO-D-34"
        } else if write && !writable {
            "MMIO-D-02"
        } else if !write && !readable {
            "MMIO-D-03"
        } else {
            return true;
        };
        let access = if write { "write to" } else { "read of" };
        self.log
            .report(id, format_args!("{width}-byte {access} register {offset:#x}"));
        false
    }

    fn read_register(&mut self, offset: u32) -> u32 {
        match offset {
            0x000 => u32::from_le_bytes(*b"virt"),
            0x004 => 2 - u32::from(self.config.is_legacy()),
            0x008 => self.config.device_id,
            0x00C => self.config.vendor,
            0x010 => self.read_offered(),
            0x060 => self.interrupt | self.config.interrupt_noise & !3,
            0x070 => self.read_status(),
            0x0FC => {
                self.generation = self.generation.wrapping_add(self.restless.into());
                self.generation
            }
            _ => self.read_queue_register(offset),
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) {
        match offset {
            0x014 => self.offered_word = Some(value),
            0x020 => self.write_accepted(value),
            0x024 => self.accepted_word = Some(value),
            0x050 => self.doorbell(value),
            0x064 => {
                self.counters.acknowledges += 1;
                let what = format_args!("acknowledged {value:#x}, with undefined bits");
                self.log.require(value & !3 == 0, "MMIO-D-22", what);
                self.interrupt &= !value;
            }
            0x070 => self.write_status(value),
            _ => self.write_queue_register(offset, value),
        }
    }

    fn space(&self) -> [space::Field; 28] {
        let zones_hidden = self.has(FEATURES_OK) && !self.accepts(feature::ZONED);
        space::fields(&self.config, self.capacity, self.writeback, zones_hidden)
    }

    fn read_config(&mut self, offset: u32, width: u32) -> u32 {
        let fields = self.space();
        if let Some((id, what)) = space::fault(&fields, &self.config, offset, width) {
            self.log.report(id, what);
        }
        let settled = self.config.is_legacy() || self.has(FEATURES_OK);
        let early = offset == space::WRITEBACK && !settled;
        self.log
            .require(!early, "BLK-D-04", "writeback read before FEATURES_OK");
        let space = space::bytes(&fields);
        let bytes = [0, 1, 2, 3].map(|i| space.get(offset as usize + i).copied().unwrap_or(0xFF));
        if let Some((reads, capacity)) = self.later_resize.take() {
            if reads <= 1 {
                self.resize(capacity);
            } else {
                self.later_resize = Some((reads - 1, capacity));
            }
        }
        u32::from_le_bytes(bytes)
    }

    fn write_config(&mut self, offset: u32, width: u32, value: u32) {
        if let Some((id, what)) = space::fault(&self.space(), &self.config, offset, width) {
            return self.log.report(id, what);
        }
        if offset != space::WRITEBACK {
            let what = format_args!("configuration offset {offset} is not the driver's to write");
            return self.log.report("MMIO-D-02", what);
        }
        let legacy = self.config.is_legacy();
        let settled = legacy || self.has(FEATURES_OK);
        self.log
            .require(settled, "INIT-D-16", "configuration written before FEATURES_OK");
        let negotiated = self.accepts(feature::CONFIG_WCE) || legacy && !self.has(DRIVER_OK);
        if value > 1 || !negotiated {
            let what = format_args!("{value} written to writeback, CONFIG_WCE accepted: {negotiated}");
            return self.log.report("BLK-D-22", what);
        }
        self.writeback = value == 1;
    }
}
