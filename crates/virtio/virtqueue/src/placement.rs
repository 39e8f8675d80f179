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
    /// * *Plentiful* means that at least half of the descriptors are free afterwards. When they are not, the ring is
    ///   *crowded* for the next chains, four times as many as it has descriptors. So a queue that is kept full has as many
    ///   chains in flight as descriptors, and one at the limit does not go to and fro with every chain. A new ring is taken
    ///   for crowded.
    ///
    /// Direct chains that are in flight when a ring becomes crowded keep their descriptors until they come back.
    #[default]
    PerRequest,
}

/// Segments of a short chain at most.
const SHORT: u16 = 4;

/// Where the next chains go.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Short chains are direct.
    direct: bool,
    /// Long ones as well: there are no tables.
    only_direct: bool,
    /// With fewer free descriptors the next short chain cannot go where it should.
    least_free: u16,
    /// When so many chains were submitted, the ring is not taken for crowded any more.
    review_at: u64,
    size: u16,
}

impl Placement {
    pub(crate) fn new(chains: Chains, size: u16, table_entries: u16) -> Self {
        let only_direct = table_entries == 0;
        Self {
            direct: only_direct,
            only_direct,
            least_free: 1,
            review_at: if chains == Chains::PerRequest && !only_direct {
                crowded_chains(size)
            } else {
                u64::MAX
            },
            size,
        }
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
        if self.direct && free < self.least_free {
            self.direct = false;
            self.least_free = 1;
            self.review_at = submitted + crowded_chains(self.size);
        }
        self.direct && segments <= SHORT
    }

    /// Looks whether the ring is still taken for crowded.
    #[inline]
    pub(crate) fn review(&mut self, submitted: u64) {
        if submitted >= self.review_at {
            self.direct = true;
            self.least_free = self.size / 2 + SHORT;
            self.review_at = u64::MAX;
        }
    }

    /// The queue takes no chain any more.
    pub(crate) fn stop(&mut self) {
        self.least_free = u16::MAX;
    }
}

/// For how many chains a ring is taken for crowded.
fn crowded_chains(size: u16) -> u64 {
    4 * u64::from(size)
}
