//! The state of the device, all in one place. What it does with it is in the modules beside.

use std::collections::VecDeque;
use std::sync::Arc;

use virtio_core::Features;

use crate::arena::{Arena, Memory};
use crate::config::ModelConfig;
use crate::counters::Counters;
use crate::disk::Disk;
use crate::faults::{Fault, NoFaults};
use crate::queue::DeviceQueue;
use crate::starts::StartFault;
use crate::violation::Log;
use crate::wire::feature;
use crate::zones::ZoneTable;

/// Cause bits of InterruptStatus.
pub(crate) const USED_BUFFER: u32 = 1;
pub(crate) const CONFIG_CHANGE: u32 = 2;

pub(crate) struct Device {
    pub(crate) config: ModelConfig,
    pub(crate) arena: Arena,
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    pub(crate) faults: Box<dyn Fault>,

    /// The first accesses of all, for the order of a probe.
    pub(crate) probe: Vec<u32>,
    pub(crate) status: u8,
    /// Status reads until the reset is over.
    pub(crate) reset_reads: u32,
    pub(crate) was_reset: bool,
    /// The driver has seen status 0 since it asked for the reset.
    pub(crate) reset_seen: bool,
    /// The driver has read the status since it set FEATURES_OK.
    pub(crate) features_ok_seen: bool,
    pub(crate) offered_word: Option<u32>,
    pub(crate) accepted_word: Option<u32>,
    pub(crate) words_written: [bool; 4],
    pub(crate) accepted: Features,

    pub(crate) interrupt: u32,
    pub(crate) generation: u32,
    pub(crate) capacity: u64,
    pub(crate) writeback: bool,
    /// What goes wrong in the next starts.
    pub(crate) start_faults: VecDeque<StartFault>,
    /// Resets are asked for in vain.
    pub(crate) resets_held: bool,
    /// The latest reset that was asked for did not begin.
    pub(crate) reset_put_off: bool,
    /// The generation is another one at each look.
    pub(crate) restless: bool,
    /// Whether the disk can only be read after the next reset.
    pub(crate) read_only_next: Option<bool>,
    /// A change of capacity that comes after so many configuration reads.
    pub(crate) later_resize: Option<(u32, u64)>,

    pub(crate) queue_sel: u32,
    pub(crate) page_size: Option<u32>,
    pub(crate) queues: Vec<DeviceQueue>,
    /// Requests seen so far.
    pub(crate) requests: u64,
    /// State of the shuffler.
    pub(crate) shuffle: u64,

    pub(crate) disk: Disk,
    pub(crate) zones: ZoneTable,
}

impl Device {
    pub(crate) fn new(config: ModelConfig) -> Self {
        let arena = Arena::new(config.memory_base, config.memory_bytes);
        let mut device = Self {
            memory: arena.memory(),
            arena,
            log: Log::default(),
            counters: Counters::default(),
            faults: Box::new(NoFaults),
            probe: Vec::new(),
            status: 0,
            reset_reads: 0,
            was_reset: false,
            reset_seen: true,
            features_ok_seen: false,
            offered_word: None,
            accepted_word: None,
            words_written: [false; 4],
            accepted: Features::empty(),
            interrupt: 0,
            generation: 0,
            capacity: config.capacity,
            writeback: config.write_cache,
            start_faults: VecDeque::new(),
            resets_held: false,
            reset_put_off: false,
            restless: false,
            read_only_next: None,
            later_resize: None,
            queue_sel: 0,
            page_size: None,
            queues: Vec::new(),
            requests: 0,
            shuffle: 0,
            disk: Disk::default(),
            zones: ZoneTable::new(&config),
            config,
        };
        device.clear();
        device
    }

    /// Back to the state after power-on, but for the disk (`INIT-V-01`, `MMIO-V-02`).
    pub(crate) fn clear(&mut self) {
        self.status = 0;
        self.features_ok_seen = false;
        self.offered_word = None;
        self.accepted_word = None;
        self.words_written = [false; 4];
        self.accepted = Features::empty();
        match self.read_only_next.take() {
            Some(true) => self.config.offered |= Features::from_low(feature::RO),
            Some(false) => self.config.offered &= !Features::from_low(feature::RO),
            None => {}
        }
        self.interrupt = 0;
        self.writeback = self.config.write_cache;
        self.page_size = None;
        self.queues.clear();
        self.queues
            .resize_with(usize::from(self.config.queues), DeviceQueue::default);
    }

    pub(crate) fn has(&self, status: u8) -> bool {
        self.status & status == status
    }

    pub(crate) fn accepts(&self, bits: u64) -> bool {
        self.accepted.low() & bits == bits
    }

    /// Sends a notification, unless the device is not live (`INIT-V-02`).
    pub(crate) fn interrupt(&mut self, causes: u32) {
        if !self.has(crate::init::DRIVER_OK) {
            return;
        }
        self.counters.interrupts += 1;
        if self.interrupt == 0 {
            self.counters.line_rises += 1;
        }
        self.interrupt |= causes;
    }

    /// Asks for help (`INIT-V-03`).
    pub(crate) fn break_down(&mut self) {
        self.status |= crate::init::NEEDS_RESET;
        self.interrupt(CONFIG_CHANGE);
    }

    /// Changes the capacity and says so.
    pub(crate) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.generation = self.generation.wrapping_add(1);
        self.interrupt(CONFIG_CHANGE);
    }
}
