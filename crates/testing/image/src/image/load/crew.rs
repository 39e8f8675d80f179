//! The harts at work: each has the worker of a queue, and comes to its end when all harts have done theirs.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use board_qemu_virt::{Harts, RunningHart, Ticks, Timebase, counters};
use critical_section::Mutex;

use super::signal::Signal;
use super::worker::Worker;
use crate::image::session::Failure;

/// Harts at work at a time.
pub(super) const MOST_HARTS: usize = 8;

/// How long a hart may take to come to its end once all work is done.
const END_MILLIS: u64 = 20_000;

/// The work of one hart. It has room for a thousand requests, and is not moved itself.
pub(super) struct Shift {
    pub(super) hart_id: usize,
    pub(super) worker: Worker,
    /// What the marks of the hart are made of.
    pub(super) seed: u64,
    /// What went wrong. Failures themselves stay on their hart.
    pub(super) trouble: Option<String>,
}

/// Shifts on their way to a hart and back, by the place of the hart.
static SHIFTS: [Mutex<RefCell<Option<Box<Shift>>>>; MOST_HARTS] =
    [const { Mutex::new(RefCell::new(None)) }; MOST_HARTS];

/// Harts that have not done their work yet.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

impl Shift {
    fn run(&mut self) {
        if let Err(failure) = self.worker.run(self.seed) {
            self.trouble = Some(failure.to_string());
        }
        AT_WORK.fetch_sub(1, Ordering::AcqRel);
        if let Signal::Taken(taken) = &mut self.worker.signal {
            // What others share goes on being served.
            if taken.bell.is_some() {
                let limit = counters::now().after(taken.timebase.ticks_from_millis(END_MILLIS));
                taken.serve_while(is_at_work, limit);
            }
            taken.stop();
        }
    }
}

/// Has every hart do its shift, and this hart its own and what is `besides`. Returns the shifts when all are done.
pub(super) fn work(
    harts: Harts,
    timebase: Timebase,
    shifts: Vec<Box<Shift>>,
    besides: impl FnOnce() -> Result<(), Failure>,
) -> Result<Vec<Box<Shift>>, Failure> {
    AT_WORK.store(shifts.len(), Ordering::Release);
    let (mut own, others): (Vec<_>, Vec<_>) = shifts.into_iter().partition(|shift| shift.hart_id == harts.this());
    let mut running = Vec::new();
    for (place, shift) in others.into_iter().enumerate() {
        let hart_id = shift.hart_id;
        put(place, shift);
        running.push(harts.start(hart_id, on_hart, place)?);
    }
    own.iter_mut().for_each(|shift| shift.run());
    let outcome = besides();
    let deadline = counters::now().after(timebase.ticks_from_millis(END_MILLIS));
    for (place, hart) in running.iter().enumerate() {
        own.push(ended(hart, place, deadline)?);
    }
    outcome.map(|()| own)
}

/// Whether a hart is at work still.
pub(super) fn is_at_work() -> bool {
    AT_WORK.load(Ordering::Acquire) > 0
}

/// What a hart does when it is started.
fn on_hart(place: usize) {
    if let Some(mut shift) = take(place) {
        shift.run();
        put(place, shift);
    }
}

fn ended(hart: &RunningHart, place: usize, deadline: Ticks) -> Result<Box<Shift>, Failure> {
    if !hart.wait(deadline) {
        return Err(alloc::format!("hart {} does not come to its end", hart.hart_id()).into());
    }
    take(place).ok_or_else(|| "a hart has not given its work back".into())
}

fn put(place: usize, shift: Box<Shift>) {
    critical_section::with(|section| {
        if let Some(slot) = SHIFTS.get(place) {
            slot.borrow(section).replace(Some(shift));
        }
    });
}

fn take(place: usize) -> Option<Box<Shift>> {
    critical_section::with(|section| SHIFTS.get(place)?.borrow(section).take())
}
