//! The handles a test holds.

use std::alloc::Layout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use virtio_core::{DeviceStatus, Dma, DmaError, DmaRegion, Features};
use virtio_mmio::{Doorbell, RegisterAccess};

use crate::arena::Memory;
use crate::config::{CompletionOrder, ModelConfig, Service};
use crate::counters::Counters;
use crate::device::{CONFIG_CHANGE, Device};
use crate::faults::Fault;
use crate::starts::StartFault;
use crate::violation::Violation;
use crate::wire::SECTOR;

struct Shared {
    device: Mutex<Device>,
    /// Signalled at every doorbell write.
    rung: Condvar,
}

impl Shared {
    /// The device. A test that panicked elsewhere must not hide its message behind another panic here.
    fn lock(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A software block device.
///
/// Clones are handles to the same device, and may be used from several threads: the driver in one, the device in
/// another.
#[derive(Clone)]
pub struct Model(Arc<Shared>);

impl Model {
    /// A device that was just powered on. Its disk reads as zeroes.
    ///
    /// # Panics
    ///
    /// If the host has no memory for it.
    pub fn new(config: ModelConfig) -> Self {
        Self(Arc::new(Shared {
            device: Mutex::new(Device::new(config)),
            rung: Condvar::new(),
        }))
    }

    /// The registers, for [`virtio_mmio::probe`].
    pub fn registers(&self) -> ModelRegisters {
        ModelRegisters(Arc::clone(&self.0))
    }

    /// The memory the device can see, for the driver to allocate from.
    pub fn dma(&self) -> ModelDma {
        ModelDma(Arc::clone(&self.0))
    }

    /// The same memory as rust-vmm shows it, by device address.
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.0.lock().memory)
    }

    /// Serves up to `limit` requests of queue 0. Returns how many there were.
    pub fn process(&self, limit: usize) -> usize {
        self.process_queue(0, limit)
    }

    /// Serves up to `limit` requests of one queue. Returns how many there were.
    pub fn process_queue(&self, queue: u16, limit: usize) -> usize {
        self.0.lock().process(queue, limit)
    }

    /// Takes up to `limit` requests of queue 0 out of the ring without serving them. Returns how many.
    pub fn hold(&self, limit: usize) -> usize {
        self.0.lock().hold(0, limit)
    }

    /// Serves what [`hold`](Self::hold) took, and what a fault had lost. Returns how many.
    pub fn complete_held(&self) -> usize {
        self.0.lock().complete_held(0)
    }

    /// Requests of queue 0 that were published and not taken yet.
    pub fn pending(&self) -> usize {
        let device = self.0.lock();
        let ring = device.queues.first().and_then(|queue| queue.ring.as_ref());
        ring.map_or(0, |ring| usize::from(ring.pending(&device.memory)))
    }

    /// Waits until there is a request in queue 0 that was notified of or can be seen, at most for `limit`. For a
    /// device in a thread of its own. Returns whether there is one.
    pub fn wait_for_request(&self, limit: Duration) -> bool {
        let idle = |device: &mut Device| {
            let ring = device.queues.first().and_then(|queue| queue.ring.as_ref());
            ring.is_none_or(|ring| ring.pending(&device.memory) == 0)
        };
        let device = self.0.lock();
        let waited = self.0.rung.wait_timeout_while(device, limit, idle);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Reports a violation (`RING-D-22`, `RING-D-24`) if the driver published requests in queue 0, was asked to notify
    /// of them, and did not. For moments when the driver is not just about to.
    pub fn expect_notified(&self) {
        let device = &mut *self.0.lock();
        let Some(ring) = device.queues.first().and_then(|queue| queue.ring.as_ref()) else {
            return;
        };
        if ring.owes_notification(&device.memory) {
            let id = if ring.event_idx { "RING-D-24" } else { "RING-D-22" };
            device.log.report(
                id,
                "requests were published without the notification the device asked for",
            );
        }
    }

    /// When requests are served from now on.
    pub fn set_service(&self, service: Service) {
        self.0.lock().config.service = service;
    }

    /// In which order requests are completed from now on.
    pub fn set_order(&self, order: CompletionOrder) {
        self.0.lock().config.order = order;
    }

    /// Lets something go wrong from now on, in place of what was set before.
    pub fn set_fault(&self, fault: impl Fault + 'static) {
        self.0.lock().faults = Box::new(fault);
    }

    /// Changes the capacity, in sectors, and tells the driver.
    pub fn resize(&self, capacity: u64) {
        self.0.lock().resize(capacity);
    }

    /// Changes the capacity right after `reads` more configuration reads: between the halves of a field, if one likes.
    pub fn resize_after_reads(&self, reads: u32, capacity: u64) {
        self.0.lock().later_resize = Some((reads, capacity));
    }

    /// What goes wrong in the next starts, one after the other, in place of what was set before.
    pub fn set_start_faults(&self, faults: impl IntoIterator<Item = StartFault>) {
        self.0.lock().start_faults = faults.into_iter().collect();
    }

    /// While `held`, a reset does not begin: the device goes on as before, memory included. Without it resets are done when
    /// they are asked for the next time.
    pub fn hold_resets(&self, held: bool) {
        self.0.lock().resets_held = held;
    }

    /// How many times the status still reads non-zero after a reset, from the next one on.
    pub fn set_reset_reads(&self, reads: u32) {
        self.0.lock().config.reset_reads = reads;
    }

    /// While `restless`, the generation of the configuration is another one at each look.
    pub fn set_restless(&self, restless: bool) {
        self.0.lock().restless = restless;
    }

    /// From the next reset on the disk can only be read, or can be written again.
    pub fn set_read_only_after_reset(&self, read_only: bool) {
        self.0.lock().read_only_next = Some(read_only);
    }

    /// The device asks for a reset and serves nothing any more (`INIT-V-03`).
    pub fn needs_reset(&self) {
        self.0.lock().break_down();
    }

    /// Sets bits in InterruptStatus for no reason: 1 used buffer, 2 configuration change (`RING-D-16`).
    pub fn spurious_interrupt(&self, causes: u32) {
        self.0.lock().interrupt(causes & (1 | CONFIG_CHANGE));
    }

    /// Whether the interrupt line is up.
    pub fn interrupt_line(&self) -> bool {
        self.interrupt_status() != 0
    }

    /// The causes of the interrupt.
    pub fn interrupt_status(&self) -> u32 {
        self.0.lock().interrupt
    }

    /// The device status, without the driver's reading it.
    pub fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.0.lock().status)
    }

    /// The features the driver accepted.
    pub fn accepted(&self) -> Features {
        self.0.lock().accepted
    }

    /// Whether the device writes through to the medium, or keeps writes in its cache: the `writeback` field.
    pub fn writeback(&self) -> bool {
        self.0.lock().writeback
    }

    /// Reads `count` sectors of the disk from `first` on.
    pub fn read_disk(&self, first: u64, count: u64) -> Vec<u8> {
        self.0.lock().disk.read_many(first, count)
    }

    /// Puts content on the disk from sector `first` on.
    ///
    /// # Panics
    ///
    /// If it is not whole sectors.
    pub fn write_disk(&self, first: u64, content: &[u8]) {
        assert!((content.len() as u64).is_multiple_of(SECTOR), "whole sectors only");
        self.0.lock().disk.write_many(first, content, true);
    }

    /// Sectors whose last content would be lost if the power failed.
    pub fn unflushed_sectors(&self) -> usize {
        self.0.lock().disk.unflushed()
    }

    /// Calls `visit` for each sector that is not durable, with every content that it can have after a power cut: that of the
    /// medium and of each write since, oldest first.
    pub fn visit_unflushed(&self, visit: impl FnMut(u64, &[&[u8; 512]])) {
        self.0.lock().disk.visit_unflushed(visit);
    }

    /// The power fails: what was not durable is lost. The device is as after a reset by itself, with no queue.
    pub fn power_cut(&self) {
        let mut device = self.0.lock();
        device.disk.lose_cache();
        device.clear();
    }

    /// The power fails, and of each sector that is not durable one content survives. `choose` is given the sector and how many
    /// contents there are, and names one, counted from the oldest.
    pub fn power_cut_with(&self, choose: impl FnMut(u64, usize) -> usize) {
        let mut device = self.0.lock();
        device.disk.power_cut(choose);
        device.clear();
    }

    /// Whether the device may still use any of `len` bytes at `start`: a request that it has not given back names them, or a
    /// reset is not over.
    pub fn exposes(&self, start: u64, len: u64) -> bool {
        self.0.lock().exposes(start, len)
    }

    /// Pieces of memory the driver holds.
    pub fn allocations(&self) -> usize {
        self.0.lock().arena.count()
    }

    /// What happened so far, in numbers.
    pub fn counters(&self) -> Counters {
        self.0.lock().counters.clone()
    }

    /// What the driver did wrong so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.0.lock().log.list().to_vec()
    }

    /// What the driver did wrong, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        self.0.lock().log.take()
    }

    /// Makes sure that the driver did nothing wrong.
    ///
    /// # Panics
    ///
    /// If it did, with the list of it.
    #[track_caller]
    pub fn assert_clean(&self) {
        let violations = self.violations();
        if !violations.is_empty() {
            let lines: Vec<String> = violations.iter().map(|v| format!("  {v}")).collect();
            panic!("the driver broke {} rules:\n{}", lines.len(), lines.join("\n"));
        }
    }
}

/// The register window of a [`Model`].
///
/// Unlike that of hardware there can be several, and anybody can write to them: the device uses no memory but the model's
/// own. One is for the driver, the others are for tests that look on, or that play the driver themselves.
#[derive(Clone)]
pub struct ModelRegisters(Arc<Shared>);

impl ModelRegisters {
    /// Writes 8 bits.
    pub fn write_u8(&self, offset: u32, value: u8) {
        self.write(offset, 1, u32::from(value));
    }

    /// Writes 32 bits.
    pub fn write_u32(&self, offset: u32, value: u32) {
        self.write(offset, 4, value);
    }

    fn write(&self, offset: u32, width: u32, value: u32) {
        self.0.lock().write(offset, width, value);
        if offset == 0x050 {
            self.0.rung.notify_all();
        }
    }
}

// SAFETY: all handles are of one model, whose status reads 0 only once it serves nothing any more. What it uses is memory
// of its own that outlives it, so even a configuration that makes it lie does no harm.
unsafe impl RegisterAccess for ModelRegisters {
    type Doorbell = ModelDoorbell;

    fn read_u8(&self, offset: u32) -> u8 {
        self.0.lock().read(offset, 1) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.0.lock().read(offset, 2) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.0.lock().read(offset, 4)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.write(offset, 1, u32::from(value));
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.write(offset, 4, value);
    }

    unsafe fn doorbell(&self) -> ModelDoorbell {
        ModelDoorbell(self.clone())
    }
}

/// The doorbell of a [`Model`].
pub struct ModelDoorbell(ModelRegisters);

impl Doorbell for ModelDoorbell {
    fn ring(&self, value: u32) {
        self.0.write(0x050, 4, value);
    }
}

/// The memory of a [`Model`]: zeroed when handed out, spoilt when taken back.
#[derive(Clone)]
pub struct ModelDma(Arc<Shared>);

impl Dma for ModelDma {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        self.0.lock().arena.allocate(layout)
    }

    fn release(&mut self, region: DmaRegion) {
        self.0.lock().release(region.device_addr().get(), region.len() as u64);
    }
}
