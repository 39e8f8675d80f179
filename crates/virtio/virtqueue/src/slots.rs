//! The private shadow of the descriptor table: which token belongs to which chain, and which descriptors are free.
//!
//! The device could scribble over its view of the rings; this view it never sees. The free list is threaded through
//! the same links that describe chains in flight, so that a whole chain returns to it in constant time.

/// What is remembered about one descriptor.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    /// The token of the chain that starts here, while it is in flight.
    token: Option<T>,
    /// Bytes the device may write into that chain.
    writable: u32,
    /// The descriptor after this one, in its chain or in the free list.
    next: u16,
    /// The last descriptor of the chain that starts here.
    tail: u16,
    /// How many descriptors it has.
    count: u16,
    /// The batch it was submitted in: as long as that is the batch being collected, the device has not seen the chain.
    batch: u32,
}

/// `N` slots, of which the first `size` are in use. `N` is a power of two.
#[derive(Debug)]
pub(crate) struct Slots<T, const N: usize> {
    slots: [Slot<T>; N],
    free_head: u16,
    free: u16,
    chains: u16,
}

impl<T, const N: usize> Slots<T, N> {
    pub(crate) fn new(size: u16) -> Self {
        const {
            assert!(
                N.is_power_of_two() && N <= 32768,
                "the capacity is a power of two up to 32768"
            );
        };
        Self {
            // All descriptors are free, in order.
            slots: core::array::from_fn(|n| Slot {
                token: None,
                writable: 0,
                next: n as u16 + 1,
                tail: 0,
                count: 0,
                batch: 0,
            }),
            free_head: 0,
            free: size,
            chains: 0,
        }
    }

    /// Masking by the capacity keeps every index inside the array without a branch that could panic.
    #[inline]
    fn slot(&self, index: u16) -> &Slot<T> {
        &self.slots[usize::from(index) & (N - 1)]
    }

    #[inline]
    fn slot_mut(&mut self, index: u16) -> &mut Slot<T> {
        &mut self.slots[usize::from(index) & (N - 1)]
    }

    /// The descriptor the next chain will start at. Meaningless if none is free.
    #[inline]
    pub(crate) fn free_head(&self) -> u16 {
        self.free_head
    }

    /// How many descriptors are free.
    #[inline]
    pub(crate) fn free(&self) -> u16 {
        self.free
    }

    /// How many chains are out.
    #[inline]
    pub(crate) fn chains(&self) -> u16 {
        self.chains
    }

    /// The descriptor linked after `index`.
    #[inline]
    pub(crate) fn next(&self, index: u16) -> u16 {
        self.slot(index).next
    }

    /// Takes the first `count` free descriptors, the last of which is `tail`, for a chain in `batch`.
    #[inline]
    pub(crate) fn take(&mut self, token: T, tail: u16, count: u16, writable: u32, batch: u32) -> u16 {
        let head = self.free_head;
        self.free_head = self.slot(tail).next;
        self.free -= count;
        self.chains += 1;
        let slot = self.slot_mut(head);
        slot.token = Some(token);
        slot.writable = writable;
        slot.tail = tail;
        slot.count = count;
        slot.batch = batch;
        head
    }

    /// How many bytes the device may write into the chain that starts at `head`; `None` if no chain starts there, or
    /// one that belongs to the batch `collecting` and was not shown to the device yet.
    #[inline]
    pub(crate) fn writable(&self, head: u16, collecting: u32) -> Option<u32> {
        let slot = self.slot(head);
        (slot.token.is_some() && slot.batch != collecting).then_some(slot.writable)
    }

    /// Ends the chain that starts at `head` and frees its descriptors; `None` if no chain starts there.
    #[inline]
    pub(crate) fn finish(&mut self, head: u16) -> Option<T> {
        let free_head = self.free_head;
        let slot = self.slot_mut(head);
        let token = slot.token.take()?;
        let (tail, count) = (slot.tail, slot.count);
        self.slot_mut(tail).next = free_head;
        self.free_head = head;
        self.free += count;
        self.chains -= 1;
        Some(token)
    }

    /// The tokens of all chains that are out.
    pub(crate) fn into_tokens(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|slot| slot.token)
    }
}
