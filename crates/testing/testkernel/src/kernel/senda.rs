//! Asynchronous messages: tables in the memory of their senders.
//!
//! A table is looked through when it is handed over, and again, entry by entry, when a receiver asks. It is remembered as
//! long as something in it could not be delivered.

use board_qemu_virt::println;
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall};
use minix_abi::{Endpoint, Errno, Layout, Message, Status};
use testkernel::ipc_rules::{Entry, entry, wants_notice};
use zerocopy::{FromZeros, IntoBytes};

use super::deliver::{awaits_reply, deliver, hand_over, is_alive, may_send, notify, receives_from};
use super::ports::is_server;
use super::process::Slot;
use super::state::Kernel;

fn address(table: u64, index: usize) -> u64 {
    table.wrapping_add((index * AsyncMessage::BYTES) as u64)
}

fn read(kernel: &Kernel, sender: Slot, at: u64) -> Result<AsyncMessage, Errno> {
    let mut message = AsyncMessage::new_zeroed();
    let process = kernel.processes.get(sender).ok_or(Errno::EFAULT)?;
    process
        .space
        .read(at, message.as_mut_bytes())
        .map_err(|_| Errno::EFAULT)?;
    Ok(message)
}

/// Marks an entry as done. Whether the sender wants to be told.
fn finish(kernel: &mut Kernel, sender: Slot, at: u64, mut message: AsyncMessage, result: Result<(), Errno>) -> bool {
    message.flags |= AsyncFlags::DONE;
    message.result = Status::from(result);
    // Flags, receiver and result are in front of the message, which stays as it is. If the memory has gone, so has the
    // sender's interest.
    let front = &message.as_bytes()[..core::mem::offset_of!(AsyncMessage, message)];
    let _ = kernel.processes[sender].space.write(at, front);
    wants_notice(&message)
}

/// SENDA.
pub(super) fn call(kernel: &mut Kernel, caller: Slot, count: u64, table: u64) -> Result<(), Errno> {
    kernel.processes[caller].ipc.async_table = None;
    if count > AsyncMessage::MAX_ENTRIES as u64 {
        return Err(Errno::EDOM);
    }
    let count = count as usize;
    let endpoint = kernel.processes[caller].endpoint;
    let now = kernel.now_micros();
    let (mut is_pending, mut is_noticed) = (false, false);
    for index in 0..count {
        let at = address(table, index);
        let message = read(kernel, caller, at)?;
        match entry(message.flags) {
            Entry::Skip => continue,
            Entry::Malformed => {
                println!(
                    "kernel: SENDA: entry {index} of {} has flags {:#x}",
                    endpoint.0,
                    message.flags.bits()
                );
                continue;
            }
            Entry::Send => {}
        }
        let to = if message.destination == Endpoint::SELF {
            endpoint
        } else {
            message.destination
        };
        let result = if !is_alive(kernel, to) {
            Err(Errno::EDEADSRCDST)
        } else if to.is_kernel_task() || to != endpoint && !may_send(kernel, caller, to) {
            Err(Errno::ECALLDENIED)
        } else if to == Endpoint::VFS && !kernel.ports.vfs_is_ready(now) {
            is_pending = true;
            continue;
        } else if is_server(to) {
            hand_over(kernel, to, caller, message.message, IpcCall::SENDA);
            Ok(())
        } else if let Some(slot) = ready_receiver(kernel, to, endpoint, message.flags) {
            deliver(kernel, slot, endpoint, message.message, IpcCall::SENDA);
            Ok(())
        } else {
            is_pending = true;
            continue;
        };
        is_noticed |= finish(kernel, caller, at, message, result);
    }
    if is_pending {
        kernel.processes[caller].ipc.async_table = Some((table, count));
    }
    if is_noticed {
        notify(kernel, Endpoint::ASYNCM, caller);
    }
    Ok(())
}

/// The receiver, if it can take an entry with these flags from `sender` now.
fn ready_receiver(kernel: &Kernel, to: Endpoint, sender: Endpoint, flags: AsyncFlags) -> Option<Slot> {
    let slot = kernel.processes.find(to)?;
    let refuses = flags.contains(AsyncFlags::NOREPLY) && awaits_reply(kernel, slot);
    (receives_from(kernel, slot, sender) && !refuses).then_some(slot)
}

/// Delivers the first entry that some table holds for a process that waits.
pub(super) fn take(kernel: &mut Kernel, receiver: Slot) -> bool {
    let to = kernel.processes[receiver].endpoint;
    for sender in kernel.processes.iter() {
        let from = kernel.processes[sender].endpoint;
        if receives_from(kernel, receiver, from) && take_from(kernel, sender, to) {
            return true;
        }
    }
    false
}

fn take_from(kernel: &mut Kernel, sender: Slot, to: Endpoint) -> bool {
    let from = kernel.processes[sender].endpoint;
    let picked = pick(kernel, sender, |kernel, message| {
        let is_mine = message.destination == to || message.destination == Endpoint::SELF && from == to;
        is_mine && ready_receiver(kernel, to, from, message.flags).is_some()
    });
    let (Some((message, is_noticed)), Some(slot)) = (picked, kernel.processes.find(to)) else {
        return false;
    };
    deliver(kernel, slot, from, message, IpcCall::SENDA);
    if is_noticed {
        notify(kernel, Endpoint::ASYNCM, sender);
    }
    true
}

/// Hands the first entry that some table holds for a server to it.
pub(super) fn fetch(kernel: &mut Kernel, server: Endpoint) {
    for sender in kernel.processes.iter() {
        if let Some((message, is_noticed)) = pick(kernel, sender, |_, message| message.destination == server) {
            if is_noticed {
                notify(kernel, Endpoint::ASYNCM, sender);
            }
            hand_over(kernel, server, sender, message, IpcCall::SENDA);
            return;
        }
    }
}

/// Whether a table holds something for somebody.
pub(super) fn has_pending(kernel: &Kernel, sender: Slot, to: Endpoint) -> bool {
    let (table, count) = kernel.processes[sender].ipc.async_table.unwrap_or_default();
    let mut entries = (0..count).map_while(|index| read(kernel, sender, address(table, index)).ok());
    entries.any(|message| message.destination == to && entry(message.flags) == Entry::Send)
}

/// Marks the first acceptable entry of a table as delivered. The message, and whether its sender wants to be told.
fn pick(
    kernel: &mut Kernel,
    sender: Slot,
    accepts: impl Fn(&Kernel, &AsyncMessage) -> bool,
) -> Option<(Message, bool)> {
    let (table, count) = kernel.processes[sender].ipc.async_table?;
    let mut picked = None;
    let mut is_pending = false;
    for at in (0..count).map(|index| address(table, index)) {
        let Ok(message) = read(kernel, sender, at) else { break };
        if entry(message.flags) != Entry::Send {
            continue;
        }
        if picked.is_none() && accepts(kernel, &message) {
            let content = message.message;
            picked = Some((content, finish(kernel, sender, at, message, Ok(()))));
        } else {
            is_pending = true;
        }
    }
    if !is_pending {
        kernel.processes[sender].ipc.async_table = None;
    }
    picked
}

/// Whatever waits for a dead process will not be delivered.
pub(super) fn cancel(kernel: &mut Kernel, dead: Endpoint) {
    for sender in kernel.processes.iter() {
        let Some((table, count)) = kernel.processes[sender].ipc.async_table else {
            continue;
        };
        let (mut is_pending, mut is_noticed) = (false, false);
        for at in (0..count).map(|index| address(table, index)) {
            let Ok(message) = read(kernel, sender, at) else { break };
            if entry(message.flags) != Entry::Send {
                continue;
            }
            if message.destination == dead {
                is_noticed |= finish(kernel, sender, at, message, Err(Errno::EDEADSRCDST));
            } else {
                is_pending = true;
            }
        }
        if !is_pending {
            kernel.processes[sender].ipc.async_table = None;
        }
        if is_noticed {
            notify(kernel, Endpoint::ASYNCM, sender);
        }
    }
}
