//! Minors that are not there or not open, unknown control requests, and conversations that are not for block drivers.

use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, PAGE, SINGLE, VECTOR};
use crate::bdev::control;
use crate::report::Outcome;

/// The last sub-partition of the last partition: no client has opened it.
const UNOPENED: Minor = Minor(143);
const IOCTL: MessageType = MessageType::BDEV_IOCTL;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    minors(bench);
    controls(bench);
    arguments_of_controls(bench);
    character_device(bench);
}

fn minors<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, PAGE), BOTH);
    let request = BdevRequest {
        count: PAGE as i32,
        ..control(UNOPENED, IoctlCode::DIOCOPENCT, grant)
    };
    let others = [("control", IOCTL), ("close", MessageType::BDEV_CLOSE)];
    for (way, kind) in SINGLE.into_iter().chain(VECTOR).chain(others) {
        let got = bench.session.request(kind, &request);
        bench.check(format_args!("unopened-{way}"), got, Errno::ERESTART);
    }
    bench.session.client.revoke(grant);
    for minor in [5, 9, 20, 40, 112, 127, 144, 255, 256, i32::MAX, -1, i32::MIN] {
        let request = BdevRequest {
            minor: Minor(minor),
            access: BdevAccess::READ,
            ..Default::default()
        };
        let got = bench.session.request(MessageType::BDEV_OPEN, &request);
        bench.check(format_args!("open-{minor}"), got, Errno::ENXIO);
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
        let request = control(bench.minor, IoctlCode(code), grant);
        bench.refused(format_args!("control-{what}"), IOCTL, request, Errno::ENOTTY);
    }
    bench.session.client.revoke(grant);
}

fn arguments_of_controls<I: Ipc>(bench: &mut Bench<'_, I>) {
    let place = bench.data.piece(0, 32);
    let cases = [
        ("getp", IoctlCode::DIOCGETP, GrantFlags::READ),
        ("openct", IoctlCode::DIOCOPENCT, GrantFlags::READ),
        ("setp", IoctlCode::DIOCSETP, GrantFlags::WRITE),
    ];
    for (what, code, wrong) in cases {
        let grants = [
            ("no-grant", GrantId::INVALID, Errno::EINVAL),
            ("revoked", bench.revoked(place), Errno::EPERM),
            ("wrong-access", bench.grant(place, wrong), Errno::EPERM),
            ("short", bench.grant(bench.data.piece(0, 3), BOTH), Errno::EPERM),
        ];
        for (why, grant, errno) in grants {
            let request = control(bench.minor, code, grant);
            bench.refused(format_args!("{what}-{why}"), IOCTL, request, errno);
        }
        for (_, grant, _) in grants {
            bench.session.client.revoke(grant);
        }
    }
}

/// A block driver is no character driver, and says so in the way of character drivers.
fn character_device<I: Ipc>(bench: &mut Bench<'_, I>) {
    for id in [0, 1, 0x1234_5678, -1, i32::MIN] {
        let name = format_args!("character-open-{id}");
        let mut message = Message::with_payload(MessageType::CDEV_OPEN, &CdevOpen { id });
        let driver = bench.session.driver();
        let sent = bench.session.client.ipc.sendrec(driver, &mut message);
        let reply: CdevReply = message.payload();
        let status = Status::from(Errno::ENXIO);
        let is_right = message.kind == MessageType::CDEV_REPLY && reply == CdevReply { status, id };
        match sent {
            Err(errno) => bench.report(name, Outcome::Fail, &errno),
            Ok(()) => {
                let detail = format_args!("{:?} {reply:?}", message.kind);
                bench.report(name, Outcome::of(is_right), &detail);
            }
        }
    }
}
