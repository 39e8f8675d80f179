//! How a message or a notification gets to a process, and how the servers send theirs.

use minix_abi::bdev::BdevReply;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::notify::Notification;
use minix_abi::{Endpoint, Message, MessageType};
use zerocopy::IntoBytes;

use super::ports::{Posted, Work, is_server};
use super::process::{Slot, State, bit};
use super::state::Kernel;

/// Whether a process, a server or a kernel task has this endpoint.
pub(super) fn is_alive(kernel: &Kernel, endpoint: Endpoint) -> bool {
    endpoint.is_kernel_task() || is_server(endpoint) || kernel.processes.find(endpoint).is_some()
}

/// Whether a process may send to a living receiver.
pub(super) fn may_send(kernel: &Kernel, from: Slot, to: Endpoint) -> bool {
    kernel.processes[from].privileges.send_to & bit(to) != 0
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

/// Gives a message to a process that waits for one.
pub(super) fn deliver(kernel: &mut Kernel, to: Slot, from: Endpoint, mut message: Message, call: IpcCall) {
    message.source = from;
    let is_reply = awaits_reply(kernel, to);
    let (endpoint, at) = (kernel.processes[to].endpoint, kernel.processes[to].message_at);
    if call != IpcCall::NOTIFY {
        if kernel.processes[to].is_driver {
            kernel.requests.delivered(endpoint, &message);
            if message.kind == MessageType::BDEV_CLOSE {
                kernel.processes[to].closed_at = Some(kernel.clock.now_micros());
            }
        }
        watch_reply(kernel, from, endpoint, &message);
    }
    kernel
        .write_user(to, at, message.as_bytes())
        .expect("the memory of the message was there when the process began to wait");
    kernel.wake(to);
    let context = &mut kernel.processes[to].context;
    context.set_status(0);
    if !is_reply {
        context.set_result(1, IpcStatus::new(call, false).0);
    }
}

/// Counts it as a violation if a driver answers a request that is not open.
fn watch_reply(kernel: &mut Kernel, from: Endpoint, to: Endpoint, message: &Message) {
    let is_driver = (kernel.processes.find(from)).is_some_and(|slot| kernel.processes[slot].is_driver);
    if is_driver && !kernel.requests.answered(from, to, message) {
        let id = message.payload::<BdevReply>().id;
        kernel.failures.violation(format_args!(
            "{:?} with id {id} from {} to {}, which is not waiting for it",
            message.kind, from.0, to.0
        ));
    }
}

/// Leaves a notification, or delivers it.
pub(super) fn notify(kernel: &mut Kernel, from: Endpoint, to: Slot) {
    if receives_from(kernel, to, from) && !awaits_reply(kernel, to) {
        deliver_notification(kernel, to, from);
        return;
    }
    kernel.processes[to].ipc.notified_by |= bit(from);
}

pub(super) fn deliver_notification(kernel: &mut Kernel, to: Slot, from: Endpoint) {
    let timestamp = kernel.clock.uptime;
    let ipc = &mut kernel.processes[to].ipc;
    let mut body = Notification {
        timestamp,
        ..Notification::default()
    };
    match from {
        Endpoint::HARDWARE => {
            body.interrupts = core::mem::take(&mut ipc.interrupts);
            let endpoint = kernel.processes[to].endpoint;
            kernel.account.interrupted(endpoint);
        }
        Endpoint::SYSTEM => body.signals = core::mem::take(&mut ipc.signals),
        _ => {}
    }
    let message = Message::with_payload(MessageType::NOTIFY_MESSAGE, &body);
    deliver(kernel, to, from, message, IpcCall::NOTIFY);
}

/// Hands a message to a server. All but VFS only take requests whose sender waits for the answer.
pub(super) fn hand_over(kernel: &mut Kernel, server: Endpoint, from: Slot, message: Message, call: IpcCall) {
    if server == Endpoint::VFS {
        let endpoint = kernel.processes[from].endpoint;
        watch_reply(kernel, endpoint, server, &message);
        if call != IpcCall::SENDREC {
            vfs_is_busy(kernel);
        }
    } else if !matches!(call, IpcCall::SENDREC | IpcCall::NOTIFY) {
        let label = kernel.processes[from].label.clone();
        kernel.failures.violation(format_args!(
            "{label} sent {:?} to {} without waiting for the answer",
            message.kind, server.0
        ));
        return;
    }
    kernel.ports.push(server, Work::Message { from, message, call });
}

/// VFS has sent or received a message.
pub(super) fn vfs_is_busy(kernel: &mut Kernel) {
    let ready_at = kernel.ports.vfs_is_busy(kernel.clock.now_micros());
    kernel.clock.look_at(ready_at);
}

/// A server answers a process that waits for it.
pub(super) fn reply(kernel: &mut Kernel, server: Endpoint, to: Slot, message: Message) {
    let process = kernel.processes.get(to);
    if process.is_some_and(|process| process.state == State::awaits_reply(server)) {
        deliver(kernel, to, server, message, IpcCall::SENDNB);
    }
}

/// A server sends a message without waiting.
pub(super) fn post(kernel: &mut Kernel, from: Endpoint, to: Slot, message: Message, is_no_reply: bool) {
    let posted = Posted {
        from,
        to: kernel.processes[to].endpoint,
        is_no_reply,
        message,
    };
    let pushed = kernel.ports.outbox.push(posted);
    pushed.expect("processes take the messages of the servers");
    take_posted(kernel, to);
}

/// Delivers the first message that a server has for a process, if the process waits for one.
pub(super) fn take_posted(kernel: &mut Kernel, to: Slot) -> bool {
    let endpoint = kernel.processes[to].endpoint;
    let is_reply = awaits_reply(kernel, to);
    let position = kernel.ports.outbox.iter().position(|posted| {
        posted.to == endpoint && receives_from(kernel, to, posted.from) && !(posted.is_no_reply && is_reply)
    });
    let Some(position) = position else { return false };
    let posted = kernel.ports.outbox.remove(position);
    deliver(kernel, to, posted.from, posted.message, IpcCall::SENDA);
    true
}
