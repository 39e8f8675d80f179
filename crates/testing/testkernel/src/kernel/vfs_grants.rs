//! The grants that VFS makes: to memory of programs, for control requests.

use minix_abi::GrantId;
use minix_abi::grant::{GrantEntry, GrantFlags, MagicGrant};

/// Grants at a time.
const GRANTS: usize = 8;

/// A table of grants, as VFS has one in its memory.
#[derive(Debug, Default)]
pub(crate) struct VfsGrants {
    entries: [Option<GrantEntry>; GRANTS],
    /// Of each entry. An old grant does not stand for a new one.
    sequences: [u32; GRANTS],
}

impl VfsGrants {
    /// The entry that a grant names, also an entry of an older grant.
    pub(crate) fn entry(&self, grant: GrantId) -> Option<GrantEntry> {
        *self.entries.get(grant.index()? as usize)?
    }

    /// Grants memory. `None` if the table is full.
    pub(crate) fn grant(&mut self, access: GrantFlags, magic: MagicGrant) -> Option<GrantId> {
        let index = self.entries.iter().position(Option::is_none)?;
        let sequence = self.sequences[index];
        self.entries[index] = Some(GrantEntry::magic(sequence, access, magic));
        GrantId::new(index as u32, sequence)
    }

    /// Revokes a grant. An id that is none is left alone.
    pub(crate) fn revoke(&mut self, grant: GrantId) {
        let Some(index) = grant.index() else { return };
        let index = index as usize;
        if self.entries.get_mut(index).is_some_and(|entry| entry.take().is_some()) {
            self.sequences[index] = GrantId::next_sequence(self.sequences[index]);
        }
    }
}
