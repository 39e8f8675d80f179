//! The register block as the device answers it.
//!
//! Offsets are written out, because they are what is being checked: the table below is the specification's, not the
//! driver's.

use crate::device::Device;
use crate::init::{DRIVER_OK, FEATURES_OK};
use crate::space;
use crate::wire::feature;

/// Which interfaces have a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Both,
    Modern,
    Legacy,
}

/// Offset, readable, writable, where.
const TABLE: [(u32, bool, bool, In); 32] = [
    (0x000, true, false, In::Both),
    (0x004, true, false, In::Both),
    (0x008, true, false, In::Both),
    (0x00C, true, false, In::Both),
    (0x010, true, false, In::Both),
    (0x014, false, true, In::Both),
    (0x020, false, true, In::Both),
    (0x024, false, true, In::Both),
    (0x028, false, true, In::Legacy),
    (0x030, false, true, In::Both),
    (0x034, true, false, In::Both),
    (0x038, false, true, In::Both),
    (0x03C, false, true, In::Legacy),
    (0x040, true, true, In::Legacy),
    (0x044, true, true, In::Modern),
    (0x050, false, true, In::Both),
    (0x060, true, false, In::Both),
    (0x064, false, true, In::Both),
    (0x070, true, true, In::Both),
    (0x080, false, true, In::Modern),
    (0x084, false, true, In::Modern),
    (0x090, false, true, In::Modern),
    (0x094, false, true, In::Modern),
    (0x0A0, false, true, In::Modern),
    (0x0A4, false, true, In::Modern),
    (0x0AC, false, true, In::Modern),
    (0x0B0, true, false, In::Modern),
    (0x0B4, true, false, In::Modern),
    (0x0B8, true, false, In::Modern),
    (0x0BC, true, false, In::Modern),
    (0x0C0, true, true, In::Modern),
    (0x0FC, true, false, In::Modern),
];

const CONFIG: u32 = 0x100;

impl Device {
    /// A read of `width` bytes.
    pub(crate) fn read(&mut self, offset: u32, width: u32) -> u32 {
        self.note_probe(offset, false);
        let value = if offset >= CONFIG {
            self.read_config(offset - CONFIG, width)
        } else if self.allowed(offset, width, false) {
            self.read_register(offset)
        } else {
            u32::MAX
        };
        match width {
            1 => value & 0xFF,
            2 => value & 0xFFFF,
            _ => value,
        }
    }

    /// A write of `width` bytes.
    pub(crate) fn write(&mut self, offset: u32, width: u32, value: u32) {
        self.note_probe(offset, true);
        // A reset that takes long can be asked for again, and an interrupt that comes meanwhile acknowledged.
        let legal = offset == 0x070 && value == 0 || offset == 0x064;
        let over = self.reset_seen && !self.reset_put_off;
        if self.was_reset && !over && !legal {
            self.log.report(
                "INIT-D-05",
                format!("register {offset:#x} written before the reset was seen to be over"),
            );
            // Once is enough.
            self.reset_seen = true;
            self.reset_put_off = false;
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
        if let Some(&expected) = ORDER.get(self.probe.len()) {
            if offset != expected || write {
                let id = if expected == 0x008 { "MMIO-D-28" } else { "MMIO-D-27" };
                self.log
                    .report(id, format!("access to {offset:#x} where a probe reads {expected:#x}"));
            }
            self.probe.push(offset);
        } else if self.config.device_id == 0 && (write || !ORDER.contains(&offset)) {
            self.log
                .report("MMIO-D-33", format!("access to {offset:#x} of an empty slot"));
        }
    }

    fn allowed(&mut self, offset: u32, width: u32, write: bool) -> bool {
        if width != 4 || !offset.is_multiple_of(4) {
            self.log.report(
                "MMIO-D-04",
                format!("{width}-byte access to control register {offset:#x}"),
            );
            return false;
        }
        let legacy = self.config.is_legacy();
        let entry = TABLE.iter().find(|entry| entry.0 == offset);
        let Some(&(_, readable, writable, place)) = entry else {
            self.log.report(
                "MMIO-D-01",
                format!("access to {offset:#x}, where there is no register"),
            );
            return false;
        };
        if place == if legacy { In::Modern } else { In::Legacy } {
            self.log.report(
                "MMIO-D-01",
                format!("access to {offset:#x}, a register of the other version"),
            );
            return false;
        }
        if offset == 0x0C0 && !self.accepts(feature::RING_RESET) {
            self.log.report("MMIO-D-01", "QueueReset is only there with RING_RESET");
            return false;
        }
        if (0x0AC..=0x0BC).contains(&offset) {
            self.log
                .report("MMIO-D-34", format!("access to shared memory register {offset:#x}"));
            return false;
        }
        if write && !writable {
            self.log
                .report("MMIO-D-02", format!("write to read-only register {offset:#x}"));
            return false;
        }
        if !write && !readable {
            self.log
                .report("MMIO-D-03", format!("read of write-only register {offset:#x}"));
            return false;
        }
        true
    }

    fn read_register(&mut self, offset: u32) -> u32 {
        match offset {
            0x000 => u32::from_le_bytes(*b"virt"),
            0x004 => {
                if self.config.is_legacy() {
                    1
                } else {
                    2
                }
            }
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
            0x064 => self.acknowledge(value),
            0x070 => self.write_status(value),
            _ => self.write_queue_register(offset, value),
        }
    }

    fn acknowledge(&mut self, mask: u32) {
        self.counters.acknowledges += 1;
        if mask & !3 != 0 {
            self.log
                .report("MMIO-D-22", format!("acknowledged {mask:#x}, with undefined bits"));
        }
        self.interrupt &= !mask;
    }

    fn read_config(&mut self, offset: u32, width: u32) -> u32 {
        if let Some((id, what)) = space::fault(&self.config, offset, width) {
            self.log.report(id, what);
        }
        let settled = self.config.is_legacy() || self.has(FEATURES_OK);
        if offset == space::WRITEBACK && !settled {
            self.log.report("BLK-D-04", "writeback read before FEATURES_OK");
        }
        let space = space::bytes(&self.config, self.capacity, self.writeback);
        let mut bytes = [0xFF; 4];
        for (i, byte) in bytes.iter_mut().enumerate().take(width as usize) {
            if let Some(&there) = space.get(offset as usize + i) {
                *byte = there;
            }
        }
        if let Some((reads, capacity)) = self.later_resize {
            if reads <= 1 {
                self.later_resize = None;
                self.resize(capacity);
            } else {
                self.later_resize = Some((reads - 1, capacity));
            }
        }
        u32::from_le_bytes(bytes)
    }

    fn write_config(&mut self, offset: u32, width: u32, value: u32) {
        if let Some((id, what)) = space::fault(&self.config, offset, width) {
            self.log.report(id, what);
            return;
        }
        if offset != space::WRITEBACK {
            self.log.report(
                "MMIO-D-02",
                format!("configuration offset {offset} is not the driver's to write"),
            );
            return;
        }
        let legacy = self.config.is_legacy();
        if !legacy && !self.has(FEATURES_OK) {
            self.log.report("INIT-D-16", "configuration written before FEATURES_OK");
        }
        let negotiated = self.accepts(feature::CONFIG_WCE) || legacy && !self.has(DRIVER_OK);
        if value > 1 || !negotiated {
            self.log.report(
                "BLK-D-22",
                format!("{value} written to writeback, CONFIG_WCE accepted: {negotiated}"),
            );
            return;
        }
        self.writeback = value == 1;
    }
}
