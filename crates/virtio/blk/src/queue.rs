//! The data half of the driver: a queue of requests, its limits, counters and doorbell.
//!
//! A queue knows nothing of registers but its own doorbell, so it can be given to another hart than the one that looks
//! after the device.

mod complete;
mod end;
#[cfg(feature = "queues")]
mod renewal;
mod submit;

use core::fmt;
use core::mem::ManuallyDrop;

use virtio_core::{ConfigError, DmaSegments, InterruptVector, QueueIndex, QueueNotifier};
use virtqueue::{DeviceFault, Notification, QueueState, VirtQueue};

use crate::chain_token::ChainToken;
use crate::class::HeaderMarks;
use crate::limits::PlainTransfers;
use crate::queue_parts::{QueueIdentity, QueueParts, Stage};
use crate::shared_config::News;
use crate::slot_memory::SlotMemory;
use crate::split_requests::SplitRequests;
use crate::{Class, ConfigChange, Limits, QueueCounters};

/// One request queue of a block device.
///
/// * `D` rings the doorbell, `B` is the type of data buffers, `K` of tokens, which can be anything;
/// * `N` is the capacity in descriptors and in requests, a power of two.
///
/// Submitting and notifying are two steps: submit any number of requests, then call [`notify`](Self::notify) once. For a long
/// batch, [`submit_all`](Self::submit_all) does both, and the device starts before the last request is there.
///
/// Dropping a queue whose device was not reset leaks its memory and the requests still in it, because the device may
/// be using them. [`Disk::shut_down`](crate::Disk::shut_down) is how to get everything back.
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
// Aligned to cache lines, so that queues in one array share none.
#[repr(C)]
#[cfg_attr(feature = "queues", repr(align(64)))]
pub struct RequestQueue<D, B, K, const N: usize> {
    /// The request whose later parts wait for room, or for earlier parts.
    waiting: Option<u16>,
    doorbell: D,
    limits: Limits,
    plain: PlainTransfers,
    slots: SlotMemory,
    counters: QueueCounters,
    identity: QueueIdentity,
    // Not dropped, because the device may be using the buffers of the requests.
    ring: ManuallyDrop<VirtQueue<ChainToken<B, K>, N>>,
    splits: ManuallyDrop<SplitRequests<B, K>>,
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> RequestQueue<D, B, K, N> {
    /// Interrupts are suppressed at first.
    pub(crate) fn new(mut parts: QueueParts<D>, limits: &Limits) -> Self {
        let options = parts.identity.options;
        parts
            .slots
            .set_marks(HeaderMarks::of(Class::Foreground, options.layout));
        let mut ring = VirtQueue::with_memory(options, parts.ring);
        ring.suppress_interrupts();
        Self {
            waiting: None,
            doorbell: parts.doorbell,
            plain: PlainTransfers::new(limits),
            limits: *limits,
            slots: parts.slots,
            counters: QueueCounters::default(),
            ring: ManuallyDrop::new(ring),
            identity: parts.identity,
            splits: ManuallyDrop::new(SplitRequests::new()),
        }
    }

    /// Which queue of the device it is.
    pub fn index(&self) -> QueueIndex {
        self.identity.index
    }

    /// The interrupt vector of the queue, if it has one.
    pub fn vector(&self) -> Option<InterruptVector> {
        self.identity.vector
    }

    /// The limits of the disk, as the queue has last seen them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks whether the control half has seen a change of the configuration, and puts the new limits into force. Returns whether
    /// there were any. If the control half has seen that there is no device any more, the queue [stops](Self::device_gone). For a queue of [`DeviceControl::start`](crate::DeviceControl::start), which may be on another hart.
    ///
    /// There is no need to call this: the queue looks when it refuses a request, when a request fails, before it sends more of a
    /// transfer that waits, when a [`poll`](Self::poll) finds nothing, and in [`drain`](Self::drain). So a request is checked against old limits at most
    /// if the device would have refused it, and none is refused because of old ones. Submitting does not look, and takes no longer.
    #[cold]
    #[inline(never)]
    pub fn refresh_limits(&mut self) -> bool {
        let Some(view) = &mut self.identity.config else {
            return false;
        };
        match view.take_news() {
            None => false,
            Some(News::Config(config)) => {
                let limits = view.limits(&config, &self.limits);
                self.set_limits(limits);
                true
            }
            Some(News::Gone) => {
                self.device_gone();
                false
            }
        }
    }

    /// Whether a reset of the queue has begun after which the device has not taken it into use again.
    fn is_stopped(&self) -> bool {
        crate::QUEUES && self.identity.stage != Stage::InUse
    }

    /// Takes note of what its control half has found.
    pub(crate) fn take_config(&mut self, found: &Result<ConfigChange, ConfigError>) {
        match found {
            Ok(change) => self.set_limits(change.limits),
            Err(ConfigError::Gone) => self.device_gone(),
            // What was in force stays in force.
            Err(ConfigError::Unstable) => {}
        }
    }

    /// Puts new limits into force, after a change of the configuration.
    ///
    /// What the device has is not affected. A request of which parts are still to be sent goes on within the new
    /// limits; if it does not fit them any more, for instance because it reaches past the end of a disk that became
    /// smaller, it ends as [aborted](crate::IoError::Aborted).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.set_waiting(self.waiting);
    }

    /// Notes which request waits. As long as one does, no other is taken.
    fn set_waiting(&mut self, waiting: Option<u16>) {
        self.waiting = waiting;
        self.plain = match waiting {
            None if !self.is_stopped() => PlainTransfers::new(&self.limits),
            _ => PlainTransfers::NONE,
        };
    }

    /// Requests taken and not yet completed.
    pub fn in_flight(&self) -> u16 {
        let (splits, parts) = self.splits.requests_and_parts();
        self.ring.in_flight() - parts + splits
    }

    /// What was counted so far.
    pub fn counters(&self) -> QueueCounters {
        let mut counters = self.counters;
        counters.device_requests += self.ring.submitted();
        // The ring keeps answering a fault; it happened once. The end of a device breaks no rule.
        let is_lie = |fault| fault != DeviceFault::Gone;
        counters.faults += u64::from(self.ring.fault().is_some_and(is_lie));
        counters
    }

    /// The state of the ring, for a dump.
    pub fn ring_state(&self) -> QueueState {
        self.ring.state()
    }

    /// What the device did wrong, if it did; only a restart helps then.
    pub fn fault(&self) -> Option<DeviceFault> {
        self.ring.fault()
    }

    /// Publishes the submitted requests, and rings the doorbell if the device needs a notification. Returns whether it rang.
    ///
    /// A doorbell that finds no device any more does not ring. The next [`poll`](Self::poll) says so.
    #[inline]
    pub fn notify(&mut self) -> bool {
        match self.ring.publish() {
            Notification::Needed { next_available } => {
                if self.doorbell.notify(next_available).is_err() {
                    self.device_gone();
                    return false;
                }
                self.counters.notifies += 1;
                true
            }
            Notification::NotNeeded => false,
        }
    }

    /// Stops the queue, since there is no device any more. Requests that the device had finished are still handed over, no new ones
    /// are taken, and [`ResetDevice::release`](crate::ResetDevice::release) gives the others back.
    ///
    /// There is no need to call this when the control half has learned of it: the queue finds out as it does of
    /// [new limits](Self::refresh_limits).
    #[cold]
    pub fn device_gone(&mut self) {
        self.ring.device_gone();
    }

    /// How many device requests have come back. A request that is longer than the device takes is several of them, so this tells
    /// that the device is at work on one that is not complete yet.
    pub fn returned(&self) -> u64 {
        let before = if crate::QUEUES { self.identity.returned } else { 0 };
        before + self.ring.returned()
    }

    /// Whether a [poll](Self::poll) may find or do anything; `false` is certain. A look at memory, for those who poll often.
    #[inline]
    pub fn needs_poll(&self) -> bool {
        self.ring.may_have_used() || self.waiting.is_some()
    }

    /// Asks the device not to interrupt, as for a driver that polls. A hint, nothing more.
    pub fn suppress_interrupts(&mut self) {
        self.ring.suppress_interrupts();
    }
}

impl<D, B, K, const N: usize> fmt::Debug for RequestQueue<D, B, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestQueue")
            .field("in_flight", &self.ring.in_flight())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
