//! Requests that must not be taken: each is refused with the right word, comes back whole, and nothing of it reaches the
//! ring.

use image_blk::SECTOR_BYTES;
use virtio_blk::proto::Sector;
use virtio_blk::{SectorRange, SubmitError};

use super::{Context, Miss, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::report::text;
use crate::image::session::Request;

/// The token of every request here: it has to come back.
const TOKEN: u32 = 0xDEAD_10CC;

/// Submits a request of `bytes` of data (0 for none) and checks that it is refused with `expected`.
fn refused(
    context: &mut Context<'_>,
    what: &str,
    bytes: usize,
    expected: SubmitError,
    request: impl FnOnce(Option<Buffer>) -> Option<Request>,
) -> Result<(), Miss> {
    let session = &mut *context.session;
    let buffer = match bytes {
        0 => None,
        bytes => Some(Buffer::One(session.allocate(bytes)?)),
    };
    let Some(request) = request(buffer) else {
        fail!("{what}: not a request");
    };
    let (before, ring_before) = (session.counters(), session.disk().queue().ring_state());
    let outcome = session.disk().submit(request);
    session.disk().notify();
    let (after, ring_after) = (session.counters(), session.disk().queue().ring_state());
    let rejected = match outcome {
        Ok(()) => {
            // It must not be left with the device.
            let _ = session.wait(|_| ());
            fail!("{what}: taken");
        }
        Err(rejected) => rejected,
    };
    let error = rejected.error;
    let (buffer, token) = rejected.request.into_parts();
    let whole = token == TOKEN
        && match &buffer {
            Some(Buffer::One(slice)) => slice.len() == bytes,
            Some(Buffer::Scattered(_)) => false,
            None => bytes == 0,
        };
    if let Some(buffer) = buffer {
        session.discard_buffer(buffer);
    }
    if error != expected {
        fail!("{what}: \"{error}\" in place of \"{expected}\"");
    }
    if !whole {
        fail!("{what}: did not come back whole");
    }
    if after != before || ring_after != ring_before {
        fail!("{what}: something reached the ring");
    }
    Ok(())
}

fn read(first: u64) -> impl FnOnce(Option<Buffer>) -> Option<Request> {
    move |buffer| Some(Request::read(Sector(first), buffer?, TOKEN))
}

fn write(first: u64) -> impl FnOnce(Option<Buffer>) -> Option<Request> {
    move |buffer| Some(Request::write(Sector(first), buffer?, TOKEN))
}

fn plain(request: Request) -> impl FnOnce(Option<Buffer>) -> Option<Request> {
    move |_| Some(request)
}

fn range(first: u64, sectors: u64) -> SectorRange {
    SectorRange {
        first: Sector(first),
        sectors,
    }
}

/// Past the end of the disk, up to where the arithmetic would overflow.
pub(super) fn out_of_range(context: &mut Context<'_>) -> TestResult {
    let limits = *context.session.disk().limits();
    let (block, bytes) = (limits.block_sectors(), limits.block_bytes as usize);
    let capacity = limits.capacity.get();
    // A disk need not end at the end of a block.
    let end = capacity / block * block;
    let far = u64::MAX / block * block;
    let expected = SubmitError::OutOfRange { capacity };
    refused(context, "read at the end", bytes, expected, read(end))?;
    refused(
        context,
        "read across the end",
        2 * bytes,
        expected,
        read(end.saturating_sub(block)),
    )?;
    refused(
        context,
        "read at the last block of 2^64",
        bytes,
        expected,
        read(far - block),
    )?;
    refused(context, "read across 2^64", 2 * bytes, expected, read(far))?;
    if limits.read_only {
        return Ok(text!("4 reads, capacity {capacity}"));
    }
    refused(context, "write at the end", bytes, expected, write(end))?;
    refused(
        context,
        "write across the end",
        2 * bytes,
        expected,
        write(end.saturating_sub(block)),
    )?;
    refused(context, "write across 2^64", 2 * bytes, expected, write(far))?;
    let mut ranges = 0;
    if limits.discard.is_some_and(|limits| limits.max_sectors > 0) {
        for range in [range(end, block), range(0, far), range(far, 2 * block)] {
            refused(context, "discard", 0, expected, plain(Request::discard(range, TOKEN)))?;
            ranges += 1;
        }
    }
    if limits.write_zeroes.is_some_and(|limits| limits.max_sectors > 0) {
        for range in [range(end, block), range(0, far), range(far, 2 * block)] {
            let request = Request::write_zeroes(range, true, TOKEN);
            refused(context, "write-zeroes", 0, expected, plain(request))?;
            ranges += 1;
        }
    }
    Ok(text!("4 reads, 3 writes, {ranges} ranges, capacity {capacity}"))
}

/// Not whole blocks.
pub(super) fn misaligned(context: &mut Context<'_>) -> TestResult {
    let limits = *context.session.disk().limits();
    let (block_bytes, block) = (limits.block_bytes, limits.block_sectors());
    let bytes = block_bytes as usize;
    let expected = SubmitError::Misaligned { block_bytes };
    refused(context, "one byte", 1, expected, read(0))?;
    refused(context, "a byte short", bytes - 1, expected, read(0))?;
    refused(context, "a byte more", bytes + 1, expected, read(0))?;
    let mut requests = 3;
    if block > 1 {
        refused(context, "a sector of a block", SECTOR_BYTES, expected, read(0))?;
        refused(context, "in the middle of a block", bytes, expected, read(1))?;
        requests += 2;
    }
    if !limits.read_only {
        refused(context, "write a byte short", bytes - 1, expected, write(0))?;
        requests += 1;
        if block > 1 {
            refused(context, "write in the middle of a block", bytes, expected, write(1))?;
            requests += 1;
            if limits.write_zeroes.is_some_and(|limits| limits.max_sectors > 0) {
                let request = Request::write_zeroes(range(0, 1), false, TOKEN);
                refused(context, "zero a sector of a block", 0, expected, plain(request))?;
                requests += 1;
            }
        }
        if limits.write_zeroes.is_some_and(|limits| limits.max_sectors > 0) {
            let request = Request::write_zeroes(range(0, 0), false, TOKEN);
            refused(context, "zero nothing", 0, SubmitError::Empty, plain(request))?;
            requests += 1;
        }
    }
    Ok(text!("{requests} requests, blocks of {block_bytes} bytes"))
}

/// Nothing that changes a read-only disk.
pub(super) fn read_only(context: &mut Context<'_>) -> TestResult {
    let limits = *context.session.disk().limits();
    if !limits.read_only {
        skip!("the disk is writable");
    }
    let block = limits.block_sectors();
    let expected = SubmitError::ReadOnly;
    let one = range(0, block);
    refused(context, "write", limits.block_bytes as usize, expected, write(0))?;
    refused(context, "discard", 0, expected, plain(Request::discard(one, TOKEN)))?;
    let zeroes = Request::write_zeroes(one, false, TOKEN);
    refused(context, "write-zeroes", 0, expected, plain(zeroes))?;
    let erase = Request::secure_erase(one, TOKEN);
    refused(context, "secure-erase", 0, expected, plain(erase))?;
    Ok(text!("write, discard, write-zeroes, secure-erase"))
}

/// What the device has not offered.
pub(super) fn unsupported(context: &mut Context<'_>) -> TestResult {
    let limits = *context.session.disk().limits();
    let expected = SubmitError::Unsupported;
    let one = range(0, limits.block_sectors());
    let mut names = text!("");
    let mut tell = |name: &str| {
        // Five short names fit.
        let _ = names.push_str(if names.is_empty() { "" } else { ", " });
        let _ = names.push_str(name);
    };
    if !limits.lifetime {
        refused(context, "lifetime", 0, expected, plain(Request::lifetime(TOKEN)))?;
        tell("lifetime");
    }
    if !limits.flush {
        refused(context, "flush", 0, expected, plain(Request::flush(TOKEN)))?;
        tell("flush");
    }
    if !limits.read_only {
        if limits.secure_erase.is_none() {
            let request = Request::secure_erase(one, TOKEN);
            refused(context, "secure-erase", 0, expected, plain(request))?;
            tell("secure-erase");
        }
        if limits.discard.is_none() {
            refused(context, "discard", 0, expected, plain(Request::discard(one, TOKEN)))?;
            tell("discard");
        }
        if limits.write_zeroes.is_none() {
            let request = Request::write_zeroes(one, false, TOKEN);
            refused(context, "write-zeroes", 0, expected, plain(request))?;
            tell("write-zeroes");
        }
    }
    if names.is_empty() {
        skip!("the device does everything");
    }
    Ok(names)
}
