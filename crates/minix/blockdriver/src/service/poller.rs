//! Whether to watch the device before waiting for its interrupt, and for how long.
//!
//! An interrupt becomes a message, and that takes longer than a fast disk takes for a request. A slow disk on the other
//! hand is never caught by a short watch, and watching costs a hart. So a watch is about as long as requests of that kind
//! and size [take](Knowledge), and what was watched in vain is counted.
//!
//! A watch that finds its completion is not counted: a client waits for it, and to be woken would cost the client
//! more. The bound of such watches is their length.

use core::time::Duration;

use minix_abi::Instant;

use super::knowledge::Knowledge;
use crate::statistics::Kind;

/// How a service watches its device before it waits for an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// A watch is no longer than that. Zero: the device is never watched.
    pub limit: Duration,
    /// Percent of a hart, counted over a second, that watches may take which find nothing. Zero: the device is never
    /// watched. A hundred: it is always watched, for as long as the limit.
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

/// Kinds of requests that are told apart, and sizes.
const KINDS: usize = 3;
const SIZES: usize = 4;

/// What the device is about to complete: the request that it was given last, if that is not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) kind: Kind,
    pub(crate) bytes: u32,
    /// When the device was given something last, or completed something.
    pub(crate) since: Instant,
}

/// The kind and size of a request, as far as they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class(usize);

impl Class {
    const fn of(kind: Kind, bytes: u32) -> Self {
        let kind = match kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::Flush | Kind::Discard | Kind::Zero | Kind::Erase => 2,
        };
        let size = match bytes {
            0..=0x1000 => 0,
            0x1001..=0x1_0000 => 1,
            0x1_0001..=0x4_0000 => 2,
            _ => 3,
        };
        Self(kind * SIZES + size)
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
    known: [Knowledge; KINDS * SIZES],
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
            known: [Knowledge::nothing(limit); KINDS * SIZES],
        }
    }

    /// Begins a watch, unless that does not pay.
    pub(super) fn begin(&mut self, now: Instant, awaited: Awaited) -> Option<Watch> {
        if self.limit == 0 || self.allowance == 0 {
            return None;
        }
        let now = now.as_micros();
        let since = awaited.since.as_micros().min(now);
        let class = Class::of(awaited.kind, awaited.bytes);
        let watch = |until| Watch {
            class,
            since,
            begun: now,
            until,
        };
        if self.allowance == SECOND {
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

    /// A watch ends, as it has found a completion.
    pub(super) fn hit(&mut self, watch: Watch, now: Instant) {
        let took = now.as_micros().saturating_sub(watch.since);
        self.known[watch.class.0].hit(took, self.limit);
    }

    /// A watch ends without a completion.
    pub(super) fn missed(&mut self, watch: Watch, now: Instant) {
        let now = now.as_micros();
        self.known[watch.class.0].missed(now, self.limit);
        let took = now.saturating_sub(watch.begun);
        self.vain = self.vain.saturating_add(took).min(self.allowance);
    }
}

#[cfg(test)]
mod tests;
