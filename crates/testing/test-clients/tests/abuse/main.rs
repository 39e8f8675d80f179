//! The account of replies, and the bounds of the noise.

use std::collections::BTreeSet;

use minix_abi::bdev::{BdevReply, BdevRequest};
use minix_abi::cdev::CdevReply;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};
use proptest::prelude::*;
use test_clients::abuse::{Account, Book, Bounds, Expected, Extent, Noise, Opened, Pool, Wrong};
use test_clients::bdev::Direction;

const MINOR: Minor = Minor(2);

fn block_reply(id: i32, status: impl Into<Status>) -> Message {
    let status = status.into();
    Message::with_payload(MessageType::BDEV_REPLY, &BdevReply { status, id })
}

fn account(id: i32, expected: Expected) -> Account {
    let mut account = Account::new(MINOR);
    assert!(account.sent(id, expected));
    account
}

#[test]
fn a_reply_is_due_once() {
    let mut account = account(7, Expected::Transfer(MINOR, 4096));
    assert_eq!(account.due(), 1);
    assert_eq!(account.arrived(&block_reply(7, Status(4096))), Ok(()));
    assert_eq!(account.due(), 0);
    assert_eq!(account.arrived(&block_reply(7, Status(4096))), Err(Wrong::Twice(7)));
    assert_eq!(
        account.arrived(&block_reply(8, Status(4096))),
        Err(Wrong::NeverAsked(8))
    );
    assert_eq!(account.replies(), 1);
    assert_eq!(account.settle(), Ok(()));
}

#[test]
fn a_reply_that_does_not_come_is_missed_and_then_forgotten() {
    let expected = Expected::Control(MINOR);
    let mut account = account(7, expected);
    assert_eq!(account.settle(), Err(Wrong::Missing(expected)));
    assert_eq!(account.settle(), Ok(()));
    // Too late.
    assert_eq!(account.arrived(&block_reply(7, Status(0))), Err(Wrong::Twice(7)));
}

#[test]
fn messages_for_nobody_are_not_answered() {
    let mut account = account(7, Expected::Nothing);
    assert_eq!(account.due(), 0);
    let wrong = account.arrived(&block_reply(7, Errno::EINVAL));
    assert!(matches!(wrong, Err(Wrong::Status { .. })), "{wrong:?}");
    assert!(account.sent(8, Expected::NothingOrRestart));
    assert_eq!(account.arrived(&block_reply(8, Errno::ERESTART)), Ok(()));
    assert!(account.sent(9, Expected::NothingOrRestart));
    assert!(account.arrived(&block_reply(9, Errno::ENOSYS)).is_err());
    assert!(account.sent(10, Expected::Nothing));
    assert_eq!(account.settle(), Ok(()));
}

#[test]
fn replies_have_the_type_of_their_requests() {
    let refusal = |id| {
        let status = Errno::ENXIO.into();
        Message::with_payload(MessageType::CDEV_REPLY, &CdevReply { status, id })
    };
    let mut right = account(7, Expected::CdevRefusal);
    assert_eq!(right.arrived(&refusal(7)), Ok(()));
    let mut wrong = account(7, Expected::CdevRefusal);
    assert!(matches!(
        wrong.arrived(&block_reply(7, Errno::ENXIO)),
        Err(Wrong::Kind(_))
    ));
    let mut wrong = account(7, Expected::Open(MINOR));
    assert!(matches!(wrong.arrived(&refusal(7)), Err(Wrong::Kind(_))));
    assert!(matches!(
        wrong.arrived(&Message::new(MessageType(0))),
        Err(Wrong::Kind(_))
    ));
}

#[test]
fn answers_that_cannot_be_are_seen() {
    let (known, unknown) = (Minor(130), Minor(5));
    let bad = [
        (Expected::Open(known), Status(1)),
        (Expected::Open(known), Errno::ENXIO.into()),
        (Expected::Open(unknown), Status(0)),
        (Expected::Open(Minor(-1)), Errno::EINVAL.into()),
        (Expected::Close(unknown), Status(0)),
        (Expected::Close(known), Errno::EIO.into()),
        (Expected::Transfer(known, 512), Status(1024)),
        (Expected::Transfer(known, 1024), Status(100)),
        (Expected::Transfer(known, 512), Errno::EIO.into()),
        (Expected::Transfer(known, 512), Errno::EFAULT.into()),
        (Expected::Transfer(known, 512), Errno::ENXIO.into()),
        (Expected::Transfer(unknown, 512), Status(512)),
        (Expected::Control(known), Status(5000)),
        (Expected::Control(known), Errno::EIO.into()),
        (Expected::Control(unknown), Status(0)),
    ];
    for (expected, status) in bad {
        let arrived = account(1, expected).arrived(&block_reply(1, status));
        assert_eq!(arrived, Err(Wrong::Status { expected, status }));
    }
    let good = [
        (Expected::Open(known), Status(0)),
        (Expected::Open(unknown), Errno::ENXIO.into()),
        (Expected::Close(known), Errno::EINVAL.into()),
        (Expected::Transfer(known, 1024), Status(512)),
        (Expected::Transfer(known, 1024), Errno::EPERM.into()),
        (Expected::Transfer(unknown, 1024), Errno::ENXIO.into()),
        (Expected::Control(known), Status(1024)),
        (Expected::Control(unknown), Errno::ERESTART.into()),
    ];
    for (expected, status) in good {
        assert_eq!(account(1, expected).arrived(&block_reply(1, status)), Ok(()));
    }
}

#[test]
fn what_was_never_opened_is_answered_in_one_way_only() {
    let exactly = |minor| Expected::Exactly {
        minor,
        status: Status(512),
        direction: Some(Direction::Read),
    };
    let restart = Status::from(Errno::ERESTART);
    let minor = Minor(130);
    let answers = |opened: Opened, status: Status| {
        let mut account = Account::new(MINOR);
        account.set_opened(minor, opened);
        assert!(account.sent(1, exactly(minor)));
        account.arrived(&block_reply(1, status)).is_ok()
    };
    let all = [Opened::Never, Opened::Perhaps, Opened::Surely];
    assert_eq!(all.map(|opened| answers(opened, restart)), [true, true, false]);
    assert_eq!(all.map(|opened| answers(opened, Status(512))), [false, true, true]);
    assert_eq!(
        all.map(|opened| answers(opened, Errno::EINVAL.into())),
        [false, false, false]
    );

    // While an open is on its way nobody knows; when it has been answered, everybody does.
    let mut account = Account::new(MINOR);
    account.set_opened(minor, Opened::Never);
    assert!(account.sent(1, Expected::Open(minor)));
    assert_eq!(account.opened(minor), Opened::Perhaps);
    assert_eq!(account.arrived(&block_reply(1, Status::OK)), Ok(()));
    assert_eq!(account.settle(), Ok(()));
    assert_eq!(account.opened(minor), Opened::Surely);
    assert_eq!(account.moved(), (0, 0));
    assert!(account.sent(2, exactly(minor)));
    assert_eq!(account.arrived(&block_reply(2, Status(512))), Ok(()));
    assert_eq!(account.moved(), (1, 0));
}

#[test]
fn the_book_knows_the_order_of_the_checks() {
    // A disk of 1 MiB; the minor is 64 KiB from byte 4096 on.
    let mut book = Book::new(POOL, 1 << 20);
    let (base, bytes) = (4096, 65536);
    book.set_extent(MINOR, Extent { base, bytes });
    let status = |kind, request: BdevRequest| match book.narrow(kind, &request, Expected::Nothing) {
        Expected::Exactly { status, .. } => Some(status),
        _ => None,
    };
    let ask = |position: u64, count: i32, grant: GrantId| BdevRequest {
        minor: MINOR,
        position,
        count,
        grant,
        ..Default::default()
    };
    let error = |errno: Errno| Some(Status::from(errno));
    let (read, write) = (MessageType::BDEV_READ, MessageType::BDEV_WRITE);
    let cases = [
        (ask(0, 4096, POOL.good), Some(Status(4096))),
        (ask(0, 4096, POOL.write_only), Some(Status(4096))),
        (ask(0, 4096, POOL.read_only), error(Errno::EPERM)),
        (ask(0, 4096, POOL.short), error(Errno::EPERM)),
        (ask(65536 - 512, 4096, POOL.short), Some(Status(512))),
        (ask(0, 4096, POOL.revoked), error(Errno::EPERM)),
        (ask(0, 4096, GrantId(77)), error(Errno::EPERM)),
        (ask(0, 4096, GrantId(-5)), error(Errno::EINVAL)),
        (ask(0, 100, POOL.good), error(Errno::EINVAL)),
        (ask(0, 0, POOL.good), error(Errno::EINVAL)),
        (ask(1 << 20, 100, POOL.good), Some(Status::OK)),
        (ask(1 << 20, -1, POOL.good), error(Errno::EINVAL)),
        (ask(65536, 512, GrantId(-5)), Some(Status::OK)),
        (ask(65536, 100, POOL.good), error(Errno::EINVAL)),
        (ask(1, 512, POOL.good), error(Errno::EINVAL)),
        (ask(0, 128 << 10, POOL.good), Some(Status(65536))),
    ];
    for (request, expected) in cases {
        assert_eq!(status(read, request), expected, "{request:?}");
    }
    assert_eq!(status(write, ask(0, 512, POOL.read_only)), Some(Status(512)));
    assert_eq!(status(write, ask(0, 512, POOL.write_only)), error(Errno::EPERM));
    let unknown = BdevRequest {
        minor: Minor(5),
        ..ask(0, 512, POOL.good)
    };
    assert_eq!(status(read, unknown), error(Errno::ENXIO));
    let elsewhere = BdevRequest {
        minor: Minor(0),
        ..ask(0, 512, POOL.good)
    };
    assert_eq!(status(read, elsewhere), None, "nobody has said where that is");
    let gather = MessageType::BDEV_GATHER;
    assert_eq!(status(gather, ask(0, 0, POOL.good_vector)), error(Errno::EINVAL));
    assert_eq!(status(gather, ask(0, 1, POOL.write_only)), error(Errno::EINVAL));
    assert_eq!(status(gather, ask(0, 33, POOL.short)), error(Errno::EINVAL));
    assert_eq!(status(gather, ask(0, 32, POOL.short)), None, "what is in it?");
}

#[test]
fn opens_are_counted_as_they_are_answered() {
    let mut account = Account::new(MINOR);
    assert_eq!((account.total_opens(), account.opens(MINOR)), (1, 1));
    let steps = [
        (Expected::Open(Minor(0)), Status(0), 2),
        (Expected::Open(Minor(140)), Errno::EACCES.into(), 2),
        (Expected::Open(Minor(140)), Status(0), 3),
        (Expected::Close(Minor(0)), Status(0), 2),
        (Expected::Close(Minor(0)), Errno::EINVAL.into(), 2),
        (Expected::Control(Minor(0)), Status(0), 2),
    ];
    for (id, (expected, status, total)) in (1..).zip(steps) {
        assert!(account.sent(id, expected));
        assert_eq!(account.arrived(&block_reply(id, status)), Ok(()));
        assert_eq!(account.total_opens(), total);
    }
    assert_eq!((account.opens(Minor(0)), account.opens(Minor(140))), (0, 1));
}

const POOL: Pool = Pool {
    good: GrantId(1),
    read_only: GrantId(2),
    write_only: GrantId(3),
    short: GrantId(4),
    revoked: GrantId(5),
    foreign: GrantId(6),
    good_vector: GrantId(7),
    bad_vector: GrantId(8),
    noisy_vector: GrantId(9),
    argument: GrantId(10),
    timeout: GrantId(11),
};

fn bounds(scratch: core::ops::Range<u64>) -> Bounds {
    Bounds {
        minor: MINOR,
        bytes: 1 << 24,
        scratch,
    }
}

/// Whether data could come out of a grant.
fn is_readable(grant: GrantId) -> bool {
    let unreadable = [POOL.write_only, POOL.revoked, POOL.foreign, POOL.bad_vector];
    grant.is_valid() && !unreadable.contains(&grant)
}

/// What a message must not do, whatever else it does.
fn check_harmless(message: &Message, bounds: &Bounds) {
    let request: BdevRequest = message.payload();
    let inside = |bytes: u64| {
        let end = request.position.checked_add(bytes);
        request.minor == bounds.minor
            && request.position >= bounds.scratch.start
            && end.is_some_and(|end| end <= bounds.scratch.end)
    };
    match message.kind {
        MessageType::BDEV_WRITE if is_readable(request.grant) => {
            assert!(request.count > 0 && inside(request.count as u64), "{request:?}");
            assert!(request.count <= 64 << 10);
        }
        MessageType::BDEV_SCATTER if is_readable(request.grant) => {
            assert_eq!(request.grant, POOL.good_vector);
            assert!(inside(64 * 512), "{request:?}");
        }
        MessageType::BDEV_CLOSE => assert_ne!(request.minor, bounds.minor),
        MessageType::BDEV_IOCTL if request.request == IoctlCode::DIOCTIMEOUT => {
            assert!(!is_readable(request.grant) || request.grant == POOL.timeout);
        }
        MessageType::BDEV_IOCTL if request.request == IoctlCode::DIOCSETP => {
            assert!(!is_readable(request.grant) || (140..143).contains(&request.minor.0));
        }
        _ => {}
    }
}

#[test]
fn there_is_everything_in_it() {
    let bounds = bounds(1 << 20..2 << 20);
    let mut noise = Noise::new(3, bounds.clone(), POOL);
    let (mut kinds, mut codes) = (BTreeSet::new(), BTreeSet::new());
    let (mut writes, mut scatters, mut others) = (0, 0, 0);
    for id in 1..60_000 {
        let shot = noise.shot(id);
        check_harmless(&shot.message, &bounds);
        let request: BdevRequest = shot.message.payload();
        match shot.message.kind {
            MessageType::BDEV_WRITE if is_readable(request.grant) => writes += 1,
            MessageType::BDEV_SCATTER if is_readable(request.grant) => scatters += 1,
            MessageType::BDEV_IOCTL => drop(codes.insert(request.request.0)),
            kind if shot.expected == Expected::Nothing => {
                assert!(!kind.is_bdev_request() && kind != MessageType::CDEV_OPEN);
                others += 1;
            }
            _ => {}
        }
        kinds.insert(shot.message.kind.0);
    }
    for kind in 0x500..0x580 {
        assert!(kinds.contains(&kind), "{kind:#x}");
    }
    for (name, code) in IoctlCode::NAMED {
        assert!(codes.contains(&code.0), "{name}");
    }
    assert!(codes.len() > 300 && kinds.len() > 300);
    assert!(
        writes > 500 && scatters > 500 && others > 500,
        "{writes} {scatters} {others}"
    );
    assert!(
        [0xE00, 0xE02, 0x714, 0x715, 0x1000, 0x400]
            .iter()
            .all(|kind| kinds.contains(kind))
    );
}

proptest! {
    #[test]
    fn noise_stays_in_its_bounds(seed in any::<u64>(), start in 0..1u64 << 14, sectors in 0..300u64) {
        let bounds = bounds(start * 512..(start + sectors) * 512);
        let mut noise = Noise::new(seed, bounds.clone(), POOL);
        for id in 1..300 {
            let shot = noise.shot(id);
            check_harmless(&shot.message, &bounds);
            // Where there is an id to be repeated, it is the right one.
            let request: BdevRequest = shot.message.payload();
            prop_assert_eq!(request.id, id);
        }
    }
}
