//! Grants that do not fit, and memory at odd addresses.

use minix_abi::bdev::{BdevFlags, BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, GrantId, MessageType, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, PAGE};
use super::sizes::{name, numbered};
use crate::bdev::Direction;

const READ: MessageType = MessageType::BDEV_READ;
const WRITE: MessageType = MessageType::BDEV_WRITE;
const GATHER: MessageType = MessageType::BDEV_GATHER;
const SCATTER: MessageType = MessageType::BDEV_SCATTER;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    grants_of_data(bench);
    grants_of_vectors(bench);
    elements(bench);
    addresses(bench);
}

/// Runs `body` with each grant that is not good for a transfer of a page in a direction, and the answer that it deserves.
fn each_bad<I: Ipc>(
    bench: &mut Bench<'_, I>,
    direction: Direction,
    mut body: impl FnMut(&mut Bench<'_, I>, &'static str, GrantId, Errno),
) {
    let piece = bench.data.piece(0, PAGE);
    let wrong_way = match direction {
        Direction::Read => GrantFlags::READ,
        Direction::Write => GrantFlags::WRITE,
    };
    body(bench, "no-grant", GrantId::INVALID, Errno::EINVAL);
    body(bench, "negative-grant", GrantId(-2), Errno::EINVAL);
    body(bench, "most-negative-grant", GrantId(i32::MIN), Errno::EINVAL);
    body(bench, "no-such-grant", GrantId(0xF_FFFF), Errno::EPERM);
    body(bench, "largest-grant", GrantId(i32::MAX), Errno::EPERM);
    let revoked = bench.revoked(piece, BOTH);
    body(bench, "revoked-grant", revoked, Errno::EPERM);

    let short = bench.data.piece(0, PAGE - 512);
    let made = [
        ("wrong-access", bench.grant(piece, wrong_way)),
        ("no-access", bench.grant(piece, GrantFlags::empty())),
        ("short-grant", bench.grant(short, BOTH)),
        ("empty-grant", bench.grant(bench.data.piece(0, 0), BOTH)),
        (
            "foreign-grant",
            bench
                .client
                .grant(Endpoint::RS, piece, BOTH)
                .unwrap_or(GrantId::INVALID),
        ),
    ];
    for (what, grant) in made {
        body(bench, what, grant, Errno::EPERM);
        bench.client.revoke(grant);
    }
}

fn grants_of_data<I: Ipc>(bench: &mut Bench<'_, I>) {
    for (way, kind, direction) in [("read", READ, Direction::Read), ("write", WRITE, Direction::Write)] {
        each_bad(bench, direction, |bench, what, grant, errno| {
            let request = BdevRequest {
                count: PAGE as i32,
                grant,
                ..Default::default()
            };
            bench.refused(&name(what, way), kind, request, errno.into());
        });
    }
}

/// Whatever is wrong with the grant of a vector: the vector cannot be had.
fn grants_of_vectors<I: Ipc>(bench: &mut Bench<'_, I>) {
    for (way, kind) in [("gather", GATHER), ("scatter", SCATTER)] {
        // The driver reads a vector in either case, as it does with data to be written.
        each_bad(bench, Direction::Write, |bench, what, grant, _| {
            let request = BdevRequest {
                // Just as long as the memory that is granted.
                count: (PAGE / size_of::<VectorElement>()) as i32,
                grant,
                ..Default::default()
            };
            // Of 256 elements only 64 are fetched, for which a short grant is long enough; but what is there is no vector.
            bench.refused(&name(what, way), kind, request, Errno::EINVAL.into());
        });
    }
}

fn elements<I: Ipc>(bench: &mut Bench<'_, I>) {
    for (way, kind, direction) in [
        ("gather", GATHER, Direction::Read),
        ("scatter", SCATTER, Direction::Write),
    ] {
        each_bad(bench, direction, |bench, what, grant, errno| {
            let elements = [bench.session.element(grant, PAGE as u64)];
            bench.refused_vector(&name(what, &name("only", way)), kind, 0, &elements, errno.into());
        });
    }
    // In the middle of good ones: the first one may have been served, the ones behind it not.
    each_bad(bench, Direction::Read, |bench, what, grant, errno| {
        let first = bench.page_element(1, GrantFlags::WRITE);
        let last = bench.page_element(2, GrantFlags::WRITE);
        let elements = [first, bench.session.element(grant, PAGE as u64), last];
        bench.data.fill(0, 3 * PAGE, 0xA5);
        let got = bench
            .session
            .transfer_vector(bench.client, Direction::Read, bench.minor, 0, &elements);
        let what = name(what, "in-the-middle");
        if got == Ok(errno.into()) && !bench.data.is_filled(2 * PAGE, PAGE, 0xA5) {
            bench.fail(&what, &"memory behind it was written");
        } else {
            bench.check(&what, got, errno.into());
        }
        bench.client.revoke(first.grant);
        bench.client.revoke(last.grant);
    });
}

fn addresses<I: Ipc>(bench: &mut Bench<'_, I>) {
    for offset in [1, 3, 511, PAGE - 1] {
        let grant = bench.grant(bench.data.piece(offset, PAGE), BOTH);
        let request = BdevRequest {
            count: PAGE as i32,
            grant,
            ..Default::default()
        };
        for (way, kind) in [("read-to", READ), ("write-from", WRITE)] {
            bench.refused(&numbered(way, offset as i64), kind, request, Errno::EINVAL.into());
        }
        bench.client.revoke(grant);
    }
    // Even is enough.
    for offset in [2, 4, 510, PAGE - 2] {
        let piece = bench.data.piece(offset, PAGE);
        let got = bench
            .session
            .transfer(bench.client, Direction::Read, bench.minor, 0, piece, BdevFlags::empty());
        bench.check(&numbered("read-to", offset as i64), got, Status(PAGE as i32));
    }
}
