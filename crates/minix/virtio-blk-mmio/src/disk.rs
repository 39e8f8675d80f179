//! The adapter's disk, by a VirtIO block device.

mod request_memory;
mod totals;
mod translate;

use core::mem;

use heapless::Deque;
use minix_abi::disk_control::{self, DiskFlags, DiskHead, Event, EventKind, FaultCode, QueueFlags, StatCounts};
use minix_blockdriver::statistics::Kind;
use minix_blockdriver::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Broken, DeviceError, DeviceRequest, Direction, DiskInfo, Listen,
    Operations, Refusal, Tag, Together, TransferLimits, log_line,
};
use minix_rt::kernel::LentRange;
use virtio_blk::proto::Sector;
use virtio_blk::{
    Completion, ConfigChange, DeviceFault, DiskCounters, InitError, IoError, Request, WriteCache, WriteCacheError,
};
use virtio_core::{Dma, Features, Interface, InterruptSource, PollLimit, QueueSize, Transport};

use request_memory::{Answers, RequestMemory};
pub use totals::DeviceTotals;
use translate::{command, fault_event};

use crate::bounce::BounceBuffers;
pub use crate::device_state::DiskMemory;
use crate::device_state::{Data, DeviceState, QUEUE, Running, info_of, shut_down, start_device};
pub use crate::lists::ListTable;
use crate::lists::Lists;
use crate::queue_plan::QueuePlan;

/// A VirtIO block device as the adapter wants a disk.
///
/// It lets the device at two kinds of memory: a client's, as a [`LentRange`], which the kernel has answered for, and bounce buffers,
/// by number. Neither is made from numbers:
///
/// ```compile_fail,E0308
/// use minix_abi::kernel_call::PhysRange;
/// use minix_blockdriver::{BlockDevice, Tag};
/// use minix_virtio_blk::disk::VirtioDisk;
///
/// fn overwrite<T: virtio_core::Transport, D: virtio_core::Dma>(disk: &mut VirtioDisk<T, D>) {
///     let anywhere = [PhysRange { address: 0x8020_0000, bytes: 512 }];
///     let _ = disk.list_ranges(Tag(0), &anywhere);
/// }
/// ```
// In this order, so that what every request uses lies together, ahead of the tables.
#[repr(C)]
pub struct VirtioDisk<T: Transport + 'static, D> {
    state: &'static mut DeviceState<T>,
    /// The device cannot go on: it asks for a reset, or did not finish one.
    broken: bool,
    listen: Listen,
    /// An interrupt came that has not been followed up.
    interrupted: bool,
    /// Properties of the device, if it is live, and the limits that follow from them. Kept, since every request asks for them.
    info: Option<DiskInfo>,
    limits: Option<TransferLimits>,
    memory: RequestMemory,
    dma: D,
    /// The layout of the queue, and what is tried if there is no memory for that.
    plan: QueuePlan,
    /// What the write cache was switched to. A reset switches it back.
    cache: Option<WriteCache>,
    totals: DeviceTotals,
    place: DevicePlace,
    /// What the adapter is to record.
    events: Deque<Event, PENDING_EVENTS>,
}

/// Where the device is on the machine, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DevicePlace {
    /// Physical address of its registers.
    pub address: u64,
    /// Its interrupt line.
    pub irq: i32,
}

/// Events until the adapter takes them, which it does after each interrupt and around each reset.
const PENDING_EVENTS: usize = 4;

impl<T: Transport, D: Dma> VirtioDisk<T, D> {
    /// Brings the device up, with a queue of at most `queue` descriptors. If memory is short the queue gets smaller, and
    /// there are fewer bounce buffers.
    ///
    /// # Errors
    ///
    /// [`InitError`], the device uses no memory then; unless it did not even finish its reset.
    pub fn start(
        transport: T,
        mut dma: D,
        queue: QueueSize,
        lists: &'static mut ListTable,
        memory: &'static mut DiskMemory<T>,
    ) -> Result<Self, InitError> {
        let mut plan = QueuePlan::new(queue.min(QueueSize::at_most(QUEUE as u32).unwrap_or(queue)));
        // Without one bounce buffer nothing goes, and without the queue neither; the other buffers make things faster.
        let mut bounce = BounceBuffers::allocate(&mut dma).map_err(InitError::Dma)?;
        let state = memory.0.write(DeviceState::Stopped(Some(transport)));
        start_device(state, &mut dma, &mut plan)?;
        bounce.extend(&mut dma);
        let mut disk = Self {
            state,
            dma,
            plan,
            memory: RequestMemory {
                lists: Lists::new(lists),
                bounce,
                answers: Answers::default(),
            },
            info: None,
            limits: None,
            broken: false,
            listen: Listen::Polled,
            interrupted: false,
            cache: None,
            totals: DeviceTotals::default(),
            place: DevicePlace::default(),
            events: Deque::new(),
        };
        disk.ask_for_info();
        Ok(disk)
    }

    /// Says where the device is, for those who ask.
    pub fn set_place(&mut self, place: DevicePlace) {
        self.place = place;
    }

    /// The transport, unless the device is on the way from one state to the other.
    fn transport(&self) -> Option<&T> {
        match &*self.state {
            DeviceState::Live(disk) => Some(disk.control().transport()),
            DeviceState::Stopped(transport) => transport.as_ref(),
        }
    }

    /// Something happened that the adapter does not see by itself.
    #[cold]
    fn record(&mut self, event: Event) {
        // One too many would be one of a device that misbehaves all the time.
        let _ = self.events.push_back(event);
    }

    /// The device, if it is live: started, and not in need of a reset.
    fn live(&self) -> Option<&Running<T>> {
        match &*self.state {
            DeviceState::Live(disk) if !self.broken => Some(disk),
            _ => None,
        }
    }

    /// The device has started, or its configuration has changed.
    #[cold]
    fn ask_for_info(&mut self) {
        self.info = self.live().map(info_of);
        self.limits = self.info.as_ref().map(TransferLimits::of);
    }

    /// The device is not live.
    fn forget_info(&mut self) {
        self.info = None;
        self.limits = None;
    }

    /// Descriptors that the queue has at most, and whether requests have tables of their own; `None` while the device is not
    /// live.
    pub fn queue(&self) -> Option<(QueueSize, bool)> {
        let indirect = self.live()?.accepted_features().contains(Features::INDIRECT_DESC);
        Some((self.plan.layout().queue, indirect))
    }

    /// What happened so far.
    pub fn totals(&self) -> DeviceTotals {
        let mut totals = self.totals;
        if let DeviceState::Live(disk) = &*self.state {
            totals.add(&disk.counters());
        }
        totals
    }

    /// Resets the device for good, to stop its use of memory. Returns whether the reset succeeded.
    pub fn stop(&mut self) -> bool {
        if !self.shut_down(&mut |_, _| {}) {
            return false;
        }
        self.broken = true;
        match &mut *self.state {
            DeviceState::Stopped(Some(transport)) => transport.reset(&mut PollLimit::default()).is_ok(),
            _ => false,
        }
    }

    /// Resets the device, if it was started, and releases its memory. Earlier completions go to `done`. Returns
    /// whether the reset succeeded; if not, the device stays broken.
    fn shut_down(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> bool {
        let memory = &mut self.memory;
        let mut each = |completion: Completion<Data, Tag>| {
            let aborted = matches!(completion.result, Err(IoError::Aborted));
            let (tag, result) = memory.complete(completion);
            if !aborted {
                done(tag, result);
            }
        };
        let mut counters = DiskCounters::default();
        let down = shut_down(self.state, &mut self.dma, &mut each, &mut counters);
        self.totals.add(&counters);
        self.broken |= !down;
        self.forget_info();
        down
    }

    /// Whether a poll has nothing to do but take what is in the ring: the device works, and is only polled.
    #[inline]
    fn is_only_polled(&self) -> bool {
        // Without branches: mostly all of it is so.
        (self.listen == Listen::Polled) & !self.interrupted & !self.broken
    }

    /// [Polls](BlockDevice::poll) a live device that has interrupted, or is to.
    #[inline(never)]
    fn poll_for_interrupts(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken> {
        let DeviceState::Live(disk) = &mut *self.state else {
            return Err(Broken);
        };
        if self.broken {
            return Err(Broken);
        }
        let memory = &mut self.memory;
        let each = |completion| {
            let (tag, result) = memory.complete(completion);
            done(tag, result);
        };
        let before = disk.queue().returned();
        let polled = if mem::take(&mut self.interrupted) {
            disk.on_interrupt(InterruptSource::Line, each).map(|seen| seen.config)
        } else {
            disk.drain(each).map(|_| None)
        };
        let progress = disk.queue().returned() != before;
        match polled {
            Ok(Some(change)) => self.follow(change),
            Ok(None) => {}
            Err(fault) => return self.broke(fault),
        }
        if self.broken { Err(Broken) } else { Ok(progress) }
    }

    /// The device broke the rules of its queue.
    #[cold]
    fn broke(&mut self, fault: DeviceFault) -> Result<bool, Broken> {
        self.record(fault_event(fault));
        self.broken = true;
        self.forget_info();
        Err(Broken)
    }

    /// The configuration has changed: logs that, and follows it.
    #[cold]
    fn follow(&mut self, change: ConfigChange) {
        if let Some(before) = change.resized_from {
            let now = change.limits.capacity.get();
            log_line!(Info, "capacity is now {now} sectors, was {}", before.get());
            self.record(Event {
                first: now,
                second: before.get(),
                ..Event::new(EventKind::RESIZED)
            });
        }
        if change.needs_reset {
            log_line!(Warn, "the device asks for a reset");
            self.record(Event {
                code: FaultCode::NEEDS_RESET.0,
                ..Event::new(EventKind::FAULT)
            });
            self.broken = true;
        }
        self.ask_for_info();
    }
}

impl<T: Transport, D: Dma> BlockDevice for VirtioDisk<T, D> {
    type Range = LentRange;

    #[inline]
    fn info(&self) -> Option<&DiskInfo> {
        self.info.as_ref()
    }

    #[inline]
    fn limits(&self) -> Option<TransferLimits> {
        self.limits
    }

    fn listen(&mut self, how: Listen) {
        self.listen = how;
        if let (Listen::Polled, DeviceState::Live(disk)) = (how, &mut *self.state) {
            disk.suppress_interrupts();
        }
    }

    fn interrupted(&mut self) {
        self.interrupted = true;
    }

    fn dismiss_interrupt(&mut self) {
        if !mem::take(&mut self.interrupted) {
            return;
        }
        match &mut *self.state {
            DeviceState::Live(disk) => disk.dismiss_interrupt(InterruptSource::Line),
            DeviceState::Stopped(None) => {}
            DeviceState::Stopped(Some(transport)) => {
                let causes = transport.interrupt_causes(InterruptSource::Line);
                transport.acknowledge_interrupt(InterruptSource::Line, causes);
            }
        }
    }

    #[inline(always)]
    fn list_ranges(&mut self, tag: Tag, ranges: &[LentRange]) -> Result<Together, Refusal> {
        self.memory.lists.fill(tag, ranges)
    }

    #[inline(always)]
    fn submit(&mut self, request: DeviceRequest, tag: Tag) -> Result<(), Refusal> {
        let DeviceState::Live(disk) = &mut *self.state else {
            return Err(Refusal::Broken);
        };
        if self.broken {
            return Err(Refusal::Broken);
        }
        let request = match request {
            DeviceRequest::Transfer { direction, first, data } => {
                let data = self.memory.lend(data, tag)?;
                match direction {
                    Direction::Read => Request::read(Sector(first), data, tag),
                    Direction::Write => Request::write(Sector(first), data, tag),
                }
            }
            DeviceRequest::Flush => Request::flush(tag),
            other => command(other, tag),
        };
        disk.submit(request).map_err(|rejected| self.memory.refused(rejected))
    }

    fn notify(&mut self) {
        if let DeviceState::Live(disk) = &mut *self.state {
            disk.notify();
        }
    }

    #[inline]
    fn needs_poll(&self) -> bool {
        match &*self.state {
            DeviceState::Live(disk) => !self.is_only_polled() || disk.queue().needs_poll(),
            DeviceState::Stopped(_) => true,
        }
    }

    fn poll(&mut self, mut done: impl FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken> {
        if !self.is_only_polled() {
            return self.poll_for_interrupts(&mut done);
        }
        let DeviceState::Live(disk) = &mut *self.state else {
            return Err(Broken);
        };
        let memory = &mut self.memory;
        let before = disk.queue().returned();
        let polled = disk.poll(|completion| {
            let (tag, result) = memory.complete(completion);
            done(tag, result);
        });
        if let Err(fault) = polled {
            return self.broke(fault);
        }
        Ok(disk.queue().returned() != before)
    }

    fn reset(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        if !self.shut_down(done) {
            return Err(Broken);
        }
        // Not live before it is started again.
        self.broken = true;
        start_device(self.state, &mut self.dma, &mut self.plan).map_err(|error| {
            log_line!(Warn, "the device does not start again: {error}");
            let _ = self.events.push_back(Event::new(EventKind::NOT_STARTED));
            Broken
        })?;
        if let DeviceState::Live(disk) = &mut *self.state {
            if let Some(mode) = self.cache {
                // Nothing is in flight. A device that has lost the switch says so when asked for its mode.
                let _ = disk.set_write_cache(mode);
            }
            if self.listen == Listen::Interrupts {
                // Nothing is in flight, so nothing is handed over.
                let _ = disk.drain(|_| {});
            }
        }
        self.broken = false;
        self.ask_for_info();
        Ok(())
    }

    fn is_alive(&mut self) -> bool {
        self.live().is_some_and(|disk| disk.liveness().is_live())
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal> {
        let mode = if on {
            WriteCache::WriteBack
        } else {
            WriteCache::WriteThrough
        };
        let DeviceState::Live(disk) = &mut *self.state else {
            return Err(Refusal::Broken);
        };
        if self.broken {
            return Err(Refusal::Broken);
        }
        disk.set_write_cache(mode).map_err(|error| match error {
            WriteCacheError::Busy => Refusal::Full,
            WriteCacheError::Unsupported => Refusal::Unsupported,
            WriteCacheError::Gone => Refusal::Broken,
        })?;
        self.cache = Some(mode);
        self.ask_for_info();
        Ok(())
    }

    fn describe(&self, head: &mut DiskHead) {
        head.address = self.place.address;
        head.irq = self.place.irq;
        if let Some(transport) = self.transport() {
            head.transport_version = match transport.interface() {
                Interface::Legacy => 1,
                Interface::Modern => 2,
            };
            head.flags
                .set(DiskFlags::LEGACY, transport.interface() == Interface::Legacy);
        }
        if let DeviceState::Live(disk) = &*self.state {
            let accepted = disk.accepted_features();
            head.offered = disk.control().offered_features().bits();
            head.accepted = accepted.bits();
            head.descriptors = disk.queue().ring_state().size.into();
            head.flags
                .set(DiskFlags::INDIRECT, accepted.contains(Features::INDIRECT_DESC));
        }
        if let Some(id) = self.memory.answers.id {
            head.id = id.0;
            head.flags |= DiskFlags::ID;
        }
        if let Some(lifetime) = self.memory.answers.lifetime {
            head.lifetime = disk_control::Lifetime {
                pre_eol: lifetime.pre_eol_info.get(),
                single_level: lifetime.type_a.get(),
                multi_level: lifetime.type_b.get(),
            };
            head.flags |= DiskFlags::LIFETIME;
        }
    }

    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        if let Some(transport) = self.transport() {
            transport.visit_registers(visit);
        }
    }

    fn ring(&self) -> disk_control::QueueState {
        let DeviceState::Live(disk) = &*self.state else {
            return disk_control::QueueState::default();
        };
        let ring = disk.queue().ring_state();
        let mut flags = QueueFlags::empty();
        flags.set(QueueFlags::LIVE, !self.broken);
        flags.set(QueueFlags::EVENT_INDEX, ring.event_idx);
        flags.set(QueueFlags::INDIRECT, ring.indirect_entries > 0);
        flags.set(QueueFlags::FAULT, ring.fault.is_some());
        disk_control::QueueState {
            flags,
            size: ring.size,
            free: ring.free,
            chains: ring.in_flight,
            unpublished: ring.unpublished,
            available_index: ring.available_index,
            used_index: ring.used_index,
            used_seen: ring.used_seen,
            used_flags: ring.used_flags,
            avail_event: ring.avail_event,
            table_entries: ring.indirect_entries,
        }
    }

    fn count(&self, counts: &mut StatCounts) {
        let totals = self.totals();
        counts.notifies = totals.notifies;
        counts.interrupts = totals.interrupts;
        counts.spurious_interrupts = totals.spurious_interrupts;
        counts.faults = totals.faults;
        counts.odd_lengths = totals.odd_lengths;
    }

    fn operations(&self, kind: Kind) -> Operations {
        self.totals().operations[kind as usize]
    }

    fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn bounce_buffers(&self) -> u8 {
        self.memory.bounce.count()
    }

    fn bounce_buffer(&mut self, buffer: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]> {
        self.memory.bounce.bytes(buffer)
    }
}
