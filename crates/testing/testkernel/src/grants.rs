//! Whether an entry of a table of grants allows an access, and to which memory.

use minix_abi::grant::{Grant, GrantEntry, GrantFlags};
use minix_abi::{Endpoint, Errno, GrantId};

/// An access by a grant.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub granter: Endpoint,
    pub grantee: Endpoint,
    pub grant: GrantId,
    /// In bytes, from the start of the grant.
    pub offset: u64,
    pub bytes: u64,
    /// [`READ`](GrantFlags::READ), [`WRITE`](GrantFlags::WRITE), or both.
    pub access: GrantFlags,
}

impl Request {
    /// The address of the entry in the granter's table, of which address and number of entries are given. The outer `None` is a
    /// granter that is dead, the inner one a granter without a table.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a dead granter and for an id that is none, `EPERM` for an entry that is not in a table.
    pub fn entry_at(&self, table: Option<Option<(u64, usize)>>) -> Result<u64, Errno> {
        let index = self.grant.index().ok_or(Errno::EINVAL)? as usize;
        let (start, _) = (table.ok_or(Errno::EINVAL)?)
            .filter(|&(_, entries)| index < entries)
            .ok_or(Errno::EPERM)?;
        Ok(start.wrapping_add((index * size_of::<GrantEntry>()) as u64))
    }

    /// The owner of the memory, and its virtual address there, if `entry`, which the grant names, allows the access.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn check(&self, entry: &GrantEntry) -> Result<(Endpoint, u64), Errno> {
        let is_for = |named: Endpoint| named == self.grantee || named == Endpoint::ANY;
        let (owner, first, length) = match entry.grant().ok_or(Errno::EPERM)? {
            Grant::Direct(direct) if is_for(direct.grantee) => (self.granter, direct.start, direct.bytes),
            // Only VFS may grant memory of other processes.
            Grant::Magic(magic) if self.granter == Endpoint::VFS && is_for(magic.grantee) => {
                (magic.owner, magic.start, magic.bytes)
            }
            _ => return Err(Errno::EPERM),
        };
        let is_current = self.grant.sequence().map(|sequence| sequence as i32) == Some(entry.sequence);
        let fits = self.offset.checked_add(self.bytes).is_some_and(|end| end <= length);
        // A grant that reaches around the end of the address space is no grant.
        let wraps = length != 0 && first.checked_add(length - 1).is_none();
        if !is_current || !entry.flags.contains(self.access) || !fits || wraps {
            return Err(Errno::EPERM);
        }
        Ok((owner, first.wrapping_add(self.offset)))
    }
}

#[cfg(test)]
mod tests {
    use minix_abi::grant::{DirectGrant, MagicGrant};

    use super::*;

    const ME: Endpoint = Endpoint(100);
    const APP: Endpoint = Endpoint(101);
    const OTHER: Endpoint = Endpoint(102);
    const READ: GrantFlags = GrantFlags::READ;
    const RW: GrantFlags = GrantFlags::READ.union(GrantFlags::WRITE);

    fn direct(grantee: Endpoint, start: u64, access: GrantFlags) -> GrantEntry {
        let grant = DirectGrant {
            grantee,
            start,
            bytes: 100,
            ..Default::default()
        };
        GrantEntry::direct(3, access, grant)
    }

    fn ask(offset: u64, bytes: u64, access: GrantFlags) -> Request {
        Request {
            granter: APP,
            grantee: ME,
            grant: GrantId::new(0, 3).unwrap(),
            offset,
            bytes,
            access,
        }
    }

    #[test]
    fn a_direct_grant_covers_its_memory_for_its_grantee() {
        let entry = direct(ME, 0x5000, READ);
        assert_eq!(ask(10, 90, READ).check(&entry), Ok((APP, 0x500A)));
        assert_eq!(ask(100, 0, READ).check(&entry), Ok((APP, 0x5064)));
        assert_eq!(
            ask(0, 1, RW).check(&direct(Endpoint::ANY, 0x5000, RW)),
            Ok((APP, 0x5000))
        );
    }

    #[test]
    fn a_request_beyond_the_grant_is_refused() {
        let entry = direct(ME, 0x5000, READ);
        let old = Request {
            grant: GrantId::new(0, 2).unwrap(),
            ..ask(0, 1, READ)
        };
        for (reason, request) in [
            ("too short", ask(0, 101, READ)),
            ("offset", ask(100, 1, READ)),
            ("wraps", ask(u64::MAX, 2, READ)),
            ("access", ask(0, 1, GrantFlags::WRITE)),
            ("one access of two", ask(0, 1, RW)),
            ("sequence", old),
        ] {
            assert_eq!(request.check(&entry), Err(Errno::EPERM), "{reason}");
        }
        let (mut revoked, mut both_kinds) = (entry, entry);
        revoked.flags &= !GrantFlags::VALID;
        both_kinds.flags |= GrantFlags::MAGIC;
        for entry in [
            direct(OTHER, 0x5000, RW),
            direct(ME, u64::MAX - 5, RW),
            revoked,
            both_kinds,
        ] {
            assert_eq!(ask(0, 1, READ).check(&entry), Err(Errno::EPERM), "{entry:?}");
        }
    }

    #[test]
    fn an_entry_is_in_the_table_of_a_living_granter() {
        let of = |index| Request {
            grant: GrantId::new(index, 3).unwrap(),
            ..ask(0, 1, READ)
        };
        let table = Some(Some((0x7000, 2)));
        assert_eq!(of(1).entry_at(table), Ok(0x7000 + size_of::<GrantEntry>() as u64));
        assert_eq!(of(2).entry_at(table), Err(Errno::EPERM), "beyond the table");
        assert_eq!(of(0).entry_at(Some(None)), Err(Errno::EPERM), "no table");
        assert_eq!(of(0).entry_at(None), Err(Errno::EINVAL), "dead");
        let mut negative = of(0);
        negative.grant = GrantId(-5);
        assert_eq!(negative.entry_at(table), Err(Errno::EINVAL));
    }

    #[test]
    fn magic_grants_are_for_vfs() {
        let magic = MagicGrant {
            owner: OTHER,
            grantee: ME,
            start: 0x9000,
            bytes: 8,
        };
        let entry = GrantEntry::magic(3, READ, magic);
        assert_eq!(ask(0, 8, READ).check(&entry), Err(Errno::EPERM));
        let of_vfs = Request {
            granter: Endpoint::VFS,
            ..ask(0, 8, READ)
        };
        assert_eq!(of_vfs.check(&entry), Ok((OTHER, 0x9000)));
    }
}
