//! Queue registers: how the driver hands over a queue, and takes it back.

use vm_memory::{Bytes, GuestAddress};

use crate::device::Device;
use crate::init::{DRIVER, DRIVER_OK, FAILED, FEATURES_OK};
use crate::ring::Ring;
use crate::starts::StartFault;
use crate::wire::feature;

/// The six address registers in order of their offsets.
const HALVES: [u32; 6] = [0x080, 0x084, 0x090, 0x094, 0x0A0, 0x0A4];

/// One queue as the registers show it.
#[derive(Default)]
pub(crate) struct DeviceQueue {
    size: Option<u32>,
    halves: [Option<u32>; 6],
    align: Option<u32>,
    pfn: u32,
    /// The driver has set QueueReady, or a page number.
    ready: bool,
    /// The driver has cleared QueueReady and not looked yet.
    stop_unread: bool,
    /// Reads of QueueReset that still answer 1.
    reset_reads: u32,
    /// Where the requests are, if the queue is ready and sound.
    pub(crate) ring: Option<Ring>,
}

impl Device {
    fn selected(&mut self) -> Option<&mut DeviceQueue> {
        let index = usize::try_from(self.queue_sel).ok()?;
        self.queues.get_mut(index)
    }

    pub(crate) fn read_queue_register(&mut self, offset: u32) -> u32 {
        let max = match offset {
            0x034 if self.start_fails_by(StartFault::NoQueue) => 0,
            _ => self.config.queue_size_max,
        };
        let legacy = self.config.is_legacy();
        let Some(queue) = self.selected() else {
            return 0;
        };
        match offset {
            0x034 => {
                if legacy && queue.ready {
                    self.log
                        .report("LEG-N-09", "QueueSizeMax read while the queue is in use");
                }
                max
            }
            0x040 => queue.pfn,
            0x044 => {
                queue.stop_unread = false;
                u32::from(queue.ready)
            }
            0x0C0 => {
                let busy = queue.reset_reads > 0;
                queue.reset_reads = queue.reset_reads.saturating_sub(1);
                u32::from(busy)
            }
            _ => u32::MAX,
        }
    }

    pub(crate) fn write_queue_register(&mut self, offset: u32, value: u32) {
        match offset {
            0x030 => {
                self.queue_sel = value;
                return;
            }
            0x028 => {
                if !value.is_power_of_two() {
                    self.log
                        .report("LEG-N-06", format!("GuestPageSize {value} is no power of two"));
                }
                self.page_size = Some(value);
                return;
            }
            _ => (),
        }
        let gives_up = matches!(offset, 0x040 | 0x044) && value == 0;
        if !gives_up && offset != 0x0C0 {
            self.check_window(offset);
        }
        let Some(queue) = self.selected() else {
            let queue = self.queue_sel;
            self.log.report(
                "MMIO-N-03",
                format!("register {offset:#x} of queue {queue}, which does not exist"),
            );
            return;
        };
        let ready = queue.ready;
        if ready && offset != 0x0C0 && !gives_up {
            self.log.report(
                "MMIO-D-17",
                format!("register {offset:#x} written while the queue is ready"),
            );
            return;
        }
        if queue.stop_unread && !gives_up {
            self.log.report("MMIO-D-19", "QueueReady was cleared but not read back");
        }
        let queue = self.selected().expect("it was there a moment ago");
        match offset {
            0x038 => queue.size = Some(value),
            0x03C => queue.align = Some(value),
            0x040 if value == 0 => self.give_up_legacy_queue(),
            0x040 => {
                queue.pfn = value;
                self.enable_legacy();
            }
            0x044 if value == 0 => {
                *queue = DeviceQueue {
                    stop_unread: true,
                    ..DeviceQueue::default()
                };
            }
            0x044 => self.enable_modern(),
            0x0C0 => {
                *queue = DeviceQueue::default();
                let reads = self.config.reset_reads;
                self.selected().expect("still there").reset_reads = reads;
            }
            _ => {
                if let Some(half) = HALVES.iter().position(|&half| half == offset) {
                    queue.halves[half] = Some(value);
                }
            }
        }
    }

    /// Queues are set up after the features are settled and before the device is live (`INIT-D-13`).
    fn check_window(&mut self, offset: u32) {
        let begin = if self.config.is_legacy() { DRIVER } else { FEATURES_OK };
        if self.has(FAILED) {
            self.log
                .report("INIT-D-19", format!("queue register {offset:#x} written after FAILED"));
        } else if !self.has(begin) {
            self.log.report(
                "INIT-D-13",
                format!("queue register {offset:#x} written before the features were settled"),
            );
        } else if self.has(DRIVER_OK) && !self.accepts(feature::RING_RESET) {
            self.log.report(
                "INIT-D-13",
                format!("queue register {offset:#x} written after DRIVER_OK"),
            );
        }
    }

    fn give_up_legacy_queue(&mut self) {
        let in_use = self.selected().is_some_and(|queue| queue.ready);
        if in_use && self.config.legacy_pfn_zero_resets {
            self.clear();
        } else if let Some(queue) = self.selected() {
            *queue = DeviceQueue::default();
        }
    }

    fn enable_modern(&mut self) {
        let queue = self.selected().expect("checked by the caller");
        queue.ready = true;
        let halves = queue.halves;
        let names = [
            "QueueDescLow",
            "QueueDescHigh",
            "QueueDriverLow",
            "QueueDriverHigh",
            "QueueDeviceLow",
            "QueueDeviceHigh",
        ];
        for (name, half) in names.iter().zip(halves) {
            if half.is_none() {
                self.log
                    .report("MMIO-N-05", format!("{name} was not written before QueueReady"));
            }
        }
        // What was not written holds garbage, as it may on hardware.
        let half = |i: usize| u64::from(halves[i].unwrap_or(0xDEAD_BEE0));
        let address = |low: usize| half(low) | half(low + 1) << 32;
        self.take_into_use([address(0), address(2), address(4)]);
    }

    fn enable_legacy(&mut self) {
        let queue = self.selected().expect("checked by the caller");
        queue.ready = true;
        let (pfn, align, size) = (queue.pfn, queue.align, queue.size);
        let Some(page_size) = self.page_size else {
            self.log.report("LEG-N-06", "QueuePFN written before GuestPageSize");
            return;
        };
        let Some(align) = align.filter(|align| align.is_power_of_two()) else {
            self.log
                .report("LEG-N-07", format!("QueueAlign is {align:?} when the queue is enabled"));
            return;
        };
        let size = u64::from(size.unwrap_or(0));
        let start = u64::from(pfn) * u64::from(page_size);
        let available = start + 16 * size;
        let used = (available + 6 + 2 * size).next_multiple_of(u64::from(align));
        self.take_into_use([start, available, used]);
    }

    /// Checks size, place and content of a queue that was just enabled.
    fn take_into_use(&mut self, [table, available, used]: [u64; 3]) {
        let max = self.config.queue_size_max;
        let size = self.selected().and_then(|queue| queue.size).unwrap_or(0);
        if size > max {
            self.log
                .report("MMIO-D-16", format!("QueueSize {size}, but QueueSizeMax is {max}"));
        }
        let Some(size) = u16::try_from(size).ok().filter(|size| size.is_power_of_two()) else {
            self.log.report(
                "RING-N-01",
                format!("QueueSize {size} is not a power of two up to 32768"),
            );
            return;
        };
        let n = u64::from(size);
        let parts = [
            ("descriptor table", table, 16, 16 * n),
            ("available ring", available, 2, 6 + 2 * n),
            ("used ring", used, 4, 6 + 8 * n),
        ];
        let mut sound = true;
        for (name, start, align, bytes) in parts {
            if !start.is_multiple_of(align) {
                self.log.report(
                    "RING-D-01",
                    format!("the {name} at {start:#x} is not aligned to {align}"),
                );
                sound = false;
            }
            if !self.arena.holds(start, bytes) {
                let what = format!("the {name}, {bytes} bytes at {start:#x}, is not in the driver's memory");
                self.log.report("RING-N-02", what);
                sound = false;
            }
        }
        if !sound {
            return;
        }
        let event_idx = self.accepts(feature::EVENT_IDX);
        self.check_zeroed(size, available, used, event_idx);
        let index = self.queue_sel as u16;
        let ring = Ring::new(index, size, [table, available, used], event_idx);
        if self.config.misleading_fields {
            ring.mislead(&self.memory);
        }
        if let Some(queue) = self.selected() {
            queue.ring = Some(ring);
        }
    }

    /// The rings start from nothing (`RING-N-15`, `RING-D-19`). The driver may have switched interrupts off already.
    fn check_zeroed(&mut self, size: u16, available: u64, used: u64, event_idx: bool) {
        let mut bytes = vec![0xFF; 6 + 8 * usize::from(size)];
        self.memory
            .read_slice(&mut bytes, GuestAddress(used))
            .expect("checked to be there");
        if bytes[..2] != [0, 0] {
            self.log.report(
                "RING-D-19",
                "the flags of the used ring are not 0 when the queue is enabled",
            );
        }
        if bytes[2..].iter().any(|&byte| byte != 0) {
            self.log
                .report("RING-N-15", "the used ring is not zeroed when the queue is enabled");
        }
        let mut head = [0xFF; 4];
        self.memory
            .read_slice(&mut head, GuestAddress(available))
            .expect("checked to be there");
        if head[2..] != [0, 0] {
            self.log
                .report("RING-N-15", "the available index is not 0 when the queue is enabled");
        }
        let flags = u16::from_le_bytes([head[0], head[1]]);
        if flags > u16::from(!event_idx) {
            self.log.report(
                "RING-N-15",
                format!("the flags of the available ring are {flags:#x} when the queue is enabled"),
            );
        }
    }
}
