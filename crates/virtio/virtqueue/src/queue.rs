//! The split virtqueue: publishing chains, deciding about notifications, taking chains back.

use core::sync::atomic::Ordering;

use virtio_core::{DmaRegion, QueueSetup, QueueSize, Segment};

use crate::chain::Chain;
use crate::error::{ChainError, CreateError, DeviceFault};
use crate::event::crosses_event;
use crate::layout::{RingFormat, RingLayout};
use crate::memory::flags::NO_NOTIFICATION;
use crate::memory::{DmaRing, RingMemory};
use crate::slots::Slots;

/// How a queue is to be laid out and which features it uses: the outcome of negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueOptions {
    /// Number of descriptors.
    pub size: QueueSize,
    /// The layout the device expects.
    pub format: RingFormat,
    /// EVENT_IDX was accepted.
    pub event_idx: bool,
    /// INDIRECT_DESC was accepted: every chain goes into the table of its slot, with at most that many segments. Zero
    /// for direct chains.
    pub indirect_entries: u16,
    /// Whether the lengths in the used ring mean anything. They do not on legacy devices (`LEG-N-02`).
    pub used_len_valid: bool,
}

impl QueueOptions {
    /// Where everything will be. Also tells how much memory the queue needs.
    pub const fn layout(&self) -> RingLayout {
        // A chain must not be longer than the queue, wherever it is written down (`RING-D-08`).
        let entries = if self.indirect_entries < self.size.get() {
            self.indirect_entries
        } else {
            self.size.get()
        };
        RingLayout::new(self.format, self.size, entries)
    }
}

/// Whether the device wants to hear about what was just published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a device that is not notified does not look at the queue"]
pub enum Doorbell {
    /// Notify it now.
    Ring {
        /// The available index, for notifications that carry it.
        next_available: u16,
    },
    /// It asked not to be notified, or there was nothing to publish.
    Quiet,
}

/// A chain that has come back from the device.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Used<T> {
    /// What the chain was submitted with.
    pub token: T,
    /// The slot it occupied, as [`Chain::slot`] told; free again.
    pub slot: u16,
    /// Bytes the device says it has written, from the start of the writable part; never more than that part holds.
    /// `None` if the device's word on it means nothing.
    ///
    /// A hint, no proof: devices in use report 0, 1 or too little for chains that they have filled, and too much for
    /// chains with less room. Where the protocol has a verdict of its own, such as a status byte, that one decides.
    pub written: Option<u32>,
    /// The device claimed more than the writable part holds, and `written` was clipped. Something to count.
    pub clipped: bool,
}

/// The state of a queue for a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueState {
    /// Number of descriptors.
    pub size: u16,
    /// Free descriptors.
    pub free: u16,
    /// Chains submitted and not yet back.
    pub in_flight: u16,
    /// Available index as last published.
    pub available_index: u16,
    /// Chains submitted but not published.
    pub unpublished: u16,
    /// Used index up to which completions were taken.
    pub used_seen: u16,
    /// Used index as it stands in memory now.
    pub used_index: u16,
    /// The device's flags.
    pub used_flags: u16,
    /// The device's `avail_event`.
    pub avail_event: u16,
    /// Whether EVENT_IDX is in use.
    pub event_idx: bool,
    /// Entries per indirect table; 0 for direct chains.
    pub indirect_entries: u16,
    /// What the device did wrong, if it did.
    pub fault: Option<DeviceFault>,
}

/// A split virtqueue with room for `N` descriptors and an owner token of type `T` for every chain in flight.
///
/// Everything the driver relies on is kept in private memory; of the shared memory it reads only what the device is
/// meant to write, once, and believes none of it unchecked.
///
/// The queue itself never gives the device access to anything: that happens when a transport is told where the rings
/// are ([`virtio_core::Transport::enable_queue`]), which is `unsafe` for exactly that reason. Therefore nothing here is.
#[derive(Debug)]
pub struct VirtQueue<T, const N: usize, M = DmaRing> {
    pub(crate) memory: M,
    pub(crate) slots: Slots<T, N>,
    size: QueueSize,
    pub(crate) table_entries: u16,
    event_idx: bool,
    used_len_valid: bool,
    /// Available index including chains not yet published.
    pub(crate) available: u16,
    /// Available index as the device sees it.
    published: u16,
    /// Number of the batch being collected, which the next `publish` closes. Runs freely; it would take a chain in
    /// flight for exactly 2^32 batches to be taken for one of the current batch, and that only costs a reset.
    pub(crate) batch: u32,
    /// Used index up to which elements were taken.
    used_seen: u16,
    /// Used index when it was last read.
    used_known: u16,
    pub(crate) fault: Option<DeviceFault>,
}

impl<T, const N: usize> VirtQueue<T, N> {
    /// Makes a queue in `region`, which must have [`QueueOptions::layout`]'s size and alignment.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]; the region comes back.
    pub fn new(options: QueueOptions, region: DmaRegion) -> Result<Self, (CreateError, DmaRegion)> {
        if usize::from(options.size.get()) > N {
            return Err((CreateError::OverCapacity, region));
        }
        let ring = DmaRing::new(options.layout(), region).map_err(|region| (CreateError::BadMemory, region))?;
        Ok(Self::with_memory(options, ring))
    }

    /// What the transport has to tell the device about this queue.
    pub fn setup(&self) -> QueueSetup {
        self.memory.setup()
    }

    /// Takes the queue apart. The device must have been reset; chains still in flight are forgotten with their tokens.
    pub fn into_region(self) -> DmaRegion {
        self.memory.into_region()
    }
}

impl<T, const N: usize, M: RingMemory> VirtQueue<T, N, M> {
    /// Makes a queue on any memory, which must be zeroed and laid out for the same `options`: otherwise the device
    /// reads something else than what the queue has written. The size must not be above the capacity `N`; larger
    /// sizes are cut to it.
    pub fn with_memory(options: QueueOptions, memory: M) -> Self {
        let capacity = QueueSize::at_most(N as u32).unwrap_or(options.size);
        let size = options.size.min(capacity);
        Self {
            memory,
            slots: Slots::new(size.get()),
            size,
            table_entries: options.layout().table_entries,
            event_idx: options.event_idx,
            used_len_valid: options.used_len_valid,
            available: 0,
            published: 0,
            batch: 0,
            used_seen: 0,
            used_known: 0,
            fault: None,
        }
    }

    /// Number of descriptors.
    #[inline]
    pub fn size(&self) -> QueueSize {
        self.size
    }

    /// The most segments a chain can have, however empty the queue is.
    #[inline]
    pub fn max_segments(&self) -> u16 {
        if self.table_entries == 0 {
            self.size.get()
        } else {
            self.table_entries
        }
    }

    /// Whether a chain of `segments` segments would fit right now.
    #[inline]
    pub fn has_room_for(&self, segments: u16) -> bool {
        let descriptors = if self.table_entries == 0 { segments } else { 1 };
        segments <= self.max_segments() && descriptors <= self.slots.free()
    }

    /// Chains submitted and not yet back.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        self.slots.chains()
    }

    /// What the device did wrong, if it did. The queue takes no chain and gives none back until it is [reset](Self::reset).
    #[inline]
    pub fn fault(&self) -> Option<DeviceFault> {
        self.fault
    }

    /// Starts a chain. Nothing happens until it is submitted; dropping it leaves the queue as it was.
    ///
    /// # Errors
    ///
    /// [`ChainError::QueueFull`] if not even one descriptor is free, [`ChainError::Broken`] after a fault.
    #[inline]
    pub fn chain(&mut self) -> Result<Chain<'_, T, N, M>, ChainError> {
        if let Some(fault) = self.fault {
            return Err(ChainError::Broken(fault));
        }
        if self.slots.free() == 0 {
            return Err(ChainError::QueueFull);
        }
        Ok(Chain::new(self))
    }

    /// Submits a chain of `readable` segments for the device to read and then `writable` ones for it to write.
    ///
    /// The device learns of it with the next [`publish`](Self::publish). Returns the slot the chain occupies.
    ///
    /// # Errors
    ///
    /// See [`ChainError`]; the token comes back and the queue is as before.
    pub fn submit(&mut self, readable: &[Segment], writable: &[Segment], token: T) -> Result<u16, (ChainError, T)> {
        // A chain that can never fit must not look like one that will fit later.
        if readable.len() + writable.len() > usize::from(self.max_segments()) {
            return Err((ChainError::TooManySegments, token));
        }
        let build = |queue| -> Result<Chain<'_, T, N, M>, ChainError> {
            let mut chain = Self::chain(queue)?;
            for &segment in readable {
                chain.readable(segment)?;
            }
            for &segment in writable {
                chain.writable(segment)?;
            }
            Ok(chain)
        };
        match build(self) {
            Ok(chain) => chain.submit(token),
            Err(error) => Err((error, token)),
        }
    }

    /// Shows the device every chain submitted since the last call, and says whether to notify it.
    ///
    /// One index store and one decision for the whole batch (`RING-D-24`, `RING-D-28`).
    #[inline]
    pub fn publish(&mut self) -> Doorbell {
        let (old, new) = (self.published, self.available);
        if old == new {
            return Doorbell::Quiet;
        }
        // Release: descriptors and ring slots first (`RING-D-26`).
        self.memory.store_available_index(new, Ordering::Release);
        self.published = new;
        self.batch = self.batch.wrapping_add(1);
        // The device stores its wish and then looks at our index; we store the index and then look at its wish.
        // Without a full fence on both sides each could miss the other (`RING-D-27`).
        self.memory.store_load_fence();
        let wanted = if self.event_idx {
            crosses_event(self.memory.load_avail_event(Ordering::Relaxed), new, old)
        } else {
            self.memory.load_used_flags(Ordering::Relaxed) & NO_NOTIFICATION == 0
        };
        if wanted {
            Doorbell::Ring { next_available: new }
        } else {
            Doorbell::Quiet
        }
    }

    /// Takes one chain back, if the device is done with one.
    ///
    /// # Errors
    ///
    /// A [`DeviceFault`] if the device wrote an impossible index or id, and from then on until [`reset`](Self::reset). The
    /// tokens of all chains stay with the queue.
    #[inline]
    pub fn pop_used(&mut self) -> Result<Option<Used<T>>, DeviceFault> {
        if self.used_seen == self.used_known && !self.look_for_used()? {
            return Ok(None);
        }
        let element = self.memory.read_used(self.used_seen);
        let slot = match u16::try_from(element.id) {
            Ok(id) if id < self.size.get() => id,
            _ => return Err(self.broken(DeviceFault::IdOutOfRange { id: element.id })),
        };
        let Some(writable) = self.slots.writable(slot, self.batch) else {
            return Err(self.broken(DeviceFault::NotInFlight { id: element.id }));
        };
        let Some(token) = self.slots.finish(slot) else {
            return Err(self.broken(DeviceFault::NotInFlight { id: element.id }));
        };
        self.used_seen = self.used_seen.wrapping_add(1);
        Ok(Some(Used {
            token,
            slot,
            // A length out of range is an oddity and no fault (see `Used::written`), but no caller may get to see it.
            written: self.used_len_valid.then_some(element.len.min(writable)),
            clipped: self.used_len_valid && element.len > writable,
        }))
    }

    /// Reads the used index; whether it has moved.
    #[inline]
    fn look_for_used(&mut self) -> Result<bool, DeviceFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        // Acquire: what the device wrote before it moved the index (`RING-N-08`).
        let index = self.memory.load_used_index(Ordering::Acquire);
        let advance = index.wrapping_sub(self.used_seen);
        let outstanding = self.outstanding();
        if advance > outstanding {
            return Err(self.broken(DeviceFault::IndexJump { index, outstanding }));
        }
        self.used_known = index;
        Ok(advance != 0)
    }

    /// Takes back every chain the device is done with, then asks for an interrupt on the next one.
    ///
    /// A completion that slips in between is not lost: after asking, the used ring is looked at again (`RING-D-31`).
    /// Ends after at most as many completions as there are chains in flight. Returns their number.
    ///
    /// # Errors
    ///
    /// Those of [`pop_used`](Self::pop_used).
    pub fn drain(&mut self, mut each: impl FnMut(Used<T>)) -> Result<u16, DeviceFault> {
        let mut count: u16 = 0;
        let mut promised = None;
        self.suppress_interrupts();
        loop {
            while let Some(used) = self.pop_used()? {
                count = count.wrapping_add(1);
                each(used);
            }
            if promised == Some(count) {
                // The index had moved, and now it has not: it went backwards. Playing along might never end.
                let index = self.used_seen;
                let outstanding = self.outstanding();
                return Err(self.broken(DeviceFault::IndexJump { index, outstanding }));
            }
            if !self.arm_interrupts() {
                return Ok(count);
            }
            promised = Some(count);
        }
    }

    /// Asks the device not to interrupt. A hint: it may do so all the same (`RING-N-16`).
    #[inline]
    pub fn suppress_interrupts(&mut self) {
        if self.event_idx {
            // The slot just behind: the index gets there last of all.
            let behind = self.used_seen.wrapping_sub(1);
            self.memory.store_used_event(behind, Ordering::Relaxed);
        } else {
            self.memory.store_available_flags(NO_NOTIFICATION, Ordering::Relaxed);
        }
    }

    /// Asks the device to interrupt on the next completion.
    ///
    /// Returns whether there are completions already; for those no interrupt may come, so take them now.
    #[inline]
    #[must_use = "completions that are already there may never raise an interrupt"]
    pub fn arm_interrupts(&mut self) -> bool {
        if self.event_idx {
            self.memory.store_used_event(self.used_seen, Ordering::Relaxed);
        } else {
            self.memory.store_available_flags(0, Ordering::Relaxed);
        }
        // As in `publish`, with the roles exchanged.
        self.memory.store_load_fence();
        self.memory.load_used_index(Ordering::Relaxed) != self.used_seen
    }

    /// Takes the token of some chain that has not come back.
    ///
    /// For recovery: call it until it answers `None`, but only after the device was reset, since until then it may use
    /// what the token stands for.
    pub fn take_outstanding(&mut self) -> Option<T> {
        let head = self.slots.any_head()?;
        self.withdraw();
        self.slots.finish(head)
    }

    /// Starts over with empty rings. The device must have been reset, and the tokens
    /// [taken](Self::take_outstanding); tokens still in the queue are dropped.
    pub fn reset(&mut self) {
        self.memory.zero();
        self.slots.link();
        self.available = 0;
        self.published = 0;
        self.batch = 0;
        self.used_seen = 0;
        self.used_known = 0;
        self.fault = None;
    }

    /// The state of the queue, for a dump.
    pub fn state(&self) -> QueueState {
        QueueState {
            size: self.size.get(),
            free: self.slots.free(),
            in_flight: self.slots.chains(),
            available_index: self.published,
            unpublished: self.unpublished(),
            used_seen: self.used_seen,
            used_index: self.memory.load_used_index(Ordering::Relaxed),
            used_flags: self.memory.load_used_flags(Ordering::Relaxed),
            avail_event: self.memory.load_avail_event(Ordering::Relaxed),
            event_idx: self.event_idx,
            indirect_entries: self.table_entries,
            fault: self.fault,
        }
    }

    #[inline]
    fn unpublished(&self) -> u16 {
        self.available.wrapping_sub(self.published)
    }

    /// Chains the device has.
    #[inline]
    fn outstanding(&self) -> u16 {
        self.slots.chains() - self.unpublished()
    }

    /// Decides that chains not published yet never will be.
    fn withdraw(&mut self) {
        self.available = self.published;
    }

    #[cold]
    fn broken(&mut self, fault: DeviceFault) -> DeviceFault {
        error!("the device broke the rules of the ring: {}", fault);
        self.fault = Some(fault);
        // Whatever else the device wrote is not looked at any more.
        self.used_known = self.used_seen;
        self.withdraw();
        fault
    }
}
