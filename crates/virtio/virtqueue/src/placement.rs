//! Where a chain is written: in the descriptor table of the ring, or in the indirect table of its slot.

/// Where chains are written, on a queue with indirect tables. Without tables every chain is direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Chains {
    /// In the descriptor table: each segment takes a descriptor, and the device finds it without a detour. No table needs
    /// memory.
    Direct,
    /// In the table of their slot: each chain takes one descriptor, so as many chains as descriptors can be in flight.
    Indirect,
    /// Decided for each: a short chain is direct while descriptors are plentiful; a long one, or any in a crowded
    /// ring, goes into its table.
    ///
    /// * *Short* are up to four segments, if their number is known beforehand
    ///   ([`VirtQueue::chain_of`](crate::VirtQueue::chain_of)).
    /// * Descriptors are *plentiful* if at least half of them are free afterwards.
    /// * The ring is *crowded* from the moment they are not until four times as many chains as it has descriptors were
    ///   submitted and never more than a sixth of that number was published and in flight. A new ring is taken for crowded.
    ///
    /// So a queue that is kept full has as many chains in flight as descriptors, batch after batch. Only where more than a
    /// sixth comes all at once after a calm time, there is room for about two thirds of them until the first direct ones are
    /// back.
    #[default]
    PerRequest,
}

/// Segments of a short chain at most.
const SHORT: u16 = 4;

/// Where the next chains go.
#[derive(Debug)]
pub(crate) struct Placement {
    size: u16,
    /// Long chains are direct too: there are no tables.
    only_direct: bool,
    /// Short chains are direct at the moment.
    direct: bool,
    /// With fewer free descriptors the next short chain has to be placed anew.
    least_free: u16,
    /// With fewer free descriptors at a publication the ring is still crowded.
    calm_free: u16,
    /// After so many chains it is not crowded any more.
    crowded_until: u64,
}

impl Placement {
    pub(crate) fn new(chains: Chains, size: u16, table_entries: u16) -> Self {
        let only_direct = table_entries == 0;
        let mut placement = Self {
            size,
            only_direct,
            direct: only_direct,
            least_free: 1,
            calm_free: 0,
            crowded_until: u64::MAX,
        };
        if chains == Chains::PerRequest && !only_direct {
            placement.enter_crowd(0);
        }
        placement
    }

    fn enter_crowd(&mut self, submitted: u64) {
        self.direct = false;
        self.least_free = 1;
        self.calm_free = self.size - self.size / 6;
        self.crowded_until = submitted + 4 * u64::from(self.size);
    }

    fn leave_crowd(&mut self) {
        self.direct = true;
        self.least_free = self.size / 2 + SHORT;
        self.calm_free = 0;
        self.crowded_until = u64::MAX;
    }

    /// Whether short chains are direct at the moment.
    #[inline]
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// With fewer free descriptors the next short chain has to be [placed](Self::place) anew. More than there are if the queue
    /// takes no chain.
    #[inline]
    pub(crate) fn least_free(&self) -> u16 {
        self.least_free
    }

    /// Whether a chain of `segments` is direct, with `free` descriptors left and `submitted` chains so far.
    #[inline]
    pub(crate) fn place(&mut self, segments: u16, free: u16, submitted: u64) -> bool {
        if self.only_direct {
            return true;
        }
        if self.direct && segments <= SHORT && free < self.least_free {
            self.enter_crowd(submitted);
        }
        self.direct && segments <= SHORT
    }

    /// Looks at a publication whether the ring is still crowded.
    #[inline]
    pub(crate) fn review(&mut self, free: u16, submitted: u64) {
        if free < self.calm_free {
            self.enter_crowd(submitted);
        } else if submitted >= self.crowded_until {
            self.leave_crowd();
        }
    }

    /// The queue takes no chain any more.
    pub(crate) fn stop(&mut self) {
        self.least_free = u16::MAX;
    }
}
