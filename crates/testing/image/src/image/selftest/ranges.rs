//! Operations on ranges without data: write-zeroes and discard.

use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use virtio_blk::proto::Sector;

use super::writes::{area, bytes_of, expect_pattern, write_pattern};
use super::{Context, TestResult, fail, skip};
use crate::image::report::text;
use crate::image::scratch;
use crate::image::session::Request;

/// Bytes an operation works on; for larger blocks, one block.
const BYTES: usize = 32 << 10;

/// The driver's view of a range.
fn driver_range(range: SectorRange) -> virtio_blk::SectorRange {
    virtio_blk::SectorRange {
        first: Sector(range.first),
        sectors: range.count,
    }
}

/// Three equal parts: the operation works on the middle one.
fn thirds(range: SectorRange) -> [SectorRange; 3] {
    let count = range.count / 3;
    [0, 1, 2].map(|n| SectorRange {
        first: range.first + n * count,
        count,
    })
}

/// Zeroed sectors read as zeroes, those beside them as before. The device keeps the storage.
pub(super) fn write_zeroes(context: &mut Context<'_>) -> TestResult {
    zeroes(context, false)
}

/// The same where the device may give the storage back.
pub(super) fn write_zeroes_unmap(context: &mut Context<'_>) -> TestResult {
    zeroes(context, true)
}

fn zeroes(context: &mut Context<'_>, may_unmap: bool) -> TestResult {
    let Some(limits) = context.session.disk().limits().write_zeroes else {
        skip!("not offered");
    };
    let bytes = BYTES.next_multiple_of(context.session.block_bytes());
    let range = area(context, 3 * bytes)?;
    let parts = thirds(range);
    let slice = context.session.allocate(3 * bytes)?;
    let (whole, seed) = write_pattern(context, range.first, slice)?;
    let request = Request::write_zeroes(driver_range(parts[1]), may_unmap, 0);
    if let Err(failure) = context.session.command(request) {
        scratch::discarded(parts[1].first, parts[1].count);
        return Err(failure.into());
    }
    scratch::zeroed(parts[1].first, parts[1].count);
    let mut slice = context.session.allocate(bytes)?;
    for part in [parts[0], parts[2]] {
        slice = expect_pattern(context, part.first, slice, seed)?;
    }
    slice.fill(0xA5);
    let slice = context.session.read(parts[1].first, slice)?;
    if let Some(byte) = slice.iter().position(|&byte| byte != 0) {
        fail!("byte {byte} of the zeroed range is {:#04x}", slice[byte]);
    }
    context.session.release(slice);
    context.session.release(whole);
    Ok(text!(
        "sectors {}, {}",
        parts[1],
        match (may_unmap, limits.may_unmap) {
            (false, _) => "storage kept",
            (true, true) => "may be unmapped",
            (true, false) => "may be unmapped, but the device never does",
        }
    ))
}

/// Discarding leaves the sectors beside the range alone, and the range itself can be written again.
pub(super) fn discard(context: &mut Context<'_>) -> TestResult {
    let Some(limits) = context.session.disk().limits().discard else {
        skip!("not offered");
    };
    let bytes = BYTES.next_multiple_of(context.session.block_bytes());
    let range = area(context, 3 * bytes)?;
    let parts = thirds(range);
    let slice = context.session.allocate(bytes_of(range))?;
    let (whole, seed) = write_pattern(context, range.first, slice)?;
    let outcome = context.session.command(Request::discard(driver_range(parts[1]), 0));
    scratch::discarded(parts[1].first, parts[1].count);
    outcome?;
    let mut slice = context.session.allocate(bytes)?;
    for part in [parts[0], parts[2]] {
        slice = expect_pattern(context, part.first, slice, seed)?;
    }
    let (slice, seed) = write_pattern(context, parts[1].first, slice)?;
    let slice = expect_pattern(context, parts[1].first, slice, seed)?;
    context.session.release(slice);
    context.session.release(whole);
    Ok(text!(
        "sectors {}, then written again; at most {} bytes at once",
        parts[1],
        u64::from(limits.max_sectors) * SECTOR_BYTES as u64
    ))
}
