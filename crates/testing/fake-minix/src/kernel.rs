//! The kernel of the adapter's tests: grants are backed by address spaces with scattered pages, and every reply is checked.

use std::collections::{HashMap, VecDeque};

use minix_abi::bdev::BdevReply;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{MapAccess, MapElement};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_blockdriver::{GrantedRange as _, Kernel};

use crate::memory::{Grant, Range, SharedMemory, Space, parts};

/// A reply that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub to: Endpoint,
    pub how: IpcStatus,
    pub message: Message,
}

impl Sent {
    pub fn status(&self) -> i32 {
        self.message.payload::<BdevReply>().status.0
    }

    pub fn id(&self) -> i32 {
        self.message.payload::<BdevReply>().id
    }
}

/// How often the driver called the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub copies_from: usize,
    pub copies_to: usize,
    pub maps: usize,
}

pub struct FakeKernel {
    pub memory: SharedMemory,
    pub spaces: HashMap<i32, Space>,
    pub replies: VecDeque<Sent>,
    /// Requests that were sent and not answered, by sender and id.
    pub open: HashMap<(i32, i32), u32>,
    pub calls: Calls,
    pub trace_memory: bool,
    pub traces: usize,
    /// Ranges the kernel finds at a time.
    pub ranges_at_once: usize,
    /// Each map is answered with so many ranges without a byte.
    pub empty_ranges: Option<usize>,
}

impl FakeKernel {
    pub fn new(memory: SharedMemory) -> Self {
        Self {
            memory,
            spaces: HashMap::new(),
            replies: VecDeque::new(),
            open: HashMap::new(),
            calls: Calls::default(),
            trace_memory: true,
            traces: 0,
            ranges_at_once: 64,
            empty_ranges: None,
        }
    }

    /// Requests that were sent and not answered.
    pub fn unanswered(&self) -> usize {
        self.open.values().map(|&count| count as usize).sum()
    }

    pub fn space(&mut self, client: Endpoint) -> &mut Space {
        self.spaces.entry(client.0).or_default()
    }

    fn grant(&self, granter: Endpoint, id: GrantId, offset: u64, bytes: u64, write: bool) -> Result<Grant, Errno> {
        if !id.is_valid() {
            return Err(Errno::EINVAL);
        }
        let space = self.spaces.get(&granter.0).ok_or(Errno::EINVAL)?;
        let grant = space.grants.get(&id.0).ok_or(Errno::EPERM)?;
        let allowed = if write { grant.write } else { grant.read };
        let end = offset.checked_add(bytes);
        if grant.revoked || !allowed || end.is_none_or(|end| end > grant.bytes) {
            return Err(Errno::EPERM);
        }
        Ok(*grant)
    }
}

impl Kernel for FakeKernel {
    type Range = Range;
    type Trace = Vec<TraceEntry>;

    fn copy_from(&mut self, granter: Endpoint, id: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.calls.copies_from += 1;
        if into.is_empty() {
            return Err(Errno::EDOM);
        }
        let grant = self.grant(granter, id, offset, into.len() as u64, false)?;
        let memory = self.memory.clone();
        self.space(granter).copy_out(&memory, grant.address + offset, into)
    }

    fn copy_to(&mut self, granter: Endpoint, id: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno> {
        self.calls.copies_to += 1;
        if from.is_empty() {
            return Err(Errno::EDOM);
        }
        let grant = self.grant(granter, id, offset, from.len() as u64, true)?;
        let memory = self.memory.clone();
        self.space(granter).copy_in(&memory, grant.address + offset, from)
    }

    fn map(
        &mut self,
        granter: Endpoint,
        elements: &[MapElement],
        mut offset: u64,
        access: MapAccess,
        ranges: &mut [Range],
    ) -> Result<usize, Errno> {
        self.calls.maps += 1;
        let most = ranges.len().min(self.ranges_at_once);
        if elements.is_empty() || most == 0 {
            return Err(Errno::EINVAL);
        }
        if let Some(empty) = self.empty_ranges {
            ranges[..empty].fill(Range::new(0x1000, 0));
            return Ok(empty);
        }
        let memory = self.memory.clone();
        let mut count = 0;
        for element in elements.iter().take(64) {
            assert_eq!(element.address >> 32, 0, "the padding of a vector reached the kernel");
            if element.bytes <= offset {
                return Err(Errno::EINVAL);
            }
            let grant = self.grant(granter, element.grant(), 0, element.bytes, access == MapAccess::WRITE)?;
            let bytes = element.bytes - offset;
            let start = grant.address + std::mem::take(&mut offset);
            for (page, offset, part) in parts(start, bytes as usize) {
                let touch = access == MapAccess::WRITE;
                let address = self.space(granter).page(&memory, page, touch)? + offset as u64;
                let bytes = part.len() as u64;
                match ranges[..count].last_mut() {
                    Some(last) if last.address() + last.bytes() == address => {
                        *last = Range::new(last.address(), last.bytes() + bytes);
                    }
                    _ if count == most => return Ok(count),
                    _ => {
                        ranges[count] = Range::new(address, bytes);
                        count += 1;
                    }
                }
            }
        }
        Ok(count)
    }

    fn reply(&mut self, to: Endpoint, request: IpcStatus, message: &Message) {
        let sent = Sent {
            to,
            how: request,
            message: *message,
        };
        if message.kind == MessageType::BDEV_REPLY {
            let key = (to.0, sent.id());
            let open = self.open.get_mut(&key).filter(|open| **open > 0);
            *open.unwrap_or_else(|| panic!("a reply that no client waits for: {sent:?}")) -= 1;
        }
        self.replies.push_back(sent);
    }

    fn allocate_trace(&mut self, entries: usize) -> Result<Vec<TraceEntry>, Errno> {
        if !self.trace_memory {
            return Err(Errno::ENOMEM);
        }
        self.traces += 1;
        Ok(vec![TraceEntry::default(); entries])
    }

    fn release_trace(&mut self, _: Vec<TraceEntry>) {
        self.traces -= 1;
    }
}
