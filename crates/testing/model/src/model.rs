//! The handles that a test holds.

use std::alloc::Layout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use virtio_core::{DeviceStatus, Dma, DmaError, DmaRegion, Features};
use virtio_mmio::{Doorbell, RegisterAccess};

use crate::arena::Memory;
use crate::config::{CompletionOrder, ModelConfig, Service};
use crate::device::{CONFIG_CHANGE, Device, DeviceCounters};
use crate::faults::{Fault, StartFault};
use crate::violation::Violation;
use crate::wire::SECTOR;
use crate::zones::ZoneFailure;

pub(crate) struct Shared {
    device: Mutex<Device>,
    /// Signalled at every doorbell write.
    pub(crate) rung: Condvar,
}

impl Shared {
    /// The device. A test that panicked elsewhere must not hide its message behind another panic here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A software block device.
///
/// Clones are handles to the same device, and may be used from several threads: the driver in one, the device in
/// another.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Shared>);

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

    /// Serves up to `limit` requests. Returns how many there were.
    pub fn process(&self, limit: usize) -> usize {
        self.0.lock().process(limit)
    }

    /// Serves up to `limit` requests of one queue. Returns how many there were.
    pub fn process_queue(&self, queue: u16, limit: usize) -> usize {
        self.0.lock().process_queue(queue, limit)
    }

    /// Takes up to `limit` requests out of the ring without serving them. Returns how many.
    pub fn hold(&self, limit: usize) -> usize {
        self.0.lock().hold(limit)
    }

    /// Serves the requests that [`hold`](Self::hold) took or a fault had lost. Returns how many.
    pub fn complete_held(&self) -> usize {
        self.0.lock().complete_held()
    }

    /// Requests of all queues that were published and not taken yet.
    pub fn pending(&self) -> usize {
        self.0.lock().rings().map(|ring| usize::from(ring.pending())).sum()
    }

    /// Waits until there is a request in a queue, at most for `limit`. For a device in a thread of its own. Returns whether
    /// there is one.
    pub fn wait_for_request(&self, limit: Duration) -> bool {
        let idle = |device: &mut Device| device.rings().all(|ring| ring.pending() == 0);
        let waited = self.0.rung.wait_timeout_while(self.0.lock(), limit, idle);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Reports a violation (`RING-D-22`, `RING-D-24`) if the driver published requests in a queue, was asked to notify
    /// of them, and did not. For moments at which the driver is not about to.
    pub fn expect_notified(&self) {
        let device = &mut *self.0.lock();
        let rings = device.queues.iter().filter_map(|queue| queue.ring.as_ref());
        for ring in rings.filter(|ring| ring.owes_notification()) {
            let id = if ring.event_idx() { "RING-D-24" } else { "RING-D-22" };
            let what = "requests were published without the notification that the device asked for";
            device.log.report(id, what);
        }
    }

    /// Changes when requests are served.
    pub fn set_service(&self, service: Service) {
        self.0.lock().config.service = service;
    }

    /// Changes the order of completion.
    pub fn set_order(&self, order: CompletionOrder) {
        self.0.lock().config.order = order;
    }

    /// Replaces the fault of requests.
    pub fn set_fault(&self, fault: impl Fault + 'static) {
        self.0.lock().faults = Box::new(fault);
    }

    /// Changes the capacity, in sectors, and tells the driver.
    pub fn resize(&self, capacity: u64) {
        self.0.lock().resize(capacity);
    }

    /// Changes the capacity right after `reads` more configuration reads, which can be between the halves of a field.
    pub fn resize_after_reads(&self, reads: u32, capacity: u64) {
        self.0.lock().later_resize = Some((reads, capacity));
    }

    /// Replaces the faults of the next starts; each start has one.
    pub fn set_start_faults(&self, faults: impl IntoIterator<Item = StartFault>) {
        self.0.lock().start_faults = faults.into_iter().collect();
    }

    /// While `held`, a reset does not begin: the device works on, and uses its memory. Afterwards the driver has to ask
    /// again.
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

    /// From the next reset on a block of the disk has that many bytes.
    pub fn set_block_size_after_reset(&self, block_size: u32) {
        self.0.lock().block_size_next = Some(block_size);
    }

    /// The device asks for a reset and serves no more requests (`INIT-V-03`).
    pub fn needs_reset(&self) {
        self.0.lock().break_down();
    }

    /// The device is taken off the bus: its registers read as all ones, writes are lost, and it uses no memory. It does not come
    /// back.
    pub fn go_away(&self) {
        self.0.lock().go_away();
    }

    /// The device answers so many register accesses more, on a PCI bus of configuration space as well, and is taken off the bus at
    /// the next one.
    pub fn go_away_after(&self, accesses: u64) {
        self.0.lock().go_away_after(accesses);
    }

    /// Whether it has been taken off the bus.
    pub fn is_gone(&self) -> bool {
        self.0.lock().presence.is_gone()
    }

    /// Register accesses since it was taken off the bus.
    pub fn unanswered_accesses(&self) -> u64 {
        self.0.lock().presence.unanswered()
    }

    /// A zone fails, the one that holds `sector`.
    ///
    /// # Panics
    ///
    /// If there is no such zone.
    pub fn fail_zone(&self, sector: u64, failure: ZoneFailure) {
        self.0.lock().zones.fail(sector, failure);
    }

    /// Sets bits in InterruptStatus for no reason: 1 used buffer, 2 configuration change (`RING-D-16`).
    pub fn spurious_interrupt(&self, causes: u32) {
        self.0.lock().interrupt(causes & (1 | CONFIG_CHANGE));
    }

    /// Whether the interrupt line is up.
    pub fn interrupt_line(&self) -> bool {
        self.0.lock().interrupt != 0
    }

    /// The device status, without a read by the driver.
    pub fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.0.lock().status as u8)
    }

    /// The features the driver accepted.
    pub fn accepted(&self) -> Features {
        self.0.lock().accepted
    }

    /// The `writeback` field: whether the device keeps writes in its cache.
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

    /// Sectors whose last content is not durable.
    pub fn unflushed_sectors(&self) -> usize {
        self.0.lock().disk.unflushed()
    }

    /// Calls `visit` for each sector that is not durable, with each possible content after a power cut: that on the
    /// medium, then that of each write since.
    pub fn visit_unflushed(&self, visit: impl FnMut(u64, &[&[u8; 512]])) {
        self.0.lock().disk.visit_unflushed(visit);
    }

    /// The power fails: writes that were not durable are lost. The device is as after a reset, with no queue.
    pub fn power_cut(&self) {
        self.power_cut_with(|_, _| 0);
    }

    /// The power fails, and of each sector that is not durable one content survives. `choose` is given the sector and the
    /// number of contents, and names one, counted from the oldest.
    pub fn power_cut_with(&self, choose: impl FnMut(u64, usize) -> usize) {
        let mut device = self.0.lock();
        device.disk.power_cut(choose);
        device.clear();
    }

    /// Whether the device may still use any of `len` bytes at `start`: a request in flight names them, or a reset is not over.
    pub fn exposes(&self, start: u64, len: u64) -> bool {
        self.0.lock().exposes(start, len)
    }

    /// Pieces of memory that the driver holds.
    pub fn allocations(&self) -> usize {
        self.0.lock().arena.count()
    }

    /// The counts so far.
    pub fn counters(&self) -> DeviceCounters {
        self.0.lock().counters.clone()
    }

    /// The violations so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.0.lock().log.list().to_vec()
    }

    /// The violations so far, which are forgotten.
    pub fn take_violations(&self) -> Vec<Violation> {
        self.0.lock().log.take()
    }

    /// Makes sure that there are no violations.
    ///
    /// # Panics
    ///
    /// With the list of violations, if there are any.
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
/// Unlike hardware it can have several handles, and it is safe to write to: the device uses no memory but the model's own.
/// One handle is for the driver, the others are for tests that look on, or that play the driver.
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

// SAFETY: all handles are of one model, whose status reads 0 only once it serves no request any more, and whose magic value reads
// as all ones only once it is gone and has no queue any more. The memory it uses is
// its own and outlives it, so even a configuration that makes it lie does no harm.
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

/// The memory of a [`Model`]: zeroed when it is allocated, overwritten when it is released.
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
