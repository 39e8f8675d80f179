//! Whether to watch the device before waiting for its interrupt, and for how long.
//!
//! An interrupt becomes a message, and that takes longer than a fast disk takes for a request. A slow disk on the other
//! hand is never caught by a short watch, and watching costs a hart. So a watch is about as long as requests of that kind
//! and size [take](Knowledge), and what was watched in vain is counted.
//!
//! A watch that finds its completion is not counted: a client waits for it, and to be woken would cost the client
//! more. The bound of such watches is their length.

use core::time::Duration;

use heapless::Deque;
use minix_abi::Instant;

use super::knowledge::Knowledge;
use crate::statistics::Kind;

/// How a service watches its device before it waits for an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// A watch is no longer than that; after two vain ones in a row, and where a slow device is tried again, it is up to ten times
    /// as long, but no more than 10 ms. Zero: the device is never watched.
    pub limit: Duration,
    /// Percent of a hart, counted over a second, that watches may take which find nothing. Zero: the device is never
    /// watched. A hundred: it is always watched, for as long as the limit, even if other clients are about to send requests.
    pub share: u8,
}

impl WatchOptions {
    /// The device is never watched.
    pub const NEVER: Self = Self {
        limit: Duration::ZERO,
        share: 0,
    };
}

/// Microseconds over which vain watches are counted.
const SECOND: u64 = 1_000_000;
/// Microseconds in a second for each percent.
const PERCENT: u64 = SECOND / 100;

/// Kinds of requests that are told apart, sizes, and whether clients wait for others as well.
const KINDS: usize = 3;
const SIZES: usize = 4;
const CLASSES: usize = KINDS * SIZES * 2;

/// What the device is about to complete: the request that it was given last, if that is not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) kind: Kind,
    pub(crate) bytes: u32,
    /// How many requests the device was given so far.
    pub(crate) given: u64,
    /// How many of them it does not have any more.
    pub(crate) done: u64,
    /// When the device last completed something.
    pub(crate) completed: Instant,
    /// How many requests clients wait for.
    pub(crate) asked: usize,
}

/// The kind and size of a request, as far as they are told apart, and whether it is the only one. Among others, the next
/// completion is mostly that of one which the device has had for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class(usize);

impl Class {
    const fn of(awaited: &Awaited) -> Self {
        let kind = match awaited.kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::Flush | Kind::Discard | Kind::Zero | Kind::Erase => 2,
        };
        let size = match awaited.bytes {
            0..=0x1000 => 0,
            0x1001..=0x1_0000 => 1,
            0x1_0001..=0x4_0000 => 2,
            _ => 3,
        };
        let among_others = (awaited.asked > 1) as usize;
        Self((among_others * KINDS + kind) * SIZES + size)
    }
}

/// Decides when to watch and for how long. Time comes in from outside.
#[derive(Clone, Debug)]
pub(super) struct Poller {
    /// Microseconds that a watch lasts at most.
    limit: u64,
    /// Microseconds of a second that may be watched in vain.
    allowance: u64,
    /// When the second began over which vain watches are counted.
    second: u64,
    /// Microseconds of it that were watched in vain.
    vain: u64,
    /// How many requests the device had been given by some look, and when that was, for requests that it has. The last entry
    /// stands for all that are one too many.
    given: Deque<(u64, u64), 8>,
    known: [Knowledge; CLASSES],
}

/// A watch under way. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    class: Class,
    since: u64,
    begun: u64,
    until: u64,
}

impl Watch {
    /// Whether it is over, though nothing is completed.
    pub(super) const fn is_over(&self, now: Instant) -> bool {
        now.as_micros() >= self.until
    }

    /// How long it will last at most, in microseconds.
    pub(super) const fn span(&self) -> u64 {
        self.until - self.begun
    }

    /// How long it has lasted, in microseconds.
    pub(super) const fn lasted(&self, now: Instant) -> u64 {
        now.as_micros().saturating_sub(self.begun)
    }
}

impl Poller {
    pub(super) fn new(options: WatchOptions) -> Self {
        let limit = u64::try_from(options.limit.as_micros()).unwrap_or(u64::MAX);
        let limit = limit.min(SECOND);
        Self {
            limit,
            allowance: u64::from(options.share.min(100)) * PERCENT,
            second: 0,
            vain: 0,
            given: Deque::new(),
            known: [Knowledge::nothing(limit); CLASSES],
        }
    }

    /// Whether the device is ever watched.
    pub(super) const fn watches(&self) -> bool {
        self.limit != 0 && self.allowance != 0
    }

    /// Whether watches give way to clients that are about to send a request.
    pub(super) const fn gives_way(&self) -> bool {
        self.allowance < SECOND
    }

    /// Begins a watch, unless that does not pay.
    ///
    /// A watch counts from the first look after the device was given the oldest request that it has, or from a completion. What
    /// a request has taken before the device was given it, such as looking up its memory, says nothing about the device.
    pub(super) fn begin(&mut self, now: Instant, awaited: Awaited) -> Option<Watch> {
        if !self.watches() {
            return None;
        }
        let now = now.as_micros();
        let since = self.given_at(now, &awaited).max(awaited.completed.as_micros()).min(now);
        let class = Class::of(&awaited);
        let watch = |until| Watch {
            class,
            since,
            begun: now,
            until,
        };
        if !self.gives_way() {
            return Some(watch(now.saturating_add(self.limit)));
        }
        let span = self.known[class.0].span(now, self.limit)?;
        if now.wrapping_sub(self.second) >= SECOND {
            self.second = now;
            self.vain = 0;
        }
        let until = since
            .saturating_add(span)
            .min(now.saturating_add(self.allowance - self.vain));
        (until > now).then(|| watch(until))
    }

    /// When the device was given the oldest request that it has, if it does them in turn.
    fn given_at(&mut self, now: u64, awaited: &Awaited) -> u64 {
        if self.given.back().is_none_or(|(given, _)| *given != awaited.given) {
            if self.given.is_full() {
                let _ = self.given.pop_back();
            }
            // There is room.
            let _ = self.given.push_back((awaited.given, now));
        }
        loop {
            match self.given.front() {
                Some((given, _)) if *given <= awaited.done && self.given.len() > 1 => {
                    let _ = self.given.pop_front();
                }
                Some((_, at)) => return *at,
                None => return now,
            }
        }
    }

    /// A watch ends, as it has found a completion.
    pub(super) fn hit(&mut self, watch: Watch, now: Instant) {
        let took = now.as_micros().saturating_sub(watch.since);
        self.known[watch.class.0].hit(took, self.limit);
    }

    /// A watch ends without a completion.
    pub(super) fn missed(&mut self, watch: Watch, now: Instant) {
        self.known[watch.class.0].missed(now.as_micros(), self.limit);
        self.vain = self.vain.saturating_add(watch.lasted(now)).min(self.allowance);
    }
}

#[cfg(test)]
mod tests;
