//! Positions, counts and sizes: large, negative and odd.

use minix_abi::bdev::{BdevRequest, MAX_ELEMENTS};
use minix_abi::grant::GrantFlags;
use minix_abi::{Errno, MessageType, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, NOISE, PAGE, SINGLE, VECTOR, transfer};
use crate::bdev::{Direction, element};

const EINVAL: Errno = Errno::EINVAL;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    beyond_the_end(bench);
    counts(bench);
    counts_of_elements(bench);
    sizes_of_elements(bench);
}

fn beyond_the_end<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, PAGE), BOTH);
    let ends = [
        ("minus-512", 512u64.wrapping_neg()),
        ("minus-1", u64::MAX),
        ("2-to-the-63", 1 << 63),
        ("half-of-all", i64::MAX as u64 & !511),
        ("at-the-end", bench.bytes),
        ("past-the-end", bench.bytes + 512),
    ];
    for (what, position) in ends {
        for (way, kind) in SINGLE {
            let request = BdevRequest {
                position,
                ..transfer(PAGE as i32, grant)
            };
            bench.refused(format_args!("{what}-{way}"), kind, request, Status::OK);
        }
        let element = bench.session.element(grant, PAGE as u64);
        for (way, kind) in VECTOR {
            bench.refused_vector(format_args!("{what}-{way}"), kind, position, &[element], Status::OK);
        }
    }
    bench.session.client.revoke(grant);

    // One sector before the end, and a page wanted.
    let position = bench.bytes.saturating_sub(512);
    bench.data.fill_noise(0, PAGE, NOISE);
    let got = bench.session.read(bench.minor, position, bench.data.piece(0, PAGE));
    let is_kept = bench.data.check_noise(512, PAGE - 512, NOISE).is_ok();
    let why = if is_kept {
        ""
    } else {
        "more than a sector was written to memory"
    };
    bench.check_more(format_args!("clipped-read"), got, Status(512), why);
}

/// Positions and counts of bytes that make no sense.
fn counts<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, 2 * PAGE), BOTH);
    for (way, kind) in SINGLE {
        for count in [-1, -512, i32::MIN, 0, 1, 2, 511, 513, 4095, i32::MAX] {
            let request = transfer(count, grant);
            bench.refused(format_args!("of-{count}-{way}"), kind, request, EINVAL);
        }
        for position in [1, 2, 511, 513, 4095] {
            let request = BdevRequest {
                position,
                ..transfer(PAGE as i32, grant)
            };
            bench.refused(format_args!("at-{position}-{way}"), kind, request, EINVAL);
        }
        // A whole number of sectors, but more than there is memory, or disk, for it.
        let request = transfer(i32::MAX & !511, grant);
        bench.refused(format_args!("too-long-{way}"), kind, request, Errno::EPERM);
    }
    bench.session.client.revoke(grant);
}

fn counts_of_elements<I: Ipc>(bench: &mut Bench<'_, I>) {
    let gather = MessageType::BDEV_GATHER;
    // One grant for all: elements may overlap.
    let grant = bench.grant(bench.data.piece(0, PAGE), GrantFlags::WRITE);
    let elements: [_; MAX_ELEMENTS] = core::array::from_fn(|_| bench.session.element(grant, PAGE as u64));
    let vector = bench.grant_vector(&elements);
    // Negative ones are large ones, and large ones are 64.
    for count in [64, 65, 66, 1 << 20, i32::MAX, -1, -64, i32::MIN] {
        let request = BdevRequest {
            minor: bench.minor,
            ..transfer(count, vector)
        };
        let got = bench.session.request(gather, &request);
        bench.check(
            format_args!("elements-{count}-gather"),
            got,
            Status((MAX_ELEMENTS * PAGE) as i32),
        );
    }
    for (way, kind) in VECTOR {
        bench.refused(format_args!("elements-0-{way}"), kind, transfer(0, vector), EINVAL);
    }
    bench.session.client.revoke(vector);

    // A vector shorter than its count.
    let vector = bench.grant_vector(&elements[..63]);
    for count in [64, -1] {
        let request = transfer(count, vector);
        bench.refused(format_args!("short-vector-{count}"), gather, request, EINVAL);
    }
    bench.session.client.revoke(vector);
    bench.session.client.revoke(grant);
}

fn sizes_of_elements<I: Ipc>(bench: &mut Bench<'_, I>) {
    let whole = bench.page_element(0, BOTH);
    let large = 1u64 << 62;
    let most = i64::MAX as u64 - 511;
    let cases = [
        ("empty-element", [4096, 0, 4096]),
        ("first-element-empty", [0, 4096, 4096]),
        ("element-of-1", [4096, 1, 4096]),
        ("element-of-511", [4096, 511, 4096]),
        ("element-of-4095", [4096, 4095, 4096]),
        ("elements-of-256", [256, 256, 4096]),
        ("element-of-2-to-the-63", [4096, 1 << 63, 4096]),
        ("element-of-minus-512", [4096, 512u64.wrapping_neg(), 4096]),
        ("sum-beyond-63-bits", [large, large, 4096]),
        ("sum-beyond-64-bits", [most, most, 4096]),
    ];
    for (what, sizes) in cases {
        let elements = sizes.map(|bytes| bench.session.element(whole.grant, bytes));
        for (way, kind) in VECTOR {
            bench.refused_vector(format_args!("{what}-{way}"), kind, 0, &elements, EINVAL);
        }
    }
    // Whole sectors and a sum that fits, but no grant is that long.
    let elements = [bench.session.element(whole.grant, large)];
    let name = format_args!("element-of-2-to-the-62");
    bench.refused_vector(name, MessageType::BDEV_GATHER, 0, &elements, Errno::EPERM);

    // Nothing in the padding counts.
    for padding in [u32::MAX, 1 << 31, 1] {
        let elements = [element(whole.grant, padding, PAGE as u64)];
        let got = bench
            .session
            .transfer_vector(Direction::Read, bench.minor, 0, &elements);
        bench.check(format_args!("padding-{padding}"), got, Status(PAGE as i32));
    }
    bench.session.client.revoke(whole.grant);
}
