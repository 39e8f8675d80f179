//! Asynchronous messages: tables in the memory of their senders.
//!
//! A table is looked through when its sender hands it over, and again when a receiver asks. The kernel remembers it as long as
//! an entry could not be delivered.

use board_qemu_virt::println;
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall};
use minix_abi::{Endpoint, Errno, Message, Status};
use testkernel::ipc_rules::{Entry, entry, wants_notification};
use zerocopy::{FromZeros, IntoBytes};

use super::deliver::{awaits_reply, deliver, hand_over, is_alive, may_send, notify, receives_from};
use super::ports::is_server;
use super::process::Slot;
use super::state::Kernel;

/// Reads an entry of the table of a process; gives its address, too.
fn read(kernel: &Kernel, sender: Slot, index: usize) -> Result<(u64, AsyncMessage), Errno> {
    let process = &kernel.processes[sender];
    let (table, _) = process.ipc.async_table.ok_or(Errno::EFAULT)?;
    let at = table.wrapping_add((index * size_of::<AsyncMessage>()) as u64);
    let mut message = AsyncMessage::new_zeroed();
    let read = process.space.read(at, message.as_mut_bytes());
    read.map(|()| (at, message)).map_err(|_| Errno::EFAULT)
}

/// Goes through the entries of a table that are to be sent. `done` may deliver an entry, and gives its result then. When no
/// entry is left the kernel forgets the table. Whether the sender wants a notification.
///
/// # Errors
///
/// `EFAULT` if the table is not in the memory of the process; the rest of it is left alone then.
fn sweep(
    kernel: &mut Kernel,
    sender: Slot,
    mut done: impl FnMut(&mut Kernel, &AsyncMessage) -> Option<Result<(), Errno>>,
) -> Result<bool, Errno> {
    let (_, count) = kernel.processes[sender].ipc.async_table.unwrap_or_default();
    let (mut is_pending, mut is_notified) = (false, false);
    for index in 0..count {
        let (at, mut message) = read(kernel, sender, index)?;
        if entry(message.flags) != Entry::Send {
            continue;
        }
        let Some(result) = done(kernel, &message) else {
            is_pending = true;
            continue;
        };
        message.flags |= AsyncFlags::DONE;
        message.result = Status::from(result);
        // Flags, receiver and result are in front of the message, which stays as it is. The memory was read just now.
        let front = &message.as_bytes()[..core::mem::offset_of!(AsyncMessage, message)];
        let _ = kernel.processes[sender].space.write(at, front);
        is_notified |= wants_notification(&message);
    }
    if !is_pending {
        kernel.processes[sender].ipc.async_table = None;
    }
    Ok(is_notified)
}

/// Notifies a sender that entries of its table are done, if it wants that.
fn notify_sender(kernel: &mut Kernel, sender: Slot, is_notified: bool) {
    if is_notified {
        notify(kernel, Endpoint::ASYNCM, sender);
    }
}

/// SENDA.
pub(super) fn call(kernel: &mut Kernel, caller: Slot, count: u64, table: u64) -> Result<(), Errno> {
    kernel.processes[caller].ipc.async_table = None;
    if count > AsyncMessage::MAX_ENTRIES as u64 {
        return Err(Errno::EDOM);
    }
    kernel.processes[caller].ipc.async_table = Some((table, count as usize));
    for index in 0..count as usize {
        let flags = read(kernel, caller, index).map_or(AsyncFlags::empty(), |(_, message)| message.flags);
        if entry(flags) == Entry::Malformed {
            let endpoint = kernel.processes[caller].endpoint.0;
            println!(
                "kernel: SENDA: entry {index} of {endpoint} has flags {:#x}",
                flags.bits()
            );
        }
    }
    let swept = sweep(kernel, caller, |kernel, message| send(kernel, caller, message));
    if swept.is_err() {
        kernel.processes[caller].ipc.async_table = None;
    }
    notify_sender(kernel, caller, swept?);
    Ok(())
}

/// Delivers an entry if its receiver takes it now.
fn send(kernel: &mut Kernel, sender: Slot, message: &AsyncMessage) -> Option<Result<(), Errno>> {
    let from = kernel.processes[sender].endpoint;
    let to = receiver_of(message, from);
    if !is_alive(kernel, to) {
        return Some(Err(Errno::EDEADSRCDST));
    }
    if to.is_kernel_task() || to != from && !may_send(kernel, sender, to) {
        return Some(Err(Errno::ECALLDENIED));
    }
    if is_server(to) {
        if to == Endpoint::VFS && !kernel.ports.vfs_is_ready(kernel.clock.now_micros()) {
            return None;
        }
        hand_over(kernel, to, sender, message.message, IpcCall::SENDA);
    } else {
        let slot = ready_receiver(kernel, to, from, message.flags)?;
        deliver(kernel, slot, from, message.message, IpcCall::SENDA);
    }
    Some(Ok(()))
}

fn receiver_of(message: &AsyncMessage, sender: Endpoint) -> Endpoint {
    if message.destination == Endpoint::SELF {
        sender
    } else {
        message.destination
    }
}

/// The receiver, if it can take an entry with these flags from `sender` now.
fn ready_receiver(kernel: &Kernel, to: Endpoint, sender: Endpoint, flags: AsyncFlags) -> Option<Slot> {
    let slot = kernel.processes.find(to)?;
    let refuses = flags.contains(AsyncFlags::NOREPLY) && awaits_reply(kernel, slot);
    (receives_from(kernel, slot, sender) && !refuses).then_some(slot)
}

/// Takes the first entry of a table that is accepted. The message, and whether its sender wants a notification.
fn take_first(
    kernel: &mut Kernel,
    sender: Slot,
    accepts: impl Fn(&Kernel, &AsyncMessage) -> bool,
) -> Option<(Message, bool)> {
    let mut taken = None;
    let swept = sweep(kernel, sender, |kernel, message| {
        let takes = taken.is_none() && accepts(kernel, message);
        takes.then(|| {
            taken = Some(message.message);
            Ok(())
        })
    });
    taken.map(|message| (message, swept.unwrap_or(false)))
}

/// Delivers the first entry that some table holds for a process that waits.
pub(super) fn take(kernel: &mut Kernel, receiver: Slot) -> bool {
    let to = kernel.processes[receiver].endpoint;
    for sender in kernel.processes.iter() {
        let from = kernel.processes[sender].endpoint;
        if !receives_from(kernel, receiver, from) {
            continue;
        }
        let taken = take_first(kernel, sender, |kernel, message| {
            receiver_of(message, from) == to && ready_receiver(kernel, to, from, message.flags).is_some()
        });
        if let Some((message, is_notified)) = taken {
            deliver(kernel, receiver, from, message, IpcCall::SENDA);
            notify_sender(kernel, sender, is_notified);
            return true;
        }
    }
    false
}

/// Hands the first entry that some table holds for a server to it.
pub(super) fn fetch(kernel: &mut Kernel, server: Endpoint) {
    for sender in kernel.processes.iter() {
        let taken = take_first(kernel, sender, |_, message| message.destination == server);
        if let Some((message, is_notified)) = taken {
            notify_sender(kernel, sender, is_notified);
            hand_over(kernel, server, sender, message, IpcCall::SENDA);
            return;
        }
    }
}

/// Whether a table holds a message for this receiver.
pub(super) fn has_pending(kernel: &Kernel, sender: Slot, to: Endpoint) -> bool {
    let (_, count) = kernel.processes[sender].ipc.async_table.unwrap_or_default();
    let mut entries = (0..count).map_while(|index| read(kernel, sender, index).ok());
    entries.any(|(_, message)| message.destination == to && entry(message.flags) == Entry::Send)
}

/// Ends all entries for a dead process.
pub(super) fn cancel(kernel: &mut Kernel, dead: Endpoint) {
    for sender in kernel.processes.iter() {
        let swept = sweep(kernel, sender, |_, message| {
            (message.destination == dead).then_some(Err(Errno::EDEADSRCDST))
        });
        notify_sender(kernel, sender, swept.unwrap_or(false));
    }
}
