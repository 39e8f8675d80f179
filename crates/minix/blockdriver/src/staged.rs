//! Transfers that pass through staging memory: what the device cannot be given the addresses of.

use minix_abi::Errno;

use crate::bounds::{block_bytes, whole_blocks};
use crate::flights::Cargo;
use crate::jobs::JobId;
use crate::schedule::Step;
use crate::submit::{data_request, offer};
use crate::transfer::{Direction, pieces};
use crate::{BlockDevice, BlockDriver, Data, DiskInfo, Kernel, Micros, Refusal, STAGING_BYTES, StagingBlock};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Copies a part of a transfer to or from staging memory.
    pub(crate) fn start_staged(&mut self, kernel: &mut K, now: Micros, id: JobId, disk: &DiskInfo) -> Step {
        let Some(block) = self.staging.take() else {
            return Step::Stuck;
        };
        let step = self.stage(kernel, now, id, block, disk);
        match step {
            Ok(()) => {
                self.counters.staged += 1;
                Step::Went
            }
            Err(step) => {
                self.staging.give_back(block);
                step
            }
        }
    }

    fn stage(
        &mut self,
        kernel: &mut K,
        now: Micros,
        id: JobId,
        block: StagingBlock,
        disk: &DiskInfo,
    ) -> Result<(), Step> {
        let job = &self.jobs[id];
        let (transfer, granter) = (job.transfer, job.caller.endpoint);
        let most = whole_blocks(STAGING_BYTES as u64, block_bytes(disk));
        let bytes = transfer.rest().min(most as u32) as usize;
        let (Some(memory), 1..) = (self.device.staging(block), bytes) else {
            self.fail(kernel, now, id, Errno::EIO);
            return Err(Step::Went);
        };
        if transfer.direction == Direction::Write {
            let mut filled = 0;
            let copied = pieces(self.jobs.elements(id), transfer.given, bytes).try_for_each(|piece| {
                let part = &mut memory[filled..filled + piece.bytes];
                filled += piece.bytes;
                kernel.copy_from(granter, piece.grant, piece.offset, part)
            });
            if let Err(error) = copied {
                self.fail(kernel, now, id, error);
                return Err(Step::Went);
            }
        }
        let cargo = Cargo::Transfer {
            job: id,
            offset: transfer.given,
            bytes: bytes as u32,
            staging: Some(block),
        };
        let request = data_request(
            transfer.direction,
            transfer.first + u64::from(transfer.given),
            Data::Bounce(block, bytes),
        );
        match offer(&mut self.device, &mut self.flights, request, cargo, now) {
            Ok(()) => {
                self.jobs[id].transfer.staged = false;
                self.gave(id, bytes as u32);
                Ok(())
            }
            Err(Refusal::Unreachable) => Err(self.refused(kernel, now, id, Refusal::Invalid)),
            Err(refusal) => Err(self.refused(kernel, now, id, refusal)),
        }
    }

    /// Copies what was read into staging memory to where it belongs.
    pub(crate) fn unstage(
        &mut self,
        kernel: &mut K,
        id: JobId,
        offset: u32,
        bytes: u32,
        block: StagingBlock,
    ) -> Result<(), Errno> {
        let granter = self.jobs[id].caller.endpoint;
        let memory = self.device.staging(block).ok_or(Errno::EIO)?;
        let mut rest = memory.get(..bytes as usize).ok_or(Errno::EIO)?;
        for piece in pieces(self.jobs.elements(id), offset, bytes as usize) {
            let (part, behind) = rest.split_at(piece.bytes);
            rest = behind;
            kernel.copy_to(granter, piece.grant, piece.offset, part)?;
        }
        Ok(())
    }
}
