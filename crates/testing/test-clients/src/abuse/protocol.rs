//! Minors that are not there or not open, control requests nobody knows, and conversations that are not for block drivers.

use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, PAGE};
use super::sizes::{name, numbered};

/// The last sub-partition of the last partition: opened by nobody before.
const UNOPENED: Minor = Minor(143);

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    unopened(bench);
    unknown_minors(bench);
    controls(bench);
    arguments_of_controls(bench);
    character_device(bench);
}

fn unopened<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, PAGE), BOTH);
    let request = BdevRequest {
        minor: UNOPENED,
        count: PAGE as i32,
        grant,
        request: IoctlCode::DIOCOPENCT,
        user: Endpoint::NONE,
        ..Default::default()
    };
    let kinds = [
        ("read", MessageType::BDEV_READ),
        ("write", MessageType::BDEV_WRITE),
        ("gather", MessageType::BDEV_GATHER),
        ("scatter", MessageType::BDEV_SCATTER),
        ("control", MessageType::BDEV_IOCTL),
        ("close", MessageType::BDEV_CLOSE),
    ];
    for (way, kind) in kinds {
        let got = bench.session.request(bench.client, kind, &request);
        bench.check(&name("unopened", way), got, Errno::ERESTART.into());
    }
    bench.client.revoke(grant);
}

fn unknown_minors<I: Ipc>(bench: &mut Bench<'_, I>) {
    for minor in [5, 9, 20, 40, 112, 127, 144, 255, 256, i32::MAX, -1, i32::MIN] {
        let request = BdevRequest {
            minor: Minor(minor),
            access: BdevAccess::READ,
            ..Default::default()
        };
        let got = bench.session.request(bench.client, MessageType::BDEV_OPEN, &request);
        bench.check(&numbered("open", i64::from(minor)), got, Errno::ENXIO.into());
    }
}

fn controls<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, PAGE), BOTH);
    let codes = [
        ("zero", 0),
        ("ones", u64::MAX),
        ("unknown-number", 0x2000_64FF),
        ("unknown-group", 0x4004_7A07),
        ("wrong-length", 0x4008_6407),
        ("wrong-direction", 0x8004_6407),
        ("upper-half", 1 << 32 | IoctlCode::DIOCOPENCT.0),
    ];
    for (what, code) in codes {
        let request = BdevRequest {
            grant,
            request: IoctlCode(code),
            user: Endpoint::NONE,
            ..Default::default()
        };
        bench.refused(
            &name("control", what),
            MessageType::BDEV_IOCTL,
            request,
            Errno::ENOTTY.into(),
        );
    }
    bench.client.revoke(grant);
}

fn arguments_of_controls<I: Ipc>(bench: &mut Bench<'_, I>) {
    let place = bench.data.piece(0, 32);
    let short = bench.data.piece(0, 3);
    let cases = [
        ("getp", IoctlCode::DIOCGETP, GrantFlags::READ),
        ("openct", IoctlCode::DIOCOPENCT, GrantFlags::READ),
        ("setp", IoctlCode::DIOCSETP, GrantFlags::WRITE),
    ];
    for (what, code, wrong) in cases {
        let revoked = bench.revoked(place, BOTH);
        let wrong = bench.grant(place, wrong);
        let short = bench.grant(short, BOTH);
        let grants = [
            ("no-grant", GrantId::INVALID, Errno::EINVAL),
            ("revoked", revoked, Errno::EPERM),
            ("wrong-access", wrong, Errno::EPERM),
            ("short", short, Errno::EPERM),
        ];
        for (why, grant, errno) in grants {
            let request = BdevRequest {
                grant,
                request: code,
                user: Endpoint::NONE,
                ..Default::default()
            };
            bench.refused(&name(what, why), MessageType::BDEV_IOCTL, request, errno.into());
        }
        bench.client.revoke(wrong);
        bench.client.revoke(short);
    }
}

/// A block driver is no character driver, and says so in the way of character drivers.
fn character_device<I: Ipc>(bench: &mut Bench<'_, I>) {
    for id in [0, 1, 0x1234_5678, -1, i32::MIN] {
        let name = numbered("character-open", i64::from(id));
        let mut message = Message::with_payload(MessageType::CDEV_OPEN, &CdevOpen { id });
        let driver = bench.session.driver();
        let sent = bench.client.ipc.sendrec(driver, &mut message);
        let reply: CdevReply = message.payload();
        let wanted = CdevReply {
            status: Status::from(Errno::ENXIO),
            id,
        };
        match sent {
            Err(errno) => bench.fail(&name, &errno),
            Ok(()) if message.kind != MessageType::CDEV_REPLY || reply != wanted => {
                bench.fail(&name, &format_args!("{:?} {reply:?}", message.kind));
            }
            Ok(()) => bench.pass(&name),
        }
    }
}
