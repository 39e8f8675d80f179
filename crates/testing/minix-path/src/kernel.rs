//! A kernel that answers at once.

use alloc::vec::Vec;

use board_qemu_virt::counters::instructions_retired;
use minix_abi::bdev::{BdevReply, VectorElement};
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{MapAccess, MapElement, PhysRange};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message};
use minix_blockdriver::Kernel;
use minix_rt::kernel::LentRange;

/// Bytes of a grant.
pub(crate) const GRANT_BYTES: u64 = 4096;

/// Every grant is for a page of `memory`, by its number. The grant of a vector is the one of its first element.
pub(crate) struct AnsweringKernel {
    /// Where the pages of all grants start.
    memory: u64,
    instructions: u64,
    pub(crate) replies: usize,
    pub(crate) errors: usize,
}

impl AnsweringKernel {
    /// # Safety
    ///
    /// A device may read and write the pages of every grant that requests name, at any time.
    pub(crate) const unsafe fn new(memory: u64) -> Self {
        Self {
            memory,
            instructions: 0,
            replies: 0,
            errors: 0,
        }
    }

    /// Instructions of all calls since this was last asked.
    pub(crate) fn take_instructions(&mut self) -> u64 {
        core::mem::take(&mut self.instructions)
    }

    #[inline(always)]
    fn call<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let start = instructions_retired();
        let result = work(self);
        self.instructions += instructions_retired() - start;
        result
    }
}

impl Kernel for AnsweringKernel {
    type Range = LentRange;
    type Trace = Vec<TraceEntry>;

    #[inline(never)]
    fn copy_from(&mut self, _: Endpoint, grant: GrantId, _: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.call(|_| {
            let places = into.chunks_exact_mut(size_of::<VectorElement>());
            for (grant, place) in (grant.0 as u64..).step_by(2).zip(places) {
                place[..8].copy_from_slice(&grant.to_le_bytes());
                place[8..].copy_from_slice(&GRANT_BYTES.to_le_bytes());
            }
            Ok(())
        })
    }

    fn copy_to(&mut self, _: Endpoint, _: GrantId, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    #[inline(never)]
    fn map(
        &mut self,
        _: Endpoint,
        elements: &[MapElement],
        offset: u64,
        _: MapAccess,
        ranges: &mut [LentRange],
    ) -> Result<usize, Errno> {
        self.call(|kernel| {
            let mut skip = offset;
            for (place, element) in ranges.iter_mut().zip(elements) {
                let range = PhysRange {
                    address: kernel.memory + element.grant().0 as u64 * GRANT_BYTES + skip,
                    bytes: element.bytes - skip,
                };
                // SAFETY: the range is a page of a grant. The caller of `new` promised that devices may use the pages of grants.
                *place = unsafe { LentRange::new(range) };
                skip = 0;
            }
            Ok(elements.len().min(ranges.len()))
        })
    }

    #[inline(never)]
    fn reply(&mut self, _: Endpoint, _: IpcStatus, message: &Message) {
        self.call(|kernel| {
            kernel.replies += 1;
            let reply: BdevReply = message.payload();
            kernel.errors += usize::from(reply.status.result().is_err());
        });
    }

    fn allocate_trace(&mut self, _: usize) -> Result<Self::Trace, Errno> {
        Err(Errno::ENOMEM)
    }

    fn release_trace(&mut self, _: Self::Trace) {}
}
