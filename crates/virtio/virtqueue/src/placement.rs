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
    /// * *Short* are up to three segments, if their number is known beforehand
    ///   ([`VirtQueue::chain_of`](crate::VirtQueue::chain_of)): a transfer in one piece.
    /// * Descriptors are *plentiful* as long as not more chains are in flight than a quarter of the number of descriptors. Short
    ///   chains then take three quarters of them, so there is room for as many in tables.
    /// * Once there are more, the ring is *crowded* until four times as many chains as it has descriptors were submitted and
    ///   there never were more. A new ring is taken for crowded.
    ///
    /// So a queue that is kept full has as many chains in flight as descriptors, batch after batch. Only where more than a
    /// quarter comes all at once after a calm time, there is room for half of them until the first direct ones are back.
    ///
    /// A table takes a device time: `qemu-storage-daemon` completes 4 to 6 in a hundred fewer requests with tables.
    #[default]
    PerRequest,
}

/// Segments of a short chain at most.
const SHORT: u16 = 3;

/// Where a chain is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Table = 0,
    Direct = 1,
    /// The queue takes no chain any more.
    Nowhere = 2,
}

/// Where the next chains go.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Where short chains go at the moment.
    place: Place,
    /// Long ones as well: there are no tables.
    only_direct: bool,
    size: u16,
    /// After so many chains the ring is not crowded any more.
    crowded_until: u64,
}

impl Placement {
    pub(crate) fn new(chains: Chains, size: u16, table_entries: u16) -> Self {
        let only_direct = table_entries == 0;
        Self {
            place: if only_direct { Place::Direct } else { Place::Table },
            only_direct,
            size,
            crowded_until: match chains {
                Chains::PerRequest if !only_direct => crowded_chains(size),
                _ => u64::MAX,
            },
        }
    }

    /// Where a short chain goes that is like one before.
    #[inline]
    pub(crate) fn now(&self) -> Place {
        self.place
    }

    /// Where a chain with so many data segments between two others goes that is like one before. Nowhere, if the queue takes no chain
    /// any more.
    #[inline]
    pub(crate) fn now_for(&self, data_segments: usize) -> Place {
        if data_segments + 2 <= usize::from(SHORT) || self.only_direct || self.place == Place::Nowhere {
            self.place
        } else {
            Place::Table
        }
    }

    /// Where a chain of `segments` goes, with so many in flight and `submitted` so far.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn place(&mut self, segments: u16, in_flight: u16, submitted: u64) -> Place {
        if self.only_direct {
            return self.place;
        }
        if self.place == Place::Direct && in_flight >= plentiful_for(self.size) {
            self.place = Place::Table;
            self.crowded_until = submitted + crowded_chains(self.size);
        }
        if segments <= SHORT { self.place } else { Place::Table }
    }

    /// Looks at a publication whether the ring is still crowded, with so many chains in flight and `submitted` so far.
    #[inline]
    pub(crate) fn review(&mut self, in_flight: u16, submitted: u64) {
        if self.crowded_until == u64::MAX {
            return;
        }
        if in_flight > plentiful_for(self.size) {
            self.crowded_until = submitted + crowded_chains(self.size);
        } else if submitted >= self.crowded_until {
            self.place = Place::Direct;
            self.crowded_until = u64::MAX;
        }
    }

    /// The queue takes no chain any more.
    pub(crate) fn stop(&mut self) {
        self.place = Place::Nowhere;
        self.crowded_until = u64::MAX;
    }
}

/// For how many chains in flight there are plenty of descriptors.
const fn plentiful_for(size: u16) -> u16 {
    // Short chains leave a descriptor of four to others.
    size / (SHORT + 1)
}

/// For how many chains a ring is taken for crowded.
fn crowded_chains(size: u16) -> u64 {
    4 * u64::from(size)
}
