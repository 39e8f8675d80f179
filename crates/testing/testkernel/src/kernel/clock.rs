//! Time: the counter, which is right, and the ticks, which are not.
//!
//! As on MINIX riscv64 the timer is set to one tick from now at every return to user mode. Processes that trap more often
//! than once in a tick put the next tick off for as long as they go on; the uptime stands still then, and alarms, which
//! are looked at in ticks only, do not go off.

use board_qemu_virt::counters::{self, now};
use board_qemu_virt::{Ticks, Timebase};
use minix_abi::kernel_call::DEFAULT_HZ;

#[derive(Debug)]
pub(crate) struct Clock {
    timebase: Timebase,
    /// Ticks that came through since the start.
    pub(crate) uptime: u64,
    tick_due: Ticks,
    /// When the kernel itself must be woken, with or without a tick.
    wake_at: Option<Ticks>,
    /// When the message of an interrupt comes.
    interrupt_at: Option<Ticks>,
    /// When the timer was last set to fire.
    armed_for: Ticks,
    /// When the scenario looks again although nothing has happened.
    look_at: u64,
}

impl Clock {
    pub(super) const fn new(timebase: Timebase) -> Self {
        Self {
            timebase,
            uptime: 0,
            tick_due: Ticks(0),
            wake_at: None,
            interrupt_at: None,
            armed_for: Ticks(0),
            look_at: 0,
        }
    }

    /// Ticks in a second, if all came through.
    pub(crate) const fn hz(&self) -> u32 {
        DEFAULT_HZ
    }

    /// Microseconds since the machine started, from the counter. Never less than before, even if the counter steps back.
    pub(crate) fn now_micros(&self) -> u64 {
        self.timebase.micros(now())
    }

    /// Interrupts the running process at that time at the latest. For processes it is not a tick.
    pub(crate) fn wake_at(&mut self, micros: u64) {
        self.wake_at = Some(self.timebase.ticks_from_micros(micros));
    }

    /// Interrupts the running process at that time at the latest, if there is one. For processes it is not a tick.
    pub(super) fn interrupt_at(&mut self, micros: Option<u64>) {
        self.interrupt_at = micros.map(|micros| self.timebase.ticks_from_micros(micros));
    }

    /// Something has happened that the scenario may wait for.
    pub(crate) fn look_now(&mut self) {
        self.look_at = 0;
    }

    /// Something will have happened at that time.
    pub(crate) fn look_at(&mut self, micros: u64) {
        self.look_at = self.look_at.min(micros);
    }

    /// Whether the time of a look has come. If so, the next one is not planned yet.
    pub(super) fn takes_look(&mut self, now: u64) -> bool {
        let is_due = now >= self.look_at;
        if is_due {
            (self.look_at, self.wake_at) = (u64::MAX, None);
        }
        is_due
    }

    /// Puts the next tick one tick from now, whenever it was due before.
    pub(super) fn arm(&mut self) {
        let tick = self.timebase.ticks_from_micros(1_000_000 / u64::from(self.hz()));
        self.tick_due = now().after(tick);
        let others = [self.wake_at, self.interrupt_at];
        let due = others.into_iter().flatten().fold(self.tick_due, Ticks::min);
        self.armed_for = due;
        counters::set_timer(due);
    }

    /// Whether the timer should have fired.
    pub(super) fn is_due(&self) -> bool {
        now() >= self.armed_for
    }

    /// The timer has fired. Whether that was a tick.
    pub(super) fn tick(&mut self) -> bool {
        let is_tick = now() >= self.tick_due;
        self.uptime += u64::from(is_tick);
        is_tick
    }
}
