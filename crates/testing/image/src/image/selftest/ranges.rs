//! Operations on ranges without data: write-zeroes, discard and secure erase.

use alloc::format;

use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;

use super::transfers::{expect_pattern, write_pattern};
use super::{Context, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::scratch::{self, driver_range};
use crate::image::session::{Failure, Request};

/// Bytes an operation works on; for larger blocks, one block.
const BYTES: usize = 32 << 10;

/// Does an operation on the middle third of a region full of a pattern, and checks that the others still hold it.
fn on_the_middle_third(
    context: &mut Context<'_>,
    operation: impl FnOnce(virtio_blk::SectorRange) -> Request,
    report: impl FnOnce(SectorRange),
) -> Result<SectorRange, Failure> {
    let bytes = BYTES.next_multiple_of(context.session.block_bytes());
    let whole = context.area(3 * bytes)?;
    let count = whole.count / 3;
    let [before, range, after] = [0, 1, 2].map(|n| SectorRange {
        first: whole.first + n * count,
        count,
    });
    let (_, seed) = write_pattern(context, whole.first, Buffer::allocate(3 * bytes)?)?;
    let outcome = context.session.command(operation(driver_range(range)));
    match outcome {
        Ok(_) => report(range),
        Err(_) => scratch::undefined(range),
    }
    outcome?;
    for part in [before, after] {
        expect_pattern(context, part.first, Buffer::allocate(bytes)?, seed)?;
    }
    Ok(range)
}

/// Zeroed sectors read as zeroes, whether the device may unmap them or has to keep the storage.
pub(super) fn write_zeroes(context: &mut Context<'_>, may_unmap: bool) -> TestResult {
    let Some(limits) = context.session.limits().write_zeroes else {
        skip!("not offered");
    };
    let zeroes = |range| Request::write_zeroes(range, may_unmap, 0);
    let range = on_the_middle_third(context, zeroes, scratch::zeroed)?;
    let mut buffer = Buffer::allocate(range.count as usize * SECTOR_BYTES)?;
    buffer.fill_with_pattern(1, 0);
    let bytes = context.session.read(range.first, buffer)?.to_vec();
    if let Some(byte) = bytes.iter().position(|&byte| byte != 0) {
        fail!("byte {byte} of the zeroed range is {:#04x}", bytes[byte]);
    }
    let may = if limits.may_unmap { "may" } else { "never does" };
    Ok(format!("sectors {range}, the device {may} unmap"))
}

/// Discarded sectors can be written again.
pub(super) fn discard(context: &mut Context<'_>) -> TestResult {
    if context.session.limits().discard.is_none() {
        skip!("not offered");
    }
    written_again(context, |range| Request::discard(range, 0))
}

/// Erased sectors can be written again.
pub(super) fn secure_erase(context: &mut Context<'_>) -> TestResult {
    if context.session.limits().secure_erase.is_none() {
        skip!("not offered");
    }
    written_again(context, |range| Request::secure_erase(range, 0))
}

fn written_again(context: &mut Context<'_>, operation: impl FnOnce(virtio_blk::SectorRange) -> Request) -> TestResult {
    let range = on_the_middle_third(context, operation, scratch::undefined)?;
    let buffer = Buffer::allocate(range.count as usize * SECTOR_BYTES)?;
    let (buffer, seed) = write_pattern(context, range.first, buffer)?;
    expect_pattern(context, range.first, buffer, seed)?;
    Ok(format!("sectors {range}, then written again"))
}
