//! The top: messages, completions and time come in here, answers go out.

use minix_abi::Message;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{GrantedRange as _, MAX_RANGES};

use crate::barrier::Barrier;
use crate::flights::Flights;
use crate::jobs::Jobs;
use crate::pace::Pace;
use crate::recovery::{Health, Resets};
use crate::staging::StagingPool;
use crate::write_back::WriteBack;
use crate::{BlockDevice, Counters, DeviceTable, Kernel, Micros, Opens, Options, Scan, Trace};

/// A block driver for one disk.
///
/// `JOBS` is how many requests of clients it works on at a time, and how many the device gets at a time. Each takes about
/// 1.3 KiB, most of it for a vector.
///
/// A service gives it every message that is none of the system's own ([`on_message`](Self::on_message)), then lets it work
/// ([`poll`](Self::poll)); calls `poll` again when the device has something to tell, and [`on_time`](Self::on_time) by the
/// [`deadline`](Self::deadline). Every request is answered exactly once.
pub struct BlockDriver<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> {
    pub(crate) device: D,
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) trace: Trace<K::Trace>,
    pub(crate) staging: StagingPool,
    /// What requests that come have to wait for.
    pub(crate) barrier: Barrier,
    pub(crate) scan: Option<Scan>,
    pub(crate) health: Health,
    pub(crate) resets: Resets,
    pub(crate) pace: Pace,
    pub(crate) write_back: WriteBack,
    /// The device did not do the background flush before a reset.
    pub(crate) flush_blamed: bool,
    /// Transfers that write and are not answered yet; the barrier aside, nothing else makes order matter.
    pub(crate) writes: u16,
    /// Reads that went ahead of a write since the last one had its turn.
    pub(crate) reads_in_a_row: u8,
    /// A request was answered since this was last cleared.
    pub(crate) answered: bool,
    /// Whether something may be there to give to the device.
    pub(crate) busy: bool,
    /// The device has no room until something is finished.
    pub(crate) device_full: bool,
    /// There is more to give to the device, and it was left for the next call.
    pub(crate) unfinished: bool,
    /// The device has something it was not told of.
    pub(crate) unannounced: bool,
    /// Microseconds the device may take for a request.
    pub(crate) request_timeout: u64,
    /// What clients are told that to be, which is what they asked for.
    pub(crate) told_timeout: u64,
    pub(crate) terminating: bool,
    /// Where the kernel puts addresses. Kept here so that nobody has to clear a kilobyte for each transfer.
    pub(crate) ranges: [K::Range; MAX_RANGES],
    pub(crate) table: DeviceTable,
    pub(crate) opens: Opens,
    pub(crate) flights: Flights<JOBS>,
    pub(crate) jobs: Jobs<JOBS>,
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// A driver that nobody has opened a minor of.
    pub fn new(device: D, options: Options) -> Self {
        let options = Options {
            reset_attempts: options.reset_attempts.max(1),
            fruitless_resets: options.fruitless_resets.max(options.replays.saturating_add(1)),
            hz: options.hz.max(1),
            depth: options.depth.max(1),
            ..options
        };
        let staging = StagingPool::new(device.staging_blocks());
        Self {
            device,
            request_timeout: options.request_timeout,
            told_timeout: options.request_timeout,
            options,
            counters: Counters::default(),
            table: DeviceTable::new(),
            opens: Opens::new(),
            trace: Trace::new(),
            jobs: Jobs::new(),
            flights: Flights::new(),
            staging,
            barrier: Barrier::None,
            scan: None,
            health: Health::Good,
            resets: Resets::default(),
            pace: Pace::new(options.depth.min(u16::try_from(JOBS).unwrap_or(u16::MAX))),
            write_back: WriteBack::default(),
            flush_blamed: false,
            writes: 0,
            reads_in_a_row: 0,
            answered: false,
            busy: false,
            device_full: false,
            unfinished: false,
            unannounced: false,
            terminating: false,
            ranges: [K::Range::EMPTY; MAX_RANGES],
        }
    }

    /// Whether a request can be taken. If not, receive no requests until a [`poll`](Self::poll) made room: one that is
    /// handed in all the same is answered with `ERESTART`, which makes clients send it again.
    pub fn has_room(&self) -> bool {
        !self.jobs.is_full()
    }

    /// Takes a message. Returns whether it was a request to a block driver; if not, nothing has happened.
    ///
    /// What needs no device is answered at once. The device gets to see the rest with the next [`poll`](Self::poll), so that
    /// several messages can be taken before.
    pub fn on_message(&mut self, kernel: &mut K, now: Micros, status: IpcStatus, message: &Message) -> bool {
        self.receive(kernel, now, status, message)
    }

    /// Collects what the device has finished, answers, gives the device what waits, and notifies it. Returns how many device
    /// requests were finished.
    pub fn poll(&mut self, kernel: &mut K, now: Micros) -> u32 {
        let finished = self.collect(kernel, now);
        self.settle(kernel, now);
        finished
    }

    /// Looks at a device that has completed nothing for a while, or has lost a request, and carries recovery on.
    pub fn on_time(&mut self, kernel: &mut K, now: Micros) {
        self.check_time(kernel, now);
        self.settle(kernel, now);
    }

    /// When [`on_time`](Self::on_time) has to be called at the latest; `None` if nothing waits for a time.
    ///
    /// It may be earlier than necessary, never later. It changes with every call to the driver. A time in the past, such as
    /// zero, means at once: a device that had to be reset is not worked with for longer in one call, so that the service
    /// does not go deaf.
    pub fn deadline(&self) -> Option<Micros> {
        if self.unfinished {
            return Some(Micros(0));
        }
        match self.health {
            Health::Good => {
                let look = self.look_due();
                // A device without room has none before it has finished something.
                let flush = self.flush_due().filter(|_| !self.device_full);
                match (look, flush) {
                    (Some(look), Some(flush)) => Some(look.min(flush)),
                    (look, flush) => look.or(flush),
                }
            }
            Health::Resetting { again, .. } => Some(again),
            Health::Dead => None,
        }
    }

    /// From now on refuses to be opened, with `ENXIO`, and flushes what is written at once: whoever is told to end may be
    /// killed soon. The [`deadline`](Self::deadline) may come earlier by that.
    pub fn terminate(&mut self) {
        if !self.terminating {
            self.terminating = true;
            self.write_back.hurry();
        }
    }

    /// Whether the service may exit: it was [told to](Self::terminate), nothing is open, nobody waits for an answer, and
    /// nothing that was written waits for a flush. What cannot be flushed holds nobody up: a device that is given up, or a
    /// flush that was tried and failed.
    pub fn may_exit(&self) -> bool {
        let lingers = self.write_back.holds_up_exit() && !self.is_broken();
        self.terminating && self.opens.total() == 0 && self.is_idle() && !lingers
    }

    /// Whether nobody waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.jobs.len() == 0
    }

    /// Requests the device has.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Requests of clients that are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.jobs.len().into()
    }

    /// How often minors are open, all together.
    pub fn open_count(&self) -> u32 {
        self.opens.total()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where the partitions are.
    pub fn table(&self) -> &DeviceTable {
        &self.table
    }

    /// The disk.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The disk, for what has nothing to do with requests, such as its interrupt. Neither submit to it nor poll it: completions
    /// would be lost, and clients answered too early or never. Memory of this program is not at stake, since a
    /// [`BlockDevice`] looks after that itself.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the device is given up: it did not come back from a reset, or was reset too often without a use. What needs it is answered with `EIO` then.
    pub fn is_broken(&self) -> bool {
        matches!(self.health, Health::Dead)
    }

    /// Lets whatever can go on go on: those whose turn it is, and the device. Bounded, as each round but the last answers a
    /// request.
    fn settle(&mut self, kernel: &mut K, now: Micros) {
        self.unfinished = false;
        if self.write_back.is_needed() {
            self.flush_in_time(kernel, now);
        }
        // Whatever was answered before this call, or is in it, may have been the barrier.
        self.take_turns(kernel, now);
        if self.busy && !self.is_idle() {
            for _ in 0..2 * JOBS + 1 {
                // One reset is enough for one call; the flush may have had one.
                if self.unfinished || !self.pump(kernel, now) {
                    break;
                }
                self.take_turns(kernel, now);
            }
        }
        if core::mem::take(&mut self.unannounced) {
            self.counters.notifies += 1;
            self.device.notify();
        }
    }
}
