//! The private shadow of the descriptor table: which token belongs to which chain, and which descriptors are free.
//!
//! The device could scribble over its view of the rings; this view it never sees. A chain that comes back stays linked as it
//! was and goes on top of a stack of free chains. So the next chain of the same shape finds it ready to be sent again, and a
//! chain of another shape takes its descriptors from the chains on the stack, from the top.

/// The end of the stack of free chains. No descriptor has this number.
const END: u16 = u16::MAX;

/// What is known of a chain that was written: nothing, or which [`Shape`](crate::Shape) it has and where it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form(u8);

impl Form {
    /// The descriptors have to be written.
    pub(crate) const UNKNOWN: Self = Self(0);

    /// The form of chains of shape `number`, which is not 0.
    #[inline]
    pub(crate) const fn new(number: u8, direct: bool) -> Self {
        Self(number << 1 | direct as u8)
    }
}

/// What is remembered about one descriptor, and about the chain that starts there.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    /// The token of the chain, while it is in flight.
    token: Option<T>,
    /// Which chain of the queue it is: 0 for the first that was submitted.
    number: u64,
    /// Bytes the device may write into the chain.
    writable: u32,
    /// The descriptor after this one in its chain. Means nothing for the last one.
    next: u16,
    /// The free chain below, if the chain is free.
    below: u16,
    /// How many descriptors the chain has.
    count: u16,
    /// How the chain is written.
    form: Form,
}

impl<T> Slot<T> {
    /// The token of the chain; `None` if none is in flight from here.
    #[inline]
    pub(crate) fn token(&self) -> Option<&T> {
        self.token.as_ref()
    }

    /// Which chain of the queue it is.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes the device may write into the chain.
    #[inline]
    pub(crate) fn writable(&self) -> u32 {
        self.writable
    }
}

/// `N` slots, of which the first `size` are in use. `N` is a power of two.
#[derive(Debug)]
pub(crate) struct Slots<T, const N: usize> {
    slots: [Slot<T>; N],
    /// The first descriptor of the uppermost free chain.
    top: u16,
    free: u16,
}

/// Descriptors on the way from the stack into a chain. They stay on the stack until the chain is [taken](Slots::take).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    head: u16,
    /// The descriptor reached.
    last: u16,
    /// Descriptors on the way so far.
    count: u16,
    /// Descriptors beyond `last` in the free chain that it belongs to.
    left: u16,
    /// The free chain below that one.
    below: u16,
}

impl Walk {
    #[inline]
    pub(crate) fn head(&self) -> u16 {
        self.head
    }

    #[inline]
    pub(crate) fn last(&self) -> u16 {
        self.last
    }
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
            // One free chain of all descriptors, in order.
            slots: core::array::from_fn(|n| Slot {
                token: None,
                number: 0,
                writable: 0,
                next: n as u16 + 1,
                below: END,
                count: size,
                form: Form::UNKNOWN,
            }),
            top: 0,
            free: size,
        }
    }

    /// Masking by the capacity keeps every index inside the array without a branch that could panic.
    #[inline]
    pub(crate) fn slot(&self, index: u16) -> &Slot<T> {
        &self.slots[usize::from(index) & (N - 1)]
    }

    #[inline]
    fn slot_mut(&mut self, index: u16) -> &mut Slot<T> {
        &mut self.slots[usize::from(index) & (N - 1)]
    }

    /// How many descriptors are free.
    #[inline]
    pub(crate) fn free(&self) -> u16 {
        self.free
    }

    /// The first descriptor of the next chain, and how the chain that was there is written. Means nothing if no descriptor is
    /// free.
    #[inline]
    pub(crate) fn top(&self) -> (u16, Form) {
        (self.top, self.slot(self.top).form)
    }

    /// Starts to collect descriptors. At least one is free.
    #[inline]
    pub(crate) fn walk(&mut self) -> Walk {
        let head = self.top;
        let slot = self.slot_mut(head);
        // From here on the descriptors are written, whether the chain is submitted or not.
        slot.form = Form::UNKNOWN;
        Walk {
            head,
            last: head,
            count: 1,
            left: slot.count - 1,
            below: slot.below,
        }
    }

    /// The next descriptor. One more is free than are on the way.
    #[inline]
    pub(crate) fn step(&mut self, walk: &mut Walk) -> u16 {
        let next = if walk.left > 0 {
            walk.left -= 1;
            self.slot(walk.last).next
        } else {
            let next = walk.below;
            self.slot_mut(walk.last).next = next;
            let slot = self.slot_mut(next);
            slot.form = Form::UNKNOWN;
            (walk.left, walk.below) = (slot.count - 1, slot.below);
            next
        };
        walk.last = next;
        walk.count += 1;
        next
    }

    /// Takes the descriptors of `walk` for chain `number` of the queue.
    #[inline]
    pub(crate) fn take(&mut self, walk: Walk, token: T, number: u64, writable: u32, form: Form) {
        self.top = if walk.left > 0 {
            let rest = self.slot(walk.last).next;
            let slot = self.slot_mut(rest);
            slot.count = walk.left;
            slot.below = walk.below;
            // Once it may have been the start of a chain, which was taken to pieces since.
            slot.form = Form::UNKNOWN;
            rest
        } else {
            walk.below
        };
        self.free -= walk.count;
        let slot = self.slot_mut(walk.head);
        slot.token = Some(token);
        slot.number = number;
        slot.writable = writable;
        slot.count = walk.count;
        slot.form = form;
    }

    /// Takes the uppermost free chain, which starts at `head`, as it is. Returns its second descriptor.
    #[inline]
    pub(crate) fn take_top(&mut self, head: u16, token: T, number: u64, writable: u32) -> u16 {
        let slot = &mut self.slots[usize::from(head) & (N - 1)];
        slot.token = Some(token);
        slot.number = number;
        slot.writable = writable;
        self.free -= slot.count;
        self.top = slot.below;
        slot.next
    }

    /// Ends the chain that starts at `head` and frees its descriptors; `None` if no chain starts there.
    #[inline]
    pub(crate) fn finish(&mut self, head: u16) -> Option<T> {
        let slot = &mut self.slots[usize::from(head) & (N - 1)];
        let token = slot.token.take()?;
        slot.below = self.top;
        self.top = head;
        self.free += slot.count;
        Some(token)
    }

    /// The tokens of all chains that are out, in the order in which they were submitted.
    pub(crate) fn into_tokens(mut self) -> impl Iterator<Item = T> {
        // A sort would be 1.5 KiB of code for a few hundred chains that come back once.
        core::iter::from_fn(move || {
            let out = self.slots.iter_mut().filter(|slot| slot.token.is_some());
            out.min_by_key(|slot| slot.number)?.token.take()
        })
    }
}
