//! How a worker learns of completions: it polls, or a vector or a line interrupts its hart, or the hart that is interrupted by what
//! queues share tells it.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

use bare_image::disks::Transport;
use board_qemu_virt::{Interrupts, Source, Ticks, Timebase, counters};
use virtio_blk::{DeviceControl, DeviceFault};
use virtio_core::InterruptSource;

use super::worker::Queue;
use crate::image::session::{Completion, Failure};

/// How often a hart looks whether another one was interrupted for it.
const LOOK_MICROS: u64 = 50;

/// Counts the interrupts that one hart takes for several.
pub(super) type Bell = AtomicU32;

/// See the [module](self).
pub(super) enum Signal {
    Polled,
    /// An interrupt comes to the hart of the worker.
    Taken(Taken),
    /// An interrupt comes to another hart, which rings.
    Told(Told),
}

/// An interrupt of this hart.
pub(super) struct Taken {
    pub(super) interrupts: Interrupts,
    pub(super) source: Source,
    pub(super) timebase: Timebase,
    /// How often it came.
    pub(super) count: u64,
    /// Rung for those who share it.
    pub(super) bell: Option<&'static Bell>,
    /// The control half, which reads the causes of a line. A vector of a queue has one cause and needs none.
    pub(super) control: Option<Box<DeviceControl<Transport>>>,
}

/// An interrupt of another hart.
pub(super) struct Told {
    pub(super) interrupts: Interrupts,
    pub(super) timebase: Timebase,
    pub(super) bell: &'static Bell,
    pub(super) heard: u32,
    /// How often it rang.
    pub(super) count: u64,
}

impl Signal {
    /// Begins: from now on the first completion interrupts.
    pub(super) fn start(&mut self, queue: &mut Queue) -> Result<(), Failure> {
        match self {
            Self::Polled => return Ok(()),
            Self::Taken(taken) => {
                if !taken.interrupts.enable(taken.source) {
                    return Err("the interrupt controller has no such source".into());
                }
            }
            Self::Told(told) => told.heard = told.bell.load(Ordering::Acquire),
        }
        queue.drain(|_| ())?;
        Ok(())
    }

    /// Looks for completions once, where polling; otherwise after an interrupt, or at the deadline.
    pub(super) fn wait(
        &mut self,
        queue: &mut Queue,
        deadline: Ticks,
        each: impl FnMut(Completion),
    ) -> Result<(), DeviceFault> {
        match self {
            Self::Polled => queue.poll(each)?,
            Self::Taken(taken) => taken.wait(queue, deadline, each)?,
            Self::Told(told) => {
                told.wait(deadline);
                queue.drain(each)?
            }
        };
        Ok(())
    }

    /// How many interrupts there were.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Polled => 0,
            Self::Taken(taken) => taken.count,
            Self::Told(told) => told.count,
        }
    }
}

impl Taken {
    /// Waits for the interrupt until the deadline, and looks at the queue if it came. Returns how many completions there were.
    fn wait(
        &mut self,
        queue: &mut Queue,
        deadline: Ticks,
        mut each: impl FnMut(Completion),
    ) -> Result<u32, DeviceFault> {
        if !self.interrupts.wait(self.source, deadline) {
            return Ok(0);
        }
        let mut drained = Ok(0);
        if self.control.is_some() {
            self.follow_up(|| drained = queue.drain(&mut each));
        } else {
            self.follow_up(|| ());
            drained = queue.on_interrupt(each);
        }
        self.interrupts.unmask(self.source);
        drained
    }

    /// Serves the interrupt for the others that share it, as long as something is so, until the deadline.
    pub(super) fn serve_while(&mut self, is_so: impl Fn() -> bool, deadline: Ticks) {
        while is_so() && counters::now() < deadline {
            self.serve_once();
        }
    }

    /// Waits for the interrupt for a moment, and serves it for the others.
    pub(super) fn serve_once(&mut self) {
        let look = counters::now().after(self.timebase.ticks_from_micros(20 * LOOK_MICROS));
        if self.interrupts.wait(self.source, look) {
            self.follow_up(|| ());
            self.interrupts.unmask(self.source);
        }
    }

    /// Counts an interrupt that came, and tells the others. That of a line is acknowledged; `drain` looks at the queue of this hart.
    fn follow_up(&mut self, mut drain: impl FnMut()) {
        self.count += 1;
        let bell = self.bell;
        let ring = || {
            if let Some(bell) = bell {
                bell.fetch_add(1, Ordering::Release);
            }
        };
        match &mut self.control {
            Some(control) => {
                control.on_interrupt(InterruptSource::Line, || {
                    ring();
                    drain();
                    // What the others find is not known here.
                    true
                });
            }
            None => ring(),
        }
    }

    /// Ends: what came last is counted, and nothing comes any more.
    pub(super) fn stop(&mut self) {
        self.interrupts.disable(self.source);
        self.count += u64::from(self.interrupts.take(self.source));
    }
}

impl Told {
    /// Waits until it rings, or until the deadline.
    fn wait(&mut self, deadline: Ticks) {
        loop {
            let rung = self.bell.load(Ordering::Acquire);
            if rung != self.heard {
                self.count += u64::from(rung.wrapping_sub(self.heard));
                self.heard = rung;
                return;
            }
            let now = counters::now();
            if now >= deadline {
                return;
            }
            self.interrupts
                .sleep_until(now.after(self.timebase.ticks_from_micros(LOOK_MICROS)));
        }
    }
}
