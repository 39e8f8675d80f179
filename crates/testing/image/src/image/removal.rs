//! The disk is taken away while all harts use it. Where it comes back, it holds every write that was acknowledged.

use alloc::format;

use bare_image::disks::{self, Found};
use board_qemu_virt::{Board, Ecam, Pci, Slot, counters};
use guest_protocol::pattern;
use image_blk::options::Removal;

use super::buffer::Buffer;
use super::load::{Load, Outcome};
use super::selftest::TestResult;
use super::session::{Failure, Session};

/// How long a disk may take to come back.
const LIMIT_MILLIS: u64 = 20_000;

/// A disk that is removed, and its bus.
pub(crate) struct Removed<'a> {
    pub(crate) board: &'a Board,
    pub(crate) pci: Option<&'a mut Pci>,
    pub(crate) kind: Removal,
}

/// The test of a removal, and the disk if it has come back.
pub(crate) type Result = core::result::Result<(Outcome, Option<Found>), Failure>;

impl Removed<'_> {
    /// Uses the disk until it is gone, and takes the one into use that comes back.
    pub(crate) fn run(mut self, load: Load<'_>) -> Result {
        let mut slot = match (self.kind, &self.pci) {
            (Removal::Hot, Some(pci)) => Some(pci.slots().next().ok_or("the disk is in no slot")?),
            _ => None,
        };
        if let Some(slot) = &mut slot {
            // Of the start of the machine.
            slot.take_events();
        }
        let outcome = load.run_until_gone(self.kind, slot.as_mut())?;
        let found = match slot {
            Some(slot) => Some(self.come_back(slot)?),
            None => None,
        };
        Ok((outcome, found))
    }

    /// Waits for the disk that is plugged into the slot, and gives it power and addresses.
    fn come_back(&mut self, mut slot: Slot<Ecam>) -> core::result::Result<Found, Failure> {
        let board = self.board;
        let pci = self.pci.as_mut().ok_or("there is no bus")?;
        let limit = counters::now().after(board.timebase.ticks_from_millis(LIMIT_MILLIS));
        let wait = |is_so: &mut dyn FnMut() -> bool| {
            while !is_so() {
                if counters::now() >= limit {
                    return Err(Failure::from("the disk does not come back"));
                }
                let moment = counters::now().after(board.timebase.ticks_from_millis(1));
                board.interrupts.sleep_until(moment);
            }
            Ok(())
        };
        // It goes before it comes.
        wait(&mut || !slot.is_occupied() || slot.take_events().presence_changed)?;
        wait(&mut || slot.is_occupied())?;
        slot.take_events();
        slot.power_on();
        let bus = slot.bus().ok_or("the slot has no bus")?;
        let mut found = None;
        wait(&mut || {
            // The function answers some time after it got power.
            let is_assigned = pci.assign_slot(&slot).is_some_and(|assigned| assigned.functions > 0);
            if is_assigned {
                // SAFETY: the device that was in the slot is gone, and this is the first search for the one that was plugged in since.
                found = unsafe { disks::plugged(board, pci, bus) };
            }
            found.is_some()
        })?;
        found.ok_or_else(|| "there is no disk in the slot".into())
    }
}

/// The disk holds every write that was acknowledged before.
pub(crate) fn nothing_acknowledged_is_lost(session: &mut Session, outcome: &Outcome) -> TestResult {
    let mut pieces = 0_u64;
    for marks in &outcome.marks {
        for (first, seed) in marks.known() {
            let buffer = Buffer::allocate(marks.sectors() as usize * image_blk::SECTOR_BYTES)?;
            let buffer = session.read(first, buffer)?;
            if let Err(byte) = pattern::check(seed, first, &buffer.to_vec()) {
                return Err(format!("byte {byte} after sector {first} is not as it was written").into());
            }
            pieces += 1;
        }
    }
    Ok(format!("{pieces} writes"))
}
