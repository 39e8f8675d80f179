//! The ring side of a queue: taking chains, giving them back, and who has to notify whom.
//!
//! rust-vmm's `Queue` keeps the indices and does the parsing. What it leaves out is here: NO_INTERRUPT, and a look at
//! what the driver writes.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::arena::{Arena, Memory};
use crate::chain::{self, ChainRules, Element, Walk};
use crate::violation::Log;

/// A chain the device has taken and not given back.
pub(crate) struct Taken {
    pub(crate) head: u16,
    pub(crate) chain: DescriptorChain<Arc<Memory>>,
    pub(crate) walk: Walk,
}

/// The rings are beyond repair.
pub(crate) struct RingBroken;

pub(crate) struct Ring {
    pub(crate) index: u16,
    pub(crate) size: u16,
    table: u64,
    available: u64,
    used: u64,
    queue: Queue,
    pub(crate) event_idx: bool,
    /// Taken and kept: lost requests, or such as wait for the test's word.
    pub(crate) held: Vec<Taken>,
    /// Carried out and never to be given back.
    pub(crate) swallowed: Vec<Taken>,
    /// The available index when it was last looked at.
    available_seen: u16,
    /// Up to here the driver has either notified or been served without.
    announced: u16,
    /// The used ring holds a lie, so nothing that follows in it can reach the driver.
    pub(crate) lied: bool,
    /// Chains that are over, counted as the indices are. Unlike the used index it contains no lies of the model's own.
    retired: u16,
}

impl Ring {
    pub(crate) fn new(index: u16, size: u16, [table, available, used]: [u64; 3], event_idx: bool) -> Self {
        let mut queue = Queue::new(size).expect("a power of two up to 32768");
        let split = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
        let (low, high) = split(table);
        queue.set_desc_table_address(low, high);
        let (low, high) = split(available);
        queue.set_avail_ring_address(low, high);
        let (low, high) = split(used);
        queue.set_used_ring_address(low, high);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        Self {
            index,
            size,
            table,
            available,
            used,
            queue,
            event_idx,
            held: Vec::new(),
            swallowed: Vec::new(),
            available_seen: 0,
            announced: 0,
            lied: false,
            retired: 0,
        }
    }

    fn load(memory: &Memory, addr: u64) -> u16 {
        let value = memory
            .load::<u16>(GuestAddress(addr), Ordering::Acquire)
            .expect("checked when enabled");
        u16::from_le(value)
    }

    fn store(memory: &Memory, addr: u64, value: u16) {
        memory
            .store(value.to_le(), GuestAddress(addr), Ordering::Release)
            .expect("checked when enabled");
    }

    fn available_index(&self, memory: &Memory) -> u16 {
        Self::load(memory, self.available + 2)
    }

    fn avail_event_addr(&self) -> u64 {
        self.used + 4 + 8 * u64::from(self.size)
    }

    /// Puts something into the field the driver must ignore.
    pub(crate) fn mislead(&self, memory: &Memory) {
        if self.event_idx {
            Self::store(memory, self.used, 1);
        } else {
            Self::store(memory, self.avail_event_addr(), 0x5A5A);
        }
    }

    /// The parts of the ring, as address and length.
    pub(crate) fn parts(&self) -> [(u64, u64); 3] {
        let n = u64::from(self.size);
        [
            (self.table, 16 * n),
            (self.available, 6 + 2 * n),
            (self.used, 6 + 8 * n),
        ]
    }

    /// Published and not taken yet.
    pub(crate) fn pending(&self, memory: &Memory) -> u16 {
        self.available_index(memory).wrapping_sub(self.queue.next_avail())
    }

    /// Looks at flags and index of the available ring (`RING-D-11`, `RING-D-12`, `RING-D-14`, `RING-N-14`).
    pub(crate) fn look(&mut self, memory: &Memory, log: &mut Log) {
        let flags = Self::load(memory, self.available);
        if self.event_idx && flags != 0 {
            log.report(
                "RING-D-14",
                format!("available flags {flags:#x} though EVENT_IDX was accepted"),
            );
        } else if flags > 1 {
            log.report("RING-D-12", format!("available flags {flags:#x}"));
        }
        let index = self.available_index(memory);
        let advance = index.wrapping_sub(self.available_seen);
        let outstanding = index.wrapping_sub(self.retired);
        if advance >= 0x8000 {
            let what = format!("the available index went back from {} to {index}", self.available_seen);
            log.report("RING-D-11", what);
        } else if outstanding > self.size {
            let what = format!("{outstanding} chains outstanding on a queue of {}", self.size);
            log.report("RING-N-14", what);
        }
        self.available_seen = index;
    }

    /// Takes the next chain, if there is one.
    pub(crate) fn take(
        &mut self,
        arena: &Arena,
        rules: ChainRules,
        log: &mut Log,
    ) -> Result<Option<Taken>, RingBroken> {
        let memory = arena.memory();
        self.look(&memory, log);
        let next = match self.queue.iter(Arc::clone(&memory)) {
            Ok(mut iter) => iter.next(),
            Err(_) => return Err(RingBroken),
        };
        let Some(chain) = next else {
            return Ok(None);
        };
        let position = self.queue.next_avail();
        if position.wrapping_sub(self.announced) < 0x8000 {
            self.announced = position;
        }
        let head = chain.head_index();
        if self.kept().any(|kept| kept.head == head) {
            log.report(
                "INIT-D-21",
                format!("descriptor {head} made available again while it is in flight"),
            );
        }
        let walk = chain::walk(arena, self.table, self.size, head, rules, log);
        let theirs: Vec<Element> = chain
            .clone()
            .map(|d| Element {
                addr: d.addr().0,
                len: d.len(),
                writable: d.is_write_only(),
            })
            .collect();
        if walk.broken {
            return Err(RingBroken);
        }
        assert_eq!(
            theirs, walk.elements,
            "two readings of one chain: rust-vmm's and the model's"
        );
        Ok(Some(Taken { head, chain, walk }))
    }

    /// Whether the chain is still what it was when it was taken.
    pub(crate) fn check_unchanged(taken: &Taken, memory: &Memory, log: &mut Log) {
        if !taken.walk.unchanged(memory) {
            log.report(
                "INIT-D-21",
                format!("the chain at descriptor {} was changed while in flight", taken.head),
            );
        }
    }

    /// Gives a chain back as it should be.
    pub(crate) fn give_back(&mut self, memory: &Memory, head: u16, len: u32) {
        self.queue
            .add_used(memory, head, len)
            .expect("the head was in range when it was taken");
        self.retired = self.retired.wrapping_add(1);
    }

    /// Writes used elements nobody should write, and moves the index.
    pub(crate) fn give_back_wrongly(&mut self, memory: &Memory, id: u32, len: u32, copies: u16, extra: u16) {
        self.lied = true;
        let mut next = self.queue.next_used();
        for _ in 0..copies {
            let slot = self.used + 4 + 8 * u64::from(next % self.size);
            memory
                .write_obj(id.to_le(), GuestAddress(slot))
                .expect("checked when enabled");
            memory
                .write_obj(len.to_le(), GuestAddress(slot + 4))
                .expect("checked when enabled");
            next = next.wrapping_add(1);
        }
        next = next.wrapping_add(extra);
        self.queue.set_next_used(next);
        self.retired = self.retired.wrapping_add(1);
        Self::store(memory, self.used + 2, next);
    }

    /// Whether the driver wants to hear of what was given back since this was last asked (`RING-V-02`).
    pub(crate) fn driver_wants_interrupt(&mut self, memory: &Memory) -> bool {
        // rust-vmm knows EVENT_IDX only; it is asked in any case, because it keeps count.
        let by_event = self.queue.needs_notification(memory).expect("checked when enabled");
        if self.event_idx {
            return by_event;
        }
        fence(Ordering::SeqCst);
        Self::load(memory, self.available) & 1 == 0
    }

    /// Tells the driver that notifications are not needed for now.
    pub(crate) fn doorbell_off(&mut self, memory: &Memory) {
        self.queue.disable_notification(memory).expect("checked when enabled");
    }

    /// Asks for notifications from now on; whether there are chains already.
    pub(crate) fn doorbell_on(&mut self, memory: &Memory) -> bool {
        let more = self.queue.enable_notification(memory).expect("checked when enabled");
        // What is there already the device has just seen for itself: the driver need not notify of it any more.
        self.announced = self.available_index(memory);
        more
    }

    /// Whether the driver has published something, was asked to notify of it, and has not.
    pub(crate) fn owes_notification(&self, memory: &Memory) -> bool {
        let new = self.available_index(memory);
        let advance = new.wrapping_sub(self.announced);
        if advance == 0 || advance > self.size {
            return false;
        }
        if self.event_idx {
            let event = Self::load(memory, self.avail_event_addr());
            new.wrapping_sub(event).wrapping_sub(1) < advance
        } else {
            Self::load(memory, self.used) & 1 == 0
        }
    }

    /// The driver has notified; returns the available index at that moment.
    pub(crate) fn notified(&mut self, memory: &Memory) -> u16 {
        self.announced = self.available_index(memory);
        self.announced
    }

    /// Chains the device has taken and not given back.
    fn kept(&self) -> impl Iterator<Item = &Taken> {
        self.held.iter().chain(&self.swallowed)
    }

    /// Moves the used index although nothing was used (`RING-D-17` is what the driver has against it).
    pub(crate) fn move_used_index(&mut self, memory: &Memory, by: u16) {
        self.lied = true;
        let next = self.queue.next_used().wrapping_add(by);
        self.queue.set_next_used(next);
        Self::store(memory, self.used + 2, next);
    }

    /// The memory of every chain the device knows of or could see: taken ones, and such as wait in the ring.
    pub(crate) fn exposed(&self, arena: &Arena, rules: ChainRules) -> Vec<Element> {
        let memory = arena.memory();
        let mut silent = Log::default();
        let mut elements: Vec<Element> = self.kept().flat_map(|kept| kept.walk.elements.clone()).collect();
        let waiting = self.pending(&memory).min(self.size);
        for i in 0..waiting {
            let slot = self.queue.next_avail().wrapping_add(i) % self.size;
            let head = Self::load(&memory, self.available + 4 + 2 * u64::from(slot));
            elements.extend(chain::walk(arena, self.table, self.size, head, rules, &mut silent).elements);
        }
        elements
    }
}
