//! The adapter's `Kernel`, by calls to the kernel of the system.

use core::mem;
use core::ptr::NonNull;
use core::slice;

use log::{debug, error};
use minix_abi::ipc::{AsyncFlags, IpcStatus};
use minix_abi::kernel_call::{MapAccess, MapElement};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message};
use minix_blockdriver::Kernel;
use minix_rt::asynsend::{self, Outbox};
use minix_rt::kernel::LentRange;
use minix_rt::{Ipc, kernel, memory};

/// Replies that can wait for their receivers at a time.
const MAIL: usize = 256;

/// Entries of a trace at most, which are 2 MiB: a client must not talk the service into taking all memory there is.
pub const MAX_TRACE_ENTRIES: usize = 1 << 16;

/// Memory for those replies.
pub type MailTable = asynsend::Table<MAIL>;

/// The system, as far as the adapter needs it.
pub struct System<I> {
    pub(crate) ipc: I,
    pub(crate) outbox: Outbox<MAIL>,
    /// It was said that some client may not be answered.
    complained: bool,
}

impl<I: Ipc> System<I> {
    /// The system behind `ipc`.
    pub fn new(ipc: I, mail: &'static mut MailTable) -> Self {
        Self {
            ipc,
            outbox: Outbox::new(mail),
            complained: false,
        }
    }

    /// A client that may call this service but not be answered by it can only come of its configuration, so somebody should
    /// hear of it. Once: such a client calls again.
    fn complain(&mut self, client: Endpoint) {
        if !mem::replace(&mut self.complained, true) {
            error!(
                "the system does not let replies through to {client}: it is missing in the ipc list of this service"
            );
        }
    }
}

impl<I: Ipc> Kernel for System<I> {
    type Range = LentRange;
    type Trace = TraceMemory;

    fn copy_from(&mut self, granter: Endpoint, grant: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        kernel::safecopy_from(&mut self.ipc, granter, grant, offset, into)
    }

    fn copy_to(&mut self, granter: Endpoint, grant: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno> {
        kernel::safecopy_to(&mut self.ipc, granter, grant, offset, from)
    }

    fn map(
        &mut self,
        granter: Endpoint,
        elements: &[MapElement],
        offset: u64,
        access: MapAccess,
        ranges: &mut [LentRange],
    ) -> Result<usize, Errno> {
        kernel::vumap(&mut self.ipc, granter, elements, offset, access, ranges)
    }

    fn reply(&mut self, to: Endpoint, request: IpcStatus, message: &Message) {
        let sent = if request.sender_waits_for_reply() {
            self.ipc.sendnb(to, message)
        } else {
            self.outbox.post(&mut self.ipc, to, message, AsyncFlags::NOREPLY)
        };
        match sent {
            Ok(()) => {}
            Err(Errno::ECALLDENIED) => self.complain(to),
            // It died, most likely. Nobody else is waiting for this.
            Err(errno) => debug!("no reply to {to}: {errno}"),
        }
        if let Some(client) = self.outbox.denied() {
            self.complain(client);
        }
    }

    fn allocate_trace(&mut self, entries: usize) -> Result<TraceMemory, Errno> {
        if entries > MAX_TRACE_ENTRIES {
            return Err(Errno::ENOMEM);
        }
        let bytes = entries * size_of::<TraceEntry>();
        let start = memory::map_anonymous(&mut self.ipc, bytes)?.cast();
        Ok(TraceMemory { start, entries })
    }

    fn release_trace(&mut self, trace: TraceMemory) {
        let bytes = mem::size_of_val(trace.as_ref());
        // SAFETY: the memory was mapped for this trace alone, which ends here. If VM keeps it, nothing is lost but memory.
        let _ = unsafe { memory::unmap(&mut self.ipc, trace.start.cast(), bytes) };
    }
}

/// Memory for a trace, mapped for it alone.
#[derive(Debug)]
pub struct TraceMemory {
    start: NonNull<TraceEntry>,
    entries: usize,
}

// SAFETY: it owns its memory, which is tied to no thread.
unsafe impl Send for TraceMemory {}

impl AsRef<[TraceEntry]> for TraceMemory {
    fn as_ref(&self) -> &[TraceEntry] {
        // SAFETY: VM mapped memory for so many entries, cleared, which makes them valid, from a page on, which aligns them, and for
        // nobody else, for which the implementer of `Ipc` answers; they are this value's.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.entries) }
    }
}

impl AsMut<[TraceEntry]> for TraceMemory {
    fn as_mut(&mut self) -> &mut [TraceEntry] {
        // SAFETY: as in `as_ref`, and the exclusive borrow makes this the only view.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.entries) }
    }
}
