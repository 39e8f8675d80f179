//! As many requests as the queue holds, all at once: each comes back once, in any order, with its own buffer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;

use super::transfers::expect_pattern;
use super::{Context, TestResult, fail};
use crate::image::buffer::Buffer;
use crate::image::scratch;
use crate::image::session::{CAPACITY, Failure, Request, taken_back};

/// One more than can be in flight, so that one is refused.
const REQUESTS: u64 = CAPACITY as u64 + 1;

/// One block per request, from the start of the disk; every buffer gets its own block.
pub(super) fn reads(context: &mut Context<'_>) -> TestResult {
    context.needs_blocks(1)?;
    let limits = context.session.limits();
    let (block, bytes) = (limits.block_sectors(), limits.block_bytes as usize);
    let requests = REQUESTS.min(limits.capacity.get() / block) as usize;
    let whole = context.session.read(0, Buffer::allocate(requests * bytes)?)?;
    let make = |n: usize| Ok(Request::read(Sector(n as u64 * block), Buffer::allocate(bytes)?, n));
    let (buffers, summary) = flood(context, requests, make)?;
    for (n, (buffer, block)) in buffers.iter().zip(whole.pieces()[0].chunks(bytes)).enumerate() {
        if buffer.pieces()[0][..] != *block {
            fail!("request {n} did not bring its block");
        }
    }
    Ok(summary)
}

/// One block per request, each to its own place in scratch, then read back.
pub(super) fn writes(context: &mut Context<'_>) -> TestResult {
    let block = context.session.limits().block_sectors();
    let bytes = context.session.block_bytes();
    let requests = REQUESTS.min(context.scratch.free_blocks()).max(1) as usize;
    let range = context.area(requests * bytes)?;
    let seed = context.scratch.seed();
    let make = |n: usize| {
        let first = range.first + n as u64 * block;
        let mut buffer = Buffer::allocate(bytes)?;
        buffer.fill_with_pattern(seed, first);
        Ok(Request::write(Sector(first), buffer, n))
    };
    let flooded = flood(context, requests, make);
    // The ones that were refused have not happened.
    let count = flooded
        .as_ref()
        .map_or(range.count, |(buffers, _)| buffers.len() as u64 * block);
    let written = SectorRange { count, ..range };
    match flooded {
        Ok(_) => scratch::wrote(written, seed),
        Err(_) => scratch::undefined(written),
    }
    let (_, summary) = flooded?;
    let buffer = Buffer::allocate(count as usize * SECTOR_BYTES)?;
    expect_pattern(context, range.first, buffer, seed)?;
    Ok(summary)
}

/// Submits until the queue is full or the requests are out, notifies once, and waits for all of them. The buffers come in the
/// order of the requests.
fn flood(
    context: &mut Context<'_>,
    requests: usize,
    make: impl Fn(usize) -> Result<Request, Failure>,
) -> Result<(Vec<Buffer>, String), Failure> {
    let session = &mut *context.session;
    let bytes = session.block_bytes() as u64;
    let before = session.counters();
    let mut accepted = 0;
    let mut refused = 0;
    while accepted < requests && refused == 0 {
        match session.disk().submit(make(accepted)?) {
            Ok(()) => accepted += 1,
            Err(rejected) if rejected.error == SubmitError::QueueFull => match rejected.request.into_parts() {
                (Some(_), token) if token == accepted => refused = 1,
                (_, token) => fail!("request {accepted} was refused as {token}, or without its buffer"),
            },
            Err(rejected) => return Err(rejected.error.into()),
        }
    }
    let in_flight = session.disk().queue().in_flight();
    if session.counters().queue.queue_full - before.queue.queue_full != refused || usize::from(in_flight) != accepted {
        fail!("{accepted} requests taken, {in_flight} in flight, or a full queue was not counted");
    }
    session.disk().notify();
    let mut buffers: Vec<Option<Buffer>> = (0..accepted).map(|_| None).collect();
    let (mut left, mut wrong) = (accepted, None);
    while left > 0 {
        session.wait(|completion| {
            left = left.saturating_sub(1);
            let n = completion.token;
            match (buffers.get_mut(n), taken_back(completion, bytes)) {
                (Some(place @ None), Ok(buffer)) => *place = Some(buffer),
                (_, Ok(_)) => wrong = Some(format!("request {n} came back twice")),
                (_, Err(failure)) => wrong = Some(format!("request {n}: {failure}")),
            }
        })?;
    }
    if let Some(wrong) = wrong {
        return Err(wrong.into());
    }
    let buffers: Vec<Buffer> = buffers.into_iter().flatten().collect();
    let queue = session.disk().queue();
    let ring = queue.ring_state();
    if buffers.len() != accepted || queue.in_flight() != 0 || ring.free != ring.size {
        fail!(
            "{} of {accepted} requests came back, {} of {} descriptors are free",
            buffers.len(),
            ring.free,
            ring.size
        );
    }
    let after = session.counters();
    let summary = format!(
        "{accepted} at once, {refused} refused, {} notifies, {} interrupts",
        after.queue.notifies - before.queue.notifies,
        after.interrupts.taken - before.interrupts.taken
    );
    Ok((buffers, summary))
}
