//! A walk along a descriptor chain with open eyes.
//!
//! rust-vmm's `DescriptorChain` does the walking that counts: it says which memory belongs to a request. It is lenient,
//! as a device has to be. This walk reads the same descriptors once more, to see what the driver did wrong, and to
//! remember what they looked like (`INIT-D-21`).

use vm_memory::{Bytes, GuestAddress};

use crate::arena::{Arena, Memory};
use crate::violation::Log;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

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

/// What a walk found.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) elements: Vec<Element>,
    pub(crate) indirect: bool,
    /// No sense could be made of the chain; a device stops at such a one.
    pub(crate) broken: bool,
    /// Where each descriptor was and what it held.
    snapshot: Vec<(u64, [u8; 16])>,
}

impl Walk {
    /// Whether all descriptors are as they were.
    pub(crate) fn unchanged(&self, memory: &Memory) -> bool {
        self.snapshot
            .iter()
            .all(|(addr, old)| read(memory, *addr).as_ref() == Some(old))
    }

    pub(crate) fn total(&self, writable: bool) -> u64 {
        let elements = self.elements.iter().filter(|e| e.writable == writable);
        elements.map(|e| u64::from(e.len)).sum()
    }
}

fn read(memory: &Memory, addr: u64) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    memory.read_slice(&mut bytes, GuestAddress(addr)).ok().map(|()| bytes)
}

/// Walks the chain that starts at descriptor `head` of a table of `size` at `table`.
pub(crate) fn walk(arena: &Arena, table: u64, size: u16, head: u16, rules: ChainRules, log: &mut Log) -> Walk {
    let mut walk = Walk::default();
    if let Err((id, what)) = follow(arena, table, size, head, rules, log, &mut walk) {
        log.report(id, what);
        walk.broken = true;
        return walk;
    }
    check_elements(arena, &mut walk, log);
    if walk.elements.len() > usize::from(size) {
        let what = format!("a chain of {} descriptors on a queue of {size}", walk.elements.len());
        log.report("RING-D-08", what);
    }
    if rules.framed {
        check_framing(&walk, log);
    }
    walk
}

/// Collects the descriptors. An error is one that the device cannot go on from.
fn follow(
    arena: &Arena,
    table: u64,
    size: u16,
    head: u16,
    rules: ChainRules,
    log: &mut Log,
    walk: &mut Walk,
) -> Result<(), (&'static str, String)> {
    let memory = arena.memory();
    let (mut table, mut entries, mut index) = (table, u32::from(size), u32::from(head));
    let mut steps = 0;
    loop {
        if index >= entries {
            let id = if walk.indirect { "RING-N-11" } else { "RING-N-01" };
            return Err((id, format!("descriptor {index} of a table of {entries}")));
        }
        if steps >= entries {
            return Err((
                "RING-D-04",
                format!("a loop among the {entries} descriptors of a table"),
            ));
        }
        steps += 1;
        let addr = table.wrapping_add(16 * u64::from(index));
        let bytes = read(&memory, addr).ok_or(("FEAT-D-15", format!("no memory for a descriptor at {addr:#x}")))?;
        walk.snapshot.push((addr, bytes));
        let element = Element {
            addr: u64::from_le_bytes(bytes[0..8].try_into().expect("8 bytes")),
            len: u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")),
            writable: bytes[12] & WRITE as u8 != 0,
        };
        let flags = u16::from_le_bytes([bytes[12], bytes[13]]);
        let next = u16::from_le_bytes([bytes[14], bytes[15]]);
        if flags & !(NEXT | WRITE | INDIRECT) != 0 {
            log.report(
                "RING-N-02",
                format!("descriptor flags {flags:#x} have no meaning in a split ring"),
            );
        }
        if flags & INDIRECT != 0 {
            enter_table(arena, element, flags, rules, walk.indirect, log)?;
            walk.indirect = true;
            (table, entries, index, steps) = (element.addr, element.len / 16, 0, 0);
            continue;
        }
        walk.elements.push(element);
        if flags & NEXT == 0 {
            return Ok(());
        }
        if rules.in_order {
            let sequential = if walk.indirect {
                index + 1
            } else {
                (index + 1) % u32::from(size)
            };
            if u32::from(next) != sequential {
                let id = if walk.indirect { "RING-D-10" } else { "RING-D-05" };
                log.report(
                    id,
                    format!("descriptor {index} links to {next} though IN_ORDER was accepted"),
                );
            }
        }
        index = u32::from(next);
    }
}

fn enter_table(
    arena: &Arena,
    table: Element,
    flags: u16,
    rules: ChainRules,
    nested: bool,
    log: &mut Log,
) -> Result<(), (&'static str, String)> {
    if nested {
        return Err(("RING-D-07", "an indirect descriptor inside an indirect table".into()));
    }
    if !rules.indirect {
        log.report(
            "RING-D-06",
            "an indirect descriptor though INDIRECT_DESC was not accepted",
        );
    }
    if flags & NEXT != 0 {
        log.report("RING-D-09", "a descriptor with both INDIRECT and NEXT");
    }
    if table.len == 0 || !table.len.is_multiple_of(16) {
        return Err(("RING-N-11", format!("an indirect table of {} bytes", table.len)));
    }
    if table.len / 16 > 32768 {
        return Err(("RING-D-08", format!("an indirect table of {} entries", table.len / 16)));
    }
    if !arena.holds(table.addr, u64::from(table.len)) {
        log.report(
            "FEAT-D-15",
            format!("an indirect table at {:#x}, outside the driver's memory", table.addr),
        );
    }
    Ok(())
}

fn check_elements(arena: &Arena, walk: &mut Walk, log: &mut Log) {
    let mut total = 0;
    let mut writable_seen = false;
    for element in &walk.elements {
        total += u64::from(element.len);
        if element.len == 0 {
            log.report("RING-N-05", "a descriptor of length zero");
        } else if !arena.holds(element.addr, u64::from(element.len)) {
            let what = format!(
                "{} bytes at {:#x} are not in the driver's memory",
                element.len, element.addr
            );
            log.report("FEAT-D-15", what);
        }
        if writable_seen && !element.writable {
            log.report("RING-D-02", "a readable descriptor after a writable one");
            walk.broken = true;
        }
        writable_seen |= element.writable;
    }
    if total > 1 << 32 {
        log.report("RING-D-04", format!("a chain of {total} bytes"));
        walk.broken = true;
    }
}

fn check_framing(walk: &Walk, log: &mut Log) {
    let header = walk.elements.first().is_some_and(|e| !e.writable && e.len == 16);
    let status = walk.elements.last().is_some_and(|e| e.writable && e.len == 1);
    if !header || !status || walk.elements.len() < 2 {
        let what = "without ANY_LAYOUT the first descriptor is the 16-byte header and the last one the status byte";
        log.report("LEG-D-29", what);
    }
}
