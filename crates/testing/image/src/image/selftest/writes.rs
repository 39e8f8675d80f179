//! Plain writes in the scratch region.

use image_blk::options::SectorRange;
use image_blk::{SECTOR_BYTES, pattern};
use virtio_core::DmaSlice;

use super::{Context, Miss, TestResult, fail, skip};
use crate::image::report::text;
use crate::image::scratch;

/// Bytes of a plain transfer; for larger blocks, one block.
const BYTES: usize = 32 << 10;

/// A piece of scratch of about this many bytes, or the reason why there is none.
pub(super) fn area(context: &mut Context<'_>, bytes: usize) -> Result<SectorRange, Miss> {
    if context.options.scratch.is_none() {
        skip!("nothing may be written");
    }
    if context.session.disk().limits().read_only {
        skip!("the disk is read-only");
    }
    let sectors = bytes.div_ceil(SECTOR_BYTES) as u64;
    match context.scratch.take(sectors) {
        Some(range) => Ok(range),
        None => skip!(
            "the scratch region has {} sectors left, {sectors} are needed",
            context.scratch.free()
        ),
    }
}

/// Bytes of a range.
pub(super) fn bytes_of(range: SectorRange) -> usize {
    range.count as usize * SECTOR_BYTES
}

/// Writes a fresh pattern to `first` and after it, as much as `slice` holds, and reports it. Returns the seed.
pub(super) fn write_pattern(
    context: &mut Context<'_>,
    first: u64,
    mut slice: DmaSlice,
) -> Result<(DmaSlice, u64), Miss> {
    let seed = context.scratch.seed();
    pattern::fill(seed, first, &mut slice);
    let sectors = (slice.len() / SECTOR_BYTES) as u64;
    match context.session.write(first, slice) {
        Ok(slice) => {
            scratch::wrote(first, sectors, seed);
            Ok((slice, seed))
        }
        Err(failure) => {
            scratch::discarded(first, sectors);
            Err(failure.into())
        }
    }
}

/// Reads from `first` on into `slice`, whose content is wiped before, and checks that it holds the pattern of `seed`.
pub(super) fn expect_pattern(
    context: &mut Context<'_>,
    first: u64,
    mut slice: DmaSlice,
    seed: u64,
) -> Result<DmaSlice, Miss> {
    slice.fill(0xA5);
    let slice = context.session.read(first, slice)?;
    if let Err(byte) = pattern::check(seed, first, &slice) {
        fail!("byte {byte} after sector {first} is not what was written");
    }
    Ok(slice)
}

/// What is written and flushed is what is read.
pub(super) fn write_flush_read(context: &mut Context<'_>) -> TestResult {
    let range = area(context, BYTES)?;
    let slice = context.session.allocate(bytes_of(range))?;
    let (slice, seed) = write_pattern(context, range.first, slice)?;
    context.session.flush()?;
    let slice = expect_pattern(context, range.first, slice, seed)?;
    context.session.release(slice);
    Ok(text!("sectors {range}"))
}

/// A write changes its own blocks and none beside them.
pub(super) fn neighbours(context: &mut Context<'_>) -> TestResult {
    let block = context.session.block_bytes();
    let sectors = (block / SECTOR_BYTES) as u64;
    let range = area(context, 3 * block)?;
    let whole = context.session.allocate(3 * block)?;
    let (whole, outer) = write_pattern(context, range.first, whole)?;
    let one = context.session.allocate(block)?;
    let (one, inner) = write_pattern(context, range.first + sectors, one)?;
    let one = expect_pattern(context, range.first, one, outer)?;
    let one = expect_pattern(context, range.first + sectors, one, inner)?;
    let one = expect_pattern(context, range.first + 2 * sectors, one, outer)?;
    context.session.release(one);
    context.session.release(whole);
    Ok(text!("block of {block} bytes inside sectors {range}"))
}
