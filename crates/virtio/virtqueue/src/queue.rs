//! The split virtqueue: publishing chains, deciding about notifications, taking chains back.

use core::sync::atomic::Ordering;

use virtio_core::{DmaRegion, QueueSetup, QueueSize, Segment};

use crate::chain::Chain;
use crate::error::{ChainError, CreateError, DeviceFault};
use crate::event::crosses_event;
use crate::frame::{Data, Frame, Framed, SegmentLimit, Shape};
use crate::layout::{RingLayout, RingOffsets};
use crate::memory::flags::NO_NOTIFICATION;
use crate::memory::{DmaRing, RingMemory, UsedElement};
use crate::placement::{Chains, Place, Placement};
use crate::rings::Rings;
use crate::slots::{Slot, Slots};

/// How a queue is to be laid out and which features it uses: the outcome of negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueOptions {
    /// Number of descriptors.
    pub size: QueueSize,
    /// The layout the device expects.
    pub layout: RingLayout,
    /// EVENT_IDX was accepted.
    pub event_idx: bool,
    /// INDIRECT_DESC was accepted: each slot has a table for a chain of at most that many segments. Zero if it was not.
    pub indirect_entries: u16,
    /// Which chains go into the tables, if there are any.
    pub chains: Chains,
    /// Whether the lengths in the used ring mean anything. They do not on legacy devices (`LEG-N-02`).
    pub used_len_valid: bool,
}

impl QueueOptions {
    /// Where everything will be. Also tells how much memory the queue needs.
    pub const fn offsets(&self) -> RingOffsets {
        RingOffsets::new(self.layout, self.size, self.table_entries())
    }

    /// The most segments a chain can have, however empty the queue is.
    pub const fn max_segments(&self) -> u16 {
        match self.table_entries() {
            0 => self.size.get(),
            entries => entries,
        }
    }

    /// Entries of one indirect table. A chain must not be longer than the queue, wherever it is written down (`RING-D-08`).
    #[inline(always)]
    const fn table_entries(&self) -> u16 {
        let (entries, size) = (self.indirect_entries, self.size.get());
        match self.chains {
            Chains::Direct => 0,
            Chains::Indirect | Chains::PerRequest if entries < size => entries,
            Chains::Indirect | Chains::PerRequest => size,
        }
    }
}

/// Whether the device has to be notified of the chains just published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a device that is not notified does not look at the queue"]
pub enum Notification {
    /// Notify it now.
    Needed {
        /// The available index, for notifications that carry it.
        next_available: u16,
    },
    /// It asked not to be notified, or there was nothing to publish.
    NotNeeded,
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

/// A chain that the device says it is done with, before it is [taken back](VirtQueue::take).
#[derive(Debug)]
#[must_use = "the chain stays in flight until it is taken"]
pub struct UsedChain {
    id: u32,
    len: u32,
}

impl UsedChain {
    /// The slot it occupies. Means nothing if the device has no such chain.
    #[inline]
    pub fn slot(&self) -> u16 {
        self.id as u16
    }
}

/// What a [look](VirtQueue::take_single) for a single chain has found.
#[derive(Debug)]
#[must_use = "a chain that is left stays in flight until it is taken"]
pub enum Found<S> {
    /// The device has finished none.
    Nothing,
    /// One, which was taken.
    Taken,
    /// One that is not filled or not wanted. It is to be [taken](VirtQueue::take) by itself.
    Left(UsedChain, S),
    /// Several, or a fault. Nothing has happened.
    Others,
}

/// Counts chains that are taken, and notes their number at the end, also if the caller panics on the way.
struct Taken<'q> {
    count: u64,
    returned: &'q mut u64,
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.returned = self.count;
    }
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

/// A split virtqueue with room for `N` descriptors and a token of type `T` for every chain in flight.
///
/// Everything the driver relies on is kept in private memory; of the shared memory it reads only what the device is
/// meant to write, once, and believes none of it unchecked.
///
/// The queue itself never gives the device access to anything: that happens when a transport is told where the rings
/// are ([`virtio_core::Transport::enable_queue`]), which is `unsafe` for exactly that reason. Therefore nothing here is.
#[derive(Debug)]
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
#[repr(C)]
pub struct VirtQueue<T, const N: usize, M = DmaRing> {
    event_idx: bool,
    used_len_valid: bool,
    /// Chains shown to the device since the queue was made. The low 16 bits are the available index as it sees it.
    published: u64,
    /// Chains taken back since then. The low 16 bits are the used index up to which elements were taken.
    returned: u64,
    /// Chains that the device had announced as done when its index was last read. The low 16 bits are that index.
    announced: u64,
    fault: Option<DeviceFault>,
    rings: Rings<T, N, M>,
}

impl<T, const N: usize> VirtQueue<T, N> {
    /// Makes a queue in `region`, which must have the size and alignment of [`QueueOptions::offsets`].
    ///
    /// # Errors
    ///
    /// See [`CreateError`]; the region comes back.
    pub fn new(options: QueueOptions, region: DmaRegion) -> Result<Self, (CreateError, DmaRegion)> {
        if usize::from(options.size.get()) > N {
            return Err((CreateError::OverCapacity, region));
        }
        let ring = DmaRing::new(options.offsets(), region).map_err(|region| (CreateError::BadMemory, region))?;
        Ok(Self::with_memory(options, ring))
    }

    /// What the transport has to tell the device about this queue.
    pub fn setup(&self) -> QueueSetup {
        self.rings.memory.setup()
    }

    /// Takes the queue apart after the device was reset. The token of every chain that has not come back goes to `each`.
    pub fn into_region(self, each: impl FnMut(T)) -> DmaRegion {
        self.into_memory(each).into_region()
    }
}

impl<T, const N: usize, M: RingMemory> VirtQueue<T, N, M> {
    /// Makes a queue on any memory, which must be zeroed and laid out for the same `options`: otherwise the device
    /// reads something else than what the queue has written. The size must not be above the capacity `N`; larger
    /// sizes are cut to it.
    pub fn with_memory(options: QueueOptions, memory: M) -> Self {
        let capacity = const { QueueSize::at_most(N as u32) }.unwrap_or(options.size);
        let size = options.size.min(capacity);
        let table_entries = options.table_entries();
        Self {
            rings: Rings {
                memory,
                slots: Slots::new(size.get()),
                size,
                table_entries,
                placement: Placement::new(options.chains, size.get(), table_entries),
                submitted: 0,
            },
            event_idx: options.event_idx,
            used_len_valid: options.used_len_valid,
            published: 0,
            returned: 0,
            announced: 0,
            fault: None,
        }
    }

    /// Takes the queue apart after the device has let go of it. The token of every chain that has not come back goes to `each`. Zero
    /// the memory before a queue is made in it again.
    pub fn into_memory(self, each: impl FnMut(T)) -> M {
        let Rings { memory, slots, .. } = self.rings;
        slots.into_tokens().for_each(each);
        memory
    }

    /// Number of descriptors.
    #[inline]
    pub fn size(&self) -> QueueSize {
        self.rings.size
    }

    /// The most segments a chain can have, however empty the queue is.
    #[inline]
    pub fn max_segments(&self) -> u16 {
        self.rings.max_segments()
    }

    /// Chains submitted and not yet back.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        // Not more than descriptors.
        (self.rings.submitted - self.returned) as u16
    }

    /// Chains submitted since the queue was made.
    #[inline]
    pub fn submitted(&self) -> u64 {
        self.rings.submitted
    }

    /// Chains taken back since the queue was made.
    #[inline]
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// What the device did wrong, if it did. The queue takes no chain and gives none back until the device is reset and the
    /// queue made anew.
    #[inline]
    pub fn fault(&self) -> Option<DeviceFault> {
        self.fault
    }

    /// Starts a chain of any length. Nothing happens until it is submitted; dropping it leaves the queue as it was.
    ///
    /// # Errors
    ///
    /// [`ChainError::QueueFull`] if not even one descriptor is free, [`ChainError::Broken`] after a fault.
    #[inline]
    pub fn chain(&mut self) -> Result<Chain<'_, T, N, M>, ChainError> {
        self.chain_of(u16::MAX)
    }

    /// Starts a chain that will have `segments` segments. Their number decides [where it is written](Chains).
    ///
    /// # Errors
    ///
    /// Those of [`chain`](Self::chain).
    #[inline]
    pub fn chain_of(&mut self, segments: u16) -> Result<Chain<'_, T, N, M>, ChainError> {
        let place = self.place(segments)?;
        Ok(Chain::new(&mut self.rings, place))
    }

    /// Where the next chain goes, if there is room for one.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    fn place(&mut self, segments: u16) -> Result<Place, ChainError> {
        if let Some(fault) = self.fault {
            return Err(ChainError::Broken(fault));
        }
        if self.rings.slots.is_full() {
            return Err(ChainError::QueueFull);
        }
        let (in_flight, submitted) = (self.in_flight(), self.rings.submitted);
        Ok(self.rings.placement.place(segments, in_flight, submitted))
    }

    /// The next chain with `data`, if one of shape `shape` and with one data segment has come back and is still written where
    /// the next one is to be: the quick way for chains that are sent again and again.
    ///
    /// `None` if the chain has to be [written](Self::write_framed), cannot be submitted, or `data` is more than `most`.
    #[inline]
    pub fn frame(&mut self, shape: Shape, data: Segment, most: SegmentLimit) -> Option<Frame<'_, T, N, M>> {
        Frame::new(&mut self.rings, shape, data, most)
    }

    /// [`frame`](Self::frame) for data of several segments of at most `most` bytes each: if a chain with as many of them has come back.
    ///
    /// Also `None` for data that is right, if a segment may wrap around the address space or be too long as far as the checks of
    /// all segments together can tell; [`Data::new`] looks at each.
    #[inline]
    pub fn list_frame(&mut self, shape: Shape, data: &[Segment], most: SegmentLimit) -> Option<Frame<'_, T, N, M>> {
        Frame::of_list(&mut self.rings, shape, data, most)
    }

    /// Writes a chain of a header, `data` and a status. `ends` is told the slot and answers where header and status are. The
    /// chain is a [frame](Self::frame) for a later one of the same shape with as many data segments.
    ///
    /// # Errors
    ///
    /// Those of [`chain`](Self::chain), and [`ChainError::TooManySegments`].
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn write_framed(
        &mut self,
        shape: Shape,
        data: Data<'_>,
        ends: impl FnOnce(u16) -> [Segment; 2],
    ) -> Result<Framed<'_, T, N, M>, ChainError> {
        let place = self.place(data.chain_segments())?;
        Framed::write(&mut self.rings, place, shape, data, ends)
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
        let segments = match u16::try_from(readable.len() + writable.len()) {
            Ok(segments) if segments <= self.max_segments() => segments,
            _ => return Err((ChainError::TooManySegments, token)),
        };
        let build = |queue| -> Result<Chain<'_, T, N, M>, ChainError> {
            let mut chain = Self::chain_of(queue, segments)?;
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
    pub fn publish(&mut self) -> Notification {
        let (before, now) = (self.published, self.rings.submitted);
        if before == now || self.fault.is_some() {
            return Notification::NotNeeded;
        }
        let (old, new) = (before as u16, now as u16);
        // Release: descriptors and ring slots first (`RING-D-26`).
        self.rings.memory.store_available_index(new, Ordering::Release);
        self.published = now;
        self.rings.placement.review((now - self.returned) as u16, now);
        // The device stores its flags or event and then looks at the index; the driver stores the index and then looks at
        // those. Without a full fence on both sides each could miss the other (`RING-D-27`).
        self.rings.memory.store_load_fence();
        let needed = if self.event_idx {
            crosses_event(self.rings.memory.load_avail_event(Ordering::Relaxed), new, old)
        } else {
            self.rings.memory.load_used_flags(Ordering::Relaxed) & NO_NOTIFICATION == 0
        };
        if needed {
            Notification::Needed { next_available: new }
        } else {
            Notification::NotNeeded
        }
    }

    /// Takes one chain back, if the device is done with one.
    ///
    /// # Errors
    ///
    /// A [`DeviceFault`] if the device wrote an impossible index or id, and from then on. The tokens of all chains stay
    /// with the queue until [`into_region`](Self::into_region).
    #[inline]
    pub fn pop_used(&mut self) -> Result<Option<Used<T>>, DeviceFault> {
        if !self.has_used()? {
            return Ok(None);
        }
        self.next_used().map(|chain| self.take(chain)).transpose()
    }

    /// Whether there is a [next](Self::next_used) chain that the device is done with. Looks into the used ring if all those are
    /// taken that were found the last time.
    ///
    /// # Errors
    ///
    /// Those of [`pop_used`](Self::pop_used).
    #[inline]
    pub fn has_used(&mut self) -> Result<bool, DeviceFault> {
        if self.returned == self.announced {
            self.look_for_used();
            if self.returned == self.announced {
                return self.fault.map_or(Ok(false), Err);
            }
        }
        // After a lie there is nothing that was announced and not taken.
        Ok(true)
    }

    /// The next of the chains that the device [was found](Self::has_used) to be done with. It is to be looked at and then
    /// [taken](Self::take). [`pop_used`](Self::pop_used) is all of it in one.
    #[inline]
    pub fn next_used(&mut self) -> Option<UsedChain> {
        if self.returned == self.announced {
            return None;
        }
        let UsedElement { id, len } = self.rings.memory.read_used(self.returned as u16);
        self.returned += 1;
        Some(UsedChain { id, len })
    }

    /// Whether the device says that it has written all of the writable part of `chain`, or its word on it means nothing.
    #[inline]
    pub fn is_filled(&self, chain: &UsedChain) -> bool {
        let slot = self.rings.slots.get(chain.id);
        slot.is_some_and(|slot| self.fills(slot, chain))
    }

    #[inline]
    fn fills(&self, slot: &Slot<T>, chain: &UsedChain) -> bool {
        slot.writable() == chain.len || !self.used_len_valid
    }

    /// Takes chains back that the device [was found](Self::has_used) to be done with, and hands their tokens to `each`. Stops at the
    /// first one that [is not filled](Self::is_filled) or not wanted, and returns it to be [taken](Self::take) by itself.
    ///
    /// `look` is asked once about each slot, for what the device has written beside the ring. `is_wanted` is told that and the
    /// token. A chain that the device does not have is not shown to it.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn take_while<S>(
        &mut self,
        look: impl Fn(u16) -> S,
        is_wanted: impl Fn(&S, &T) -> bool,
        mut each: impl FnMut(T),
    ) -> Option<(UsedChain, S)> {
        let Self { rings, returned, .. } = self;
        let (slots, read_used) = (&mut rings.slots, rings.memory.used_reader());
        // On their own, so that they can stay in registers, whatever is called.
        let (published, announced) = (self.published, self.announced);
        let mut taken = Taken {
            count: *returned,
            returned,
        };
        while taken.count != announced {
            let UsedElement { id, len } = read_used(taken.count as u16);
            taken.count += 1;
            let seen = look(id as u16);
            let fits = |writable| writable == len || !self.used_len_valid;
            if !slots.finish_if(id, published, fits, |token| is_wanted(&seen, token), &mut each) {
                return Some((UsedChain { id, len }, seen));
            }
        }
        None
    }

    /// [`take_while`](Self::take_while) in few instructions, if the device has finished a single chain. For a driver that waits for each
    /// request.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn take_single<S>(
        &mut self,
        look: impl Fn(u16) -> S,
        is_wanted: impl Fn(&S, &T) -> bool,
        each: impl FnOnce(T),
    ) -> Found<S> {
        let (returned, published) = (self.returned, self.published);
        if self.announced != returned || self.fault.is_some() {
            return Found::Others;
        }
        // Acquire: as in `look_at_index`, which judges any other index.
        let index = self.rings.memory.load_used_index(Ordering::Acquire);
        match index.wrapping_sub(returned as u16) {
            0 => return Found::Nothing,
            1 if published != returned => {}
            _ => return Found::Others,
        }
        let UsedElement { id, len } = self.rings.memory.read_used(returned as u16);
        self.returned = returned + 1;
        self.announced = returned + 1;
        let seen = look(id as u16);
        let fits = |writable| writable == len || !self.used_len_valid;
        if self
            .rings
            .slots
            .finish_if(id, published, fits, |token| is_wanted(&seen, token), each)
        {
            Found::Taken
        } else {
            Found::Left(UsedChain { id, len }, seen)
        }
    }

    /// Takes `chain` back.
    ///
    /// # Errors
    ///
    /// A [`DeviceFault`] if the device has no such chain.
    #[inline]
    pub fn take(&mut self, chain: UsedChain) -> Result<Used<T>, DeviceFault> {
        let UsedChain { id, len } = chain;
        let Some((token, writable)) = self.rings.slots.finish(id, self.published) else {
            return Err(self.unknown_chain(id));
        };
        Ok(Used {
            token,
            slot: id as u16,
            // A length out of range is an oddity and no fault (see `Used::written`), but no caller may get to see it.
            written: self.used_len_valid.then_some(len.min(writable)),
            clipped: self.used_len_valid && len > writable,
        })
    }

    /// Reads the used index, once everything that it has announced so far was taken. Whether `pop_used` has something to
    /// tell: a completion or a fault.
    #[inline]
    fn look_for_used(&mut self) -> bool {
        if self.fault.is_some() {
            return true;
        }
        self.look_at_index()
    }

    #[inline]
    fn look_at_index(&mut self) -> bool {
        // Acquire: what the device wrote before it moved the index (`RING-N-08`).
        let index = self.rings.memory.load_used_index(Ordering::Acquire);
        let advance = index.wrapping_sub(self.returned as u16);
        let outstanding = self.outstanding();
        // An index that runs back is far beyond the chains that the device has, too.
        if advance > outstanding {
            self.broken(DeviceFault::IndexJump { index, outstanding });
            return true;
        }
        self.announced = self.returned + u64::from(advance);
        advance != 0
    }

    /// Whether [`pop_used`](Self::pop_used) may have something to tell; `false` is certain. The used index is only compared: what is
    /// to be said of it is said there.
    #[inline]
    pub fn may_have_used(&self) -> bool {
        self.rings.memory.load_used_index(Ordering::Relaxed) != self.returned as u16
            || self.announced != self.returned
            || self.fault.is_some()
    }

    /// Asks the device not to interrupt. A hint: it may do so all the same (`RING-N-16`).
    #[inline]
    pub fn suppress_interrupts(&mut self) {
        if self.event_idx {
            // The slot just passed: the index gets there last of all.
            let passed = (self.returned as u16).wrapping_sub(1);
            self.rings.memory.store_used_event(passed, Ordering::Relaxed);
        } else {
            self.rings
                .memory
                .store_available_flags(NO_NOTIFICATION, Ordering::Relaxed);
        }
    }

    /// Asks the device to interrupt on the next completion.
    ///
    /// Returns whether [`pop_used`](Self::pop_used) has something to tell already: completions, for which no interrupt may
    /// come, or a fault. So take them now and ask again (`RING-D-31`). That ends, since each completion is a chain that was in
    /// flight.
    #[inline]
    #[must_use = "completions that are already there may never raise an interrupt"]
    pub fn arm_interrupts(&mut self) -> bool {
        let memory = &mut self.rings.memory;
        if self.event_idx {
            memory.store_used_event(self.returned as u16, Ordering::Relaxed);
        } else {
            memory.store_available_flags(0, Ordering::Relaxed);
        }
        // As in `publish`, with the roles exchanged.
        memory.store_load_fence();
        self.returned != self.announced || self.look_for_used()
    }

    /// The state of the queue, for a dump.
    pub fn state(&self) -> QueueState {
        QueueState {
            size: self.rings.size.get(),
            free: self.rings.slots.free(),
            in_flight: self.in_flight(),
            available_index: self.published as u16,
            unpublished: self.unpublished(),
            used_seen: self.returned as u16,
            used_index: self.rings.memory.load_used_index(Ordering::Relaxed),
            used_flags: self.rings.memory.load_used_flags(Ordering::Relaxed),
            avail_event: self.rings.memory.load_avail_event(Ordering::Relaxed),
            event_idx: self.event_idx,
            indirect_entries: self.rings.table_entries,
            fault: self.fault,
        }
    }

    #[inline]
    fn unpublished(&self) -> u16 {
        (self.rings.submitted - self.published) as u16
    }

    /// Chains the device has.
    #[inline]
    fn outstanding(&self) -> u16 {
        (self.published - self.returned) as u16
    }

    #[cold]
    fn unknown_chain(&mut self, id: u32) -> DeviceFault {
        // It does not count.
        self.returned -= 1;
        self.broken(if id < u32::from(self.rings.size.get()) {
            DeviceFault::NotInFlight { id }
        } else {
            DeviceFault::IdOutOfRange { id }
        })
    }

    /// Stops the queue, since there is no device any more. What the device had announced as done until now is given back by
    /// [`pop_used`](Self::pop_used), and then [`DeviceFault::Gone`] from now on.
    #[cold]
    pub fn device_gone(&mut self) {
        if self.fault.is_some() {
            return;
        }
        // A device that is gone was honest before, or is found out here.
        self.look_at_index();
        if self.fault.is_none() {
            self.fault = Some(DeviceFault::Gone);
            self.rings.placement.stop();
        }
    }

    #[cold]
    fn broken(&mut self, fault: DeviceFault) -> DeviceFault {
        error!("the device broke the rules of the ring: {}", fault);
        self.fault = Some(fault);
        // Nothing else that the device wrote is looked at.
        self.announced = self.returned;
        self.rings.placement.stop();
        fault
    }
}
