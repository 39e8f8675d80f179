//! Sessions with a driver that is made up: one request at a time, and many.

#[path = "../system/mod.rs"]
mod system;

use guest_protocol::pattern;
use minix_abi::bdev::{BdevAccess, BdevFlags};
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Status};
use minix_rt::{asynsend, grant};
use test_clients::bdev::{Direction, Session, Trouble};
use test_clients::bdev_async::{AsyncSession, Event, SLOTS, Transfer};
use test_clients::buffer::{Kind, Memory};
use test_clients::client::{Client, GRANTS};

use system::bug::Bug;
use system::disk::ORIGINAL_SEED;
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

fn async_session(client: &mut Client<Trap>) -> AsyncSession {
    let session = opened(client);
    AsyncSession::new(session, Box::leak(Box::new(asynsend::Table::new())))
}

fn read_of(memory: &Memory, nth: usize) -> Transfer {
    Transfer {
        direction: Direction::Read,
        minor: DISK,
        position: nth as u64 * 512,
        piece: memory.piece(nth * 512, 512),
        flags: BdevFlags::empty(),
    }
}

#[test]
fn replies_find_their_requests_in_any_order() {
    let trap = Trap::new(1000, Bug::None);
    let mut client = client(&trap);
    let mut session = async_session(&mut client);
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, SLOTS * 512).unwrap();
    for round in 0..3 {
        let mut ids: Vec<_> = (0..SLOTS)
            .map(|nth| session.start(&mut client, read_of(&memory, nth)).unwrap())
            .collect();
        assert_eq!(session.start(&mut client, read_of(&memory, 0)), Err(Trouble::NoRoom));
        assert_eq!(session.outstanding(), SLOTS);
        let mut order = Vec::new();
        while session.outstanding() > 0 {
            match session.wait(&mut client) {
                Event::Reply { id, transfer, status } => {
                    assert_eq!(status, Status(512));
                    let nth = ids.iter().position(|sent| *sent == id).unwrap();
                    assert_eq!(transfer, read_of(&memory, nth));
                    order.push(nth);
                    ids[nth] = -1;
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        assert!(!order.is_sorted(), "the made-up driver mixes them");
        assert_eq!(memory.check_pattern(0, SLOTS * 512, ORIGINAL_SEED, 0), Ok(()));
    }
    assert_eq!(session.wait(&mut client), Event::Quiet);
}

#[test]
fn a_reply_with_a_wrong_id_is_nobodys() {
    // The third request: the first one opens.
    let trap = Trap::new(1000, Bug::WrongIdAt(3));
    let mut client = client(&trap);
    let mut session = async_session(&mut client);
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, 4096).unwrap();
    session.start(&mut client, read_of(&memory, 0)).unwrap();
    assert!(matches!(session.wait(&mut client), Event::Reply { .. }));
    session.start(&mut client, read_of(&memory, 1)).unwrap();
    assert!(matches!(session.wait(&mut client), Event::Stray(_)));
    assert_eq!(session.outstanding(), 1);
}

#[test]
fn requests_to_a_dead_driver_go_to_its_successor() {
    let trap = Trap::new(1000, Bug::DiesAt(4));
    let mut client = client(&trap);
    let mut session = async_session(&mut client);
    let mut memory = Memory::new(&mut client.ipc, Kind::Scattered, 4096).unwrap();
    memory.fill(0, 4096, 0);
    let ids: Vec<_> = (0..5)
        .map(|nth| session.start(&mut client, read_of(&memory, nth)).unwrap())
        .collect();
    let mut answered = Vec::new();
    loop {
        match session.wait(&mut client) {
            Event::Reply { id, status, .. } => {
                assert_eq!(status, Status(512));
                answered.push(id);
            }
            Event::Died => {
                assert_eq!(session.outstanding(), 3, "two were answered before");
                assert_eq!(session.recover(&mut client), Ok(()));
            }
            Event::Quiet => break,
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, ids);
    for sector in 0..5 {
        let mut content = [0; 512];
        memory.read(sector * 512, &mut content);
        assert_eq!(pattern::check(ORIGINAL_SEED, sector as u64, &content), Ok(()));
    }
}
