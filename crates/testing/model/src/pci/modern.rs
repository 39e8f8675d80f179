//! The structures of the modern interface.

use super::{Access, CommonPlace};
use crate::device::Device;
use crate::wire::feature;

/// The registers of the common configuration: offset, width, and whether a driver may write it.
const REGISTERS: [(u32, u32, bool); 22] = [
    (0x00, 4, true),
    (0x04, 4, false),
    (0x08, 4, true),
    (0x0C, 4, true),
    (0x10, 2, true),
    (0x12, 2, false),
    (0x14, 1, true),
    (0x15, 1, false),
    (0x16, 2, true),
    (0x18, 2, true),
    (0x1A, 2, true),
    (0x1C, 2, true),
    (0x1E, 2, false),
    (0x20, 4, true),
    (0x24, 4, true),
    (0x28, 4, true),
    (0x2C, 4, true),
    (0x30, 4, true),
    (0x34, 4, true),
    (0x38, 2, false),
    (0x3A, 2, true),
    (0x3C, 2, false),
];

/// What stands for a queue in notifications with NOTIF_CONFIG_DATA: this and its index.
const NOTIF_DATA: u32 = 0x1000;

impl Device {
    pub(super) fn modern_access(&mut self, access: Access) -> u32 {
        let (structure, offset) = (access.offset & !0xFFF, access.offset & 0xFFF);
        let access = Access { offset, ..access };
        match structure {
            CommonPlace::COMMON => self.common_access(access),
            CommonPlace::ISR => self.isr_access(access),
            CommonPlace::DEVICE => match access.write {
                Some(value) => {
                    self.note_write(false, format_args!("configuration field {offset}"));
                    self.write_config(offset, access.width, value);
                    0
                }
                None => self.read_config(offset, access.width),
            },
            CommonPlace::NOTIFY => {
                self.notify_access(access);
                0
            }
            _ => u32::MAX,
        }
    }

    fn common_access(&mut self, access: Access) -> u32 {
        let Access {
            offset, width, write, ..
        } = access;
        let register = REGISTERS.iter().find(|register| register.0 == offset);
        let kind = if write.is_some() { "write to" } else { "read of" };
        let what = format_args!("{width}-byte {kind} common configuration at {offset:#x}");
        let id = match register {
            Some(&(_, 1, _)) if width != 1 => "PCI-D-05",
            Some(&(_, 2, _)) if width != 2 => "PCI-D-06",
            Some(&(_, 4, _)) if width != 4 => "PCI-D-07",
            Some(&(_, _, false)) if write.is_some() => "PCI-D-18",
            None => "PCI-D-07",
            Some(_) => {
                return match write {
                    Some(value) => {
                        self.write_common(offset, value);
                        0
                    }
                    None => self.read_common(offset),
                };
            }
        };
        self.log.report(id, what);
        u32::MAX
    }

    fn read_common(&mut self, offset: u32) -> u32 {
        let queue = self.queue_sel as usize;
        let exists = queue < self.queues.len();
        match offset {
            0x00 => self.function().feature_select[0],
            0x08 => self.function().feature_select[1],
            0x04 => self.read_register(0x010),
            0x0C => {
                let word = self.function().feature_select[1];
                self.accepted.word(word)
            }
            0x10 => u32::from(self.function().vectors.config),
            0x12 => u32::from(self.config.queues),
            0x14 => self.read_register(0x070),
            0x15 => self.read_register(0x0FC),
            0x16 => self.queue_sel,
            _ if !exists => 0,
            0x18 => match self.queues[queue].size {
                Some(size) => size,
                None => self.read_register(0x034),
            },
            0x1A => u32::from(self.function().vectors.queues[queue]),
            0x1C => self.read_register(0x044),
            0x1E => self.queue_sel,
            0x20..=0x34 => self.queues[queue].halves[(offset as usize - 0x20) / 4].unwrap_or(0),
            0x38 if self.config.offers(feature::NOTIF_CONFIG_DATA) => NOTIF_DATA + self.queue_sel,
            0x3A => self.read_register(0x0C0),
            _ => 0,
        }
    }

    fn write_common(&mut self, offset: u32, value: u32) {
        self.note_write(
            offset == 0x14 && value == 0,
            format_args!("common configuration at {offset:#x}"),
        );
        let queue = self.queue_sel as usize;
        match offset {
            0x00 => {
                self.function().feature_select[0] = value;
                self.write_register(0x014, value);
            }
            0x08 => {
                self.function().feature_select[1] = value;
                self.write_register(0x024, value);
            }
            0x0C => self.write_register(0x020, value),
            0x10 => {
                let mapped = self.map_vector(value as u16);
                self.function().vectors.config = mapped;
            }
            0x14 => self.write_register(0x070, value),
            0x16 => self.write_register(0x030, value),
            0x18 => {
                let what = format_args!("{value} written to queue_size");
                self.log.require(value.is_power_of_two(), "PCI-D-20", what);
                self.write_register(0x038, value);
            }
            0x1A => {
                let mapped = self.map_vector(value as u16);
                if let Some(vector) = self.function().vectors.queues.get_mut(queue) {
                    *vector = mapped;
                }
            }
            0x1C => {
                let what = format_args!("{value} written to queue_enable");
                self.log.require(value == 1, "PCI-D-22", what);
                if value == 1 {
                    self.write_register(0x044, 1);
                }
            }
            0x3A => {
                let possible = self.accepts(feature::RING_RESET) && value == 1;
                let what = format_args!("{value} written to queue_reset");
                self.log.require(possible, "PCI-D-25", what);
                if possible {
                    self.write_register(0x0C0, 1);
                    if let Some(vector) = self.function().vectors.queues.get_mut(queue) {
                        *vector = 0xFFFF;
                    }
                }
            }
            _ => {
                let half = (offset - 0x20) / 4;
                // The address registers of MMIO come in pairs, 16 bytes apart.
                self.write_register(0x080 + half / 2 * 0x10 + half % 2 * 4, value);
            }
        }
    }

    pub(super) fn map_vector(&mut self, vector: u16) -> u16 {
        let function = self.function();
        let count = function.vectors.queues.len();
        let mapped = function.vectors.mapped(vector, &function.refused_vectors);
        let legal = vector == 0xFFFF || mapped == vector || function.refused_vectors.contains(&vector);
        let what = format_args!("an event of {count} queues mapped to vector {vector}, which is none");
        self.log.require(legal, "PCI-D-33", what);
        mapped
    }

    /// Reading clears it (`PCI-N-03`). With vectors a driver should not read it (`PCI-D-29`).
    pub(super) fn isr_access(&mut self, access: Access) -> u32 {
        let vectors = self.function().vectors.is_on();
        self.log
            .require(!vectors, "PCI-D-29", "the interrupt status was read while MSI-X is on");
        let legal = access.width == 1 && access.write.is_none();
        self.log
            .require(legal, "PCI-D-05", "the interrupt status is one byte that is read");
        let noise = self.config.interrupt_noise & !3;
        std::mem::take(&mut self.interrupt) | noise
    }

    fn notify_access(&mut self, access: Access) {
        let Some(value) = access.write else {
            return self.log.report("PCI-N-02", "a doorbell was read");
        };
        let with_data = self.accepts(feature::NOTIFICATION_DATA);
        let (width, id) = if with_data { (4, "PCI-D-37") } else { (2, "PCI-D-36") };
        let what = format_args!("{}-byte notification at {:#x}", access.width, access.offset);
        self.log.require(access.width == width, id, what);
        let by_config = self.accepts(feature::NOTIF_CONFIG_DATA);
        let named = value & 0xFFFF;
        let base = if by_config { NOTIF_DATA } else { 0 };
        let queue = named.wrapping_sub(base);
        let id = match (with_data, by_config) {
            (false, false) => "PCI-D-38",
            (true, false) => "PCI-D-39",
            (false, true) => "PCI-D-40",
            (true, true) => "PCI-D-41",
        };
        let place = access.offset == queue.wrapping_mul(CommonPlace::MULTIPLIER);
        let what = format_args!("notification {value:#x} at {:#x}", access.offset);
        self.log.require(place, id, what);
        if place {
            self.write_register(0x050, value & 0xFFFF_0000 | queue);
        }
    }
}
