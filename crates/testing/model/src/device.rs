//! The state of the device. The files beside this one say what the device does with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use virtio_core::Features;

use crate::arena::{Arena, Memory};
use crate::config::ModelConfig;
use crate::disk::Disk;
use crate::faults::{Fault, NoFaults, StartFault};
use crate::pci::{Function, Vectors};
use crate::removal::Presence;
use crate::ring::Ring;
use crate::violation::Log;
use crate::wire::{feature, status};
use crate::zones::ZoneTable;

/// Causes in InterruptStatus.
pub(crate) const USED_BUFFER: u32 = 1;
pub(crate) const CONFIG_CHANGE: u32 = 2;

/// Counts since the model was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Doorbell writes.
    pub notifies: u64,
    /// Doorbell writes the device had not asked for (`RING-D-21`, `RING-D-25`). Allowed, but a waste.
    pub unneeded_notifies: u64,
    /// Notifications the device sent: used buffers and configuration changes.
    pub interrupts: u64,
    /// Writes to InterruptACK.
    pub acknowledges: u64,
    /// Resets by the driver.
    pub resets: u64,
    /// Requests by type number.
    pub requests: BTreeMap<u32, u64>,
    /// Requests answered with another status than OK.
    pub errors: u64,
    /// Resets of one queue that the driver has seen the end of.
    pub queue_resets: u64,
    /// Chains taken from the ring.
    pub chains: u64,
    /// Chains that used an indirect table.
    pub indirect_chains: u64,
    /// Descriptors of the longest chain.
    pub longest_chain: usize,
}

impl DeviceCounters {
    /// Requests of one type.
    pub fn requests_of(&self, kind: u32) -> u64 {
        self.requests.get(&kind).copied().unwrap_or(0)
    }
}

/// One queue as the registers show it.
#[derive(Default)]
pub(crate) struct DeviceQueue {
    pub(crate) size: Option<u32>,
    /// The six address registers.
    pub(crate) halves: [Option<u32>; 6],
    pub(crate) align: Option<u32>,
    pub(crate) pfn: u32,
    /// The driver has set QueueReady, or a page number.
    pub(crate) ready: bool,
    /// The driver has cleared QueueReady and not read it yet.
    pub(crate) stop_unread: bool,
    /// The queue was reset since the device was.
    pub(crate) was_reset: bool,
    /// Reads until the reset of the queue is over, if the driver has asked for one and has not seen its end.
    pub(crate) reset_reads: Option<u32>,
    /// The ring, if the queue is ready and sound.
    pub(crate) ring: Option<Ring>,
}

pub(crate) struct Device {
    pub(crate) config: ModelConfig,
    pub(crate) arena: Arena,
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: Log,
    pub(crate) counters: DeviceCounters,
    pub(crate) faults: Box<dyn Fault>,

    /// The first accesses of all, for the order of a probe.
    pub(crate) probe: Vec<u32>,
    pub(crate) status: u32,
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

    pub(crate) presence: Presence,
    pub(crate) interrupt: u32,
    pub(crate) generation: u32,
    pub(crate) capacity: u64,
    pub(crate) writeback: bool,
    pub(crate) start_faults: VecDeque<StartFault>,
    /// The device ignores resets.
    pub(crate) resets_held: bool,
    /// The device has ignored the latest reset.
    pub(crate) reset_ignored: bool,
    /// The generation is another one at each look.
    pub(crate) restless: bool,
    /// Whether the disk can only be read after the next reset.
    pub(crate) read_only_next: Option<bool>,
    /// Bytes of a block after the next reset.
    pub(crate) block_size_next: Option<u32>,
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
    /// The function that the device is, on a PCI bus.
    pub(crate) pci: Option<Box<Function>>,
}

impl Device {
    pub(crate) fn new(config: ModelConfig) -> Self {
        let arena = Arena::new(config.memory_base, config.memory_bytes);
        let mut device = Self {
            memory: arena.memory(),
            arena,
            log: Log::default(),
            counters: DeviceCounters::default(),
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
            presence: Presence::default(),
            interrupt: 0,
            generation: 0,
            capacity: config.capacity,
            writeback: config.write_cache,
            start_faults: VecDeque::new(),
            resets_held: false,
            reset_ignored: false,
            restless: false,
            read_only_next: None,
            block_size_next: None,
            later_resize: None,
            queue_sel: 0,
            page_size: None,
            queues: Vec::new(),
            requests: 0,
            shuffle: 0,
            disk: Disk::default(),
            zones: ZoneTable::new(&config),
            pci: None,
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
        if let Some(read_only) = self.read_only_next.take() {
            self.config.offered.set(Features::from_low(feature::RO), read_only);
        }
        if let Some(block_size) = self.block_size_next.take() {
            self.config.block_size = block_size;
        }
        self.interrupt = 0;
        self.writeback = self.config.write_cache;
        self.page_size = None;
        self.queues.clear();
        let count = usize::from(self.config.queues);
        self.queues.resize_with(count, DeviceQueue::default);
        if let Some(function) = &mut self.pci {
            function.vectors.forget();
        }
    }

    pub(crate) fn has(&self, status: u32) -> bool {
        self.status & status == status
    }

    pub(crate) fn accepts(&self, bits: u64) -> bool {
        self.accepted.low() & bits == bits
    }

    /// The rings of the queues in use.
    pub(crate) fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.queues.iter().filter_map(|queue| queue.ring.as_ref())
    }

    /// Sends a notification, unless the device is not live (`INIT-V-02`).
    pub(crate) fn interrupt(&mut self, causes: u32) {
        if !self.has(status::DRIVER_OK) {
            return;
        }
        self.counters.interrupts += 1;
        match self.vectors() {
            Some(vectors) if causes & CONFIG_CHANGE != 0 => vectors.fire(vectors.config),
            Some(_) => (),
            None => self.interrupt |= causes,
        }
    }

    /// Sends a notification of used buffers.
    pub(crate) fn interrupt_for(&mut self, queue: u16) {
        match self.vectors() {
            Some(vectors) => {
                let vector = vectors.queues[usize::from(queue)];
                vectors.fire(vector);
                self.counters.interrupts += 1;
            }
            None => self.interrupt(USED_BUFFER),
        }
    }

    /// The vectors, if interrupts are sent by them and the device can send.
    fn vectors(&mut self) -> Option<&mut Vectors> {
        let function = self.pci.as_mut()?;
        function.vectors.is_on().then_some(&mut function.vectors)
    }

    /// Asks for a reset (`INIT-V-03`).
    pub(crate) fn break_down(&mut self) {
        self.status |= status::NEEDS_RESET;
        self.interrupt(CONFIG_CHANGE);
    }

    /// Changes the capacity and announces it.
    pub(crate) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.generation = self.generation.wrapping_add(1);
        self.interrupt(CONFIG_CHANGE);
    }
}
