//! Traps into the kernel.

use core::arch::asm;
use core::time::Duration;

use minix_abi::ipc::{AsyncMessage, IpcCall, IpcStatus, TrapVector};
use minix_abi::kernel_call::DEFAULT_HZ;
use minix_abi::{Endpoint, Errno, Message, Status};

use super::clock;
use crate::ipc::names_no_memory;
use crate::{Ipc, retry};

/// The kernel of the system this runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minix(());

impl Minix {
    /// The kernel.
    pub const fn new() -> Self {
        Self(())
    }
}

/// Traps for message passing: endpoint or count, and an address. Returns the status and what `a1` holds.
///
/// # Safety
///
/// The address is good for what the call does with it.
unsafe fn pass(call: IpcCall, first: i64, address: u64) -> (Status, u64) {
    let status: i64;
    let second: u64;
    // SAFETY: all registers but these two come back as they were; memory is read and written as the caller allows.
    unsafe {
        asm!(
            "ecall",
            inlateout("a0") first => status,
            inlateout("a1") address => second,
            in("a2") call.0,
            in("a7") TrapVector::IPC.0,
            options(nostack),
        );
    }
    // The status is 32 bits wide.
    (Status(status as i32), second)
}

/// Traps for a kernel call. The outcome is in the message alone.
///
/// # Safety
///
/// Every address in the message is good for what the call does with it.
unsafe fn trap_kernel_call(message: &mut Message) {
    // SAFETY: the message is readable and writable; the caller vouches for the memory that it names.
    unsafe {
        asm!(
            "ecall",
            inlateout("a0") address(message) => _,
            lateout("a1") _,
            in("a7") TrapVector::KERNEL_CALL.0,
            options(nostack),
        );
    }
}

fn address(message: &mut Message) -> u64 {
    (&raw mut *message).expose_provenance() as u64
}

/// Passes a message in which the receiver finds no address.
fn to_endpoint(call: IpcCall, to: Endpoint, message: &mut Message) -> Result<u64, Errno> {
    if call != IpcCall::RECEIVE && !names_no_memory(to, message.kind) {
        return Err(Errno::ECALLDENIED);
    }
    // SAFETY: the receiver takes nothing in the message for an address.
    unsafe { pass_message(call, to, message) }
}

/// Passes a message.
///
/// # Safety
///
/// Every address in the message is good for what the receiver does with it.
unsafe fn pass_message(call: IpcCall, to: Endpoint, message: &mut Message) -> Result<u64, Errno> {
    // SAFETY: the message is borrowed exclusively, and it is all that the kernel touches.
    let (status, second) = unsafe { pass(call, to.0.into(), address(message)) };
    status.result().map(|_| second)
}

// SAFETY: this is the kernel, and these are the servers, that the contract describes. Of the safe methods, `notify` and
// `receive` name no memory, and the others refuse messages that do.
unsafe impl Ipc for Minix {
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        // The kernel wants memory it could write to.
        let mut message = *message;
        to_endpoint(IpcCall::SEND, to, &mut message).map(drop)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        to_endpoint(IpcCall::RECEIVE, from, message).map(IpcStatus)
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        // The second register holds nothing of use after this one.
        to_endpoint(IpcCall::SENDREC, to, message).map(drop)
    }

    unsafe fn sendrec_memory(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        // SAFETY: the caller's promise is the same.
        unsafe { pass_message(IpcCall::SENDREC, to, message) }.map(drop)
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        // SAFETY: there is no address in it.
        let (status, _) = unsafe { pass(IpcCall::NOTIFY, to.0.into(), 0) };
        status.result().map(drop)
    }

    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        let mut message = *message;
        to_endpoint(IpcCall::SENDNB, to, &mut message).map(drop)
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        let count = i64::try_from(entries).map_err(|_| Errno::EDOM)?;
        // SAFETY: the caller vouches for the table.
        let (status, _) = unsafe { pass(IpcCall::SENDA, count, table.expose_provenance() as u64) };
        status.result().map(drop)
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        retry::until_ready(
            message,
            // SAFETY: the caller vouches for the addresses in the message.
            |message| unsafe { trap_kernel_call(message) },
            // The alarm may be in use, so this watches the clock. Nothing traps meanwhile, so the kernel's ticks go on.
            |ticks| {
                let micros = u64::from(ticks) * 1_000_000 / u64::from(DEFAULT_HZ);
                clock::spin(Duration::from_micros(micros));
            },
        )
    }
}
