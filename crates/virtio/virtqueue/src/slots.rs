//! The private shadow of the descriptor table: which token belongs to which chain, and which descriptors are free.
//!
//! The device could scribble over its view of the rings; this view it never sees. A chain that comes back stays linked as it
//! was and goes on top of a stack of free chains. So the next chain of the same shape finds it ready to be sent again, and a
//! chain of another shape takes its descriptors from the chains on the stack, from the top.

use crate::memory::DescriptorPlace;
use crate::placement::Place;

/// The end of the stack of free chains. No descriptor has this number.
const END: u16 = u16::MAX;

/// What is known of a chain that was written: nothing, or which [`Shape`](crate::Shape) it has, how many data segments, and
/// where it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form(u16);

impl Form {
    /// The descriptors have to be written.
    pub(crate) const UNKNOWN: Self = Self(0);

    /// The form of chains of shape `number`, from 1 to 63, with so many data segments, in that place. Not known if they are too
    /// many to be remembered.
    #[inline]
    pub(crate) const fn new(number: u8, data_segments: usize, place: Place) -> Self {
        if data_segments > u8::MAX as usize {
            return Self::UNKNOWN;
        }
        Self((data_segments as u16) << 8 | (number as u16) << 2 | place as u16)
    }
}

/// How a chain was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) form: Form,
    /// The first descriptor of its data. Means nothing if the form is not known.
    pub(crate) data: DescriptorPlace,
}

impl Written {
    /// The descriptors have to be written.
    pub(crate) const UNKNOWN: Self = Self {
        form: Form::UNKNOWN,
        data: DescriptorPlace::of_descriptor(0),
    };
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
    /// How the chain is written. Only the first descriptor of a chain can have a form: it loses it on the way into another chain.
    form: Form,
    /// The first descriptor of its data. Means nothing if the form is not known.
    data: DescriptorPlace,
}

impl<T> Slot<T> {
    /// Bytes the device may write into the chain.
    #[inline]
    pub(crate) fn writable(&self) -> u32 {
        self.writable
    }
}

/// `N` slots, of which the first `size` are in use. `N` is a power of two.
#[derive(Debug)]
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
#[repr(C)]
pub(crate) struct Slots<T, const N: usize> {
    /// The first descriptor of the uppermost free chain, or [`END`].
    top: u16,
    slots: [Slot<T>; N],
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
                data: DescriptorPlace::of_descriptor(0),
            }),
            top: 0,
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

    /// The slot that a device names; `None` if there is no such slot. Those of which the queue has no use are empty.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Slot<T>> {
        self.slots.get(id as usize)
    }

    /// How many descriptors are free. Counts them chain by chain.
    pub(crate) fn free(&self) -> u16 {
        let uppermost = self.get(u32::from(self.top));
        let chains = core::iter::successors(uppermost, |slot| self.get(u32::from(slot.below)));
        chains.map(|slot| slot.count).sum()
    }

    /// Whether no descriptor is free.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.top == END
    }

    /// The first descriptor of the next chain, and how the chain that was there is written; `None` if no descriptor is free.
    #[inline]
    pub(crate) fn top(&self) -> Option<(u16, Written)> {
        let slot = self.get(u32::from(self.top))?;
        let written = Written {
            form: slot.form,
            data: slot.data,
        };
        Some((self.top, written))
    }

    /// Starts to collect descriptors. At least one is free.
    #[cfg_attr(not(optimize_for_size), inline(always))]
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

    /// The next descriptor; `None` if no more is free.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn step(&mut self, walk: &mut Walk) -> Option<u16> {
        let next = if walk.left > 0 {
            walk.left -= 1;
            self.slot(walk.last).next
        } else {
            let next = walk.below;
            let slot = self.slots.get_mut(usize::from(next))?;
            slot.form = Form::UNKNOWN;
            (walk.left, walk.below) = (slot.count - 1, slot.below);
            self.slot_mut(walk.last).next = next;
            next
        };
        walk.last = next;
        walk.count += 1;
        Some(next)
    }

    /// Takes the descriptors of `walk` for chain `number` of the queue.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn take(&mut self, walk: Walk, token: T, number: u64, writable: u32, written: Written) {
        self.top = if walk.left > 0 {
            let rest = self.slot(walk.last).next;
            let slot = self.slot_mut(rest);
            slot.count = walk.left;
            slot.below = walk.below;
            rest
        } else {
            walk.below
        };
        let slot = self.slot_mut(walk.head);
        slot.token = Some(token);
        slot.number = number;
        slot.writable = writable;
        slot.count = walk.count;
        (slot.form, slot.data) = (written.form, written.data);
    }

    /// Takes the uppermost free chain, which starts at `head`, as it is.
    #[inline]
    pub(crate) fn take_top(&mut self, head: u16, token: T, number: u64, writable: u32) {
        let slot = &mut self.slots[usize::from(head) & (N - 1)];
        slot.token = Some(token);
        slot.number = number;
        slot.writable = writable;
        self.top = slot.below;
    }

    /// The descriptor after `index` in its chain. Means nothing for the last one.
    #[inline]
    pub(crate) fn next(&self, index: u16) -> u16 {
        self.slot(index).next
    }

    /// Ends the chain that starts at `head` and frees its descriptors. Returns its token, and how many bytes the device may
    /// have written. `None` if no chain starts there that was among the first `published` ones of the queue.
    #[inline]
    pub(crate) fn finish(&mut self, head: u32, published: u64) -> Option<(T, u32)> {
        let slot = self.slots.get_mut(head as usize)?;
        if slot.number >= published {
            return None;
        }
        let token = slot.token.take()?;
        slot.below = self.top;
        self.top = head as u16;
        Some((token, slot.writable))
    }

    /// Ends the chain that starts at `head` if there is one that was among the first `published` ones of the queue, the device may
    /// write a number of bytes that `fits`, and its token `is_wanted`; it goes to `then`. Returns whether that was so.
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub(crate) fn finish_if(
        &mut self,
        head: u32,
        published: u64,
        fits: impl FnOnce(u32) -> bool,
        is_wanted: impl FnOnce(&T) -> bool,
        then: impl FnOnce(T),
    ) -> bool {
        let Some(slot) = self.slots.get_mut(head as usize) else {
            return false;
        };
        // A chain that was not published yet, the device has not seen.
        if !fits(slot.writable) || slot.number >= published {
            return false;
        }
        if !slot.token.as_ref().is_some_and(is_wanted) {
            return false;
        }
        slot.below = self.top;
        self.top = head as u16;
        if let Some(token) = slot.token.take() {
            then(token);
        }
        true
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
