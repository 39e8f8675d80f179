//! Messages between processes and servers that were sent and not received yet.

use guest_protocol::pattern;
use heapless::Vec;
use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, Message};
use testkernel::turns::Turns;

use super::process::{MAX_PROCESSES, Slot};
use super::vfs_grants::VfsGrants;

/// Messages that can wait at a time, to the servers and from them. Where servers starve, there may be a request and a notification
/// of each process.
const INBOX: usize = 2 * MAX_PROCESSES;
const OUTBOX: usize = 64;
/// The longest time that VFS does something else after a message, in microseconds.
const VFS_BUSY_US: u64 = 5000;
const VFS_SEED: u64 = 0x5646_5321;

/// What a server has to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A message.
    Message {
        from: Slot,
        message: Message,
        call: IpcCall,
    },
    /// RS starts an instance of the service with this label. First it asks other servers for a process.
    Start { label: &'static str, has_process: bool },
}

/// A message of a server that its receiver has not taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    /// It does not count as the reply that a SENDREC waits for.
    pub(crate) is_no_reply: bool,
    pub(crate) message: Message,
}

#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// The oldest work first, with the server that has to do it.
    inbox: Vec<(Endpoint, Work), INBOX>,
    turns: Turns,
    /// In order: the tables of the servers for SENDA, all in one.
    pub(crate) outbox: Vec<Posted, OUTBOX>,
    /// The grants that VFS makes.
    pub(crate) vfs_grants: VfsGrants,
    /// When VFS receives again, and how many messages it has sent and received.
    vfs_ready_at: u64,
    vfs_messages: u64,
}

/// Whether the endpoint is one of the servers.
pub(crate) fn is_server(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::VFS | Endpoint::PM | Endpoint::RS | Endpoint::DS | Endpoint::VM
    )
}

impl Ports {
    /// Gives a server something to do.
    pub(crate) fn push(&mut self, server: Endpoint, work: Work) {
        let pushed = self.inbox.push((server, work));
        pushed.expect("a process has one request out");
    }

    /// What a server does next.
    pub(crate) fn pop(&mut self) -> Option<(Endpoint, Work)> {
        let next = self.turns.next(self.inbox.iter().map(|(server, _)| *server))?;
        Some(self.inbox.remove(next))
    }

    /// Messages of a process that is gone are gone.
    pub(super) fn forget(&mut self, process: Slot) {
        self.inbox
            .retain(|(_, work)| !matches!(work, Work::Message { from, .. } if *from == process));
    }

    /// Whether VFS receives asynchronous messages now.
    pub(crate) fn vfs_is_ready(&self, now: u64) -> bool {
        now >= self.vfs_ready_at && !self.inbox.is_full()
    }

    /// VFS has sent or received a message, and does something else now. The answer is when it receives again.
    pub(crate) fn vfs_is_busy(&mut self, now: u64) -> u64 {
        self.vfs_messages += 1;
        self.vfs_ready_at = now.saturating_add(pattern::word(VFS_SEED, self.vfs_messages, 0) % (VFS_BUSY_US + 1));
        self.vfs_ready_at
    }
}
