//! Whether a grant allows an access, and to which memory. Processes keep the tables of grants in their own memory.

use minix_abi::grant::{Grant, GrantEntry, GrantFlags, MAX_INDIRECTION};
use minix_abi::{Endpoint, Errno, GrantId, Layout};
use zerocopy::{FromZeros, IntoBytes};

/// The processes that make grants.
pub trait Granters {
    /// Address and number of entries of the grant table of a process, `Some(None)` if it has none, `None` if there is no
    /// such process.
    fn table(&self, granter: Endpoint) -> Option<Option<(u64, usize)>>;

    /// Reads memory of a process. False if it cannot be read as it stands; nothing is brought in.
    fn read(&self, process: Endpoint, address: u64, into: &mut [u8]) -> bool;
}

/// An access by a grant.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub granter: Endpoint,
    pub grantee: Endpoint,
    pub grant: GrantId,
    /// In bytes, from the start of the grant.
    pub offset: u64,
    pub bytes: u64,
    /// [`READ`](GrantFlags::READ), [`WRITE`](GrantFlags::WRITE), both, or nothing for any grant.
    pub access: GrantFlags,
}

/// Memory that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub owner: Endpoint,
    /// Virtual address of the first byte wanted.
    pub address: u64,
    /// For a grant that must not bring in pages: the address of the field that names the grant when a page is missing.
    pub faulted_at: Option<u64>,
}

/// Follows a grant to its memory.
///
/// # Errors
///
/// `EINVAL` for a granter that is not there or a negative id, `ELOOP` for more than five indirect grants in a row, and
/// `EPERM` for everything that is wrong with the grant.
pub fn verify(granters: &impl Granters, request: &Request) -> Result<Memory, Errno> {
    let Request {
        mut granter,
        mut grantee,
        mut grant,
        offset,
        bytes,
        access,
    } = *request;
    let mut indirections = 0;
    loop {
        let table = granters.table(granter).ok_or(Errno::EINVAL)?;
        let (index, sequence) = grant.index().zip(grant.sequence()).ok_or(Errno::EINVAL)?;
        let (start, entries) = table.ok_or(Errno::EPERM)?;
        if index as usize >= entries {
            return Err(Errno::EPERM);
        }
        let at = start.wrapping_add(u64::from(index) * GrantEntry::BYTES as u64);
        let mut entry = GrantEntry::new_zeroed();
        if !granters.read(granter, at, entry.as_mut_bytes()) {
            return Err(Errno::EPERM);
        }
        if entry.sequence != sequence as i32 {
            return Err(Errno::EPERM);
        }
        let is_for = |named: Endpoint| named == grantee || named == Endpoint::ANY;
        let (owner, first, length) = match entry.grant().ok_or(Errno::EPERM)? {
            Grant::Indirect(indirect) => {
                if indirections == MAX_INDIRECTION {
                    return Err(Errno::ELOOP);
                }
                if !is_for(indirect.grantee) {
                    return Err(Errno::EPERM);
                }
                indirections += 1;
                (grantee, granter, grant) = (granter, indirect.granter, indirect.grant);
                continue;
            }
            Grant::Direct(direct) if is_for(direct.grantee) => (granter, direct.start, direct.bytes),
            Grant::Magic(magic) if granter == Endpoint::VFS && is_for(magic.grantee) => {
                (magic.owner, magic.start, magic.bytes)
            }
            _ => return Err(Errno::EPERM),
        };
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= length);
        // A grant that reaches around the end of the address space is no grant.
        let wraps = length != 0 && first.checked_add(length - 1).is_none();
        if !entry.flags.contains(access) || !fits || wraps {
            return Err(Errno::EPERM);
        }
        return Ok(Memory {
            owner,
            address: first.wrapping_add(offset),
            faulted_at: entry
                .flags
                .contains(GrantFlags::TRY)
                .then_some(at + core::mem::offset_of!(GrantEntry, faulted) as u64),
        });
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use minix_abi::grant::{DirectGrant, IndirectGrant, MagicGrant};

    use super::*;

    const ME: Endpoint = Endpoint(100);
    const APP: Endpoint = Endpoint(101);
    const OTHER: Endpoint = Endpoint(102);
    const RW: GrantFlags = GrantFlags::READ.union(GrantFlags::WRITE);

    /// Tables at address 0x1000 of each process.
    #[derive(Default)]
    struct Tables(BTreeMap<i32, Vec<GrantEntry>>);

    impl Granters for Tables {
        fn table(&self, granter: Endpoint) -> Option<Option<(u64, usize)>> {
            // OTHER lives and has no table unless one was made.
            match self.0.get(&granter.0) {
                Some(table) => Some(Some((0x1000, table.len()))),
                None => (granter == OTHER).then_some(None),
            }
        }

        fn read(&self, process: Endpoint, address: u64, into: &mut [u8]) -> bool {
            let index = (address - 0x1000) as usize / GrantEntry::BYTES;
            // The last entry of a table of 9 lies on a page that is not there.
            if index == 8 {
                return false;
            }
            into.copy_from_slice(self.0[&process.0][index].as_bytes());
            true
        }
    }

    fn direct(to: Endpoint, start: u64, bytes: u64, access: GrantFlags) -> GrantEntry {
        GrantEntry::direct(
            3,
            access,
            DirectGrant {
                grantee: to,
                start,
                bytes,
                ..Default::default()
            },
        )
    }

    fn with(entry: GrantEntry) -> Tables {
        Tables([(APP.0, [entry].into())].into())
    }

    fn id(index: u32) -> GrantId {
        GrantId::new(index, 3).unwrap()
    }

    fn ask(grant: GrantId, offset: u64, bytes: u64, access: GrantFlags) -> Request {
        Request {
            granter: APP,
            grantee: ME,
            grant,
            offset,
            bytes,
            access,
        }
    }

    fn check(tables: &Tables, request: Request) -> Result<(Endpoint, u64), Errno> {
        verify(tables, &request).map(|memory| (memory.owner, memory.address))
    }

    #[test]
    fn a_direct_grant_covers_its_memory_for_its_grantee() {
        let tables = with(direct(ME, 0x5000, 100, GrantFlags::READ));
        assert_eq!(check(&tables, ask(id(0), 10, 90, GrantFlags::READ)), Ok((APP, 0x500A)));
        assert_eq!(check(&tables, ask(id(0), 100, 0, GrantFlags::READ)), Ok((APP, 0x5064)));
        let to_all = with(direct(Endpoint::ANY, 0x5000, 100, RW));
        assert_eq!(check(&to_all, ask(id(0), 0, 1, RW)), Ok((APP, 0x5000)));
    }

    #[test]
    fn a_request_beyond_the_grant_is_refused() {
        let read = |grant, offset, bytes| ask(grant, offset, bytes, GrantFlags::READ);
        let of = |granter| Request {
            granter,
            ..read(id(0), 0, 1)
        };
        let tables = with(direct(ME, 0x5000, 100, GrantFlags::READ));
        for (reason, request, errno) in [
            ("too short", read(id(0), 0, 101), Errno::EPERM),
            ("wraps", read(id(0), u64::MAX, 2), Errno::EPERM),
            ("access", ask(id(0), 0, 1, GrantFlags::WRITE), Errno::EPERM),
            ("one access of two", ask(id(0), 0, 1, RW), Errno::EPERM),
            ("index", read(id(1), 0, 1), Errno::EPERM),
            ("sequence", read(GrantId(0), 0, 1), Errno::EPERM),
            ("no table", of(OTHER), Errno::EPERM),
            ("dead granter", of(Endpoint(999)), Errno::EINVAL),
            ("invalid", read(GrantId::INVALID, 0, 1), Errno::EINVAL),
            ("negative", read(GrantId(i32::MIN), 0, 1), Errno::EINVAL),
        ] {
            assert_eq!(check(&tables, request), Err(errno), "{reason}");
        }
        let (mut revoked, mut both_kinds) = (direct(ME, 0x5000, 100, RW), direct(ME, 0x5000, 100, RW));
        revoked.flags &= !GrantFlags::VALID;
        both_kinds.flags |= GrantFlags::MAGIC;
        let around_the_end = direct(ME, u64::MAX - 5, 100, RW);
        for entry in [direct(OTHER, 0x5000, 100, RW), around_the_end, revoked, both_kinds] {
            assert_eq!(check(&with(entry), read(id(0), 0, 1)), Err(Errno::EPERM), "{entry:?}");
        }
        let absent = Tables([(APP.0, std::vec![direct(ME, 0, 9, RW); 9])].into());
        assert_eq!(check(&absent, read(id(8), 0, 1)), Err(Errno::EPERM), "table not there");
    }

    #[test]
    fn indirect_grants_are_followed_five_times() {
        let hand_on = |to, from, index| {
            let grant = IndirectGrant {
                grantee: to,
                granter: from,
                grant: id(index),
                ..Default::default()
            };
            GrantEntry::indirect(3, RW, grant)
        };
        // OTHER hands APP's grants on to itself, and then to ME.
        let mut table = std::vec![direct(OTHER, 0x7000, 10, RW)];
        let mut others = std::vec![hand_on(ME, APP, 0)];
        let at = |others: &Vec<GrantEntry>, table: &Vec<GrantEntry>, index| {
            let tables = Tables([(OTHER.0, others.clone()), (APP.0, table.clone())].into());
            check(
                &tables,
                Request {
                    granter: OTHER,
                    ..ask(id(index), 1, 2, RW)
                },
            )
        };
        assert_eq!(at(&others, &table, 0), Ok((APP, 0x7001)));
        others[0] = hand_on(OTHER, APP, 0);
        for index in 1..=5 {
            others.push(hand_on(if index == 4 { ME } else { OTHER }, OTHER, index - 1));
        }
        assert_eq!(at(&others, &table, 4), Ok((APP, 0x7001)), "five in a row");
        others[4] = hand_on(OTHER, OTHER, 3);
        others[5] = hand_on(ME, OTHER, 4);
        assert_eq!(at(&others, &table, 5), Err(Errno::ELOOP), "six in a row");
        // The last granter looks at who handed it on.
        table[0] = direct(ME, 0x7000, 10, RW);
        others[0] = hand_on(ME, APP, 0);
        assert_eq!(at(&others, &table, 0), Err(Errno::EPERM));
    }

    #[test]
    fn magic_grants_are_for_vfs_and_try_grants_say_where_to_note_a_fault() {
        let magic = MagicGrant {
            owner: OTHER,
            grantee: ME,
            start: 0x9000,
            bytes: 8,
        };
        let entry = GrantEntry::magic(3, GrantFlags::READ, magic);
        assert_eq!(
            check(&with(entry), ask(id(0), 0, 8, GrantFlags::READ)),
            Err(Errno::EPERM)
        );
        let of_vfs = Tables([(Endpoint::VFS.0, [entry].into())].into());
        let request = Request {
            granter: Endpoint::VFS,
            ..ask(id(0), 0, 8, GrantFlags::READ)
        };
        assert_eq!(check(&of_vfs, request), Ok((OTHER, 0x9000)));
        let tries = with(direct(ME, 0, 8, RW | GrantFlags::TRY));
        let memory = verify(&tries, &ask(id(0), 0, 8, RW)).unwrap();
        assert_eq!(memory.faulted_at, Some(0x1020));
    }
}
