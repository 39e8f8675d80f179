//! Transfers that were checked against a disk which has become smaller since.
//!
//! What lies beyond the end is the end of the device, not an error: such a transfer is cut there, as if it had come later.

use minix_abi::{Errno, Status};

use crate::bounds::{capacity, cut_elements};
use crate::jobs::JobId;
use crate::{BlockDevice, BlockDriver, Kernel, Micros};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Whether a part of a transfer has failed because the disk ends before it. If so it is [cut](Self::cut_to_disk) once the
    /// device has none of it.
    pub(crate) fn is_beyond(&mut self, id: JobId, error: Errno) -> bool {
        if self.is_broken() {
            return false;
        }
        let transfer = &mut self.jobs[id].transfer;
        let end = transfer.end();
        let beyond = error == Errno::EIO && self.device.info().is_some_and(|disk| capacity(&disk) < end);
        transfer.beyond |= beyond;
        beyond
    }

    /// Cuts a transfer where the disk ends, and starts over with what is left of it.
    pub(crate) fn cut_to_disk(&mut self, kernel: &mut K, now: Micros, id: JobId) {
        let Some(disk) = self.device.info() else {
            // It is replayed, and refused again if it is still beyond.
            self.jobs[id].transfer.rewind();
            return;
        };
        let transfer = &mut self.jobs[id].transfer;
        transfer.rewind();
        let room = capacity(&disk).saturating_sub(transfer.first);
        let bytes = room.min(transfer.bytes.into()) as u32;
        transfer.bytes = bytes;
        if bytes == 0 {
            return self.answer(kernel, now, id, Status::OK);
        }
        let count = transfer.elements.into();
        self.jobs[id].transfer.elements = cut_elements(self.jobs.elements_mut(id, count), bytes.into());
        self.busy = true;
    }
}
