//! The servers that a block driver talks to, as parts of the kernel. They only know what drivers and their clients need.

pub(super) mod ds;
pub(super) mod instance;
pub(super) mod rs;
pub(super) mod vfs;
mod vm;

use heapless::Vec;
use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, Message};

use super::process::{Slot, State};
use super::{Kernel, ipc, scenario_run};

/// Messages of servers that can wait at a time.
const OUTBOX: usize = 64;

/// A message of a server that its receiver has not taken yet.
#[derive(Clone, Debug)]
struct Posted {
    from: Endpoint,
    to: Endpoint,
    /// It does not count as the reply that a SENDREC waits for.
    is_no_reply: bool,
    message: Message,
}

/// What the servers have sent, in order: their tables for SENDA, all in one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<Posted, OUTBOX>);

impl Outbox {
    /// Nobody will take messages to `process` any more.
    pub(super) fn forget(&mut self, process: Endpoint) {
        self.0.retain(|posted| posted.to != process);
    }
}

/// Whether the endpoint is one of the servers.
pub(super) fn is_server(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::VFS | Endpoint::RS | Endpoint::DS | Endpoint::VM)
}

/// A process has sent a message to a server. After SENDREC the process waits for the reply already.
pub(super) fn sent(kernel: &mut Kernel, server: Endpoint, caller: Slot, message: &Message, call: IpcCall) {
    match server {
        Endpoint::RS => rs::sent(kernel, caller, message, call),
        Endpoint::VFS => vfs::sent(kernel, caller, message, call),
        _ if call != IpcCall::SENDREC => scenario_run::violation(
            kernel,
            format_args!("{:?} to {} without waiting for the answer", message.kind, server.0),
        ),
        Endpoint::VM => {
            let answer = vm::serve(kernel, caller, message);
            reply(kernel, server, caller, answer);
        }
        _ => {
            let answer = ds::serve(kernel, caller, message);
            reply(kernel, server, caller, answer);
        }
    }
}

/// A process has notified a server.
pub(super) fn notified(kernel: &mut Kernel, server: Endpoint, caller: Slot) {
    if server == Endpoint::RS {
        rs::ponged(kernel, caller);
    }
}

/// A server answers a process that waits for it.
fn reply(kernel: &mut Kernel, server: Endpoint, to: Slot, message: Message) {
    if kernel.processes.get(to).is_some_and(|process| {
        process.state
            == State::Receiving {
                from: server,
                is_reply: true,
            }
    }) {
        ipc::deliver(kernel, to, server, message, IpcCall::SENDNB);
    }
}

/// A server sends a message without waiting.
pub(super) fn post(kernel: &mut Kernel, from: Endpoint, to: Slot, message: Message, is_no_reply: bool) {
    let endpoint = kernel.processes[to].endpoint;
    let posted = Posted {
        from,
        to: endpoint,
        is_no_reply,
        message,
    };
    kernel
        .high
        .outbox
        .0
        .push(posted)
        .expect("nobody takes the messages of the servers");
    take_posted(kernel, to);
}

/// Delivers the first message that a server has for a process, if the process waits for one.
pub(super) fn take_posted(kernel: &mut Kernel, to: Slot) -> bool {
    let endpoint = kernel.processes[to].endpoint;
    let is_reply = ipc::awaits_reply(kernel, to);
    let position = kernel.high.outbox.0.iter().position(|posted| {
        posted.to == endpoint && ipc::receives_from(kernel, to, posted.from) && !(posted.is_no_reply && is_reply)
    });
    let Some(position) = position else { return false };
    let posted = kernel.high.outbox.0.remove(position);
    ipc::deliver(kernel, to, posted.from, posted.message, IpcCall::SENDA);
    true
}
