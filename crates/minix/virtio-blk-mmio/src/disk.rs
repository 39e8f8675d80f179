//! The adapter's disk, by a VirtIO block device.

use core::mem;

use minix_blockdriver::{
    BlockDevice, Broken, DeviceError, DeviceRequest, DiskInfo, GrantedRange as _, Refusal, STAGING_BYTES, StagingBlock,
    Tag,
};
use minix_rt::kernel::LentRange;
use virtio_blk::proto::{Sector, StatusError};
use virtio_blk::{
    Completion, ConfigChange, DiskCounters, InitError, IoError, Request, SubmitError, WriteCache, WriteCacheError,
};
use virtio_core::{DeviceAddr, Dma, Features, PollLimit, QueueSize, RawSegments, Segment, Transport};

pub use crate::lists::ListTable;
use crate::lists::{FreeLists, MAX_SEGMENTS};
pub use crate::lives::DiskHome;
use crate::lives::{Data, QUEUE, Running, State, info_of, shut_down, start_device};
use crate::queue_plan::Plan;
use crate::staging::Staging;

/// What happened in all lives of the device together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Interrupts taken.
    pub interrupts: u64,
    /// Those that brought nothing.
    pub spurious_interrupts: u64,
    /// Doorbells rung.
    pub notifies: u64,
    /// Used lengths that were not those of their requests.
    pub odd_lengths: u64,
    /// Times the device broke the rules of the ring.
    pub faults: u64,
}

impl Totals {
    fn add(&mut self, counters: &DiskCounters) {
        let DiskCounters { queue, interrupts } = counters;
        self.interrupts += interrupts.taken;
        self.spurious_interrupts += interrupts.spurious;
        self.notifies += queue.notifies;
        self.odd_lengths += queue.odd_lengths;
        self.faults += queue.faults;
    }
}

/// A VirtIO block device as the adapter wants a disk.
///
/// It lets the device at two kinds of memory: a client's, as a [`LentRange`], which the kernel has answered for, and blocks of its
/// own staging memory, by number. Neither is made from numbers:
///
/// ```compile_fail,E0308
/// use minix_abi::kernel_call::PhysRange;
/// use minix_blockdriver::{BlockDevice, Data, DeviceRequest, Tag};
/// use minix_virtio_blk::disk::VirtioDisk;
///
/// fn overwrite<T: virtio_core::Transport, D: virtio_core::Dma>(disk: &mut VirtioDisk<T, D>) {
///     let anywhere = [PhysRange { address: 0x8020_0000, bytes: 512 }];
///     let data = Data::Granted(&anywhere[..]);
///     let _ = disk.submit(DeviceRequest::Read { first: 0, data }, Tag(0));
/// }
/// ```
///
/// The service says how completions are to be noticed: by [watching](Self::watch) or by [interrupt](Self::arm).
pub struct VirtioDisk<T: Transport + 'static, D> {
    state: &'static mut State<T>,
    dma: D,
    /// How the queue is laid out, and what is tried if there is no memory for that.
    plan: Plan,
    lists: FreeLists,
    staging: Staging,
    /// The live device has a volatile write cache. Kept, since it takes a register read to ask.
    write_cache: bool,
    /// The device cannot go on: it asks for a reset, or did not finish one.
    broken: bool,
    /// Each poll asks for an interrupt at the next completion.
    armed: bool,
    /// An interrupt came that has not been followed up.
    interrupted: bool,
    /// A change of the configuration that nobody has asked about.
    change: Option<ConfigChange>,
    /// What the write cache was switched to. A reset switches it back.
    cache: Option<WriteCache>,
    totals: Totals,
}

impl<T: Transport, D: Dma> VirtioDisk<T, D> {
    /// Brings the device up, with a queue of at most `queue` descriptors. If memory is short the queue gets smaller, and
    /// there is less staging memory.
    ///
    /// # Errors
    ///
    /// [`InitError`], the device uses no memory then; unless it did not even finish its reset.
    pub fn start(
        transport: T,
        mut dma: D,
        queue: QueueSize,
        lists: &'static mut ListTable,
        home: &'static mut DiskHome<T>,
    ) -> Result<Self, InitError> {
        let mut plan = Plan::new(queue.min(QueueSize::at_most(QUEUE as u32).unwrap_or(queue)));
        // Without one block nothing goes, and without the queue neither; the other blocks make things faster.
        let mut staging = Staging::allocate(&mut dma).map_err(InitError::Dma)?;
        let state = home.0.write(State::Stopped(Some(transport)));
        start_device(state, &mut dma, &mut plan)?;
        staging.extend(&mut dma);
        let mut disk = Self {
            state,
            dma,
            plan,
            lists: FreeLists::new(lists),
            staging,
            write_cache: false,
            broken: false,
            armed: false,
            interrupted: false,
            change: None,
            cache: None,
            totals: Totals::default(),
        };
        disk.ask_for_cache();
        Ok(disk)
    }

    /// The device, if it is live: started, and not in need of a reset.
    fn live(&self) -> Option<&Running<T>> {
        match &*self.state {
            State::Live(disk) if !self.broken => Some(disk),
            _ => None,
        }
    }

    /// The live device has told what it is, or that it has changed.
    fn ask_for_cache(&mut self) {
        self.write_cache = self
            .live()
            .is_some_and(|disk| disk.write_cache() == WriteCache::WriteBack);
    }

    /// Descriptors that the queue has at most, and whether requests have tables of their own; `None` while the device is not
    /// live.
    pub fn queue(&self) -> Option<(QueueSize, bool)> {
        let indirect = self.live()?.accepted().contains(Features::INDIRECT_DESC);
        Some((self.plan.step().queue, indirect))
    }

    /// Completions will be noticed by polling: the device need not interrupt.
    pub fn watch(&mut self) {
        self.armed = false;
        if let State::Live(disk) = &mut *self.state {
            disk.suppress_interrupts();
        }
    }

    /// Completions will be noticed by interrupt: every poll from the next one on leaves the device asked to interrupt, with
    /// nothing finished that was not handed over.
    pub fn arm(&mut self) {
        self.armed = true;
    }

    /// The device has interrupted. The next poll follows it up and acknowledges it.
    pub fn interrupted(&mut self) {
        self.interrupted = true;
    }

    /// Acknowledges an interrupt that no poll has followed up since, because the device is given up or not reset yet.
    /// What it has finished waits for the reset.
    pub fn silence(&mut self) {
        if !mem::take(&mut self.interrupted) {
            return;
        }
        match &mut *self.state {
            State::Live(disk) => disk.dismiss_interrupt(),
            State::Stopped(None) => {}
            State::Stopped(Some(transport)) => {
                let causes = transport.interrupt_causes();
                transport.acknowledge_interrupt(causes);
            }
        }
    }

    /// The change of the configuration since this was last asked, if there was one. That is an event: a reset since does not
    /// undo it, and [`info`](BlockDevice::info) tells what holds now.
    pub fn take_change(&mut self) -> Option<ConfigChange> {
        self.change.take()
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals;
        if let State::Live(disk) = &*self.state {
            totals.add(&disk.counters());
        }
        totals
    }

    /// Resets the device for good, so that it uses no memory any more. Whether it did.
    pub fn stop(&mut self) -> bool {
        if !self.take_down(&mut |_, _| {}) {
            return false;
        }
        self.broken = true;
        match &mut *self.state {
            State::Stopped(Some(transport)) => transport.reset(PollLimit::default()).is_ok(),
            _ => false,
        }
    }

    /// Resets the device, if it was started, and takes everything back. What it had finished goes to `done`. Whether it was
    /// reset; if not, it goes on being broken.
    fn take_down(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> bool {
        let (lists, staging) = (&mut self.lists, &mut self.staging);
        let each = |completion: Completion<Data, Tag>| {
            let aborted = matches!(completion.result, Err(IoError::Aborted));
            let (tag, result) = finish(lists, staging, completion);
            if !aborted {
                done(tag, result);
            }
        };
        let mut counters = DiskCounters::default();
        let down = shut_down(self.state, &mut self.dma, each, &mut counters);
        self.totals.add(&counters);
        self.broken |= !down;
        down
    }

    fn note_change(&mut self, change: ConfigChange) {
        if change.needs_reset {
            self.broken = true;
        }
        self.ask_for_cache();
        self.change = Some(change);
    }
}

impl<T: Transport, D: Dma> BlockDevice for VirtioDisk<T, D> {
    type Range = LentRange;

    fn info(&self) -> Option<DiskInfo> {
        self.live().map(|disk| info_of(disk, self.write_cache))
    }

    fn submit(&mut self, request: DeviceRequest<'_, LentRange>, tag: Tag) -> Result<(), Refusal> {
        let State::Live(disk) = &mut *self.state else {
            return Err(Refusal::Broken);
        };
        if self.broken {
            return Err(Refusal::Broken);
        }
        let (lists, staging) = (&mut self.lists, &mut self.staging);
        let request = match request {
            DeviceRequest::Read { first, data } => Request::read(Sector(first), lend(lists, staging, data)?, tag),
            DeviceRequest::Write { first, data } => Request::write(Sector(first), lend(lists, staging, data)?, tag),
            DeviceRequest::Flush => Request::flush(tag),
        };
        disk.submit(request).map_err(|rejected| {
            let (data, _) = rejected.request.into_parts();
            take_back(&mut self.lists, &mut self.staging, data);
            refusal(rejected.error)
        })
    }

    fn notify(&mut self) {
        if let State::Live(disk) = &mut *self.state {
            disk.notify();
        }
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        let State::Live(disk) = &mut *self.state else {
            return Err(Broken);
        };
        if self.broken {
            return Err(Broken);
        }
        let (lists, staging) = (&mut self.lists, &mut self.staging);
        let each = |completion| {
            let (tag, result) = finish(lists, staging, completion);
            done(tag, result);
        };
        let result = if mem::take(&mut self.interrupted) {
            disk.on_interrupt(each).map(|seen| seen.config)
        } else if self.armed {
            disk.drain(each).map(|_| None)
        } else {
            disk.poll(each).map(|_| None)
        };
        match result {
            Ok(Some(change)) => self.note_change(change),
            Ok(None) => {}
            Err(_) => self.broken = true,
        }
        if self.broken { Err(Broken) } else { Ok(()) }
    }

    fn reset(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        if !self.take_down(done) {
            return Err(Broken);
        }
        // Not live before it is started again.
        self.broken = true;
        start_device(self.state, &mut self.dma, &mut self.plan).map_err(|_| Broken)?;
        if let State::Live(disk) = &mut *self.state {
            if let Some(mode) = self.cache {
                // Nothing is in flight. A device that has lost the switch says so when asked for its mode.
                let _ = disk.set_write_cache(mode);
            }
            if self.armed {
                // Nothing is in flight, so nothing is handed over.
                let _ = disk.drain(|_| {});
            }
        }
        self.broken = false;
        self.ask_for_cache();
        Ok(())
    }

    fn is_alive(&mut self) -> bool {
        self.live().is_some_and(|disk| disk.liveness().is_live())
    }

    fn parts_finished(&self) -> u64 {
        match &*self.state {
            State::Live(disk) => disk.queue().returned(),
            State::Stopped(_) => 0,
        }
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal> {
        let mode = if on {
            WriteCache::WriteBack
        } else {
            WriteCache::WriteThrough
        };
        let State::Live(disk) = &mut *self.state else {
            return Err(Refusal::Broken);
        };
        if self.broken {
            return Err(Refusal::Broken);
        }
        disk.set_write_cache(mode).map_err(|error| match error {
            WriteCacheError::Busy => Refusal::Full,
            WriteCacheError::Unsupported => Refusal::Unsupported,
        })?;
        self.cache = Some(mode);
        self.ask_for_cache();
        Ok(())
    }

    fn staging_blocks(&self) -> u8 {
        self.staging.blocks()
    }

    fn staging(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]> {
        self.staging.bytes(block)
    }
}

/// The memory of a request as the driver wants it.
fn lend(
    lists: &mut FreeLists,
    staging: &mut Staging,
    data: minix_blockdriver::Data<'_, LentRange>,
) -> Result<Data, Refusal> {
    let list = match data {
        minix_blockdriver::Data::Granted(ranges) => {
            // No client has 4 GiB in one piece: its address space is no larger, and requests are counted in 31 bits.
            if ranges.len() > MAX_SEGMENTS || ranges.iter().any(|range| u32::try_from(range.bytes()).is_err()) {
                return Err(Refusal::Invalid);
            }
            let segments = ranges
                .iter()
                .map(|range| Segment::new(DeviceAddr(range.address()), range.bytes() as u32));
            lists.take(segments, None).ok_or(Refusal::Full)?
        }
        minix_blockdriver::Data::Bounce(block, bytes) => {
            // The device cannot begin before it is notified, but from here on the bytes are not ours.
            let segment = staging.lend(block, bytes).ok_or(Refusal::Invalid)?;
            let Some(list) = lists.take([segment].into_iter(), Some(block)) else {
                staging.take_back(block);
                return Err(Refusal::Full);
            };
            list
        }
    };
    // SAFETY: the segments are of two kinds. Granted ranges are for a device whenever it likes: that is what a `LentRange`
    // says. Those in staging memory lie in a block that is lent: `Staging` gives nobody its bytes until the list, which
    // names the block, is back. The list owns its memory by exclusive reference, so it does not change.
    Ok(unsafe { RawSegments::new(list) })
}

/// Takes apart what came back from the driver.
fn finish(
    lists: &mut FreeLists,
    staging: &mut Staging,
    completion: Completion<Data, Tag>,
) -> (Tag, Result<(), DeviceError>) {
    take_back(lists, staging, completion.buffer);
    (
        completion.token,
        completion.result.map(drop).map_err(|error| match error {
            IoError::Device(StatusError::Unsupported) => DeviceError::Unsupported,
            _ => DeviceError::Io,
        }),
    )
}

fn take_back(lists: &mut FreeLists, staging: &mut Staging, data: Option<Data>) {
    if let Some(data) = data {
        let list = data.into_inner();
        if let Some(block) = list.staging() {
            staging.take_back(block);
        }
        lists.put_back(list);
    }
}

fn refusal(error: SubmitError) -> Refusal {
    match error {
        SubmitError::QueueFull => Refusal::Full,
        SubmitError::TooScattered => Refusal::Unreachable,
        SubmitError::Unsupported => Refusal::Unsupported,
        SubmitError::Broken(_) => Refusal::Broken,
        // Out of range, misaligned, read-only, empty, around the end of the address space.
        _ => Refusal::Invalid,
    }
}
