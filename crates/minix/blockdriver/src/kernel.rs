//! What the adapter asks of the system it runs on.

use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{GrantedRange, MapAccess, MapElement};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message};

/// The calls out of the adapter: copies, address translation, replies, memory for a trace.
///
/// A service implements it with kernel calls; a test with a script. No call waits for a client or the device.
pub trait Kernel {
    /// A range that the kernel has answered for a grant. The adapter looks at it, cuts it, and hands it to the device.
    type Range: GrantedRange;

    /// The memory of a trace.
    type Trace: AsRef<[TraceEntry]> + AsMut<[TraceEntry]>;

    /// Copies `into.len()` bytes out of a grant, from `offset` on.
    ///
    /// # Errors
    ///
    /// As `SYS_SAFECOPYFROM`: [`EINVAL`](Errno::EINVAL), [`EPERM`](Errno::EPERM), [`EDOM`](Errno::EDOM) for zero bytes,
    /// [`EFAULT`](Errno::EFAULT).
    fn copy_from(&mut self, granter: Endpoint, grant: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// Copies `from` into a grant, from `offset` on.
    ///
    /// # Errors
    ///
    /// As `SYS_SAFECOPYTO`.
    fn copy_to(&mut self, granter: Endpoint, grant: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno>;

    /// Physical ranges of the memory of `elements`, which are grants of `granter`; `offset` bytes of the first one are
    /// skipped. Returns how many ranges were put into `ranges`.
    ///
    /// At most 64 elements and 64 ranges count. When the ranges are full, mapping stops **without an error**: compare the
    /// sum of their lengths with what was asked for. No range, or none with a byte in it, ends the transfer with `EFAULT`.
    ///
    /// # Errors
    ///
    /// As `SYS_VUMAP`: [`EINVAL`](Errno::EINVAL) for an element not longer than `offset` and for a bad grant id,
    /// [`EPERM`](Errno::EPERM) for a grant that is revoked, too short or of the wrong access, [`EFAULT`](Errno::EFAULT) for
    /// memory that is to be read and was never touched.
    fn map(
        &mut self,
        granter: Endpoint,
        elements: &[MapElement],
        offset: u64,
        access: MapAccess,
        ranges: &mut [Self::Range],
    ) -> Result<usize, Errno>;

    /// Sends a reply, without waiting. `request` is how the request came, which decides how the reply has to go: SENDNB to
    /// a sender that waits in SENDREC, else SENDA with NOREPLY.
    fn reply(&mut self, to: Endpoint, request: IpcStatus, message: &Message);

    /// Memory for `entries` trace entries, zeroed.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`](Errno::ENOMEM).
    fn allocate_trace(&mut self, entries: usize) -> Result<Self::Trace, Errno>;

    /// Takes the memory of a trace back.
    fn release_trace(&mut self, trace: Self::Trace);
}
