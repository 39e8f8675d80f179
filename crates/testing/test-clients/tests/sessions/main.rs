//! Sessions with a driver that is made up.

#[path = "../system/mod.rs"]
mod system;

use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Status};
use minix_rt::grant;
use test_clients::bdev::{Direction, Session, Trouble};
use test_clients::buffer::{Kind, Memory};
use test_clients::client::{Client, GRANTS};

use system::bug::Bug;
use system::{LABEL, Trap};
use zerocopy::IntoBytes;

const DISK: Minor = Minor(0);

fn client(trap: &Trap) -> Client<Trap> {
    Client::new(trap.clone(), Box::leak(Box::new(grant::Table::new()))).unwrap()
}

fn opened(client: &mut Client<Trap>) -> Session {
    let mut session = Session::new(client, LABEL, 7).unwrap();
    assert_eq!(session.open(client, DISK, BdevAccess::READ), Ok(Status::OK));
    session
}

#[test]
fn what_is_written_can_be_read() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = opened(&mut client);
    let mut memory = Memory::new(&mut client.ipc, Kind::Scattered, 8192).unwrap();
    memory.fill_pattern(1, 1024, 3, 10);
    let from = memory.piece(1, 1024);
    let written = session.write(&mut client, DISK, 5120, from, BdevFlags::FORCEWRITE);
    assert_eq!(written, Ok(Status(1024)));
    let into = [memory.piece(4000, 512), memory.piece(5000, 512)];
    let read = session.transfer_pieces(&mut client, Direction::Read, DISK, 5120, &into);
    assert_eq!(read, Ok(Status(1024)));
    assert_eq!(memory.check_pattern(4000, 512, 3, 10), Ok(()));
    assert_eq!(memory.check_pattern(5000, 512, 3, 11), Ok(()));
}

#[test]
fn padding_of_elements_is_never_clean() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = opened(&mut client);
    for _ in 0..100 {
        let element = session.element(GrantId(5), 512);
        assert_eq!((element.grant, element.bytes), (GrantId(5), 512));
        assert_ne!(element.as_bytes()[4..8], [0; 4]);
    }
}

#[test]
fn grants_come_back_whatever_happens() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = opened(&mut client);
    let memory = Memory::new(&mut client.ipc, Kind::Contiguous, 4096).unwrap();
    let pieces = [memory.piece(0, 512); 64];
    for _ in 0..20 {
        let read = session.transfer_pieces(&mut client, Direction::Read, DISK, 0, &pieces);
        assert_eq!(read, Ok(Status(64 * 512)));
        let too_many = [memory.piece(0, 512); 65];
        let read = session.transfer_pieces(&mut client, Direction::Read, DISK, 0, &too_many);
        assert_eq!(read, Err(Trouble::NoRoom));
        assert!(session.partition(&mut client, DISK).is_ok());
    }
    for _ in 0..2 * GRANTS {
        let read = session.read(&mut client, DISK, 0, memory.piece(0, 512));
        assert_eq!(read, Ok(Status(512)));
    }
}

#[test]
fn a_successor_is_found_and_opened_as_often_as_before() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = opened(&mut client);
    session.open(&mut client, DISK, BdevAccess::READ).unwrap();
    session.open(&mut client, Minor(3), BdevAccess::READ).unwrap();
    session.open(&mut client, Minor(2), BdevAccess::READ).unwrap();
    session.close(&mut client, Minor(2)).unwrap();
    let old = session.driver();
    trap.0.borrow_mut().replace_driver();
    assert_eq!(session.open_count(&mut client, DISK), Err(Trouble::Died));
    assert_eq!(session.recover(&mut client), Ok(()));
    assert_ne!(session.driver(), old);
    assert_eq!(session.open_count(&mut client, DISK), Ok((Status::OK, 3)));
    let closed = session.open_count(&mut client, Minor(2));
    assert_eq!(closed.map(|(status, _)| status), Ok(Errno::ERESTART.into()));
}

#[test]
fn a_driver_that_stays_dead_is_given_up() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = opened(&mut client);
    // It is still the same.
    assert_eq!(session.recover(&mut client), Err(Trouble::Died));
}
