//! The legacy interface in BAR 0.

use super::Access;
use crate::device::Device;

/// The registers: offset, width, and whether a driver may write it.
const REGISTERS: [(u32, u32, bool); 10] = [
    (0x00, 4, false),
    (0x04, 4, true),
    (0x08, 4, true),
    (0x0C, 2, false),
    (0x0E, 2, true),
    (0x10, 2, true),
    (0x12, 1, true),
    (0x13, 1, false),
    (0x14, 2, true),
    (0x16, 2, true),
];

impl Device {
    pub(super) fn legacy_access(&mut self, access: Access) -> u32 {
        let Access {
            offset, width, write, ..
        } = access;
        let start = if self.function().vectors.is_on() { 24 } else { 20 };
        if offset >= start {
            let offset = offset - start;
            return match write {
                Some(value) => {
                    self.note_write(false, format_args!("configuration field {offset}"));
                    self.write_config(offset, width, value);
                    0
                }
                None => self.read_config(offset, width),
            };
        }
        let register = REGISTERS.iter().find(|register| register.0 == offset);
        let fits = register.is_some_and(|&(_, is, writable)| is == width && (writable || write.is_none()));
        if !fits {
            let what = format_args!("{width}-byte access to legacy register {offset:#x}");
            self.log.report("LEG-D-17", what);
            return u32::MAX;
        }
        match write {
            Some(value) => {
                self.write_legacy(offset, value);
                0
            }
            None if offset == 0x13 => self.isr_access(access),
            None => self.read_legacy(offset),
        }
    }

    fn read_legacy(&mut self, offset: u32) -> u32 {
        let queue = self.queue_sel as usize;
        match offset {
            0x00 => {
                self.write_register(0x014, 0);
                self.read_register(0x010)
            }
            0x04 => self.accepted.word(0),
            0x08 => self.read_register(0x040),
            0x0C if queue >= self.queues.len() => 0,
            0x0C if self.queues[queue].ready => self.config.queue_size_max,
            0x0C => self.read_register(0x034),
            0x0E => self.queue_sel,
            0x12 => self.read_register(0x070),
            0x14 => u32::from(self.function().vectors.config),
            0x16 => u32::from(self.function().vectors.queues.get(queue).copied().unwrap_or(0xFFFF)),
            _ => u32::MAX,
        }
    }

    fn write_legacy(&mut self, offset: u32, value: u32) {
        self.note_write(
            offset == 0x12 && value == 0,
            format_args!("legacy register {offset:#x}"),
        );
        let queue = self.queue_sel as usize;
        match offset {
            0x04 => {
                self.write_register(0x024, 0);
                self.write_register(0x020, value);
            }
            0x08 => {
                // The device knows these by itself (`LEG-N-15`).
                if value != 0 {
                    self.page_size = Some(4096);
                    let size = self.config.queue_size_max;
                    if let Some(queue) = self.queues.get_mut(queue) {
                        queue.size = Some(size);
                        queue.align = Some(4096);
                    }
                }
                self.write_register(0x040, value);
            }
            0x0E => self.write_register(0x030, value),
            0x10 => self.write_register(0x050, value),
            0x12 => self.write_register(0x070, value),
            0x14 => {
                let mapped = self.map_vector(value as u16);
                self.function().vectors.config = mapped;
            }
            _ => {
                let mapped = self.map_vector(value as u16);
                if let Some(vector) = self.function().vectors.queues.get_mut(queue) {
                    *vector = mapped;
                }
            }
        }
    }
}
