//! The kernel's side of grants.

use minix_abi::grant::{Grant, GrantEntry, GrantFlags};
use minix_abi::{Endpoint, Errno, GrantId};

/// The table of the client, and who asks.
pub(crate) struct Granted {
    pub(crate) table: u64,
    pub(crate) entries: usize,
    pub(crate) grantee: Endpoint,
}

impl Default for Granted {
    fn default() -> Self {
        Self {
            table: 0,
            entries: 0,
            grantee: Endpoint::NONE,
        }
    }
}

impl Granted {
    /// The memory of a grant, if it allows so much.
    pub(crate) fn memory(&self, grant: GrantId, offset: u64, bytes: u64, access: GrantFlags) -> Result<*mut u8, Errno> {
        let (index, sequence) = (
            grant.index().ok_or(Errno::EINVAL)?,
            grant.sequence().ok_or(Errno::EINVAL)?,
        );
        if index as usize >= self.entries {
            return Err(Errno::EPERM);
        }
        let table = std::ptr::with_exposed_provenance::<GrantEntry>(self.table as usize);
        // SAFETY: the client has said that there are so many entries, and they never move.
        let entry = unsafe { table.add(index as usize).read_volatile() };
        let Some(Grant::Direct(direct)) = entry.grant() else {
            return Err(Errno::EPERM);
        };
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= direct.bytes);
        let right = entry.sequence == sequence as i32
            && entry.flags.contains(access)
            && inside
            && (direct.grantee == self.grantee || direct.grantee == Endpoint::ANY);
        if !right {
            return Err(Errno::EPERM);
        }
        Ok(std::ptr::with_exposed_provenance_mut((direct.start + offset) as usize))
    }

    /// Copies out of a grant.
    pub(crate) fn read(&self, grant: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        if into.is_empty() {
            return Err(Errno::EDOM);
        }
        let from = self.memory(grant, offset, into.len() as u64, GrantFlags::READ)?;
        // SAFETY: the client has granted so much memory.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies into a grant.
    pub(crate) fn write(&self, grant: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno> {
        if from.is_empty() {
            return Err(Errno::EDOM);
        }
        let to = self.memory(grant, offset, from.len() as u64, GrantFlags::WRITE)?;
        // SAFETY: the client has granted so much memory.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }
}
