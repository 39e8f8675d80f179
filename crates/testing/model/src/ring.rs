//! The ring side of a queue: taking chains, returning them, and which side has to notify the other.
//!
//! The `Queue` of rust-vmm keeps the indices and does the parsing. This file adds what it leaves out: NO_INTERRUPT, the
//! driver's duties, and rings that tell lies.

use std::num::Wrapping;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::arena::{Arena, Memory};
use crate::chain::{self, ChainRules, Element, Walk};
use crate::violation::Log;

/// A chain that the device has taken and not returned.
pub(crate) struct Taken {
    pub(crate) head: u16,
    pub(crate) chain: DescriptorChain<Arc<Memory>>,
    pub(crate) walk: Walk,
}

/// The device cannot go on with this ring.
pub(crate) struct RingBroken;

pub(crate) struct Ring {
    pub(crate) index: u16,
    memory: Arc<Memory>,
    queue: Queue,
    /// Taken and kept: lost requests, or requests that wait for the test.
    pub(crate) held: Vec<Taken>,
    /// Carried out and never returned.
    pub(crate) swallowed: Vec<Taken>,
    /// The available index at the last look.
    available_seen: u16,
    /// Requests up to this index were notified of, or were taken without a notification.
    announced: u16,
    /// The used ring holds a lie, so nothing that follows in it can reach the driver.
    pub(crate) lied: bool,
    /// Chains that are over, counted as the indices are. Unlike the used index it contains no lies.
    retired: u16,
}

const CHECKED: &str = "the ring's memory was checked when the queue was enabled";

impl Ring {
    pub(crate) fn new(index: u16, size: u16, parts: [u64; 3], event_idx: bool, memory: Arc<Memory>) -> Self {
        let mut queue = Queue::new(size).expect("a power of two up to 32768");
        let [table, available, used] = parts.map(|addr| (Some(addr as u32), Some((addr >> 32) as u32)));
        queue.set_desc_table_address(table.0, table.1);
        queue.set_avail_ring_address(available.0, available.1);
        queue.set_used_ring_address(used.0, used.1);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        Self {
            index,
            memory,
            queue,
            held: Vec::new(),
            swallowed: Vec::new(),
            available_seen: 0,
            announced: 0,
            lied: false,
            retired: 0,
        }
    }

    pub(crate) fn event_idx(&self) -> bool {
        self.queue.event_idx_enabled()
    }

    fn load(&self, addr: u64) -> u16 {
        let value = self.memory.load::<u16>(GuestAddress(addr), Ordering::Acquire);
        u16::from_le(value.expect(CHECKED))
    }

    fn store(&self, addr: u64, value: u16) {
        let done = self.memory.store(value.to_le(), GuestAddress(addr), Ordering::Release);
        done.expect(CHECKED);
    }

    fn available_index(&self) -> u16 {
        let Wrapping(index) = self.queue.avail_idx(&*self.memory, Ordering::Acquire).expect(CHECKED);
        index
    }

    fn available_flags(&self) -> u16 {
        self.load(self.queue.avail_ring())
    }

    fn avail_event_addr(&self) -> u64 {
        self.queue.used_ring() + 4 + 8 * u64::from(self.queue.size())
    }

    /// Puts something into the field that the driver must ignore.
    pub(crate) fn mislead(&self) {
        if self.event_idx() {
            self.store(self.queue.used_ring(), 1);
        } else {
            self.store(self.avail_event_addr(), 0x5A5A);
        }
    }

    /// The parts of the ring, as address and length.
    pub(crate) fn parts(&self) -> [(u64, u64); 3] {
        let (n, queue) = (u64::from(self.queue.size()), &self.queue);
        [
            (queue.desc_table(), 16 * n),
            (queue.avail_ring(), 6 + 2 * n),
            (queue.used_ring(), 6 + 8 * n),
        ]
    }

    /// Published and not taken yet.
    pub(crate) fn pending(&self) -> u16 {
        self.available_index().wrapping_sub(self.queue.next_avail())
    }

    /// Looks at flags and index of the available ring.
    pub(crate) fn look(&mut self, log: &mut Log) {
        let (flags, index, size) = (self.available_flags(), self.available_index(), self.queue.size());
        if self.event_idx() {
            let what = format_args!("available flags {flags:#x} though EVENT_IDX was accepted");
            log.require(flags == 0, "RING-D-14", what);
        } else {
            log.require(flags <= 1, "RING-D-12", format_args!("available flags {flags:#x}"));
        }
        let outstanding = index.wrapping_sub(self.retired);
        let seen = std::mem::replace(&mut self.available_seen, index);
        if index.wrapping_sub(seen) >= 0x8000 {
            let what = format_args!("the available index went back from {seen} to {index}");
            log.report("RING-D-11", what);
        } else {
            let what = format_args!("{outstanding} chains outstanding on a queue of {size}");
            log.require(outstanding <= size, "RING-N-14", what);
        }
    }

    /// Takes the next chain, if there is one.
    pub(crate) fn take(
        &mut self,
        arena: &Arena,
        rules: ChainRules,
        log: &mut Log,
    ) -> Result<Option<Taken>, RingBroken> {
        self.look(log);
        let mut chains = self.queue.iter(Arc::clone(&self.memory)).map_err(|_| RingBroken)?;
        let Some(chain) = chains.next() else {
            return Ok(None);
        };
        let position = self.queue.next_avail();
        if position.wrapping_sub(self.announced) < 0x8000 {
            self.announced = position;
        }
        let head = chain.head_index();
        let what = format_args!("descriptor {head} made available again while it is in flight");
        let in_flight = self.kept().any(|kept| kept.head == head);
        log.require(!in_flight, "INIT-D-21", what);
        let walk = chain::walk(arena, self.queue.desc_table(), self.queue.size(), head, rules, log);
        if walk.broken {
            return Err(RingBroken);
        }
        let theirs: Vec<Element> = chain.clone().map(Element::from).collect();
        assert_eq!(theirs, walk.elements, "rust-vmm and the model read the same chain");
        Ok(Some(Taken { head, chain, walk }))
    }

    /// Returns a chain as it should be.
    pub(crate) fn put_used(&mut self, head: u16, len: u32) {
        let done = self.queue.add_used(&*self.memory, head, len);
        done.expect("the head was in range when it was taken");
        self.retired = self.retired.wrapping_add(1);
    }

    /// Writes wrong used elements, and moves the index.
    pub(crate) fn put_used_wrongly(&mut self, id: u32, len: u32, copies: u16, extra: u16) {
        for copy in 0..copies {
            let place = self.queue.next_used().wrapping_add(copy) % self.queue.size();
            let slot = GuestAddress(self.queue.used_ring() + 4 + 8 * u64::from(place));
            let element = [id.to_le(), len.to_le()];
            self.memory.write_obj(element, slot).expect(CHECKED);
        }
        self.retired = self.retired.wrapping_add(1);
        self.move_used_index(copies.wrapping_add(extra));
    }

    /// Moves the used index, although nothing was used.
    pub(crate) fn move_used_index(&mut self, by: u16) {
        self.lied = true;
        let next = self.queue.next_used().wrapping_add(by);
        self.queue.set_next_used(next);
        self.store(self.queue.used_ring() + 2, next);
    }

    /// Whether the driver wants an interrupt for what was used since the last question (`RING-V-02`).
    pub(crate) fn driver_wants_interrupt(&mut self) -> bool {
        // rust-vmm knows EVENT_IDX only. It is asked in any case, because it keeps count.
        let by_event = self.queue.needs_notification(&*self.memory).expect(CHECKED);
        if self.event_idx() {
            return by_event;
        }
        fence(Ordering::SeqCst);
        self.available_flags() & 1 == 0
    }

    /// Tells the driver that notifications are not needed for now.
    pub(crate) fn disable_notifications(&mut self) {
        self.queue.disable_notification(&*self.memory).expect(CHECKED);
    }

    /// Asks for notifications from now on; whether there are chains already.
    pub(crate) fn enable_notifications(&mut self) -> bool {
        let more = self.queue.enable_notification(&*self.memory).expect(CHECKED);
        // The device has just seen what is there already, so the driver need not notify of it any more.
        self.announced = self.available_index();
        more
    }

    /// Whether the driver has published something, was asked to notify of it, and has not.
    pub(crate) fn owes_notification(&self) -> bool {
        let new = self.available_index();
        let advance = new.wrapping_sub(self.announced);
        if advance == 0 || advance > self.queue.size() {
            return false;
        }
        if self.event_idx() {
            new.wrapping_sub(self.load(self.avail_event_addr())).wrapping_sub(1) < advance
        } else {
            self.load(self.queue.used_ring()) & 1 == 0
        }
    }

    /// The driver has notified; returns the available index at that moment.
    pub(crate) fn notified(&mut self) -> u16 {
        self.announced = self.available_index();
        self.announced
    }

    /// Chains that the device has taken and not returned.
    fn kept(&self) -> impl Iterator<Item = &Taken> {
        self.held.iter().chain(&self.swallowed)
    }

    /// The memory of every chain that the device has taken or could take.
    pub(crate) fn exposed(&self, arena: &Arena, rules: ChainRules) -> Vec<Element> {
        let (queue, mut silent) = (&self.queue, Log::default());
        let mut elements: Vec<Element> = self.kept().flat_map(|kept| kept.walk.elements.clone()).collect();
        for i in 0..self.pending().min(queue.size()) {
            let slot = queue.next_avail().wrapping_add(i) % queue.size();
            let head = self.load(queue.avail_ring() + 4 + 2 * u64::from(slot));
            let walk = chain::walk(arena, queue.desc_table(), queue.size(), head, rules, &mut silent);
            elements.extend(walk.elements);
        }
        elements
    }
}
