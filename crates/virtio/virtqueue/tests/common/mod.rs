//! The other end of the queue: memory that driver and device share, and a small software device that reads it with
//! nothing but what a transport would have told it.
//!
//! The device sees every byte at an address far from the CPU's, so that mixing the two up cannot go unnoticed.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use virtio_core::{DeviceAddr, DmaRegion, QueueSetup, QueueSize, Segment};
use virtqueue::{
    Chains, Descriptor, DescriptorPlace, DeviceFault, DmaRing, QueueOptions, RingLayout, RingMemory, Used, UsedElement,
    VirtQueue, crosses_event, flags,
};

/// Where the device sees the first piece of memory.
const FIRST_DEVICE_ADDR: u64 = 0x5A_0000_0000;

/// One piece of memory, both views.
#[derive(Clone, Copy)]
struct Piece {
    start: NonNull<u8>,
    layout: Layout,
    addr: u64,
}

/// Memory shared with the device. Must be dropped after the queue and the device.
pub(crate) struct Platform {
    pieces: Vec<Piece>,
    next_addr: u64,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self {
            pieces: Vec::new(),
            next_addr: FIRST_DEVICE_ADDR,
        }
    }

    /// A piece of memory full of `fill`, aligned for both sides.
    pub(crate) fn region(&mut self, layout: Layout, fill: u8) -> DmaRegion {
        assert!(layout.size() > 0);
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc(layout) }).expect("memory");
        // SAFETY: just allocated with that size.
        unsafe { start.write_bytes(fill, layout.size()) };
        let addr = self.next_addr.next_multiple_of(layout.align() as u64);
        // A hole between the pieces, so that running over an end is seen.
        self.next_addr = addr + layout.size() as u64 + 4096;
        self.pieces.push(Piece { start, layout, addr });
        // SAFETY: fresh memory, initialised, freed when the platform goes; only the device of the test also uses it.
        unsafe { DmaRegion::from_raw_parts(start, layout.size(), DeviceAddr(addr)) }
    }

    /// What the device can reach.
    pub(crate) fn bus(&self) -> Bus {
        Bus {
            pieces: self.pieces.clone(),
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        for piece in &self.pieces {
            // SAFETY: allocated with this layout, freed once.
            unsafe { dealloc(piece.start.as_ptr(), piece.layout) };
        }
    }
}

/// The device's way to memory.
#[derive(Clone)]
pub(crate) struct Bus {
    pieces: Vec<Piece>,
}

// SAFETY: plain memory; who may touch what when is the virtqueue protocol's business, and under Miri it is checked.
unsafe impl Send for Bus {}

impl Bus {
    /// The CPU's pointer to `len` bytes the device sees at `addr`.
    fn at(&self, addr: u64, len: usize) -> NonNull<u8> {
        for piece in &self.pieces {
            let Some(offset) = addr.checked_sub(piece.addr) else {
                continue;
            };
            if offset + len as u64 <= piece.layout.size() as u64 {
                // SAFETY: inside the piece, as just checked.
                return unsafe { piece.start.add(offset as usize) };
            }
        }
        panic!("the device was sent to {addr:#x}, where there is no memory");
    }

    pub(crate) fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        let start = self.at(addr, len);
        // SAFETY: that many bytes of memory; the protocol says that they are not written now.
        (0..len).map(|i| unsafe { start.add(i).read_volatile() }).collect()
    }

    pub(crate) fn write(&self, addr: u64, bytes: &[u8]) {
        let start = self.at(addr, bytes.len());
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: that many bytes of memory; they are the device's to write by the protocol.
            unsafe { start.add(i).write_volatile(byte) };
        }
    }

    fn word(&self, addr: u64) -> &AtomicU16 {
        let at = self.at(addr, 2).cast::<u16>();
        // SAFETY: two bytes of live memory, aligned because the rings are; the driver too uses atomics for it.
        unsafe { AtomicU16::from_ptr(at.as_ptr()) }
    }

    pub(crate) fn load(&self, addr: u64, order: Ordering) -> u16 {
        u16::from_le(self.word(addr).load(order))
    }

    pub(crate) fn store(&self, addr: u64, value: u16, order: Ordering) {
        self.word(addr).store(value.to_le(), order);
    }

    fn descriptor(&self, addr: u64) -> Descriptor {
        let words = self.at(addr, 16).cast::<u64>();
        // SAFETY: an aligned descriptor in the table or in a table of its own, which are the device's to read.
        let (addr, rest) = unsafe {
            (
                u64::from_le(words.read_volatile()),
                u64::from_le(words.add(1).read_volatile()),
            )
        };
        Descriptor {
            addr: DeviceAddr(addr),
            len: rest as u32,
            flags: (rest >> 32) as u16,
            next: (rest >> 48) as u16,
        }
    }
}

/// A chain as the device found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) head: u16,
    pub(crate) readable: Vec<Segment>,
    pub(crate) writable: Vec<Segment>,
    pub(crate) indirect: bool,
}

impl Found {
    pub(crate) fn writable_bytes(&self) -> u32 {
        self.writable.iter().map(|segment| segment.len).sum()
    }
}

/// A well-behaved device, with doors for misbehaving.
pub(crate) struct Device {
    pub(crate) bus: Bus,
    size: u16,
    table: u64,
    available: u64,
    used: u64,
    event_idx: bool,
    /// Available index up to which chains were taken.
    pub(crate) taken: u16,
    /// Used index as published.
    pub(crate) posted: u16,
    /// Used index when the question of an interrupt was last decided.
    signalled: u16,
}

impl Device {
    pub(crate) fn new(bus: Bus, setup: &QueueSetup, event_idx: bool) -> Self {
        let device = Self {
            bus,
            size: setup.size.get(),
            table: setup.descriptor_table.get(),
            available: setup.driver_area.get(),
            used: setup.device_area.get(),
            event_idx,
            taken: 0,
            posted: 0,
            signalled: 0,
        };
        assert!(setup.descriptor_table.is_aligned_to(16));
        assert!(setup.driver_area.is_aligned_to(2));
        assert!(setup.device_area.is_aligned_to(4));
        device
    }

    pub(crate) fn descriptor_addr(&self, index: u16) -> u64 {
        self.table + 16 * u64::from(index)
    }

    pub(crate) fn descriptor(&self, index: u16) -> Descriptor {
        assert!(index < self.size, "descriptor {index} of {}", self.size);
        self.bus.descriptor(self.descriptor_addr(index))
    }

    pub(crate) fn available_flags(&self) -> u16 {
        self.bus.load(self.available, Ordering::Relaxed)
    }

    pub(crate) fn available_index(&self) -> u16 {
        self.bus.load(self.available + 2, Ordering::Acquire)
    }

    pub(crate) fn available_slot(&self, index: u16) -> u16 {
        let slot = u64::from(index % self.size);
        self.bus.load(self.available + 4 + 2 * slot, Ordering::Relaxed)
    }

    pub(crate) fn used_event(&self) -> u16 {
        let addr = self.available + 4 + 2 * u64::from(self.size);
        self.bus.load(addr, Ordering::Relaxed)
    }

    pub(crate) fn set_used_flags(&self, flags: u16) {
        self.bus.store(self.used, flags, Ordering::Relaxed);
    }

    pub(crate) fn set_avail_event(&self, event: u16) {
        let addr = self.used + 4 + 8 * u64::from(self.size);
        self.bus.store(addr, event, Ordering::Relaxed);
    }

    /// Asks for no notification.
    pub(crate) fn suppress_notifications(&self) {
        if self.event_idx {
            self.set_avail_event(self.taken.wrapping_sub(1));
        } else {
            self.set_used_flags(flags::NO_NOTIFICATION);
        }
    }

    /// Asks for a notification on the next chain; whether there are chains already.
    pub(crate) fn arm_notifications(&self) -> bool {
        if self.event_idx {
            self.set_avail_event(self.taken);
        } else {
            self.set_used_flags(0);
        }
        fence(Ordering::SeqCst);
        self.available_index() != self.taken
    }

    /// Takes the next chain, if there is one, and checks that it obeys the rules.
    pub(crate) fn take(&mut self) -> Option<Found> {
        let index = self.available_index();
        let waiting = index.wrapping_sub(self.taken);
        assert!(waiting <= self.size, "{waiting} chains in a ring of {}", self.size);
        if waiting == 0 {
            return None;
        }
        let head = self.available_slot(self.taken);
        self.taken = self.taken.wrapping_add(1);
        Some(self.follow(head))
    }

    /// Takes every chain there is.
    pub(crate) fn take_all(&mut self) -> Vec<Found> {
        core::iter::from_fn(|| self.take()).collect()
    }

    fn follow(&self, head: u16) -> Found {
        let first = self.descriptor(head);
        let indirect = first.flags & flags::INDIRECT != 0;
        let (base, limit, start) = if indirect {
            assert_eq!(
                first.flags,
                flags::INDIRECT,
                "INDIRECT goes with nothing else (RING-D-09)"
            );
            assert!(first.len > 0 && first.len.is_multiple_of(16), "RING-N-11");
            (first.addr.get(), first.len / 16, 0)
        } else {
            (self.table, u32::from(self.size), head)
        };
        assert!(limit <= u32::from(self.size), "RING-D-08");
        let mut found = Found {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
            indirect,
        };
        let mut index = start;
        let mut count = 0;
        let mut total = 0u64;
        loop {
            assert!(u32::from(index) < limit, "descriptor {index} of {limit}");
            count += 1;
            assert!(count <= limit, "a loop (RING-D-04)");
            let descriptor = self.bus.descriptor(base + 16 * u64::from(index));
            assert_eq!(descriptor.flags & flags::INDIRECT, 0, "RING-D-07");
            let segment = Segment::new(descriptor.addr, descriptor.len);
            total += u64::from(segment.len);
            if descriptor.flags & flags::WRITE != 0 {
                found.writable.push(segment);
            } else {
                assert!(found.writable.is_empty(), "readable after writable (RING-D-02)");
                found.readable.push(segment);
            }
            if descriptor.flags & flags::NEXT == 0 {
                break;
            }
            index = descriptor.next;
        }
        assert!(total <= 1 << 32, "RING-D-04");
        if indirect {
            assert_eq!(count, limit, "the whole table is used");
        }
        found
    }

    /// Writes the element at ring position `index`, right or wrong.
    pub(crate) fn write_element(&self, index: u16, id: u32, len: u32) {
        let addr = self.used + 4 + 8 * u64::from(index % self.size);
        let at = self.bus.at(addr, 8).cast::<u32>();
        // SAFETY: an aligned element of the used ring, which is the device's to write.
        unsafe {
            at.write_volatile(id.to_le());
            at.add(1).write_volatile(len.to_le());
        }
    }

    /// Publishes a used index, right or wrong.
    pub(crate) fn write_used_index(&mut self, index: u16) {
        self.posted = index;
        self.bus.store(self.used + 2, index, Ordering::Release);
    }

    /// Posts several elements with one step of the index.
    pub(crate) fn post(&mut self, elements: &[(u32, u32)]) {
        let mut index = self.posted;
        for &(id, len) in elements {
            self.write_element(index, id, len);
            index = index.wrapping_add(1);
        }
        self.write_used_index(index);
    }

    /// Is done with the chain at `head`.
    pub(crate) fn complete(&mut self, head: u16, len: u32) {
        self.post(&[(u32::from(head), len)]);
    }

    /// Whether an interrupt is due for everything posted since the last time this was asked.
    pub(crate) fn interrupt_due(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let (old, new) = (self.signalled, self.posted);
        self.signalled = new;
        if old == new {
            return false;
        }
        if self.event_idx {
            crosses_event(self.used_event(), new, old)
        } else {
            self.available_flags() & flags::NO_NOTIFICATION == 0
        }
    }
}

pub(crate) fn size(descriptors: u16) -> QueueSize {
    QueueSize::new(descriptors).expect("a power of two")
}

/// Modern layout, direct chains, flags, lengths believed.
pub(crate) fn direct(descriptors: u16) -> QueueOptions {
    QueueOptions {
        size: size(descriptors),
        layout: RingLayout::Modern,
        event_idx: false,
        indirect_entries: 0,
        chains: Chains::Indirect,
        used_len_valid: true,
    }
}

/// The same with tables of `entries` entries.
pub(crate) fn indirect(descriptors: u16, entries: u16) -> QueueOptions {
    QueueOptions {
        indirect_entries: entries,
        ..direct(descriptors)
    }
}

/// The same with EVENT_IDX.
pub(crate) fn with_events(options: QueueOptions) -> QueueOptions {
    QueueOptions {
        event_idx: true,
        ..options
    }
}

/// A queue, the device at its other end and the memory between them. Fields drop in order, the memory last.
pub(crate) struct Rig<T, const N: usize> {
    pub(crate) queue: VirtQueue<T, N>,
    pub(crate) device: Device,
    pub(crate) platform: Platform,
    options: QueueOptions,
}

impl<T, const N: usize> Rig<T, N> {
    pub(crate) fn new(options: QueueOptions) -> Self {
        let mut platform = Platform::new();
        // The memory is dirty: zeroing it is the queue's business (RING-N-15).
        let region = platform.region(options.offsets().memory().expect("fits"), 0xC7);
        let queue = VirtQueue::new(options, region)
            .map_err(|(error, _)| error)
            .expect("a queue");
        let device = Device::new(platform.bus(), &queue.setup(), options.event_idx);
        Self {
            queue,
            device,
            platform,
            options,
        }
    }

    /// Starts over with a new queue. Returns the tokens of the chains that had not come back.
    pub(crate) fn restart(&mut self) -> Vec<T> {
        let old = core::mem::replace(self, Self::new(self.options));
        let mut tokens = Vec::new();
        old.queue.into_region(|token| tokens.push(token));
        tokens
    }

    /// Publishes and lets the device take everything.
    pub(crate) fn show(&mut self) -> Vec<Found> {
        let _ = self.queue.publish();
        self.device.take_all()
    }
}

/// Takes every completion, then asks for an interrupt at the next one, as a driver does. Returns their number.
pub(crate) fn drain<T, const N: usize, M: RingMemory>(
    queue: &mut VirtQueue<T, N, M>,
    mut each: impl FnMut(Used<T>),
) -> Result<usize, DeviceFault> {
    let mut count = 0;
    queue.suppress_interrupts();
    loop {
        while let Some(used) = queue.pop_used()? {
            count += 1;
            each(used);
        }
        if !queue.arm_interrupts() {
            return Ok(count);
        }
    }
}

/// The moments of the driver at which a scripted device acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The driver is about to store `used_event` or the available flags.
    BeforeEvent,
    /// It just has.
    AfterEvent,
    /// It is about to read the used index.
    BeforeUsedIndex,
}

type Act = Box<dyn FnMut(Moment, &mut Device)>;

/// Ring memory whose device acts at chosen moments: the interleavings of two sides, told one by one.
pub(crate) struct Scripted {
    ring: DmaRing,
    device: Rc<RefCell<Device>>,
    act: Rc<RefCell<Option<Act>>>,
}

impl Scripted {
    fn run(&self, moment: Moment) {
        if let Some(act) = self.act.borrow_mut().as_mut() {
            act(moment, &mut self.device.borrow_mut());
        }
    }
}

/// A queue with chains of one descriptor in flight, and a device that acts at the moments of the driver. Fields drop in
/// order, the memory last.
pub(crate) struct ScriptedRig {
    pub(crate) queue: VirtQueue<u32, 8, Scripted>,
    pub(crate) device: Rc<RefCell<Device>>,
    _platform: Platform,
}

impl ScriptedRig {
    /// The device has the chains with the tokens and heads from 0 to `chains`. It acts from now on.
    pub(crate) fn new(options: QueueOptions, chains: u32, act: impl FnMut(Moment, &mut Device) + 'static) -> Self {
        let mut platform = Platform::new();
        let region = platform.region(options.offsets().memory().unwrap(), 0);
        let ring = DmaRing::new(options.offsets(), region).unwrap();
        let device = Device::new(platform.bus(), &ring.setup(), options.event_idx);
        let device = Rc::new(RefCell::new(device));
        let script = Rc::new(RefCell::new(None));
        let memory = Scripted {
            ring,
            device: Rc::clone(&device),
            act: Rc::clone(&script),
        };
        let mut queue = VirtQueue::with_memory(options, memory);
        for token in 0..chains {
            assert_eq!(queue.submit(&[segment(1, 1)], &[], token), Ok(token as u16));
        }
        let _ = queue.publish();
        assert_eq!(device.borrow_mut().take_all().len(), chains as usize);
        *script.borrow_mut() = Some(Box::new(act) as Act);
        Self {
            queue,
            device,
            _platform: platform,
        }
    }
}

impl RingMemory for Scripted {
    fn write_descriptor(&mut self, index: u16, descriptor: Descriptor) {
        self.ring.write_descriptor(index, descriptor);
    }

    fn write_table_entry(&mut self, table: u16, entry: u16, descriptor: Descriptor) {
        self.ring.write_table_entry(table, entry, descriptor);
    }

    fn table_place(&self, table: u16, entry: u16) -> Option<DescriptorPlace> {
        self.ring.table_place(table, entry)
    }

    fn redirect(&mut self, place: DescriptorPlace, segment: Segment) {
        self.ring.redirect(place, segment);
    }

    fn table_addr(&self, table: u16) -> DeviceAddr {
        self.ring.table_addr(table)
    }

    fn write_available(&mut self, slot: u16, head: u16) {
        self.ring.write_available(slot, head);
    }

    fn store_available_index(&mut self, index: u16, order: Ordering) {
        self.ring.store_available_index(index, order);
    }

    fn store_available_flags(&mut self, flags: u16, order: Ordering) {
        self.run(Moment::BeforeEvent);
        self.ring.store_available_flags(flags, order);
        self.run(Moment::AfterEvent);
    }

    fn store_used_event(&mut self, event: u16, order: Ordering) {
        self.run(Moment::BeforeEvent);
        self.ring.store_used_event(event, order);
        self.run(Moment::AfterEvent);
    }

    fn load_used_index(&self, order: Ordering) -> u16 {
        self.run(Moment::BeforeUsedIndex);
        self.ring.load_used_index(order)
    }

    fn load_used_flags(&self, order: Ordering) -> u16 {
        self.ring.load_used_flags(order)
    }

    fn load_avail_event(&self, order: Ordering) -> u16 {
        self.ring.load_avail_event(order)
    }

    fn read_used(&self, slot: u16) -> UsedElement {
        self.ring.read_used(slot)
    }

    fn store_load_fence(&self) {
        self.ring.store_load_fence();
    }
}

/// A segment the device is not going to touch.
pub(crate) fn segment(addr: u64, len: u32) -> Segment {
    Segment::new(DeviceAddr(addr), len)
}
