//! Kernel calls as functions.
//!
//! The errors they share: [`ECALLDENIED`](Errno::ECALLDENIED) if the call is not in the service's mask, and
//! [`ENOTREADY`](Errno::ENOTREADY) if the kernel was not ready for it for a long time.

use minix_abi::kernel_call::{
    DiagCtl, GetInfo, InfoRequest, MAX_DIAG_BYTES, MapAccess, MapElement, MemRange, PrivCtl, SafeCopy, SetAlarm,
    StateCtl, StateRequest, Times, TimesReply, Umap, UmapReply, Vumap, VumapReply, WhoAmI,
};
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Pad, Payload};

use crate::Ipc;

mod irq;
mod range;
pub use irq::IrqLine;
pub use range::LentRange;

/// Makes a call and returns the kernel's answer.
///
/// # Safety
///
/// Every address in `request` is good for what the call does with it.
pub(crate) unsafe fn call(ipc: &mut impl Ipc, kind: MessageType, request: &impl Payload) -> Result<Message, Errno> {
    let mut message = Message::with_payload(kind, request);
    // SAFETY: the caller's promise is the same.
    unsafe { ipc.kernel_call(&mut message) }?;
    Ok(message)
}

/// Copies `into.len()` bytes out of a grant of `granter`, from `offset` on.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for a bad granter or a negative grant, [`EPERM`](Errno::EPERM) for a grant that does not allow
/// it, [`EDOM`](Errno::EDOM) for no bytes, [`EFAULT`](Errno::EFAULT) for a page that is not there.
pub fn safecopy_from(
    ipc: &mut impl Ipc,
    granter: Endpoint,
    grant: GrantId,
    offset: u64,
    into: &mut [u8],
) -> Result<(), Errno> {
    let request = SafeCopy {
        granter,
        grant,
        offset,
        address: into.as_mut_ptr().expose_provenance() as u64,
        bytes: into.len() as u64,
    };
    // SAFETY: the kernel writes to `into`, which is borrowed for the whole call.
    unsafe { call(ipc, MessageType::SYS_SAFECOPYFROM, &request) }.map(drop)
}

/// Copies `from` into a grant of `granter`, from `offset` on.
///
/// # Errors
///
/// As [`safecopy_from`].
pub fn safecopy_to(
    ipc: &mut impl Ipc,
    granter: Endpoint,
    grant: GrantId,
    offset: u64,
    from: &[u8],
) -> Result<(), Errno> {
    let request = SafeCopy {
        granter,
        grant,
        offset,
        address: from.as_ptr().expose_provenance() as u64,
        bytes: from.len() as u64,
    };
    // SAFETY: the kernel reads `from`, which is borrowed for the whole call.
    unsafe { call(ipc, MessageType::SYS_SAFECOPYTO, &request) }.map(drop)
}

/// Finds the physical ranges of the memory of `elements`, which are grants of `granter`. `offset` bytes of the first
/// element are skipped. Returns how many ranges were put into `ranges`.
///
/// At most 64 elements and 64 ranges count. When the ranges are full, mapping stops **without an error**: the caller
/// compares the sum of their lengths with the length of its request.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for no elements, no room, or an element not longer than `offset`, and for
/// [`SELF`](Endpoint::SELF), with which the kernel would take elements for addresses of this process, granted or not; for a bad
/// grant as [`safecopy_from`]; [`EFAULT`](Errno::EFAULT) for memory that the device is to read and that was never touched.
pub fn vumap(
    ipc: &mut impl Ipc,
    granter: Endpoint,
    elements: &[MapElement],
    offset: u64,
    access: MapAccess,
    ranges: &mut [LentRange],
) -> Result<usize, Errno> {
    if granter == Endpoint::SELF {
        return Err(Errno::EINVAL);
    }
    // The kernel does not bring in the pages of this vector, so they are touched first. It spans two at most.
    for element in [elements.first(), elements.last()].into_iter().flatten() {
        // SAFETY: it is read through a reference.
        let _ = unsafe { (&raw const element.bytes).read_volatile() };
    }
    let request = Vumap {
        owner: granter,
        pad0: Pad::ZERO,
        input: elements.as_ptr().expose_provenance() as u64,
        input_count: saturated(elements.len()),
        pad1: Pad::ZERO,
        output: ranges.as_mut_ptr().expose_provenance() as u64,
        output_max: saturated(ranges.len()),
        access,
        offset,
    };
    // SAFETY: the kernel reads `elements` and writes `ranges`, both borrowed for the whole call and as long as it says. A
    // `LentRange` is a `PhysRange`, as the kernel writes it, and each range is memory that `granter` has granted.
    let reply = unsafe { call(ipc, MessageType::SYS_VUMAP, &request) }?;
    let filled = usize::try_from(reply.payload::<VumapReply>().filled).unwrap_or(0);
    Ok(filled.min(ranges.len()))
}

/// The physical address of own memory, all of which is present and contiguous.
///
/// # Errors
///
/// [`EFAULT`](Errno::EFAULT) if it is not; [`EINVAL`](Errno::EINVAL) for 2 GiB and more.
pub fn umap_own(ipc: &mut impl Ipc, address: u64, bytes: u32) -> Result<u64, Errno> {
    let bytes = i32::try_from(bytes).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel looks the address up and touches nothing there.
    let reply = unsafe { call(ipc, MessageType::SYS_UMAP, &Umap::own(address, bytes)) }?;
    Ok(reply.payload::<UmapReply>().physical)
}

/// Allows this service to map `bytes` bytes of physical memory from `base` on. There is room for twenty such ranges.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for no bytes, or beyond 64 bits; [`ENOMEM`](Errno::ENOMEM) for one range too many.
pub fn add_mem(ipc: &mut impl Ipc, base: u64, bytes: u64) -> Result<(), Errno> {
    let range = MemRange::new(base, bytes).ok_or(Errno::EINVAL)?;
    let request = PrivCtl::add_own_mem((&raw const range).expose_provenance() as u64);
    // SAFETY: the kernel reads `range`, which is valid until the end of this function.
    unsafe { call(ipc, MessageType::SYS_PRIVCTL, &request) }.map(drop)
}

/// The times of the system, in ticks. They stand still while processes trap more often than once per tick.
///
/// # Errors
///
/// None but the shared ones.
pub fn times(ipc: &mut impl Ipc) -> Result<TimesReply, Errno> {
    let request = Times {
        process: Endpoint::NONE,
    };
    // SAFETY: there is no address in it.
    let reply = unsafe { call(ipc, MessageType::SYS_TIMES, &request) }?;
    Ok(reply.payload())
}

/// Ticks per second.
///
/// # Errors
///
/// [`EDOM`](Errno::EDOM) if the kernel says zero.
pub fn hz(ipc: &mut impl Ipc) -> Result<u32, Errno> {
    // The kernel has it in four bytes. Should it be eight one day, they fit too.
    let mut answer = 0_u64;
    let request = GetInfo {
        request: InfoRequest::HZ,
        address: (&raw mut answer).expose_provenance() as u64,
        bytes: 8,
        ..GetInfo::default()
    };
    // SAFETY: the kernel writes at most eight bytes to `answer`, which is valid until the end of this function.
    unsafe { call(ipc, MessageType::SYS_GETINFO, &request) }?;
    u32::try_from(answer).ok().filter(|&hz| hz != 0).ok_or(Errno::EDOM)
}

/// Sets the alarm of this service, in place of the one before: a notification from [`CLOCK`](Endpoint::CLOCK) in `ticks`
/// ticks. Zero is taken as one.
///
/// # Errors
///
/// None but the shared ones.
pub fn set_alarm(ipc: &mut impl Ipc, ticks: u64) -> Result<(), Errno> {
    // SAFETY: there is no address in it.
    unsafe { call(ipc, MessageType::SYS_SETALARM, &SetAlarm::after(ticks)) }.map(drop)
}

/// Takes the alarm back. A notification that is under way already still comes.
///
/// # Errors
///
/// None but the shared ones.
pub fn cancel_alarm(ipc: &mut impl Ipc) -> Result<(), Errno> {
    // SAFETY: there is no address in it.
    unsafe { call(ipc, MessageType::SYS_SETALARM, &SetAlarm::cancel()) }.map(drop)
}

/// Endpoint, privileges and name of this service.
///
/// # Errors
///
/// None but the shared ones.
pub fn who_am_i(ipc: &mut impl Ipc) -> Result<WhoAmI, Errno> {
    // SAFETY: the answer comes in the message; there is no address in the request.
    let reply = unsafe { call(ipc, MessageType::SYS_GETINFO, &GetInfo::who_am_i()) }?;
    Ok(reply.payload())
}

/// Prints text on the console and into the kernel's message ring, at most [`MAX_DIAG_BYTES`] per call. What the kernel does not
/// take is lost: there is no other place for it.
pub fn diag(ipc: &mut impl Ipc, text: &[u8]) {
    for part in text.chunks(MAX_DIAG_BYTES) {
        let request = DiagCtl::print(part.as_ptr().expose_provenance() as u64, saturated(part.len()));
        // SAFETY: the kernel reads `part`, which is borrowed for the whole call.
        let _ = unsafe { call(ipc, MessageType::SYS_DIAGCTL, &request) };
    }
}

/// Everybody who waits for this service gets [`EDEADSRCDST`](Errno::EDEADSRCDST).
///
/// # Errors
///
/// None but the shared ones.
pub fn clear_ipc_refs(ipc: &mut impl Ipc) -> Result<(), Errno> {
    state(ipc, StateRequest::CLEAR_IPC_REFS)
}

/// Messages of every kind are let through from now on.
///
/// # Errors
///
/// None but the shared ones.
pub fn clear_ipc_filters(ipc: &mut impl Ipc) -> Result<(), Errno> {
    state(ipc, StateRequest::CLEAR_IPC_FILTERS)
}

fn state(ipc: &mut impl Ipc, request: StateRequest) -> Result<(), Errno> {
    // SAFETY: there is no address in it.
    unsafe { call(ipc, MessageType::SYS_STATECTL, &StateCtl::plain(request)) }.map(drop)
}

/// Ends the process.
pub fn exit(ipc: &mut impl Ipc) -> ! {
    loop {
        let mut message = Message::new(MessageType::SYS_EXIT);
        // It does not return. If it did, there would be nothing to do but to ask again.
        // SAFETY: there is no address in it.
        let _ = unsafe { ipc.kernel_call(&mut message) };
    }
}

/// A length for the kernel, which compares it with limits far below.
fn saturated(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
