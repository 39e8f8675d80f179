//! The driver: its parts, and the calls of a service.

use minix_abi::kernel_call::{GrantedRange as _, MAX_RANGES};
use minix_abi::{Instant, Message, MessageType};

use crate::counters::DriverCounters;
use crate::device::BlockDevice;
use crate::engine::health::{DeviceState, Health};
use crate::engine::in_flight::{InFlight, Purpose};
use crate::engine::intake::Intake;
use crate::engine::scheduler::Scheduler;
use crate::engine::write_back::WriteBack;
use crate::events::EventLog;
use crate::kernel::Kernel;
use crate::options::DriverOptions;
use crate::partition::Partitions;
use crate::partition::table::DeviceTable;
use crate::protocol::trace::Trace;
use crate::service::Awaited;
use crate::statistics::{Kind, Latencies, Watches};
use crate::transfer::bounce_pool::BouncePool;

/// A block driver for one disk.
///
/// `JOBS` is how many requests of clients it works on at a time, and how many the device gets at a time. Each takes about
/// 1.3 KiB, most of it for a vector.
///
/// A service gives it every message that is none of the system's own ([`on_message`](Self::on_message)), then lets it work
/// ([`poll`](Self::poll)); calls `poll` again when the device has completed something, and [`on_time`](Self::on_time) by the
/// [`deadline`](Self::deadline). Every request is answered exactly once.
// In this order, so that what every request uses lies together, ahead of the tables.
#[repr(C)]
pub struct BlockDriver<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> {
    /// [`DriverOptions::flush_after`] in microseconds.
    pub(crate) flush_after_micros: u64,
    pub(crate) terminating: bool,
    pub(crate) bounce: BouncePool,
    pub(crate) write_back: WriteBack,
    pub(crate) health: Health,
    pub(crate) counters: DriverCounters,
    /// The answer to a request. Kept here so that its body need not be cleared for each.
    pub(crate) reply: Message,
    pub(crate) scheduler: Scheduler<JOBS>,
    pub(crate) device: D,
    pub(crate) in_flight: InFlight<JOBS>,
    pub(crate) trace: Trace<K::Trace>,
    pub(crate) partitions: Partitions,
    pub(crate) intake: Intake<JOBS>,
    pub(crate) latencies: Latencies,
    pub(crate) watches: Watches,
    pub(crate) events: EventLog,
    /// Times that the service found an interrupt lost.
    pub(crate) lost_interrupts: u64,
    pub(crate) options: DriverOptions,
    /// Where the kernel puts addresses. Kept here so that a kilobyte need not be cleared for each transfer.
    pub(crate) ranges: [K::Range; MAX_RANGES],
}

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// A driver without open minors.
    pub fn new(device: D, options: DriverOptions) -> Self {
        let options = DriverOptions {
            reset_attempts: options.reset_attempts.max(1),
            fruitless_resets: options.fruitless_resets.max(options.replays.saturating_add(1)),
            hz: options.hz.max(1),
            depth: options.depth.max(1).min(u16::try_from(JOBS).unwrap_or(u16::MAX)),
            ..options
        };
        Self {
            bounce: BouncePool::new(device.bounce_buffers()),
            device,
            health: Health::new(&options),
            scheduler: Scheduler::new(options.reads_before_write),
            flush_after_micros: u64::try_from(options.flush_after.as_micros()).unwrap_or(u64::MAX),
            options,
            counters: DriverCounters::default(),
            trace: Trace::new(),
            partitions: Partitions::new(),
            write_back: WriteBack::default(),
            terminating: false,
            reply: Message::new(MessageType::BDEV_REPLY),
            ranges: [K::Range::EMPTY; MAX_RANGES],
            in_flight: InFlight::new(),
            intake: Intake::new(),
            latencies: Latencies::new(),
            watches: Watches::default(),
            events: EventLog::new(),
            lost_interrupts: 0,
        }
    }

    /// Whether a request can be taken. If not, receive no requests until a [`poll`](Self::poll) made room: one that is
    /// handed in all the same is answered with `ERESTART`, which makes clients send it again.
    pub fn has_room(&self) -> bool {
        !self.intake.is_full()
    }

    /// When [`on_time`](Self::on_time) has to be called at the latest; `None` if nothing waits for a time.
    ///
    /// It may be earlier than necessary, never later. It changes with every call to the driver. A time in the past, such as
    /// [`START`](Instant::START), means at once: a device that had to be reset is not worked with for longer in one call, so
    /// that the service goes on answering.
    pub fn deadline(&self) -> Option<Instant> {
        if self.scheduler.is_unfinished() {
            return Some(Instant::START);
        }
        match self.health.state() {
            DeviceState::Good => {
                // A device without room has none before it has completed something.
                let flush = self.flush_due().filter(|_| !self.scheduler.is_device_full());
                Instant::earliest(&[self.look_due(), flush])
            }
            DeviceState::Resetting(again) => Some(again),
            DeviceState::Dead => None,
        }
    }

    /// From now on opens are refused with `ENXIO`, and completed writes are flushed at once: a service that is told to end may
    /// be killed soon. The [`deadline`](Self::deadline) may come earlier by that.
    pub fn terminate(&mut self) {
        if !self.terminating {
            self.terminating = true;
            self.write_back.hurry();
        }
    }

    /// Whether the service may exit: it was [told to](Self::terminate), nothing is open, no request waits for an answer, and
    /// no completed write waits for a flush. A flush that is not possible holds nothing up: the device is given up, or
    /// a flush was tried and failed.
    pub fn may_exit(&self) -> bool {
        let waits_for_flush = self.write_back.holds_up_exit() && !self.is_broken();
        self.terminating && self.partitions.open_count() == 0 && self.is_idle() && !waits_for_flush
    }

    /// Whether every request was answered.
    pub fn is_idle(&self) -> bool {
        self.intake.len() == 0
    }

    /// Requests the device has.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How often minors are open, all together.
    pub fn open_count(&self) -> u32 {
        self.partitions.open_count()
    }

    /// What was counted.
    pub fn counters(&self) -> DriverCounters {
        DriverCounters {
            requests: self.intake.pushed() + self.counters.no_room,
            max_jobs: self.intake.most(),
            device_requests: self.in_flight.total(),
            max_in_flight: self.in_flight.most(),
            stray_completions: self.in_flight.strays(),
            ..self.counters
        }
    }

    /// What the device is about to complete; `None` if it has no requests.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        let purpose = self.in_flight.newest()?;
        let (kind, bytes) = match purpose {
            Purpose::Transfer { job, bytes, .. } => (self.intake[job].transfer.direction.into(), bytes),
            Purpose::BackgroundFlush | Purpose::ForcedFlush { .. } | Purpose::Barrier => (Kind::Flush, 0),
        };
        Some(Awaited {
            kind,
            bytes,
            given: self.in_flight.total(),
            done: self.in_flight.total() - self.in_flight.len() as u64,
            completed: self.health.pace.last_completion(),
            asked: self.asked(),
        })
    }

    /// How many requests clients wait for.
    pub(crate) fn asked(&self) -> usize {
        usize::from(self.intake.len())
    }

    /// The service has watched the device for so long, and has found a completion or none.
    pub(crate) const fn watched(&mut self, hit: bool, micros: u64) {
        let watches = &mut self.watches;
        let (count, sum) = if hit {
            (&mut watches.hit, &mut watches.hit_micros)
        } else {
            (&mut watches.missed, &mut watches.missed_micros)
        };
        *count += 1;
        *sum = sum.wrapping_add(micros);
    }

    /// How long requests took.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// What the watches of the [service](crate::Service) came to.
    pub fn watches(&self) -> Watches {
        self.watches
    }

    /// Where the partitions are.
    pub fn table(&self) -> &DeviceTable {
        self.partitions.table()
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

    /// Whether the device is given up: it did not come back from a reset, or was reset too often without a use. A request
    /// that needs it is answered with `EIO` then.
    pub fn is_broken(&self) -> bool {
        self.health.is_dead()
    }
}
