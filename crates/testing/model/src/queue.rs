//! Queue registers: how the driver sets a queue up, and takes it back.

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use crate::config::RingReset;
use crate::device::{Device, DeviceQueue};
use crate::faults::StartFault;
use crate::ring::Ring;
use crate::wire::feature;
use crate::wire::status::{DRIVER, DRIVER_OK, FAILED, FEATURES_OK};

/// The six address registers in order of their offsets.
const HALVES: [u32; 6] = [0x080, 0x084, 0x090, 0x094, 0x0A0, 0x0A4];

impl Device {
    fn selected(&mut self) -> Option<&mut DeviceQueue> {
        let index = usize::try_from(self.queue_sel).ok()?;
        self.queues.get_mut(index)
    }

    pub(crate) fn read_queue_register(&mut self, offset: u32) -> u32 {
        let fails = offset == 0x034 && self.start_fails_by(StartFault::NoQueue);
        let max = if fails { 0 } else { self.config.queue_size_max };
        let legacy = self.config.is_legacy();
        let Some(queue) = self.selected() else {
            return 0;
        };
        match offset {
            0x034 => {
                let in_use = legacy && queue.ready;
                let what = "QueueSizeMax read while the queue is in use";
                self.log.require(!in_use, "LEG-N-09", what);
                max
            }
            0x040 => queue.pfn,
            0x0C0 => self.read_queue_reset(),
            0x044 => {
                queue.stop_unread = false;
                u32::from(queue.ready)
            }
            _ => u32::MAX,
        }
    }

    /// The reset of a queue is over when the driver reads so. Until then the device works on.
    fn read_queue_reset(&mut self) -> u32 {
        let stuck = self.config.ring_reset == RingReset::Stuck;
        let Some(queue) = self.selected() else {
            return 0;
        };
        match queue.reset_reads {
            Some(reads) if reads > 0 || stuck => {
                queue.reset_reads = Some(reads.saturating_sub(1));
                1
            }
            Some(_) => {
                // All is forgotten, the ring and what was taken from it (`VQR-N-01`).
                *queue = DeviceQueue {
                    was_reset: true,
                    ..DeviceQueue::default()
                };
                self.counters.queue_resets += 1;
                0
            }
            None => 0,
        }
    }

    pub(crate) fn write_queue_register(&mut self, offset: u32, value: u32) {
        match offset {
            0x030 => {
                self.queue_sel = value;
                return;
            }
            0x028 => {
                let what = format_args!("GuestPageSize {value} is no power of two");
                self.log.require(value.is_power_of_two(), "LEG-N-06", what);
                self.page_size = Some(value);
                return;
            }
            _ => (),
        }
        let disables = matches!(offset, 0x040 | 0x044) && value == 0 || offset == 0x0C0;
        if !disables {
            self.check_moment(offset);
        }
        let what = format_args!("register {offset:#x} of queue {} written", self.queue_sel);
        let index = self.queue_sel as usize;
        let Some(queue) = self.queues.get_mut(index) else {
            return self.log.report("MMIO-N-03", what);
        };
        let what_waits = format_args!("register {offset:#x} written before the reset of the queue was seen to be over");
        self.log.require(queue.reset_reads.is_none(), "VQR-D-01", what_waits);
        if queue.ready && !disables {
            return self.log.report("MMIO-D-17", what);
        }
        let stop_seen = !queue.stop_unread || disables;
        let stopped = "QueueReady was cleared but not read back";
        self.log.require(stop_seen, "MMIO-D-19", stopped);
        match offset {
            0x038 => queue.size = Some(value),
            0x03C => queue.align = Some(value),
            0x040 if value == 0 => {
                // As in QEMU, this resets the whole device (`LEG-N-08`).
                self.clear();
            }
            0x040 => {
                queue.pfn = value;
                self.enable_legacy();
            }
            0x044 if value == 0 => {
                *queue = DeviceQueue::default();
                queue.stop_unread = true;
            }
            0x044 => self.enable_modern(),
            0x0C0 => {
                let reads = match self.config.ring_reset {
                    RingReset::After(reads) => reads,
                    RingReset::Absent | RingReset::Stuck => u32::MAX,
                };
                self.log.require(queue.ready && value == 1, "VQR-D-01", what);
                queue.reset_reads = Some(reads);
            }
            _ => {
                if let Some(half) = HALVES.iter().position(|&half| half == offset) {
                    queue.halves[half] = Some(value);
                }
            }
        }
    }

    /// Queues are set up after the features are settled and before the device is live (`INIT-D-13`).
    fn check_moment(&mut self, offset: u32) {
        let begin = if self.config.is_legacy() { DRIVER } else { FEATURES_OK };
        let what = format_args!("queue register {offset:#x} written at status {:#x}", self.status);
        let early = !self.has(begin);
        // A queue that was reset is set up again while the device is live (`VQR-D-03`).
        let queue = self.queues.get(self.queue_sel as usize);
        let late = self.has(DRIVER_OK) && !queue.is_some_and(|queue| queue.was_reset);
        if self.has(FAILED) {
            self.log.report("INIT-D-19", what);
        } else {
            self.log.require(!early && !late, "INIT-D-13", what);
        }
    }

    fn enable_modern(&mut self) {
        let queue = self.selected().expect("checked by the caller");
        queue.ready = true;
        let halves = queue.halves;
        for (offset, half) in HALVES.iter().zip(halves) {
            let what = format_args!("register {offset:#x} was not written before QueueReady");
            self.log.require(half.is_some(), "MMIO-N-05", what);
        }
        // A register that was not written holds garbage, as it may on hardware.
        let half = |i: usize| u64::from(halves[i].unwrap_or(0xDEAD_BEE0));
        let address = |low: usize| half(low) | half(low + 1) << 32;
        self.take_into_use([address(0), address(2), address(4)]);
    }

    fn enable_legacy(&mut self) {
        let queue = self.selected().expect("checked by the caller");
        queue.ready = true;
        let (pfn, align, size) = (queue.pfn, queue.align, queue.size);
        let Some(page_size) = self.page_size else {
            let what = "QueuePFN written before GuestPageSize";
            return self.log.report("LEG-N-06", what);
        };
        let Some(align) = align.filter(|align| align.is_power_of_two()) else {
            let what = format_args!("QueueAlign is {align:?} when the queue is enabled");
            return self.log.report("LEG-N-07", what);
        };
        let size = u64::from(size.unwrap_or(0));
        let start = u64::from(pfn) * u64::from(page_size);
        let driver_area = start + 16 * size;
        let device_area = (driver_area + 6 + 2 * size).next_multiple_of(u64::from(align));
        self.take_into_use([start, driver_area, device_area]);
    }

    /// Checks size, place and content of a queue that was just enabled.
    fn take_into_use(&mut self, parts: [u64; 3]) {
        let max = self.config.queue_size_max;
        let size = self.selected().and_then(|queue| queue.size).unwrap_or(0);
        let what = format_args!("QueueSize {size}, but QueueSizeMax is {max}");
        self.log.require(size <= max, "MMIO-D-16", what);
        let Some(size) = u16::try_from(size).ok().filter(|size| size.is_power_of_two()) else {
            let what = format_args!("QueueSize {size} is not a power of two up to 32768");
            return self.log.report("RING-N-01", what);
        };
        let n = u64::from(size);
        let [table, driver_area, device_area] = parts;
        let mut sound = true;
        for (name, start, align, bytes) in [
            ("descriptor table", table, 16, 16 * n),
            ("driver area", driver_area, 2, 6 + 2 * n),
            ("device area", device_area, 4, 6 + 8 * n),
        ] {
            let (aligned, held) = (start.is_multiple_of(align), self.arena.holds(start, bytes));
            let what = format_args!("the {name}, {bytes} bytes at {start:#x}");
            self.log.require(aligned, "RING-D-01", what);
            self.log.require(held, "RING-N-02", what);
            sound &= aligned && held;
        }
        if !sound {
            return;
        }
        let event_idx = self.accepts(feature::EVENT_IDX);
        self.check_zeroed(size, driver_area, device_area, event_idx);
        let ring = Ring::new(self.queue_sel as u16, size, parts, event_idx, Arc::clone(&self.memory));
        if self.config.misleading_fields {
            ring.mislead();
        }
        if let Some(queue) = self.selected() {
            queue.ring = Some(ring);
        }
    }

    /// The rings start with zeroes. The driver may have suppressed interrupts already.
    fn check_zeroed(&mut self, size: u16, driver_area: u64, device_area: u64, event_idx: bool) {
        let mut used_ring = vec![0xFF; 6 + 8 * usize::from(size)];
        let mut head = [0xFF; 4];
        let used_read = self.memory.read_slice(&mut used_ring, GuestAddress(device_area));
        let head_read = self.memory.read_slice(&mut head, GuestAddress(driver_area));
        used_read.and(head_read).expect("checked to be there");
        let [flags, index] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_le_bytes);
        let zeroed = used_ring[2..].iter().all(|&byte| byte == 0);
        let what = "the flags of the used ring are not 0 when the queue is enabled";
        self.log.require(used_ring[..2] == [0, 0], "RING-D-19", what);
        let what = "the used ring is not zeroed when the queue is enabled";
        self.log.require(zeroed, "RING-N-15", what);
        let what = format_args!("available index {index}, flags {flags:#x} when the queue is enabled");
        let fresh = index == 0 && flags <= u16::from(!event_idx);
        self.log.require(fresh, "RING-N-15", what);
    }
}
