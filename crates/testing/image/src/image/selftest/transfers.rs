//! Reads and writes with buffers of every shape: at odd addresses, in pieces of odd lengths, and in more pieces than the device
//! takes at once.

use alloc::format;

use guest_protocol::Record;
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use image_blk::pattern::{self, Digest};

use super::{Context, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::scratch;
use crate::image::session::Failure;
use bare_image::report::record;

/// How a buffer lies in memory.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Its number of disk blocks.
    blocks: usize,
    pieces: usize,
    /// Pieces at odd addresses, of odd lengths where there are several.
    odd: bool,
}

pub(super) const PLAIN: Shape = Shape {
    blocks: 64,
    pieces: 1,
    odd: false,
};
pub(super) const ODD: Shape = Shape { odd: true, ..PLAIN };
pub(super) const VECTOR: Shape = Shape {
    blocks: 8,
    pieces: 6,
    odd: true,
};
/// Three times the pieces that fit into one device request with indirect tables.
pub(super) const SPLIT: Shape = Shape {
    blocks: 256,
    pieces: 96,
    odd: true,
};

/// How much the lengths of the pieces differ from their mean, one way and the other. No piece is shorter than a block, so no block
/// lies in more than two pieces.
const JITTER: usize = 13;

impl Shape {
    fn allocate(self, context: &mut Context<'_>) -> Result<Buffer, Failure> {
        let limits = context.session.limits();
        if self.pieces > 1 && limits.max_segments < 2 {
            skip!("the device takes one segment per request");
        }
        let bytes = self.blocks * limits.block_bytes as usize;
        let mean = bytes / self.pieces;
        let mut left = bytes;
        let pieces = (0..self.pieces).map(|n| {
            let len = match n {
                _ if n + 1 == self.pieces => left,
                _ if n % 2 == 0 => mean + JITTER,
                _ => mean - JITTER,
            };
            left -= len;
            (if self.odd { 1 + 2 * (n % 31) } else { 0 }, len)
        });
        Ok(Buffer::scattered(pieces)?)
    }
}

/// Reading into a buffer of this shape brings the same as reading into one aligned piece.
pub(super) fn read(context: &mut Context<'_>, shape: Shape) -> TestResult {
    context.needs_blocks(shape.blocks as u64)?;
    let buffer = shape.allocate(context)?;
    let plain = Buffer::allocate(buffer.len())?;
    let plain = context.session.read(0, plain)?;
    let before = context.session.counters().queue.device_requests;
    let buffer = context.session.read(0, buffer)?;
    let (read, expected) = (buffer.to_vec(), plain.to_vec());
    if let Some(byte) = read.iter().zip(&expected).position(|(a, b)| a != b) {
        fail!("byte {byte} differs");
    }
    summary(context, &buffer, before)
}

/// Data that was written from a buffer of this shape and flushed is read back, into the same buffer and into one aligned piece.
pub(super) fn write(context: &mut Context<'_>, shape: Shape) -> TestResult {
    let buffer = shape.allocate(context)?;
    let range = context.area(buffer.len())?;
    let before = context.session.counters().queue.device_requests;
    let (buffer, seed) = write_pattern(context, range.first, buffer)?;
    let result = summary(context, &buffer, before);
    context.session.flush()?;
    let buffer = expect_pattern(context, range.first, buffer, seed)?;
    expect_pattern(context, range.first, Buffer::allocate(buffer.len())?, seed)?;
    result
}

/// Checks that the driver split a transfer where it had to.
fn summary(context: &mut Context<'_>, buffer: &Buffer, requests_before: u64) -> TestResult {
    let requests = context.session.counters().queue.device_requests - requests_before;
    let (bytes, pieces) = (buffer.len(), buffer.pieces().len());
    let limit = context.session.limits().max_segments;
    if requests < (pieces as u64).div_ceil(limit.into()) {
        fail!("{pieces} pieces went out in {requests} device requests of at most {limit} pieces");
    }
    Ok(format!("{bytes} bytes in {pieces} pieces, device requests: {requests}"))
}

/// Writes a fresh pattern to `first` and after it, as much as `buffer` holds, and reports it. Returns the seed.
pub(super) fn write_pattern(
    context: &mut Context<'_>,
    first: u64,
    mut buffer: Buffer,
) -> Result<(Buffer, u64), Failure> {
    let seed = context.scratch.seed();
    buffer.fill_with_pattern(seed, first);
    let count = (buffer.len() / SECTOR_BYTES) as u64;
    let range = SectorRange { first, count };
    let written = context.session.write(first, buffer);
    match written {
        Ok(_) => scratch::wrote(range, seed),
        Err(_) => scratch::undefined(range),
    }
    Ok((written?, seed))
}

/// Reads from `first` on into `buffer`, whose content is wiped before, and checks the content against the pattern of `seed`.
pub(super) fn expect_pattern(
    context: &mut Context<'_>,
    first: u64,
    mut buffer: Buffer,
    seed: u64,
) -> Result<Buffer, Failure> {
    buffer.copy_from(&alloc::vec![0xA5; buffer.len()]);
    let buffer = context.session.read(first, buffer)?;
    if let Err(byte) = pattern::check(seed, first, &buffer.to_vec()) {
        fail!("byte {byte} after sector {first} differs from the written pattern");
    }
    Ok(buffer)
}

/// Reads the ranges that the host asked for, whole blocks at a time, and reports their digests.
pub(super) fn digests(context: &mut Context<'_>) -> TestResult {
    const CHUNK_SECTORS: u64 = 256;
    if context.digests.is_empty() {
        skip!("the host asks for none");
    }
    context.needs_blocks(1)?;
    let limits = context.session.limits();
    let block = limits.block_sectors();
    for &range in context.digests {
        let mut digest = Digest::new();
        let mut next = range.first;
        while next < range.end() {
            // What sticks out of the range at either end is left out of the digest.
            let first = next / block * block;
            let end = range.end().min(first + CHUNK_SECTORS.max(block));
            let sectors = (end - first).next_multiple_of(block);
            let buffer = Buffer::allocate(sectors as usize * SECTOR_BYTES)?;
            let buffer = context.session.read(first, buffer)?;
            let bytes = |sector: u64| (sector - first) as usize * SECTOR_BYTES;
            digest.update(&buffer.pieces()[0][bytes(next)..bytes(end)]);
            next = end;
        }
        record(Record::Digest {
            range,
            crc64: digest.finish(),
        });
    }
    Ok(format!("{} ranges", context.digests.len()))
}
