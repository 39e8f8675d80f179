//! Message passing. Rules and errors are those of MINIX riscv64, in its order of checks.
//!
//! The servers are parts of this kernel: what is sent to them is handled at once, and what they send lies in the outbox,
//! as if they had used an asynchronous table.

use guest_protocol::End;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::notify::Notification;
use minix_abi::{Endpoint, Errno, Layout, Message, MessageType};
use testkernel::ipc_rules::{Waits, is_deadlock, system_bit, system_endpoint};
use zerocopy::{FromZeros, IntoBytes};

use super::process::{Slot, State};
use super::{Kernel, scenario_run, senda, servers};

/// A message passing trap.
pub(super) fn trap(kernel: &mut Kernel, caller: Slot) {
    let process = &kernel.processes[caller];
    let (context, endpoint) = (&process.context, process.endpoint);
    let (a0, a1, call) = (context.argument(0), context.argument(1), IpcCall(context.argument(2)));
    let result = match call {
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
    if peer.is_kernel_task() && call != IpcCall::SENDREC && call != IpcCall::RECEIVE {
        return Err(Errno::ETRAPDENIED);
    }
    if call != IpcCall::NOTIFY {
        kernel
            .fault_in(caller, at, Message::BYTES as u64)
            .map_err(|_| Errno::EFAULT)?;
        kernel.processes[caller].message_at = at;
    }
    match call {
        IpcCall::NOTIFY => match kernel.processes.find(peer) {
            Some(to) => notify(kernel, kernel.processes[caller].endpoint, to),
            None => servers::notified(kernel, peer, caller),
        },
        IpcCall::RECEIVE => return receive(kernel, caller, peer, false),
        _ => return send(kernel, caller, peer, call),
    }
    Ok(())
}

fn send(kernel: &mut Kernel, caller: Slot, peer: Endpoint, call: IpcCall) -> Result<(), Errno> {
    let endpoint = kernel.processes[caller].endpoint;
    let and_receive = call == IpcCall::SENDREC;
    if servers::is_server(peer) {
        if call == IpcCall::SENDNB && peer == Endpoint::VFS {
            // Whoever VFS asks, it asks by asynchronous messages, and does not wait to be answered like this.
            return Err(Errno::ENOTREADY);
        }
        let message = message_of(kernel, caller).ok_or(Errno::EFAULT)?;
        if and_receive {
            kernel.block(
                caller,
                State::Receiving {
                    from: peer,
                    is_reply: true,
                },
            );
        }
        servers::sent(kernel, peer, caller, &message, call);
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
        || servers::take_posted(kernel, caller)
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

/// Whether something goes by this endpoint: a process, a server, or a kernel task.
pub(super) fn is_alive(kernel: &Kernel, endpoint: Endpoint) -> bool {
    endpoint.is_kernel_task() || servers::is_server(endpoint) || kernel.processes.find(endpoint).is_some()
}

/// Whether a process may send to somebody who is alive.
pub(super) fn may_send(kernel: &Kernel, from: Slot, to: Endpoint) -> bool {
    let privileges = &kernel.processes[from].privileges;
    match (system_bit(to), kernel.processes.find(to)) {
        (Some(bit), _) => privileges.send_to_system & bit != 0,
        (None, Some(slot)) => privileges.send_to & (1 << slot.index()) != 0,
        (None, None) => false,
    }
}

fn waits(kernel: &Kernel, who: Endpoint) -> Waits {
    match kernel.processes.find(who).map(|slot| kernel.processes[slot].state) {
        Some(State::Sending { to, .. }) => Waits::ToSend(to),
        Some(State::Receiving { from, .. }) if from != Endpoint::ANY => Waits::ToReceive(from),
        _ => Waits::No,
    }
}

/// Whether a process waits for a message that `from` could send.
pub(super) fn receives_from(kernel: &Kernel, slot: Slot, from: Endpoint) -> bool {
    matches!(kernel.processes[slot].state,
        State::Receiving { from: wanted, .. } if wanted == Endpoint::ANY || wanted == from)
}

/// Whether a process waits for the reply to a SENDREC.
pub(super) fn awaits_reply(kernel: &Kernel, slot: Slot) -> bool {
    matches!(kernel.processes[slot].state, State::Receiving { is_reply: true, .. })
}

fn message_of(kernel: &Kernel, slot: Slot) -> Option<Message> {
    let process = &kernel.processes[slot];
    let mut message = Message::new_zeroed();
    process.space.read(process.message_at, message.as_mut_bytes()).ok()?;
    Some(message)
}

/// Gives a message to a process that waits for one.
pub(super) fn deliver(kernel: &mut Kernel, to: Slot, from: Endpoint, mut message: Message, call: IpcCall) {
    message.source = from;
    let is_reply = awaits_reply(kernel, to);
    let (endpoint, at) = (kernel.processes[to].endpoint, kernel.processes[to].message_at);
    if call != IpcCall::NOTIFY {
        if servers::rs::is_driver(kernel, endpoint) {
            kernel.high.requests.delivered(endpoint, &message);
            servers::rs::delivered(kernel, endpoint, &message);
        }
        watch_reply(kernel, from, endpoint, &message);
    }
    if kernel.write_user(to, at, message.as_bytes()).is_err() {
        // It was there when the process began to wait.
        servers::rs::died(kernel, to, End::Segv);
        return;
    }
    kernel.wake(to);
    let context = &mut kernel.processes[to].context;
    context.set_status(0);
    if !is_reply {
        context.set_result(1, IpcStatus::new(call, false).0);
    }
}

/// Holds a driver to its word: one reply to each request.
pub(super) fn watch_reply(kernel: &mut Kernel, from: Endpoint, to: Endpoint, message: &Message) {
    if servers::rs::is_driver(kernel, from) && !kernel.high.requests.answered(from, to, message) {
        let id = message.payload::<minix_abi::bdev::BdevReply>().id;
        scenario_run::violation(
            kernel,
            format_args!(
                "{:?} with id {id} from {} to {}, which is not waiting for it",
                message.kind, from.0, to.0
            ),
        );
    }
}

/// Leaves a notification, or delivers it.
pub(super) fn notify(kernel: &mut Kernel, from: Endpoint, to: Slot) {
    if receives_from(kernel, to, from) && !awaits_reply(kernel, to) {
        deliver_notification(kernel, to, from);
        return;
    }
    let slot = kernel.processes.find(from);
    let ipc = &mut kernel.processes[to].ipc;
    match (system_bit(from), slot) {
        (Some(bit), _) => ipc.notified_by_system |= bit,
        (None, Some(slot)) => ipc.notified_by |= 1 << slot.index(),
        (None, None) => {}
    }
}

fn deliver_notification(kernel: &mut Kernel, to: Slot, from: Endpoint) {
    let timestamp = kernel.clock.uptime();
    let ipc = &mut kernel.processes[to].ipc;
    let mut body = Notification {
        timestamp,
        ..Notification::default()
    };
    match from {
        Endpoint::HARDWARE => body.interrupts = core::mem::take(&mut ipc.interrupts),
        Endpoint::SYSTEM => body.signals = core::mem::take(&mut ipc.signals),
        _ => {}
    }
    let message = Message::with_payload(MessageType::NOTIFY_MESSAGE, &body);
    deliver(kernel, to, from, message, IpcCall::NOTIFY);
}

/// Delivers the first notification that waits, kernel tasks first.
fn take_notification(kernel: &mut Kernel, to: Slot, from: Endpoint) -> bool {
    let wanted_slot = kernel.processes.find(from);
    let ipc = &mut kernel.processes[to].ipc;
    let any = from == Endpoint::ANY;
    let system = ipc.notified_by_system & if any { u32::MAX } else { system_bit(from).unwrap_or(0) };
    let others = ipc.notified_by
        & if any {
            u64::MAX
        } else {
            wanted_slot.map_or(0, |slot| 1 << slot.index())
        };
    let source = if let Some(source) = system_endpoint(system) {
        ipc.notified_by_system &= !(system & system.wrapping_neg());
        Some(source)
    } else if others != 0 {
        ipc.notified_by &= !(others & others.wrapping_neg());
        let index = others.trailing_zeros() as usize;
        let sender = kernel.processes.iter().find(|slot| slot.index() == index);
        sender.map(|slot| kernel.processes[slot].endpoint)
    } else {
        None
    };
    match source {
        Some(source) => deliver_notification(kernel, to, source),
        None => return false,
    }
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
        kernel.block(
            sender,
            State::Receiving {
                from: endpoint,
                is_reply: true,
            },
        );
        IpcCall::SENDREC
    } else {
        kernel.wake(sender);
        IpcCall::SEND
    };
    deliver(kernel, to, from, message, call);
    true
}

/// Everybody who waits for `endpoint`, or has left an asynchronous message for it, is told that it is dead.
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
