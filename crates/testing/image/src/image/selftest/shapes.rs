//! Buffers of every shape: at odd addresses, in pieces of odd lengths, and in more pieces than the device takes at once.

use image_blk::{SECTOR_BYTES, pattern};
use virtio_blk::proto::Sector;
use virtio_core::DmaSlice;

use super::writes::{area, bytes_of, expect_pattern, write_pattern};
use super::{Context, Miss, TestResult, fail, skip};
use crate::image::buffer::{Buffer, FEW, MANY, Pieces, Vector};
use crate::image::report::text;
use crate::image::scratch;
use crate::image::session::{Failure, Request};

/// An offset no device likes better than another.
const ODD: usize = 13;
/// How much the lengths of the pieces of a vector differ from their mean, one way and the other.
const JITTER: usize = 13;
/// Bytes of a transfer that is split.
const LARGE: usize = 1 << 20;

/// A read into a buffer at an odd address brings the same as one into an aligned buffer.
pub(super) fn unaligned_read(context: &mut Context<'_>) -> TestResult {
    let bytes = on_disk(context, 8)?;
    let plain = context.session.allocate(bytes)?;
    let plain = context.session.read(0, plain)?;
    let odd = context.session.allocate_at(ODD, bytes)?;
    let odd = context.session.read(0, odd)?;
    if let Some(byte) = difference(&plain, &odd) {
        fail!("byte {byte} differs");
    }
    context.session.release(odd);
    context.session.release(plain);
    Ok(text!("{bytes} bytes at an odd address"))
}

/// The same for writing.
pub(super) fn unaligned_write(context: &mut Context<'_>) -> TestResult {
    let block = context.session.block_bytes();
    let range = area(context, 8 * block)?;
    let odd = context.session.allocate_at(ODD, bytes_of(range))?;
    let (odd, seed) = write_pattern(context, range.first, odd)?;
    let plain = context.session.allocate(bytes_of(range))?;
    let plain = expect_pattern(context, range.first, plain, seed)?;
    context.session.release(plain);
    let odd = expect_pattern(context, range.first, odd, seed)?;
    context.session.release(odd);
    Ok(text!("{} bytes at an odd address", bytes_of(range)))
}

/// A few pieces, none of them whole blocks.
pub(super) fn vectored_read(context: &mut Context<'_>) -> TestResult {
    let bytes = on_disk(context, FEW as u64 + 2)?;
    scattered_read(context, bytes, FEW)
}

/// The same for writing.
pub(super) fn vectored_write(context: &mut Context<'_>) -> TestResult {
    let block = context.session.block_bytes();
    scattered_write(context, (FEW + 2) * block, FEW)
}

/// More pieces than the device takes in one request: the driver has to split.
pub(super) fn split_read(context: &mut Context<'_>) -> TestResult {
    let block = context.session.block_bytes();
    let wanted = large(block);
    let capacity = context.session.capacity();
    if capacity < (wanted / SECTOR_BYTES) as u64 {
        skip!("the disk is smaller than {wanted} bytes");
    }
    scattered_read(context, wanted, MANY)
}

/// The same for writing.
pub(super) fn split_write(context: &mut Context<'_>) -> TestResult {
    let block = context.session.block_bytes();
    // As much as there is, as long as no piece gets shorter than a block.
    let free = context.scratch.free() as usize * SECTOR_BYTES;
    let bytes = large(block).min(free / 2 / block * block).max(least(block, MANY));
    scattered_write(context, bytes, MANY)
}

/// Bytes of `blocks` blocks, if the disk has that many.
fn on_disk(context: &mut Context<'_>, blocks: u64) -> Result<usize, Miss> {
    let limits = *context.session.disk().limits();
    if limits.capacity.get() < blocks * limits.block_sectors() {
        skip!("the disk has fewer than {blocks} blocks");
    }
    Ok(blocks as usize * limits.block_bytes as usize)
}

/// The least bytes that can be cut into `pieces` so that no block lies in more than two of them.
fn least(block: usize, pieces: usize) -> usize {
    (pieces * (block + 2 * JITTER)).next_multiple_of(block)
}

fn large(block: usize) -> usize {
    LARGE.next_multiple_of(block).max(least(block, MANY))
}

fn scattered_read(context: &mut Context<'_>, bytes: usize, pieces: usize) -> TestResult {
    check_segments(context)?;
    let plain = context.session.allocate(bytes)?;
    let plain = context.session.read(0, plain)?;
    let vector = make(context, bytes, pieces)?;
    let before = context.session.counters().queue.device_requests;
    let vector = transfer(context, vector, bytes, |buffer| Request::read(Sector(0), buffer, 0))?;
    let requests = context.session.counters().queue.device_requests - before;
    if let Some(byte) = gathered_difference(&vector, &plain) {
        fail!("byte {byte} differs");
    }
    free(context, vector);
    context.session.release(plain);
    told(context, bytes, pieces, requests)
}

fn scattered_write(context: &mut Context<'_>, bytes: usize, pieces: usize) -> TestResult {
    check_segments(context)?;
    let range = area(context, bytes)?;
    let seed = context.scratch.seed();
    let mut plain = context.session.allocate(bytes)?;
    pattern::fill(seed, range.first, &mut plain);
    let mut parts = cut(context, bytes, pieces)?;
    let mut rest = &plain[..];
    for part in &mut parts {
        let (now, later) = rest.split_at(part.len().min(rest.len()));
        part.copy_from_slice(now);
        rest = later;
    }
    let vector = Vector::new(parts);
    let before = context.session.counters().queue.device_requests;
    let written = transfer(context, vector, bytes, |buffer| {
        Request::write(Sector(range.first), buffer, 0)
    });
    let requests = context.session.counters().queue.device_requests - before;
    let vector = match written {
        Ok(vector) => {
            scratch::wrote(range.first, range.count, seed);
            vector
        }
        Err(miss) => {
            scratch::discarded(range.first, range.count);
            return Err(miss);
        }
    };
    let plain = expect_pattern(context, range.first, plain, seed)?;
    context.session.release(plain);
    free(context, vector);
    told(context, bytes, pieces, requests)
}

/// A block that lies in two pieces needs a device that takes two.
fn check_segments(context: &mut Context<'_>) -> Result<(), Miss> {
    if context.session.disk().limits().max_segments < 2 {
        skip!("the device takes one segment per request");
    }
    Ok(())
}

/// The sum of a test, after a check that the driver really had to split where it had to.
fn told(context: &mut Context<'_>, bytes: usize, pieces: usize, requests: u64) -> TestResult {
    let limit = u64::from(context.session.disk().limits().max_segments);
    let least = (pieces as u64).div_ceil(limit);
    if requests < least {
        fail!("{pieces} pieces went out in {requests} device requests of at most {limit} pieces");
    }
    Ok(text!("{bytes} bytes in {pieces} pieces, device requests: {requests}"))
}

/// Buffers of `bytes` bytes in all, at odd offsets, of odd lengths, each at least a block long.
fn cut(context: &mut Context<'_>, bytes: usize, pieces: usize) -> Result<Pieces, Miss> {
    let mean = bytes / pieces;
    let mut parts = Pieces::new();
    let mut left = bytes;
    for n in 0..pieces {
        let len = match n {
            _ if n + 1 == pieces => left,
            _ if n % 2 == 0 => mean + JITTER,
            _ => mean - JITTER,
        };
        left -= len;
        let part = context.session.allocate_at(1 + 2 * (n % 31), len)?;
        let _ = parts.push(part);
    }
    Ok(parts)
}

fn make(context: &mut Context<'_>, bytes: usize, pieces: usize) -> Result<Vector, Miss> {
    cut(context, bytes, pieces).map(Vector::new)
}

/// Does a request on the vector and takes it back.
fn transfer(
    context: &mut Context<'_>,
    vector: Vector,
    bytes: usize,
    request: impl FnOnce(Buffer) -> Request,
) -> Result<Vector, Miss> {
    let Some(place) = context.session.vector.take() else {
        fail!("the place for vectors is in use");
    };
    *place = Some(vector);
    let buffer = context
        .session
        .transfer(request(Buffer::Scattered(place)), bytes as u64)?;
    match buffer {
        Buffer::Scattered(place) => {
            let vector = place.take();
            context.session.vector = Some(place);
            vector.ok_or_else(|| Failure::WrongBuffer.into())
        }
        other => {
            context.session.discard_buffer(other);
            Err(Failure::WrongBuffer.into())
        }
    }
}

fn free(context: &mut Context<'_>, vector: Vector) {
    vector
        .into_pieces()
        .into_iter()
        .for_each(|piece| context.session.release(piece));
}

/// The first byte in which two buffers differ.
fn difference(a: &[u8], b: &[u8]) -> Option<usize> {
    // Equality of whole slices is fast, and nearly always the answer.
    if a == b {
        return None;
    }
    let common = a.iter().zip(b).position(|(a, b)| a != b);
    common.or(Some(a.len().min(b.len())))
}

/// The first byte in which the pieces in a row differ from `whole`.
fn gathered_difference(vector: &Vector, whole: &DmaSlice) -> Option<usize> {
    let mut start = 0;
    for piece in vector.pieces() {
        let end = start + piece.len();
        match whole.get(start..end) {
            Some(part) => {
                if let Some(byte) = difference(piece, part) {
                    return Some(start + byte);
                }
            }
            None => return Some(start),
        }
        start = end;
    }
    (start != whole.len()).then_some(start)
}
