//! Grants that do not fit, and memory at odd addresses.

use minix_abi::bdev::VectorElement;
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, GrantId, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, NOISE, PAGE, SINGLE, VECTOR, transfer};
use crate::bdev::Direction;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    let directions = [Direction::Read, Direction::Write];
    for ((way, kind), direction) in SINGLE.into_iter().zip(directions) {
        each_bad(bench, direction, |bench, what, grant, errno| {
            bench.refused(format_args!("{what}-{way}"), kind, transfer(PAGE as i32, grant), errno);
        });
    }
    for ((way, kind), direction) in VECTOR.into_iter().zip(directions) {
        // The driver reads a vector in either case, as it does with data to be written. Any bad grant of a vector makes the
        // vector unreadable. Of 256 elements only 64 are fetched, for which a short grant is long enough; but it holds no vector.
        each_bad(bench, Direction::Write, |bench, what, grant, _| {
            let request = transfer((PAGE / size_of::<VectorElement>()) as i32, grant);
            bench.refused(format_args!("{what}-{way}"), kind, request, Errno::EINVAL);
        });
        each_bad(bench, direction, |bench, what, grant, errno| {
            let elements = [bench.session.element(grant, PAGE as u64)];
            bench.refused_vector(format_args!("{what}-only-{way}"), kind, 0, &elements, errno);
        });
    }
    in_the_middle(bench);
    addresses(bench);
}

/// Runs `body` with each grant that is not good for a transfer of a page in a direction, and the expected answer.
fn each_bad<I: Ipc>(
    bench: &mut Bench<'_, I>,
    direction: Direction,
    mut body: impl FnMut(&mut Bench<'_, I>, &'static str, GrantId, Errno),
) {
    let piece = bench.data.piece(0, PAGE);
    let no_grants = [
        ("no-grant", GrantId::INVALID, Errno::EINVAL),
        ("negative-grant", GrantId(-2), Errno::EINVAL),
        ("most-negative-grant", GrantId(i32::MIN), Errno::EINVAL),
        ("no-such-grant", GrantId(0xF_FFFF), Errno::EPERM),
        ("largest-grant", GrantId(i32::MAX), Errno::EPERM),
    ];
    for (what, grant, errno) in no_grants {
        body(bench, what, grant, errno);
    }
    let revoked = bench.revoked(piece);
    body(bench, "revoked-grant", revoked, Errno::EPERM);

    let foreign = bench.session.client.grant(Endpoint::RS, piece, BOTH);
    let grants = [
        ("wrong-access", bench.grant(piece, BOTH - direction.access())),
        ("no-access", bench.grant(piece, GrantFlags::empty())),
        ("short-grant", bench.grant(bench.data.piece(0, PAGE - 512), BOTH)),
        ("empty-grant", bench.grant(bench.data.piece(0, 0), BOTH)),
        ("foreign-grant", foreign.unwrap_or(GrantId::INVALID)),
    ];
    for (what, grant) in grants {
        body(bench, what, grant, Errno::EPERM);
        bench.session.client.revoke(grant);
    }
}

/// Among good elements: the first one may have been served, the ones after the bad one not.
fn in_the_middle<I: Ipc>(bench: &mut Bench<'_, I>) {
    each_bad(bench, Direction::Read, |bench, what, grant, errno| {
        let first = bench.page_element(1, GrantFlags::WRITE);
        let last = bench.page_element(2, GrantFlags::WRITE);
        let elements = [first, bench.session.element(grant, PAGE as u64), last];
        bench.data.fill_noise(0, 3 * PAGE, NOISE);
        let got = bench
            .session
            .transfer_vector(Direction::Read, bench.minor, 0, &elements);
        let is_kept = bench.data.check_noise(2 * PAGE, PAGE, NOISE).is_ok();
        let why = if is_kept { "" } else { "memory after it was written" };
        bench.check_more(format_args!("{what}-in-the-middle"), got, errno, why);
        bench.session.client.revoke(first.grant);
        bench.session.client.revoke(last.grant);
    });
}

fn addresses<I: Ipc>(bench: &mut Bench<'_, I>) {
    for offset in [1, 3, 511, PAGE - 1] {
        let grant = bench.grant(bench.data.piece(offset, PAGE), BOTH);
        for (way, kind) in SINGLE {
            let request = transfer(PAGE as i32, grant);
            bench.refused(format_args!("address-{offset}-{way}"), kind, request, Errno::EINVAL);
        }
        bench.session.client.revoke(grant);
    }
    // Even is enough.
    for offset in [2, 4, 510, PAGE - 2] {
        let got = bench.session.read(bench.minor, 0, bench.data.piece(offset, PAGE));
        bench.check(format_args!("address-{offset}-read"), got, Status(PAGE as i32));
    }
}
