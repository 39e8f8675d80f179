//! Every interleaving of driver and device that the memory model allows, by `loom`.
//!
//! The queue runs unchanged on memory made of loom's atomics and cells. Each access has the ordering the queue named,
//! so what is checked are the queue's own orderings and fences. The device does its half by the book; the models are
//! kept to the few accesses that matter, because the number of interleavings explodes.
#![cfg(not(miri))]

mod common;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU16, Ordering, fence};
use loom::thread;

use common::drain;
use virtio_core::{DeviceAddr, QueueSize, Segment};
use virtqueue::{
    Chains, Descriptor, DescriptorPlace, Found, Notification, QueueOptions, RingLayout, RingMemory, Used, UsedElement,
    VirtQueue, crosses_event, flags,
};

const SIZE: usize = 2;

/// The memory both sides share. Cells tell of any access that is not ordered after the write it must come after.
struct Shared {
    descriptors: [UnsafeCell<Descriptor>; SIZE],
    available_flags: AtomicU16,
    available_index: AtomicU16,
    available_ring: [AtomicU16; SIZE],
    used_event: AtomicU16,
    used_flags: AtomicU16,
    used_index: AtomicU16,
    used_ring: [UnsafeCell<UsedElement>; SIZE],
    avail_event: AtomicU16,
}

// SAFETY: loom reports every pair of accesses to a cell that are not ordered; that is what the models are for.
unsafe impl Sync for Shared {}

#[derive(Clone)]
struct Memory(Arc<Shared>);

impl Memory {
    fn new() -> Self {
        let blank = Descriptor {
            addr: DeviceAddr(0),
            len: 0,
            flags: 0,
            next: 0,
        };
        Self(Arc::new(Shared {
            descriptors: core::array::from_fn(|_| UnsafeCell::new(blank)),
            available_flags: AtomicU16::new(0),
            available_index: AtomicU16::new(0),
            available_ring: core::array::from_fn(|_| AtomicU16::new(0)),
            used_event: AtomicU16::new(0),
            used_flags: AtomicU16::new(0),
            used_index: AtomicU16::new(0),
            used_ring: core::array::from_fn(|_| UnsafeCell::new(UsedElement { id: 0, len: 0 })),
            avail_event: AtomicU16::new(0),
        }))
    }
}

impl RingMemory for Memory {
    fn write_descriptor(&mut self, index: u16, descriptor: Descriptor) {
        self.0.descriptors[usize::from(index)].with_mut(|cell| {
            // SAFETY: loom checks that no other access is concurrent.
            unsafe { *cell = descriptor }
        });
    }

    fn write_table_entry(&mut self, _: u16, _: u16, _: Descriptor) {
        unreachable!("the models use direct chains");
    }

    fn table_place(&self, _: u16, _: u16) -> Option<DescriptorPlace> {
        unreachable!("the models use direct chains");
    }

    fn redirect(&mut self, place: DescriptorPlace, segment: Segment) {
        self.0.descriptors[place.number() as usize].with_mut(|cell| {
            // SAFETY: loom checks that no other access is concurrent.
            unsafe { ((*cell).addr, (*cell).len) = (segment.addr, segment.len) }
        });
    }

    fn table_addr(&self, _: u16) -> DeviceAddr {
        DeviceAddr(0)
    }

    fn write_available(&mut self, slot: u16, head: u16) {
        self.0.available_ring[usize::from(slot) % SIZE].store(head, Ordering::Relaxed);
    }

    fn store_available_index(&mut self, index: u16, order: Ordering) {
        self.0.available_index.store(index, order);
    }

    fn store_available_flags(&mut self, flags: u16, order: Ordering) {
        self.0.available_flags.store(flags, order);
    }

    fn store_used_event(&mut self, event: u16, order: Ordering) {
        self.0.used_event.store(event, order);
    }

    fn load_used_index(&self, order: Ordering) -> u16 {
        self.0.used_index.load(order)
    }

    fn load_used_flags(&self, order: Ordering) -> u16 {
        self.0.used_flags.load(order)
    }

    fn load_avail_event(&self, order: Ordering) -> u16 {
        self.0.avail_event.load(order)
    }

    fn read_used(&self, slot: u16) -> UsedElement {
        self.0.used_ring[usize::from(slot) % SIZE].with(|cell| {
            // SAFETY: loom checks that no write is concurrent.
            unsafe { *cell }
        })
    }

    fn store_load_fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// The device's half.
impl Memory {
    /// Asks to be notified on the chain at `index`, then looks whether it is there already.
    fn arm_and_look(&self, event_idx: bool, index: u16) -> bool {
        if event_idx {
            self.0.avail_event.store(index, Ordering::Relaxed);
        } else {
            self.0.used_flags.store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.0.available_index.load(Ordering::Relaxed) != index
    }

    /// Asks not to be notified on the chain at `index`.
    fn suppress(&self, event_idx: bool, index: u16) {
        if event_idx {
            self.0.avail_event.store(index.wrapping_sub(1), Ordering::Relaxed);
        } else {
            self.0.used_flags.store(flags::NO_NOTIFICATION, Ordering::Relaxed);
        }
    }

    /// Posts a completion at position `index`.
    fn post(&self, index: u16, id: u16, len: u32) {
        self.0.used_ring[usize::from(index) % SIZE].with_mut(|cell| {
            // SAFETY: loom checks that no other access is concurrent.
            unsafe { *cell = UsedElement { id: id.into(), len } }
        });
        self.0.used_index.store(index.wrapping_add(1), Ordering::Release);
    }

    /// Whether the driver wants to hear of the completion just posted at position `index`.
    fn interrupt_due(&self, event_idx: bool, index: u16) -> bool {
        fence(Ordering::SeqCst);
        if event_idx {
            let event = self.0.used_event.load(Ordering::Relaxed);
            crosses_event(event, index.wrapping_add(1), index)
        } else {
            self.0.available_flags.load(Ordering::Relaxed) & flags::NO_NOTIFICATION == 0
        }
    }

    /// Takes the chain at position `index`, if it is there: its head and first descriptor.
    fn take(&self, index: u16) -> Option<(u16, Descriptor)> {
        if self.0.available_index.load(Ordering::Acquire) == index {
            return None;
        }
        let head = self.0.available_ring[usize::from(index) % SIZE].load(Ordering::Relaxed);
        let descriptor = self.0.descriptors[usize::from(head)].with(|cell| {
            // SAFETY: loom checks that no write is concurrent.
            unsafe { *cell }
        });
        Some((head, descriptor))
    }
}

type Queue = VirtQueue<u32, SIZE, Memory>;

fn queue(event_idx: bool) -> (Queue, Memory) {
    let memory = Memory::new();
    let options = QueueOptions {
        size: QueueSize::new(SIZE as u16).unwrap(),
        layout: RingLayout::Modern,
        event_idx,
        indirect_entries: 0,
        chains: Chains::Direct,
        used_len_valid: true,
    };
    (VirtQueue::with_memory(options, memory.clone()), memory)
}

fn submit(queue: &mut Queue, token: u32) -> u16 {
    let read = Segment::new(DeviceAddr(0x1000 + u64::from(token)), 8);
    queue.submit(&[], &[read], token).unwrap()
}

/// The driver publishes while the device goes to sleep. Either the driver rings or the device sees the chain.
fn no_lost_notification(event_idx: bool) {
    loom::model(move || {
        let (mut queue, memory) = queue(event_idx);
        memory.suppress(event_idx, 0);
        submit(&mut queue, 1);
        let device = thread::spawn(move || memory.arm_and_look(event_idx, 0));
        let rung = queue.publish() != Notification::NotNeeded;
        let seen = device.join().unwrap();
        assert!(rung || seen, "the device sleeps and is not woken");
    });
}

// Shows RING-D-27.
#[test]
fn no_notification_is_lost_by_flags() {
    no_lost_notification(false);
}

// Shows RING-D-27.
#[test]
fn no_notification_is_lost_by_event() {
    no_lost_notification(true);
}

/// The same with a batch, of which the device asks for the second chain.
#[test]
fn no_notification_is_lost_for_a_batch() {
    loom::model(|| {
        let (mut queue, memory) = queue(true);
        memory.suppress(true, 0);
        submit(&mut queue, 1);
        submit(&mut queue, 2);
        let device = thread::spawn(move || {
            memory.0.avail_event.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            memory.0.available_index.load(Ordering::Relaxed) == 2
        });
        let rung = queue.publish() != Notification::NotNeeded;
        let seen = device.join().unwrap();
        assert!(rung || seen, "the device sleeps and is not woken");
    });
}

/// The device completes while the driver goes to sleep. Either an interrupt comes or the driver sees the completion.
fn no_lost_interrupt(event_idx: bool) {
    loom::model(move || {
        let (mut queue, memory) = queue(event_idx);
        let head = submit(&mut queue, 1);
        let _ = queue.publish();
        queue.suppress_interrupts();
        let device = thread::spawn(move || {
            memory.post(0, head, 4);
            memory.interrupt_due(event_idx, 0)
        });
        let seen = queue.arm_interrupts();
        let interrupted = device.join().unwrap();
        assert!(seen || interrupted, "the driver sleeps and is not woken");
    });
}

#[test]
fn no_interrupt_is_lost_by_flags() {
    no_lost_interrupt(false);
}

#[test]
fn no_interrupt_is_lost_by_event() {
    no_lost_interrupt(true);
}

/// A whole drain against a completion: taken, or announced for the next drain.
fn no_lost_completion(event_idx: bool) {
    loom::model(move || {
        let (mut queue, memory) = queue(event_idx);
        let head = submit(&mut queue, 1);
        let _ = queue.publish();
        let device = thread::spawn(move || {
            memory.post(0, head, 4);
            memory.interrupt_due(event_idx, 0)
        });
        let mut taken = 0;
        let mut take = |used: Used<u32>| {
            assert_eq!((used.token, used.written), (1, Some(4)));
            taken += 1;
        };
        drain(&mut queue, &mut take).unwrap();
        let interrupted = device.join().unwrap();
        if interrupted {
            drain(&mut queue, take).unwrap();
        }
        assert_eq!(taken, 1, "a completion that is never looked for");
    });
}

// Shows RING-D-31.
#[test]
fn a_drain_loses_no_completion_by_flags() {
    no_lost_completion(false);
}

// Shows RING-D-31.
#[test]
fn a_drain_loses_no_completion_by_event() {
    no_lost_completion(true);
}

/// A device that sees the available index sees the ring slot and its descriptor.
// Shows RING-D-26.
#[test]
fn a_published_chain_is_complete() {
    loom::model(|| {
        let (mut queue, memory) = queue(false);
        let device = thread::spawn(move || {
            if let Some((head, descriptor)) = memory.take(0) {
                assert_eq!(head, 0);
                assert_eq!((descriptor.addr, descriptor.len), (DeviceAddr(0x1001), 8));
                assert_eq!(descriptor.flags, flags::WRITE);
            }
        });
        submit(&mut queue, 1);
        let _ = queue.publish();
        device.join().unwrap();
    });
}

/// A driver that sees the used index sees its element, and the data the device wrote before.
fn completion_is_complete(take: fn(&mut Queue) -> Option<u32>) {
    loom::model(move || {
        let (mut queue, memory) = queue(false);
        let data = Arc::new(UnsafeCell::new(0u32));
        let head = submit(&mut queue, 1);
        let _ = queue.publish();
        let device = {
            let data = Arc::clone(&data);
            thread::spawn(move || {
                data.with_mut(|cell| {
                    // SAFETY: loom checks that no other access is concurrent.
                    unsafe { *cell = 0xDA7A }
                });
                memory.post(0, head, 4);
            })
        };
        if let Some(token) = take(&mut queue) {
            assert_eq!(token, 1);
            let data = data.with(|cell| {
                // SAFETY: loom checks that no write is concurrent.
                unsafe { *cell }
            });
            assert_eq!(data, 0xDA7A);
        }
        device.join().unwrap();
    });
}

#[test]
fn a_completion_is_complete() {
    completion_is_complete(|queue| {
        let used = queue.pop_used().unwrap()?;
        assert_eq!(used.written, Some(4));
        Some(used.token)
    });
}

#[test]
fn a_single_completion_is_complete() {
    completion_is_complete(|queue| {
        // It has room for more than the device has written.
        let found = queue.take_single(|_| (), |(), _| true, drop);
        match found {
            Found::Nothing => None,
            Found::Left(chain, ()) => Some(queue.take(chain).unwrap().token),
            Found::Taken | Found::Others => panic!("it is one that is not filled"),
        }
    });
}

/// A descriptor that came back is written anew without the device still reading the old one, and the device gets the
/// new one.
#[test]
fn a_slot_is_reused_only_after_its_completion() {
    loom::model(|| {
        let (mut queue, memory) = queue(false);
        submit(&mut queue, 1);
        let _ = queue.publish();
        let device = thread::spawn(move || {
            let (head, first) = memory.take(0).expect("published before");
            assert_eq!(first.addr, DeviceAddr(0x1001));
            memory.post(0, head, 4);
            if let Some((_, second)) = memory.take(1) {
                assert_eq!(second.addr, DeviceAddr(0x1002));
            }
        });
        if queue.pop_used().unwrap().is_some() {
            // The free list is last in, first out: this is the same descriptor.
            assert_eq!(submit(&mut queue, 2), 0);
            let _ = queue.publish();
        }
        device.join().unwrap();
    });
}
