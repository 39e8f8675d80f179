//! Time: the counter, which is right, and the ticks, which are not.
//!
//! As on MINIX riscv64 the timer is set to one tick from now at every return to user mode. Processes that trap more often
//! than once in a tick put the next tick off for as long as they go on; the uptime stands still then, and alarms, which
//! are looked at in ticks only, do not go off.

use board_qemu_virt::counters::{self, now};
use board_qemu_virt::{Ticks, Timebase};
use minix_abi::Endpoint;
use minix_abi::kernel_call::DEFAULT_HZ;

use super::{Kernel, hooks};

/// The clock.
#[derive(Debug)]
pub(crate) struct Clock {
    timebase: Timebase,
    uptime: u64,
    tick_due: Ticks,
    /// When the kernel itself wants to be woken, whatever the ticks do.
    wake_at: Option<Ticks>,
}

impl Clock {
    pub(super) const fn new(timebase: Timebase) -> Self {
        Self {
            timebase,
            uptime: 0,
            tick_due: Ticks(0),
            wake_at: None,
        }
    }

    /// Ticks since start, or rather: ticks that came through.
    pub(crate) const fn uptime(&self) -> u64 {
        self.uptime
    }

    /// Ticks in a second, if all came through.
    pub(crate) const fn hz(&self) -> u32 {
        DEFAULT_HZ
    }

    /// Microseconds since the machine started, from the counter. Never less than before, even if the counter steps back.
    pub(crate) fn now_micros(&self) -> u64 {
        self.timebase.micros(now())
    }

    /// Makes [`hooks::step`] come around at that time at the latest. Processes notice nothing of it: it is not a tick.
    pub(crate) fn wake_at(&mut self, micros: Option<u64>) {
        self.wake_at = micros.map(|micros| self.timebase.ticks_from_micros(micros));
    }

    /// Puts the next tick one tick from now, whenever it was due before.
    pub(super) fn arm(&mut self) {
        let tick = self.timebase.ticks_from_micros(1_000_000 / u64::from(self.hz()));
        self.tick_due = now().after(tick);
        let wake_at = self.wake_at.unwrap_or(self.tick_due);
        counters::set_timer(self.tick_due.min(wake_at));
    }
}

impl Kernel {
    /// The timer has fired. Whether that was a tick.
    pub(super) fn timer_interrupt(&mut self) -> bool {
        let is_tick = now() >= self.clock.tick_due;
        if is_tick {
            self.tick();
        }
        is_tick
    }

    /// A tick came through: the only place where alarms go off.
    fn tick(&mut self) {
        self.clock.uptime += 1;
        let now = self.clock.uptime;
        for slot in self.processes.iter() {
            let due = self
                .processes
                .get_mut(slot)
                .is_some_and(|process| process.alarm.take_if(|alarm| *alarm <= now).is_some());
            if due {
                hooks::notify(self, Endpoint::CLOCK, slot);
            }
        }
        hooks::tick(self);
    }
}
