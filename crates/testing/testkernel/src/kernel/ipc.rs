//! Message passing. Rules and errors are those of MINIX riscv64, in its order of checks.
//!
//! The servers are parts of this kernel: a message to them is served before any process runs again, and their own messages
//! lie in the outbox, as if they had used an asynchronous table.

use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, Errno, Message, MessageType};
use testkernel::account::call_of_trap;
use testkernel::ipc_rules::{Waits, is_deadlock};
use zerocopy::{FromZeros, IntoBytes};

use super::deliver::{
    deliver, deliver_notification, hand_over, is_alive, may_send, notify, receives_from, take_posted,
};
use super::ports::is_server;
use super::process::{Slot, State, bit};
use super::senda;
use super::state::Kernel;

/// A message passing trap.
pub(super) fn trap(kernel: &mut Kernel, caller: Slot) {
    let process = &kernel.processes[caller];
    let (context, endpoint) = (&process.context, process.endpoint);
    let (a0, a1, call) = (context.argument(0), context.argument(1), IpcCall(context.argument(2)));
    kernel.account.called(endpoint, call_of_trap(call));
    let is_user = process.is_user;
    let result = match call {
        IpcCall::SENDA if is_user => Err(Errno::EPERM),
        IpcCall::SENDA => senda::call(kernel, caller, a0, a1),
        IpcCall::SEND | IpcCall::RECEIVE | IpcCall::SENDREC | IpcCall::NOTIFY | IpcCall::SENDNB => {
            synchronous(kernel, caller, call, Endpoint(a0 as i32), a1)
        }
        // There is no page with kernel information here, so asking for it is a call that does not exist.
        _ => Err(Errno::EBADCALL),
    };
    // A caller that waits gets its status again when the message comes. One that was killed meanwhile gets nothing.
    if let Some(process) = kernel
        .processes
        .get_mut(caller)
        .filter(|process| process.endpoint == endpoint)
    {
        let status = match result {
            Ok(()) => 0,
            Err(errno) => errno.to_wire(),
        };
        process.context.set_status(status);
    }
}

fn synchronous(kernel: &mut Kernel, caller: Slot, call: IpcCall, peer: Endpoint, at: u64) -> Result<(), Errno> {
    if peer == Endpoint::ANY {
        if call != IpcCall::RECEIVE {
            return Err(Errno::EINVAL);
        }
    } else if !is_alive(kernel, peer) {
        return Err(Errno::EDEADSRCDST);
    } else if call != IpcCall::RECEIVE && !may_send(kernel, caller, peer) {
        return Err(Errno::ECALLDENIED);
    }
    let is_refused = kernel.processes[caller].is_user && call != IpcCall::SENDREC;
    if is_refused || peer.is_kernel_task() && call != IpcCall::SENDREC && call != IpcCall::RECEIVE {
        return Err(Errno::ETRAPDENIED);
    }
    if call != IpcCall::NOTIFY {
        kernel
            .fault_in(caller, at, size_of::<Message>() as u64)
            .map_err(|_| Errno::EFAULT)?;
        kernel.processes[caller].message_at = at;
    }
    match call {
        IpcCall::NOTIFY => match kernel.processes.find(peer) {
            Some(to) => notify(kernel, kernel.processes[caller].endpoint, to),
            None if peer == Endpoint::RS => {
                hand_over(kernel, peer, caller, Message::new(MessageType::NOTIFY_MESSAGE), call);
            }
            None => {}
        },
        IpcCall::RECEIVE => return receive(kernel, caller, peer, false),
        _ => return send(kernel, caller, peer, call),
    }
    Ok(())
}

fn send(kernel: &mut Kernel, caller: Slot, peer: Endpoint, call: IpcCall) -> Result<(), Errno> {
    let endpoint = kernel.processes[caller].endpoint;
    let and_receive = call == IpcCall::SENDREC;
    if is_server(peer) {
        if call == IpcCall::SENDNB && peer == Endpoint::VFS {
            // VFS asks by asynchronous messages, and does not wait for an answer like this.
            return Err(Errno::ENOTREADY);
        }
        let message = message_of(kernel, caller).ok_or(Errno::EFAULT)?;
        if and_receive {
            kernel.block(caller, State::awaits_reply(peer));
        }
        hand_over(kernel, peer, caller, message, call);
        return Ok(());
    }
    // A kernel task never takes anything.
    let target = kernel
        .processes
        .find(peer)
        .filter(|&to| receives_from(kernel, to, endpoint));
    match target {
        Some(to) => {
            let message = message_of(kernel, caller).ok_or(Errno::EFAULT)?;
            deliver(kernel, to, endpoint, message, call);
            if and_receive {
                receive(kernel, caller, peer, true)
            } else {
                Ok(())
            }
        }
        None if call == IpcCall::SENDNB => Err(Errno::ENOTREADY),
        None if is_deadlock(endpoint, Waits::ToSend(peer), |who| waits(kernel, who)) => Err(Errno::ELOCKED),
        None => {
            kernel.block(caller, State::Sending { to: peer, and_receive });
            Ok(())
        }
    }
}

fn receive(kernel: &mut Kernel, caller: Slot, from: Endpoint, is_reply: bool) -> Result<(), Errno> {
    let endpoint = kernel.processes[caller].endpoint;
    // The process waits; if something for it is there already, that ends at once.
    kernel.block(caller, State::Receiving { from, is_reply });
    let found = (!is_reply && take_notification(kernel, caller, from))
        || take_posted(kernel, caller)
        || senda::take(kernel, caller)
        || take_from_queue(kernel, caller);
    let wait = if from == Endpoint::ANY {
        Waits::No
    } else {
        Waits::ToReceive(from)
    };
    if !found && is_deadlock(endpoint, wait, |who| waits(kernel, who)) {
        kernel.wake(caller);
        return Err(Errno::ELOCKED);
    }
    Ok(())
}

fn waits(kernel: &Kernel, who: Endpoint) -> Waits {
    match kernel.processes.find(who).map(|slot| kernel.processes[slot].state) {
        Some(State::Sending { to, .. }) => Waits::ToSend(to),
        Some(State::Receiving { from, .. }) if from != Endpoint::ANY => Waits::ToReceive(from),
        _ => Waits::No,
    }
}

fn message_of(kernel: &Kernel, slot: Slot) -> Option<Message> {
    let process = &kernel.processes[slot];
    let mut message = Message::new_zeroed();
    process.space.read(process.message_at, message.as_mut_bytes()).ok()?;
    Some(message)
}

/// Delivers the first notification that waits, kernel tasks first.
fn take_notification(kernel: &mut Kernel, to: Slot, from: Endpoint) -> bool {
    let wanted = if from == Endpoint::ANY { u64::MAX } else { bit(from) };
    let Some(source) = kernel.processes.lowest(kernel.processes[to].ipc.notified_by & wanted) else {
        return false;
    };
    kernel.processes[to].ipc.notified_by &= !bit(source);
    deliver_notification(kernel, to, source);
    true
}

/// Delivers the message of the process that has waited to send for the longest time.
fn take_from_queue(kernel: &mut Kernel, to: Slot) -> bool {
    let endpoint = kernel.processes[to].endpoint;
    let sends = |slot: &Slot| {
        matches!(kernel.processes[*slot].state, State::Sending { to, .. } if to == endpoint)
            && receives_from(kernel, to, kernel.processes[*slot].endpoint)
    };
    let first = kernel
        .processes
        .iter()
        .filter(sends)
        .min_by_key(|&slot| kernel.processes[slot].ipc.waiting_since);
    let Some((sender, message)) = first.and_then(|slot| Some((slot, message_of(kernel, slot)?))) else {
        return false;
    };
    let from = kernel.processes[sender].endpoint;
    let call = if matches!(kernel.processes[sender].state, State::Sending { and_receive: true, .. }) {
        kernel.block(sender, State::awaits_reply(endpoint));
        IpcCall::SENDREC
    } else {
        kernel.wake(sender);
        IpcCall::SEND
    };
    deliver(kernel, to, from, message, call);
    true
}

/// Processes that wait for `endpoint`, or have left an asynchronous message for it, learn that it is dead.
pub(super) fn clear_references(kernel: &mut Kernel, endpoint: Endpoint) {
    for slot in kernel.processes.iter() {
        let waits_for = match kernel.processes[slot].state {
            State::Sending { to, .. } => Some(to),
            State::Receiving { from, .. } => Some(from),
            State::Held | State::Ready => None,
        };
        if waits_for == Some(endpoint) {
            kernel.wake(slot);
            kernel.processes[slot].context.set_status(Errno::EDEADSRCDST.to_wire());
        }
    }
    senda::cancel(kernel, endpoint);
}
