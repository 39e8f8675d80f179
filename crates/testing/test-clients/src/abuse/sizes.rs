//! Positions, counts and sizes: large, negative, odd, and in pieces.

use core::ops::Range;
use core::slice;

use guest_protocol::SECTOR_BYTES;
use guest_protocol::pattern::Digest;
use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS};
use minix_abi::grant::GrantFlags;
use minix_abi::{Errno, MessageType, Status};
use minix_rt::Ipc;

use super::bench::{BOTH, Bench, LONG_BYTES, NOISE, PAGE, SINGLE, VECTOR, transfer};
use crate::bdev::{Direction, Trouble, element};
use crate::buffer::Piece;
use crate::report::Outcome;

const EINVAL: Errno = Errno::EINVAL;
/// Bytes of a vector of as many pages as there may be elements.
const SPREAD_BYTES: usize = MAX_ELEMENTS * PAGE;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    // Every second page: no two elements are neighbours.
    let spread: [_; MAX_ELEMENTS] = core::array::from_fn(|nth| 2 * nth * PAGE..(2 * nth + 1) * PAGE);
    round_trip(bench, "64-pages", &spread);
    // From an address that is 4 beyond a page: 129 pages that have nothing to do with each other.
    round_trip(bench, "512-kib", slice::from_ref(&(4..4 + LONG_BYTES)));
    beyond_the_end(bench);
    counts(bench);
    counts_of_elements(bench);
    sizes_of_elements(bench);
}

/// The same place read into ranges and into one piece, in two halves, has to look the same, also after it was written from ranges.
fn round_trip<I: Ipc>(bench: &mut Bench<'_, I>, name: &str, ranges: &[Range<usize>]) {
    let bytes = ranges.iter().map(Range::len).sum::<usize>();
    let all = Status(bytes as i32);
    let position = bench.scratch.start;
    if bench.bytes < position + bytes as u64 {
        return bench.report(format_args!("{name}-read"), Outcome::Skip, &"the minor is too short");
    }
    let end = ranges.last().map_or(0, |range| range.end) + 8;
    bench.data.fill_noise(0, end, NOISE);
    let got = move_ranges(bench, Direction::Read, ranges);
    let (mut digest, mut is_kept, mut done) = (Digest::new(), true, 0);
    for range in ranges {
        bench.data.update(&mut digest, range.start, range.len());
        is_kept &= bench.data.check_noise(done, range.start - done, NOISE).is_ok();
        done = range.end;
    }
    is_kept &= bench.data.check_noise(done, end - done, NOISE).is_ok();
    let back = read_halves(bench, bytes);
    let why = match digest.finish() == bench.other.digest(0, bytes) {
        _ if !is_kept => "memory around it was written",
        false => "two halves hold something else",
        true => "",
    };
    bench.check_more(format_args!("{name}-read"), got.and(back).and(got), all, why);

    if bench.room() < bytes as u64 {
        return bench.report(format_args!("{name}-write"), Outcome::Skip, &"no scratch range");
    }
    let first = position / SECTOR_BYTES as u64;
    let seed = 0xAB05_E000_0000_0000 + bytes as u64;
    let mut sector = first;
    for range in ranges {
        bench.data.fill_pattern(range.start, range.len(), seed, sector);
        sector += (range.len() / SECTOR_BYTES) as u64;
    }
    let got = move_ranges(bench, Direction::Write, ranges);
    let back = read_halves(bench, bytes);
    let is_there = bench.other.check_pattern(0, bytes, seed, first).is_ok();
    let why = if is_there { "" } else { "the disk holds something else" };
    bench.check_more(format_args!("{name}-write"), got.and(back).and(got), all, why);
}

fn move_ranges<I: Ipc>(
    bench: &mut Bench<'_, I>,
    direction: Direction,
    ranges: &[Range<usize>],
) -> Result<Status, Trouble> {
    let pieces = ranges.iter().map(|range| bench.data.piece(range.start, range.len()));
    let pieces: heapless::Vec<Piece, MAX_ELEMENTS> = pieces.collect();
    let (minor, position) = (bench.minor, bench.scratch.start);
    match (direction, &pieces[..]) {
        (Direction::Write, [piece]) => bench.session.write(minor, position, *piece, BdevFlags::FORCEWRITE),
        (Direction::Read, [piece]) => bench.session.read(minor, position, *piece),
        _ => bench.session.transfer_pieces(direction, minor, position, &pieces),
    }
}

/// Reads the start of the scratch range into the other memory, in two requests.
fn read_halves<I: Ipc>(bench: &mut Bench<'_, I>, bytes: usize) -> Result<Status, Trouble> {
    bench.other.fill_noise(0, bytes, NOISE);
    let mut moved = 0;
    for start in [0, bytes / 2] {
        let piece = bench.other.piece(start, bytes / 2);
        let position = bench.scratch.start + start as u64;
        moved += bench.session.read(bench.minor, position, piece)?.0;
    }
    Ok(Status(moved))
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
            Status(SPREAD_BYTES as i32),
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
