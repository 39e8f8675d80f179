//! What the host has written, read back at chosen places.

use heapless::Vec;
use image_blk::{SECTOR_BYTES, pattern};

use super::{Context, Miss, TestResult, fail, skip};
use crate::image::mbr;
use crate::image::report::text;

/// Places spread over the disk, besides its ends and those of its partitions.
const SPREAD: usize = 32;
const PLACES: usize = SPREAD + 4 + 2 * mbr::ENTRIES;

/// Every sector but the first holds the host's pattern: a look at the ends of the disk, at the ends of each partition, and at
/// places in between.
pub(super) fn host_content(context: &mut Context<'_>) -> TestResult {
    let Some(seed) = context.options.pattern else {
        skip!("the host does not say what is on the disk");
    };
    let capacity = context.session.capacity();
    let mut places = Vec::<u64, PLACES>::new();
    let ends = [0, 1, capacity.saturating_sub(2), capacity.saturating_sub(1)];
    let partitions = context.partitions.iter().flat_map(|p| [p.first, p.end() - 1]);
    let spread = (0..SPREAD as u64).map(|n| pattern::word(seed, n, 0) % capacity.max(1));
    for place in ends.into_iter().chain(partitions).chain(spread) {
        if place < capacity {
            let _ = places.push(place);
        }
    }
    let sectors = places.len();
    for place in places {
        check_block(context, seed, place)?;
    }
    Ok(text!("{sectors} places"))
}

/// Checks the block that `sector` is in.
fn check_block(context: &mut Context<'_>, seed: u64, sector: u64) -> Result<(), Miss> {
    let block = context.session.disk().limits().block_sectors();
    let bytes = context.session.block_bytes();
    let first = sector / block * block;
    let slice = context.session.allocate(bytes)?;
    let slice = context.session.read(first, slice)?;
    let differs = (first..)
        .zip(slice.chunks(SECTOR_BYTES))
        // Sector 0 is the partition table.
        .filter(|(sector, _)| *sector != 0)
        .find_map(|(sector, bytes)| pattern::check(seed, sector, bytes).err().map(|byte| (sector, byte)));
    context.session.release(slice);
    match differs {
        Some((sector, byte)) => fail!("sector {sector} differs at byte {byte}"),
        None => Ok(()),
    }
}
