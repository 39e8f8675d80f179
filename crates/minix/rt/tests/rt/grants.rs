//! The grant table.

use std::panic::{AssertUnwindSafe, catch_unwind};

use minix_abi::grant::{DirectGrant, Grant, GrantFlags};
use minix_abi::{Endpoint, GrantId, Pad};
use minix_rt::ds;
use minix_rt::grant::{Grants, Table};

use fake_minix::Script;
use fake_minix::host::GrantTable;

const CLIENT: Endpoint = Endpoint(0x8_0033);

fn grants<const N: usize>() -> (Grants<N>, GrantTable) {
    let mut grants = Grants::new(Box::leak(Box::new(Table::<N>::new())));
    let mut script = Script::new();
    grants.register(&mut script).expect("the kernel takes it");
    (grants, script.grants.expect("it was told"))
}

/// A grant of an invented address that no code reads.
fn direct<const N: usize>(grants: &mut Grants<N>, address: u64) -> Option<GrantId> {
    // SAFETY: no process uses the grant.
    unsafe { grants.direct(CLIENT, address, 512, GrantFlags::READ | GrantFlags::WRITE) }
}

#[test]
fn a_grant_is_as_it_was_made() {
    let (mut grants, table) = grants::<3>();
    assert_eq!(table.entries, 3);
    let id = direct(&mut grants, 0x1000).expect("room");
    let entry = table.entry(id).expect("in the table");
    let access = GrantFlags::READ | GrantFlags::WRITE;
    assert_eq!(entry.flags, GrantFlags::LIVE | GrantFlags::DIRECT | access);
    let expected = DirectGrant {
        grantee: CLIENT,
        pad: Pad::ZERO,
        start: 0x1000,
        bytes: 512,
    };
    assert_eq!(entry.grant(), Some(Grant::Direct(expected)));
}

#[test]
fn a_full_table_has_no_room_until_one_is_revoked() {
    let (mut grants, _) = grants::<2>();
    let first = direct(&mut grants, 0x1000).expect("room");
    let second = direct(&mut grants, 0x2000).expect("room");
    assert_ne!(first, second);
    assert_eq!(direct(&mut grants, 0x3000), None);
    grants.revoke(first);
    let third = direct(&mut grants, 0x3000).expect("room");
    assert_eq!(third.index(), first.index());
    assert_ne!(third, first);
}

#[test]
fn a_revoked_grant_is_dead_and_its_id_stays_so() {
    let (mut grants, table) = grants::<1>();
    let old = direct(&mut grants, 0x1000).expect("room");
    grants.revoke(old);
    let entry = table.entry(old).expect("in the table");
    assert!(entry.flags.is_empty());
    assert_eq!(entry.sequence, 1);
    let new = direct(&mut grants, 0x2000).expect("room");
    // Neither an old id nor one of no entry takes the new grant away.
    for id in [old, GrantId::INVALID, GrantId(5), GrantId(i32::MAX)] {
        grants.revoke(id);
        assert!(table.entry(new).expect("in the table").grant().is_some(), "{id:?}");
    }
    grants.revoke(new);
    grants.revoke(new);
    assert_eq!(table.entry(new).expect("in the table").sequence, 2);
}

#[test]
fn sequence_numbers_start_over() {
    let (mut grants, table) = grants::<1>();
    for sequence in 0..GrantId::SEQUENCES {
        let id = direct(&mut grants, 0x1000).expect("room");
        assert_eq!(id.sequence(), Some(sequence));
        assert!(id.is_valid());
        grants.revoke(id);
    }
    let id = direct(&mut grants, 0x1000).expect("room");
    assert_eq!(id, GrantId(0));
    assert_eq!(table.entry(id).expect("in the table").sequence, 0);
}

#[test]
fn a_panic_in_a_request_ends_the_grant_of_borrowed_memory() {
    let (mut grants, table) = grants::<2>();
    // The script has no step for the request, and panics.
    let request = AssertUnwindSafe(|| ds::own_label(&mut Script::new(), &mut grants, Endpoint(5)));
    assert!(catch_unwind(request).is_err());
    let request = AssertUnwindSafe(|| ds::publish_u32(&mut Script::new(), &mut grants, "key", 1));
    assert!(catch_unwind(request).is_err());
    for index in 0..2 {
        assert!(
            table.entry(GrantId(index)).expect("in the table").flags.is_empty(),
            "{index}"
        );
    }
}
