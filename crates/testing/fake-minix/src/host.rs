//! Memory that a process lends to the system. The process is the test itself, so its addresses are addresses here.

use std::alloc::{Layout, alloc_zeroed};
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use std::slice;

use minix_abi::grant::{DirectGrant, Grant, GrantEntry, GrantFlags};
use minix_abi::{Endpoint, Errno, GrantId, PAGE_BYTES};

/// Memory that was lent to be read, for as long as the trap lasts.
pub fn readable(address: u64, bytes: u64) -> &'static [u8] {
    // SAFETY: the process has lent this memory, and waits for the answer to its trap.
    unsafe { slice::from_raw_parts(with_exposed_provenance(address as usize), bytes as usize) }
}

/// Memory that was lent to be written, for as long as the trap lasts.
pub fn writable(address: u64, bytes: u64) -> &'static mut [u8] {
    // SAFETY: the process has lent this memory, and waits for the answer to its trap.
    unsafe { slice::from_raw_parts_mut(with_exposed_provenance_mut(address as usize), bytes as usize) }
}

/// Cleared pages that stay for good.
pub fn pages(bytes: usize) -> usize {
    let layout = Layout::from_size_align(bytes, PAGE_BYTES as usize).expect("whole pages");
    assert!(bytes > 0, "no memory was asked for");
    // SAFETY: the layout is not empty.
    unsafe { alloc_zeroed(layout) }.expose_provenance()
}

/// The grant table of a process, as `SYS_SETGRANT` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantTable {
    pub address: u64,
    pub entries: i32,
}

impl GrantTable {
    /// The entry of a grant that may be revoked.
    pub fn entry(self, id: GrantId) -> Option<GrantEntry> {
        let index = id.index()?;
        let table: *const GrantEntry = with_exposed_provenance(self.address as usize);
        // SAFETY: the process keeps its table, and does not write it while it traps.
        ((index as i32) < self.entries).then(|| unsafe { table.add(index as usize).read_volatile() })
    }

    /// The entry of a grant in use, and its memory.
    pub fn lent(self, id: GrantId) -> Option<(GrantEntry, DirectGrant)> {
        let entry = self.entry(id)?;
        match entry.grant() {
            Some(Grant::Direct(direct)) if Some(entry.sequence as u32) == id.sequence() => Some((entry, direct)),
            _ => None,
        }
    }

    /// The address of `bytes` bytes of a grant, from `offset` on, if `grantee` may use them so.
    ///
    /// # Errors
    ///
    /// As the kernel: `EINVAL` for no grant, `EPERM` for any other reason.
    pub fn check(
        self,
        grantee: Endpoint,
        id: GrantId,
        offset: u64,
        bytes: u64,
        access: GrantFlags,
    ) -> Result<u64, Errno> {
        if !id.is_valid() || id.0 < 0 {
            return Err(Errno::EINVAL);
        }
        let (entry, direct) = self.lent(id).ok_or(Errno::EPERM)?;
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= direct.bytes);
        let for_grantee = direct.grantee == grantee || direct.grantee == Endpoint::ANY;
        if inside && for_grantee && entry.flags.contains(access) {
            Ok(direct.start + offset)
        } else {
            Err(Errno::EPERM)
        }
    }
}
