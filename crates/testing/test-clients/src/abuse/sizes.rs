//! Positions, counts and sizes: large, negative, odd, and in pieces.

use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::{Errno, MessageType, Status};
use minix_rt::Ipc;

use guest_protocol::SECTOR_BYTES;

use super::bench::{BOTH, Bench, LONG_BYTES, PAGE};
use crate::bdev::Direction;
use crate::buffer::Piece;

const READ: MessageType = MessageType::BDEV_READ;
const WRITE: MessageType = MessageType::BDEV_WRITE;
const GATHER: MessageType = MessageType::BDEV_GATHER;
const SCATTER: MessageType = MessageType::BDEV_SCATTER;
const EINVAL: Errno = Errno::EINVAL;
/// Bytes of a vector of as many pages as there may be elements.
const SPREAD_BYTES: usize = MAX_ELEMENTS * PAGE;
/// Seeds of what is written.
const SEED: u64 = 0xAB05_E000_0000_0001;
const OTHER_SEED: u64 = 0xAB05_E000_0000_0002;

pub(super) fn run<I: Ipc>(bench: &mut Bench<'_, I>) {
    spread_over_pages(bench);
    long_and_unaligned(bench);
    beyond_the_end(bench);
    counts_that_are_none(bench);
    counts_of_elements(bench);
    not_whole_sectors(bench);
    sizes_of_elements(bench);
}

/// Every second page: no two elements are neighbours.
fn spread(bench: &Bench<'_, impl Ipc>) -> [Piece; MAX_ELEMENTS] {
    core::array::from_fn(|nth| bench.data.piece(2 * nth * PAGE, PAGE))
}

/// The same place read into 64 elements and into one piece has to look the same.
fn spread_over_pages<I: Ipc>(bench: &mut Bench<'_, I>) {
    let pieces = spread(bench);
    let whole = bench.other.piece(0, SPREAD_BYTES);
    let all = Status(SPREAD_BYTES as i32);
    let position = bench.scratch.start;

    let name = "64-pages-read";
    bench.data.fill(0, LONG_BYTES, 0xEE);
    let single = bench.session.read(bench.client, bench.minor, position, whole);
    let got = bench
        .session
        .transfer_pieces(bench.client, Direction::Read, bench.minor, position, &pieces);
    let same = (0..MAX_ELEMENTS).all(|nth| {
        let between = nth * 2 + 1;
        bench
            .data
            .compare(2 * nth * PAGE, &bench.other, nth * PAGE, PAGE)
            .is_ok()
            && bench.data.is_filled(between * PAGE, PAGE, 0xEE)
    });
    match (single == Ok(all), got == Ok(all), same) {
        (true, true, false) => bench.fail(name, &"the pages hold something else than one piece of memory"),
        (false, ..) => bench.check(name, single, all),
        _ => bench.check(name, got, all),
    }

    let name = "64-pages-write";
    if room(bench) < SPREAD_BYTES as u64 {
        return bench.skip(name, &"no scratch range");
    }
    let first = position / SECTOR_BYTES as u64;
    let per_page = (PAGE / SECTOR_BYTES) as u64;
    for (nth, sector) in (0..MAX_ELEMENTS).zip((first..).step_by(per_page as usize)) {
        bench.data.fill_pattern(2 * nth * PAGE, PAGE, SEED, sector);
    }
    let got = bench
        .session
        .transfer_pieces(bench.client, Direction::Write, bench.minor, position, &pieces);
    bench.other.fill(0, SPREAD_BYTES, 0xEE);
    let back = bench.session.read(bench.client, bench.minor, position, whole);
    if got == Ok(all) && back == Ok(all) && bench.other.check_pattern(0, SPREAD_BYTES, SEED, first).is_err() {
        bench.fail(name, &"the disk holds something else");
    } else {
        bench.check(name, got.and(back).and(got), all);
    }
}

/// 512 KiB from an address that is 4 beyond a page: 129 pages that have nothing to do with each other.
fn long_and_unaligned<I: Ipc>(bench: &mut Bench<'_, I>) {
    let all = Status(LONG_BYTES as i32);
    let piece = bench.data.piece(4, LONG_BYTES);
    let position = bench.scratch.start;
    let name = "512-kib-read";
    if bench.bytes < position + LONG_BYTES as u64 {
        return bench.skip(name, &"the minor is too short");
    }
    bench.data.fill(0, LONG_BYTES + 8, 0xEE);
    let got = bench.session.read(bench.client, bench.minor, position, piece);
    let is_kept = bench.data.is_filled(0, 4, 0xEE) && bench.data.is_filled(LONG_BYTES + 4, 4, 0xEE);
    // The same in two halves.
    let half = LONG_BYTES / 2;
    let mut same = true;
    for start in [0, half] {
        let piece = bench.other.piece(start, half);
        let part = bench
            .session
            .read(bench.client, bench.minor, position + start as u64, piece);
        same &= part == Ok(Status(half as i32)) && bench.data.compare(4 + start, &bench.other, start, half).is_ok();
    }
    match (got == Ok(all), is_kept, same) {
        (true, false, _) => bench.fail(name, &"memory around it was written"),
        (true, true, false) => bench.fail(name, &"two halves hold something else"),
        _ => bench.check(name, got, all),
    }

    let name = "512-kib-write";
    if room(bench) < LONG_BYTES as u64 {
        return bench.skip(name, &"no scratch range");
    }
    let first = position / SECTOR_BYTES as u64;
    bench.data.fill_pattern(4, LONG_BYTES, OTHER_SEED, first);
    let got = bench
        .session
        .write(bench.client, bench.minor, position, piece, BdevFlags::FORCEWRITE);
    let piece = bench.other.piece(0, LONG_BYTES);
    bench.other.fill(0, LONG_BYTES, 0xEE);
    let back = bench.session.read(bench.client, bench.minor, position, piece);
    if got == Ok(all) && back == Ok(all) && bench.other.check_pattern(0, LONG_BYTES, OTHER_SEED, first).is_err() {
        bench.fail(name, &"the disk holds something else");
    } else {
        bench.check(name, got.and(back).and(got), all);
    }
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
        let request = BdevRequest {
            position,
            count: PAGE as i32,
            grant,
            ..Default::default()
        };
        for (way, kind) in [("read", READ), ("write", WRITE)] {
            bench.refused(&name(what, way), kind, request, Status::OK);
        }
        let element = bench.session.element(grant, PAGE as u64);
        for (way, kind) in [("gather", GATHER), ("scatter", SCATTER)] {
            bench.refused_vector(&name(what, way), kind, position, &[element], Status::OK);
        }
    }

    // One sector before the end, and a page wanted.
    let position = bench.bytes.saturating_sub(512);
    let got = {
        let piece = bench.data.piece(0, PAGE);
        bench.data.fill(0, PAGE, 0xA5);
        bench.session.read(bench.client, bench.minor, position, piece)
    };
    if got == Ok(Status(512)) && !bench.data.is_filled(512, PAGE - 512, 0xA5) {
        bench.fail("clipped-read", &"more than a sector was written to memory");
    } else {
        bench.check("clipped-read", got, Status(512));
    }
    bench.client.revoke(grant);
}

fn counts_that_are_none<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, PAGE), BOTH);
    for count in [-1, -512, i32::MIN, 0] {
        for (way, kind) in [("read", READ), ("write", WRITE)] {
            let request = BdevRequest {
                count,
                grant,
                ..Default::default()
            };
            bench.refused(&numbered(way, i64::from(count)), kind, request, EINVAL.into());
        }
    }
    // A whole number of sectors, but more than there is memory, or disk, for it.
    let request = BdevRequest {
        count: i32::MAX & !511,
        grant,
        ..Default::default()
    };
    for (way, kind) in [("read", READ), ("write", WRITE)] {
        bench.refused(&name("too-long", way), kind, request, Errno::EPERM.into());
    }
    bench.client.revoke(grant);
}

fn counts_of_elements<I: Ipc>(bench: &mut Bench<'_, I>) {
    // One grant for all: they may well lie over each other.
    let grant = bench.grant(bench.data.piece(0, PAGE), GrantFlags::WRITE);
    let element = |bench: &mut Bench<'_, I>| bench.session.element(grant, PAGE as u64);
    let mut elements = [VectorElement::default(); MAX_ELEMENTS];
    for slot in &mut elements {
        *slot = element(bench);
    }
    let vector = bench.place_vector(&elements);
    let vector_grant = bench.grant(vector, GrantFlags::READ);
    // Negative ones are large ones, and large ones are 64.
    for count in [64, 65, 66, 1 << 20, i32::MAX, -1, -64, i32::MIN] {
        let got =
            bench
                .session
                .transfer_granted_vector(bench.client, Direction::Read, bench.minor, 0, vector_grant, count);
        bench.check(&numbered("gather", i64::from(count)), got, Status(SPREAD_BYTES as i32));
    }
    let request = BdevRequest {
        count: 0,
        grant: vector_grant,
        ..Default::default()
    };
    bench.refused("gather-0", GATHER, request, EINVAL.into());
    bench.refused("scatter-0", SCATTER, request, EINVAL.into());
    bench.client.revoke(vector_grant);

    // A vector shorter than its count.
    let vector = bench.place_vector(&elements[..63]);
    let vector_grant = bench.grant(vector, GrantFlags::READ);
    for count in [64, -1] {
        let request = BdevRequest {
            count,
            grant: vector_grant,
            ..Default::default()
        };
        bench.refused(
            &numbered("short-vector", i64::from(count)),
            GATHER,
            request,
            EINVAL.into(),
        );
    }
    bench.client.revoke(vector_grant);
    bench.client.revoke(grant);
}

fn not_whole_sectors<I: Ipc>(bench: &mut Bench<'_, I>) {
    let grant = bench.grant(bench.data.piece(0, 2 * PAGE), BOTH);
    for position in [1, 2, 511, 513, 4095] {
        let request = BdevRequest {
            position,
            count: PAGE as i32,
            grant,
            ..Default::default()
        };
        for (way, kind) in [("read-at", READ), ("write-at", WRITE)] {
            bench.refused(&numbered(way, position as i64), kind, request, EINVAL.into());
        }
    }
    for count in [1, 2, 511, 513, 4095, i32::MAX] {
        let request = BdevRequest {
            count,
            grant,
            ..Default::default()
        };
        for (way, kind) in [("read-of", READ), ("write-of", WRITE)] {
            bench.refused(&numbered(way, i64::from(count)), kind, request, EINVAL.into());
        }
    }
    bench.client.revoke(grant);
}

fn sizes_of_elements<I: Ipc>(bench: &mut Bench<'_, I>) {
    let whole = bench.page_element(0, BOTH);
    let large = 1u64 << 62;
    let cases: [(&str, [u64; 3]); 9] = [
        ("empty-element", [4096, 0, 4096]),
        ("first-element-empty", [0, 4096, 4096]),
        ("element-of-1", [4096, 1, 4096]),
        ("element-of-511", [4096, 511, 4096]),
        ("element-of-4095", [4096, 4095, 4096]),
        ("element-of-2-to-the-63", [4096, 1 << 63, 4096]),
        ("element-of-minus-512", [4096, 512u64.wrapping_neg(), 4096]),
        ("sum-beyond-63-bits", [large, large, 4096]),
        (
            "sum-beyond-64-bits",
            [i64::MAX as u64 - 511, i64::MAX as u64 - 511, 4096],
        ),
    ];
    for (what, sizes) in cases {
        let elements = sizes.map(|bytes| bench.session.element(whole.grant, bytes));
        for (way, kind) in [("gather", GATHER), ("scatter", SCATTER)] {
            bench.refused_vector(&name(what, way), kind, 0, &elements, EINVAL.into());
        }
    }
    // Whole sectors and a sum that fits, but no grant is that long.
    let elements = [bench.session.element(whole.grant, large)];
    bench.refused_vector("element-of-2-to-the-62", GATHER, 0, &elements, Errno::EPERM.into());
    bench.client.revoke(whole.grant);

    // Nothing in the padding counts.
    let piece = bench.data.piece(0, PAGE);
    let grant = bench.grant(piece, GrantFlags::WRITE);
    for padding in [[0xFF; 4], [0, 0, 0, 0x80], [1, 0, 0, 0]] {
        let mut raw = [0; size_of::<VectorElement>()];
        raw[..4].copy_from_slice(&grant.0.to_le_bytes());
        raw[4..8].copy_from_slice(&padding);
        raw[8..].copy_from_slice(&(PAGE as u64).to_le_bytes());
        let elements: [VectorElement; 1] = [zerocopy::transmute!(raw)];
        let got = bench
            .session
            .transfer_vector(bench.client, Direction::Read, bench.minor, 0, &elements);
        bench.check(
            &numbered("padding", i64::from(u32::from_le_bytes(padding))),
            got,
            Status(PAGE as i32),
        );
    }
    bench.client.revoke(grant);
}

fn room<I: Ipc>(bench: &Bench<'_, I>) -> u64 {
    bench.scratch.end - bench.scratch.start
}

type Name = heapless::String<48>;

/// A name of two parts.
pub(super) fn name(what: &str, way: &str) -> Name {
    let mut name = Name::new();
    // Names are short enough.
    let _ = core::fmt::write(&mut name, format_args!("{what}-{way}"));
    name
}

/// A name with a number.
pub(super) fn numbered(what: &str, number: i64) -> Name {
    let mut name = Name::new();
    let _ = core::fmt::write(&mut name, format_args!("{what}-{number}"));
    name
}
