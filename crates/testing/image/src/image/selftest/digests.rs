//! Digests of what the host asked for: large reads, several in flight, taken in in order.

use guest_protocol::Record;
use heapless::Vec;
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use image_blk::pattern::Digest;
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;
use virtio_core::DmaSlice;

use super::{Context, Miss, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::report::{Bytes, record, text};
use crate::image::session::{Failure, Request, Session, check};

/// Requests in flight.
const DEPTH: usize = 8;
/// Bytes per request; for larger blocks, one block.
const CHUNK_BYTES: usize = 128 << 10;

pub(super) fn digests(context: &mut Context<'_>) -> TestResult {
    let ranges = context.options.digests.as_slice();
    if ranges.is_empty() {
        skip!("the host asks for none");
    }
    let capacity = context.session.capacity();
    let mut buffers = Vec::<DmaSlice, DEPTH>::new();
    let bytes = CHUNK_BYTES.next_multiple_of(context.session.block_bytes());
    for _ in 0..DEPTH {
        // The loop runs as often as there is room.
        let _ = buffers.push(context.session.allocate(bytes)?);
    }
    let mut sectors = 0;
    for &range in ranges {
        if range.end() > capacity {
            fail!("{range} reaches past the end of the disk");
        }
        let crc64 = digest(context.session, range, bytes, &mut buffers)?;
        record(Record::Digest { range, crc64 });
        sectors += range.count;
    }
    buffers.into_iter().for_each(|slice| context.session.release(slice));
    Ok(text!(
        "{} ranges, {}",
        ranges.len(),
        Bytes(sectors * SECTOR_BYTES as u64)
    ))
}

/// The digest of a range. What is read are whole blocks: what sticks out at either end is left out of the digest.
fn digest(
    session: &mut Session,
    range: SectorRange,
    chunk_bytes: usize,
    free: &mut Vec<DmaSlice, DEPTH>,
) -> Result<u64, Miss> {
    let block = session.disk().limits().block_sectors();
    let chunk = (chunk_bytes / SECTOR_BYTES) as u64;
    let start = range.first / block * block;
    let end = range.end().next_multiple_of(block);
    let chunks = (end - start).div_ceil(chunk);
    // Chunks that came in, at their number modulo the depth, until their turn comes.
    let mut done: [Option<DmaSlice>; DEPTH] = [const { None }; DEPTH];
    let mut digest = Digest::new();
    let (mut submitted, mut taken) = (0, 0);
    while taken < chunks {
        while submitted < chunks
            && submitted - taken < DEPTH as u64
            && let Some(slice) = free.pop()
        {
            let first = start + submitted * chunk;
            let bytes = (chunk.min(end - first) as usize) * SECTOR_BYTES;
            let slice = match slice.into_buffer().slice(0, bytes) {
                Ok(slice) => slice,
                Err(_) => fail!("a buffer is too small"),
            };
            let request = Request::read(Sector(first), Buffer::One(slice), submitted as u32);
            match session.disk().submit(request) {
                Ok(()) => submitted += 1,
                Err(rejected) if rejected.error == SubmitError::QueueFull && submitted > taken => {
                    let (buffer, _) = rejected.request.into_parts();
                    keep(session, free, buffer)?;
                    break;
                }
                Err(rejected) => return Err(session.rejected(rejected).into()),
            }
        }
        session.disk().notify();
        let mut failed = None;
        if done[(taken % DEPTH as u64) as usize].is_none() {
            session.wait(|completion| {
                let first = start + u64::from(completion.token) * chunk;
                let bytes = chunk.min(end - first) * SECTOR_BYTES as u64;
                if let Err(failure) = check(&completion, bytes) {
                    failed = Some(failure);
                }
                if let Some(Buffer::One(slice)) = completion.buffer {
                    done[completion.token as usize % DEPTH] = Some(slice);
                }
            })?;
        }
        if let Some(failure) = failed {
            return Err(failure.into());
        }
        while let Some(slice) = done[(taken % DEPTH as u64) as usize].take() {
            let first = start + taken * chunk;
            digest.update(within(range, first, &slice));
            taken += 1;
            keep(session, free, Some(Buffer::One(slice)))?;
        }
    }
    Ok(digest.finish())
}

/// The part of `bytes`, which was read from `first` on, that lies in the range.
fn within(range: SectorRange, first: u64, bytes: &[u8]) -> &[u8] {
    let sectors = (bytes.len() / SECTOR_BYTES) as u64;
    let skip = range.first.saturating_sub(first).min(sectors);
    let end = range.end().saturating_sub(first).clamp(skip, sectors);
    &bytes[skip as usize * SECTOR_BYTES..end as usize * SECTOR_BYTES]
}

/// Puts a buffer back, at its full size.
fn keep(session: &mut Session, free: &mut Vec<DmaSlice, DEPTH>, buffer: Option<Buffer>) -> Result<(), Failure> {
    let slice = session.one(buffer.ok_or(Failure::WrongBuffer)?)?;
    let _ = free.push(slice);
    Ok(())
}
