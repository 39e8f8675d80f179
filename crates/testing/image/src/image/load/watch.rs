//! The hart that watches the disk while others use it, until it is gone.

use alloc::format;
use core::sync::atomic::Ordering;

use bare_image::report::record;
use board_qemu_virt::{Board, Ecam, Slot, counters};
use guest_protocol::Record;
use image_blk::options::Removal;
use virtio_blk::Liveness;

use super::Control;
use super::signal::Taken;
use super::worker::{COMPLETED, GONE, SUBMITTED};
use crate::image::session::Failure;

/// Requests that complete before the disk may go.
const WARM_UP: u64 = 500;
/// How long nothing may complete before a device that looks alive counts as dead.
const SILENCE_MILLIS: u64 = 2000;
/// How long the disk may take to go.
const LIMIT_MILLIS: u64 = 30_000;

/// See the [module](self).
pub(super) struct Watch<'a> {
    pub(super) board: &'a Board,
    pub(super) kind: Removal,
    /// The slot of the disk, if it is in one.
    pub(super) slot: Option<&'a mut Slot<Ecam>>,
    /// The line of the disk, if it has one. Then the control half is there.
    pub(super) line: Option<Taken>,
    pub(super) control: Option<Control>,
}

impl Watch<'_> {
    /// Says that the disk may go, and waits until it has.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let outcome = self.until_gone();
        // The others end in any case.
        GONE.store(true, Ordering::Release);
        if let Some(line) = &mut self.line {
            line.stop();
        }
        outcome
    }

    fn until_gone(&mut self) -> Result<(), Failure> {
        let timebase = self.board.timebase;
        let (mut announced, mut completed, mut since) = (false, 0, counters::now());
        let limit = since.after(timebase.ticks_from_millis(LIMIT_MILLIS));
        while counters::now() < limit {
            self.look();
            let now = COMPLETED.load(Ordering::Relaxed);
            if now != completed {
                (completed, since) = (now, counters::now());
            }
            let in_flight = SUBMITTED.load(Ordering::Relaxed).saturating_sub(completed);
            if !announced && completed >= WARM_UP && in_flight > 0 {
                announced = true;
                record(Record::Removable { in_flight });
            }
            let is_silent = counters::now() >= since.after(timebase.ticks_from_millis(SILENCE_MILLIS));
            match (self.kind, self.liveness()) {
                (Removal::Hot | Removal::Surprise, Liveness::Gone) => return Ok(()),
                (Removal::Killed, Liveness::Live) if is_silent && announced => return Ok(()),
                (_, Liveness::Live) => {}
                (kind, other) => return Err(format!("{kind:?} removal: the device is {other:?}").into()),
            }
        }
        Err("the disk was not removed".into())
    }

    fn liveness(&self) -> Liveness {
        let of_line = self.line.as_ref().and_then(|line| line.control.as_ref());
        // Without a control half there is no device.
        of_line
            .or(self.control.as_ref())
            .map_or(Liveness::Gone, |control| control.liveness())
    }

    /// Serves the line, or lets some time pass, and answers the button of the slot.
    fn look(&mut self) {
        match &mut self.line {
            Some(line) => line.serve_once(),
            None => {
                let moment = counters::now().after(self.board.timebase.ticks_from_millis(1));
                self.board.interrupts.sleep_until(moment);
            }
        }
        if let Some(slot) = &mut self.slot
            && slot.take_events().button_pressed
        {
            // The requests in flight are lost, or QEMU completes them before.
            slot.power_off();
        }
    }
}
