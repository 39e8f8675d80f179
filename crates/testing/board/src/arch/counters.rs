//! The counters S-mode may read: time and instructions.
//!
//! The frequency is kept here as well, for code that has no board at hand.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use critical_section::Mutex;
use riscv::register::{instret, time};

use crate::time::{SteadyClock, Ticks, Timebase};

static TIMEBASE_HZ: AtomicU64 = AtomicU64::new(0);
static CLOCK: Mutex<Cell<SteadyClock>> = Mutex::new(Cell::new(SteadyClock::new()));

/// Now. The same as the `time` counter, until that steps back; this clock does not.
#[inline]
pub fn now() -> Ticks {
    // Read inside, so that an interrupt in between cannot make an older reading look like a step back.
    critical_section::with(|section| {
        let clock = CLOCK.borrow(section);
        let mut steady = clock.get();
        let now = steady.at(time::read64());
        clock.set(steady);
        now
    })
}

/// The value of the `time` counter at a moment of [`now`], unless it steps back before.
pub(super) fn counter_at(moment: Ticks) -> u64 {
    critical_section::with(|section| CLOCK.borrow(section).get().counter_at(moment))
}

/// Has the timer fire at a moment of [`now`].
pub fn set_timer(deadline: Ticks) {
    // The firmware has this extension, or interrupts would have no deadline anywhere.
    let _ = sbi_rt::set_timer(counter_at(deadline));
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
