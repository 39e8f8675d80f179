//! A walk along a descriptor chain that reports what is wrong with it.
//!
//! The `DescriptorChain` of rust-vmm decides which memory belongs to a request. It is lenient, as a device has to be. This
//! walk reads the same descriptors once more, finds what the driver did wrong, and remembers what they looked like
//! (`INIT-D-21`).

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress};

use crate::arena::{Arena, Memory};
use crate::violation::Log;

/// NEXT, WRITE and INDIRECT.
const FLAGS: u16 = 0b111;

/// What the features say about chains.
#[derive(Clone, Copy)]
pub(crate) struct ChainRules {
    pub(crate) indirect: bool,
    pub(crate) in_order: bool,
    /// Legacy framing: header, data and status in descriptors of their own (`LEG-D-29`).
    pub(crate) framed: bool,
}

/// One element: memory for the device to read or to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) writable: bool,
}

impl From<Descriptor> for Element {
    fn from(descriptor: Descriptor) -> Self {
        Self {
            addr: descriptor.addr().0,
            len: descriptor.len(),
            writable: descriptor.is_write_only(),
        }
    }
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) elements: Vec<Element>,
    pub(crate) indirect: bool,
    /// The chain makes no sense. A device stops at such a chain.
    pub(crate) broken: bool,
    /// Where each descriptor was and its content.
    snapshot: Vec<(GuestAddress, [u8; 16])>,
}

impl Walk {
    /// Whether all descriptors are as they were.
    pub(crate) fn unchanged(&self, memory: &Memory) -> bool {
        let same = |(addr, old): &(_, [u8; 16])| memory.read_obj::<[u8; 16]>(*addr).ok() == Some(*old);
        self.snapshot.iter().all(same)
    }

    pub(crate) fn total(&self, writable: bool) -> u64 {
        let elements = self.elements.iter().filter(|e| e.writable == writable);
        elements.map(|e| u64::from(e.len)).sum()
    }
}

/// Walks the chain that starts at descriptor `head` of a table of `size` at `table`.
pub(crate) fn walk(arena: &Arena, table: u64, size: u16, head: u16, rules: ChainRules, log: &mut Log) -> Walk {
    let mut walk = Walk::default();
    let table = Table {
        addr: table,
        entries: size.into(),
    };
    if let Err((id, what)) = walk.follow(arena, table, head, rules, log) {
        log.report(id, what);
        walk.broken = true;
        return walk;
    }
    walk.check_elements(arena, log);
    let count = walk.elements.len();
    let what = format_args!("a chain of {count} descriptors on a queue of {size}");
    log.require(count <= usize::from(size), "RING-D-08", what);
    if rules.framed {
        let header = walk.elements.first().is_some_and(|e| !e.writable && e.len == 16);
        let status = walk.elements.last().is_some_and(|e| e.writable && e.len == 1);
        let what = "without ANY_LAYOUT the first descriptor is the 16-byte header and the last one the status byte";
        log.require(header && status && count >= 2, "LEG-D-29", what);
    }
    walk
}

/// A descriptor table: that of the queue, or an indirect one.
#[derive(Clone, Copy)]
struct Table {
    addr: u64,
    entries: u32,
}

/// What a device cannot go on from: the rule, and what was seen.
type Broken = (&'static str, String);

impl Walk {
    /// Collects the descriptors.
    fn follow(
        &mut self,
        arena: &Arena,
        queue_table: Table,
        head: u16,
        rules: ChainRules,
        log: &mut Log,
    ) -> Result<(), Broken> {
        let memory = arena.memory();
        let (mut table, mut index, mut steps) = (queue_table, u32::from(head), 0);
        loop {
            let entries = table.entries;
            if index >= entries {
                let id = if self.indirect { "RING-N-11" } else { "RING-N-01" };
                return Err((id, format!("descriptor {index} of a table of {entries}")));
            }
            if steps >= entries {
                return Err(("RING-D-04", format!("a loop in a table of {entries} descriptors")));
            }
            steps += 1;
            let addr = GuestAddress(table.addr.wrapping_add(16 * u64::from(index)));
            let (Ok(bytes), Ok(descriptor)) = (memory.read_obj(addr), memory.read_obj::<Descriptor>(addr)) else {
                return Err(("FEAT-D-15", format!("no memory for a descriptor at {:#x}", addr.0)));
            };
            self.snapshot.push((addr, bytes));
            let flags = descriptor.flags();
            let what = format_args!("descriptor flags {flags:#x} have no meaning in a split ring");
            log.require(flags & !FLAGS == 0, "RING-N-02", what);
            if descriptor.refers_to_indirect_table() {
                table = self.enter_table(arena, descriptor, rules, log)?;
                (index, steps) = (0, 0);
                continue;
            }
            self.elements.push(descriptor.into());
            if !descriptor.has_next() {
                return Ok(());
            }
            let next = u32::from(descriptor.next());
            let (sequential, id) = if self.indirect {
                (index + 1, "RING-D-10")
            } else {
                ((index + 1) % entries, "RING-D-05")
            };
            let what = format_args!("descriptor {index} links to {next} though IN_ORDER was accepted");
            log.require(!rules.in_order || next == sequential, id, what);
            index = next;
        }
    }

    /// Goes on in the table that `descriptor` refers to.
    fn enter_table(
        &mut self,
        arena: &Arena,
        descriptor: Descriptor,
        rules: ChainRules,
        log: &mut Log,
    ) -> Result<Table, Broken> {
        if self.indirect {
            return Err(("RING-D-07", "an indirect descriptor inside an indirect table".into()));
        }
        self.indirect = true;
        let what = "an indirect descriptor though INDIRECT_DESC was not accepted";
        log.require(rules.indirect, "RING-D-06", what);
        let what = "a descriptor with both INDIRECT and NEXT";
        log.require(!descriptor.has_next(), "RING-D-09", what);
        let (addr, len) = (descriptor.addr().0, descriptor.len());
        if len == 0 || !len.is_multiple_of(16) {
            return Err(("RING-N-11", format!("an indirect table of {len} bytes")));
        }
        if len / 16 > 32768 {
            return Err(("RING-D-08", format!("an indirect table of {} entries", len / 16)));
        }
        let what = format_args!("an indirect table at {addr:#x}, outside the driver's memory");
        log.require(arena.holds(addr, len.into()), "FEAT-D-15", what);
        Ok(Table {
            addr,
            entries: len / 16,
        })
    }

    fn check_elements(&mut self, arena: &Arena, log: &mut Log) {
        let mut writable_seen = false;
        for &Element { addr, len, writable } in &self.elements {
            if len == 0 {
                log.report("RING-N-05", "a descriptor of length zero");
            } else {
                let what = format_args!("{len} bytes at {addr:#x} are not in the driver's memory");
                log.require(arena.holds(addr, len.into()), "FEAT-D-15", what);
            }
            if writable_seen && !writable {
                log.report("RING-D-02", "a readable descriptor after a writable one");
                self.broken = true;
            }
            writable_seen |= writable;
        }
        let total = self.total(false) + self.total(true);
        if total > 1 << 32 {
            log.report("RING-D-04", format_args!("a chain of {total} bytes"));
            self.broken = true;
        }
    }
}
