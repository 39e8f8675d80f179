//! The system as the adapter sees it: grants, copies, addresses, replies.

use std::collections::HashMap;

use minix_abi::bdev::BdevReply;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{MapAccess, MapElement, PhysRange};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_blockdriver::Kernel;
use minix_rt::kernel::LentRange;
use virtio_blk_model::Model;

use crate::memory::{Buffer, Machine};
use crate::service::Events;

/// What becomes of the memory of a request at its answer.
pub(crate) struct Answer {
    pub(crate) id: i32,
    pub(crate) status: i32,
    /// The content of its buffers at that moment.
    pub(crate) content: Vec<u8>,
    /// Memory around its buffers has changed.
    pub(crate) spilt: bool,
    /// The device could still use its memory.
    pub(crate) exposed: bool,
}

/// A request that was sent and not answered.
struct Open {
    client: Endpoint,
    how: IpcStatus,
    /// How many of the grants are data; what follows is the vector.
    data: usize,
    grants: Vec<GrantId>,
}

/// What the driver may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Fill,
    Both,
}

impl Access {
    fn allows(self, fill: bool) -> bool {
        self == Self::Both || fill == (self == Self::Fill)
    }
}

struct Grant {
    buffer: Buffer,
    access: Access,
}

pub(crate) struct System {
    model: Model,
    machine: Machine,
    grants: HashMap<(i32, i32), Grant>,
    next_grant: i32,
    open: HashMap<i32, Open>,
    pub(crate) answers: Vec<Answer>,
    /// Memory released while a device that was given up could still use it.
    quarantine: Vec<Buffer>,
    ranges_at_once: usize,
    pub(crate) events: Events,
    /// The first forbidden action of the driver.
    pub(crate) misuse: Option<(&'static str, String)>,
}

impl System {
    pub(crate) fn new(model: &Model, ranges_at_once: usize, events: Events) -> Self {
        Self {
            model: model.clone(),
            machine: Machine::new(model.memory(), model.dma()),
            grants: HashMap::new(),
            next_grant: 0,
            open: HashMap::new(),
            answers: Vec::new(),
            quarantine: Vec::new(),
            ranges_at_once,
            events,
            misuse: None,
        }
    }

    pub(crate) fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    pub(crate) fn grant(&mut self, client: Endpoint, buffer: Buffer, access: Access) -> GrantId {
        self.next_grant += 1;
        self.grants
            .insert((client.0, self.next_grant), Grant { buffer, access });
        GrantId(self.next_grant)
    }

    /// Notes that a request was sent; its `grants` end with the answer, and the first `data` of them are its data.
    pub(crate) fn sent(&mut self, client: Endpoint, how: IpcStatus, id: i32, grants: Vec<GrantId>, data: usize) {
        let open = Open {
            client,
            how,
            data,
            grants,
        };
        assert!(self.open.insert(id, open).is_none(), "ids are used once");
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.open.len()
    }

    fn misused(&mut self, kind: &'static str, what: String) {
        self.misuse.get_or_insert((kind, what));
    }

    fn pieces(
        &mut self,
        granter: Endpoint,
        id: GrantId,
        (offset, bytes): (u64, u64),
        fill: bool,
        touch: bool,
    ) -> Result<Vec<(u64, u64)>, Errno> {
        let Some(grant) = self.grants.get_mut(&(granter.0, id.0)) else {
            self.misused(
                "grant",
                format!("grant {id:?} of {granter:?} was used and is not there (any more)"),
            );
            return Err(Errno::EPERM);
        };
        if !grant.access.allows(fill) || offset + bytes > grant.buffer.bytes {
            let whole = grant.buffer.bytes;
            self.misused(
                "grant",
                format!("{bytes} bytes at {offset} of a grant of {whole}, fill: {fill}"),
            );
            return Err(Errno::EPERM);
        }
        grant.buffer.pieces(&mut self.machine, offset, bytes, touch)
    }
}

impl Kernel for System {
    type Range = LentRange;
    type Trace = Vec<TraceEntry>;

    fn copy_from(&mut self, granter: Endpoint, id: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut rest = into;
        for (address, bytes) in self.pieces(granter, id, (offset, rest.len() as u64), false, true)? {
            let (part, after) = rest.split_at_mut(bytes as usize);
            self.machine.read(address, part);
            rest = after;
        }
        Ok(())
    }

    fn copy_to(&mut self, granter: Endpoint, id: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mut rest = from;
        for (address, bytes) in self.pieces(granter, id, (offset, rest.len() as u64), true, true)? {
            let (part, after) = rest.split_at(bytes as usize);
            self.machine.write(address, part);
            rest = after;
        }
        Ok(())
    }

    fn map(
        &mut self,
        granter: Endpoint,
        elements: &[MapElement],
        mut offset: u64,
        access: MapAccess,
        ranges: &mut [LentRange],
    ) -> Result<usize, Errno> {
        let most = ranges.len().min(self.ranges_at_once);
        if elements.is_empty() || most == 0 {
            return Err(Errno::EINVAL);
        }
        let fill = access == MapAccess::WRITE;
        let mut found: Vec<PhysRange> = Vec::new();
        'elements: for element in elements.iter().take(64) {
            let skip = std::mem::take(&mut offset);
            if element.bytes <= skip {
                return Err(Errno::EINVAL);
            }
            // Memory that is to be filled is brought in, memory that is to be read is not.
            let part = (skip, element.bytes - skip);
            for (address, bytes) in self.pieces(granter, element.grant(), part, fill, fill)? {
                let full = found.len() == most;
                match found.last_mut() {
                    Some(last) if last.address + last.bytes == address => last.bytes += bytes,
                    _ if full => break 'elements,
                    _ => found.push(PhysRange { address, bytes }),
                }
            }
        }
        for (range, &found) in ranges.iter_mut().zip(&found) {
            // SAFETY: it is memory of a client, of which the model gave a region to this kernel alone. The kernel reads and writes
            // it as the model does, through rust-vmm, and gives it back when the model has no use for it any more.
            *range = unsafe { LentRange::new(found) };
        }
        Ok(found.len())
    }

    fn reply(&mut self, to: Endpoint, request: IpcStatus, message: &Message) {
        let reply: BdevReply = message.payload();
        let open = self
            .open
            .remove(&reply.id)
            .filter(|open| open.client == to && open.how == request && message.kind == MessageType::BDEV_REPLY);
        let Some(open) = open else {
            self.misused(
                "second answer",
                format!("{to:?} was told {reply:?} and does not wait for it"),
            );
            return;
        };
        let mut answer = Answer {
            id: reply.id,
            status: reply.status.0,
            content: Vec::new(),
            spilt: false,
            exposed: false,
        };
        for (nth, id) in open.grants.iter().enumerate() {
            let grant = self.grants.remove(&(to.0, id.0));
            let Grant { buffer, .. } = grant.expect("grants last until the answer");
            if nth < open.data {
                answer.content.extend(buffer.content(&self.machine));
            }
            answer.spilt |= !buffer.is_alone(&self.machine);
            if buffer.is_exposed(|address, bytes| self.model.exposes(address, bytes)) {
                answer.exposed = true;
                self.quarantine.push(buffer);
            } else {
                buffer.release(&mut self.machine);
            }
        }
        self.answers.push(answer);
    }

    fn allocate_trace(&mut self, _: usize) -> Result<Self::Trace, Errno> {
        Err(Errno::ENOMEM)
    }

    fn release_trace(&mut self, _: Self::Trace) {}
}
