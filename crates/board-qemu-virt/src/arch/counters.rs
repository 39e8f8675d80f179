//! The counters S-mode may read: time and instructions.
//!
//! The frequency is kept here as well, for whoever needs microseconds without having the board at hand.

use core::sync::atomic::{AtomicU64, Ordering};

use riscv::register::{instret, time};

use crate::time::{Ticks, Timebase};

static TIMEBASE_HZ: AtomicU64 = AtomicU64::new(0);

/// The `time` counter now.
#[inline]
pub fn now() -> Ticks {
    Ticks(time::read64())
}

/// Instructions this hart has retired so far.
///
/// OpenSBI opens the counter to S-mode and executes instructions of its own in between; those are counted too.
#[inline]
pub fn instructions_retired() -> u64 {
    instret::read64()
}

pub(super) fn set_timebase(timebase: Timebase) {
    TIMEBASE_HZ.store(timebase.hz(), Ordering::Relaxed);
}

/// The frequency of the `time` counter; `None` before the board was taken.
pub fn timebase() -> Option<Timebase> {
    Timebase::new(TIMEBASE_HZ.load(Ordering::Relaxed))
}

/// Microseconds since the machine was switched on; zero before the board was taken.
pub fn uptime_micros() -> u64 {
    timebase().map_or(0, |timebase| timebase.micros(now()))
}
