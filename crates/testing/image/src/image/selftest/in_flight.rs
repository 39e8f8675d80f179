//! As many requests as the queue holds, all at once: each comes back once, in whatever order, with its own buffer.

use heapless::Vec;
use image_blk::{SECTOR_BYTES, pattern};
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;
use virtio_core::DmaSlice;

use super::writes::{area, expect_pattern};
use super::{Context, Miss, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::report::text;
use crate::image::scratch;
use crate::image::session::{CAPACITY, Request, check};

/// One more than can be in flight, so that one is refused.
const REQUESTS: usize = CAPACITY + 1;

/// Buffers by the number of their request; a gap where one is out.
type Buffers = Vec<Option<DmaSlice>, REQUESTS>;

/// What each request does.
#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
}

/// What was seen.
struct Seen {
    accepted: usize,
    refused: bool,
    notifies: u64,
    interrupts: u64,
}

/// One block per request, from the start of the disk; every buffer gets its own block.
pub(super) fn reads(context: &mut Context<'_>) -> TestResult {
    let block = context.session.disk().limits().block_sectors();
    let blocks = context.session.capacity() / block;
    if blocks == 0 {
        skip!("the disk has no block");
    }
    let mut buffers = make(context, REQUESTS)?;
    // A small disk is read more than once.
    let place = |n: usize| n as u64 % blocks * block;
    let seen = flood(context, &mut buffers, Kind::Read, place)?;
    if let Some(seed) = context.options.pattern {
        for (n, slice) in buffers.iter().take(seen.accepted).enumerate() {
            let first = place(n);
            if let Some(slice) = slice
                && first != 0
                && pattern::check(seed, first, slice).is_err()
            {
                fail!("request {n} did not bring sector {first}");
            }
        }
    }
    free(context, buffers);
    told(&seen)
}

/// One block per request, each to its own place in scratch, read back one by one.
pub(super) fn writes(context: &mut Context<'_>) -> TestResult {
    let bytes = context.session.block_bytes();
    let block = (bytes / SECTOR_BYTES) as u64;
    // At most half of what is left, so that the tests to come have room.
    let fitting = context.scratch.free() / 2 / block;
    let requests = REQUESTS.min(fitting as usize);
    let range = area(context, requests.max(1) * bytes)?;
    let mut buffers = make(context, requests)?;
    let seed = context.scratch.seed();
    let place = |n: usize| range.first + n as u64 * block;
    for (n, slice) in buffers.iter_mut().enumerate() {
        if let Some(slice) = slice {
            pattern::fill(seed, place(n), slice);
        }
    }
    let seen = match flood(context, &mut buffers, Kind::Write, place) {
        Ok(seen) => seen,
        Err(miss) => {
            scratch::discarded(range.first, range.count);
            return Err(miss);
        }
    };
    // Those that were refused have not happened.
    scratch::wrote(range.first, seen.accepted as u64 * block, seed);
    free(context, buffers);
    let mut slice = context.session.allocate(bytes)?;
    for n in 0..seen.accepted {
        slice = expect_pattern(context, place(n), slice, seed)?;
    }
    context.session.release(slice);
    told(&seen)
}

fn told(seen: &Seen) -> TestResult {
    Ok(text!(
        "{} at once, {}, {} notifies, {} interrupts",
        seen.accepted,
        if seen.refused {
            "one more refused"
        } else {
            "queue not full"
        },
        seen.notifies,
        seen.interrupts
    ))
}

fn make(context: &mut Context<'_>, requests: usize) -> Result<Buffers, Miss> {
    let bytes = context.session.block_bytes();
    let mut buffers = Buffers::new();
    for _ in 0..requests {
        let _ = buffers.push(Some(context.session.allocate(bytes)?));
    }
    Ok(buffers)
}

fn free(context: &mut Context<'_>, buffers: Buffers) {
    buffers
        .into_iter()
        .flatten()
        .for_each(|slice| context.session.release(slice));
}

/// Submits until the queue is full or the buffers are out, notifies once, and waits for all of them.
fn flood(
    context: &mut Context<'_>,
    buffers: &mut Buffers,
    kind: Kind,
    place: impl Fn(usize) -> u64,
) -> Result<Seen, Miss> {
    let session = &mut *context.session;
    let bytes = session.block_bytes() as u64;
    let before = session.counters();
    let mut accepted = 0;
    let mut refused = false;
    for n in 0..buffers.len() {
        let Some(slice) = buffers.get_mut(n).and_then(Option::take) else {
            fail!("buffer {n} is missing");
        };
        let (first, buffer, token) = (Sector(place(n)), Buffer::One(slice), n as u32);
        let request = match kind {
            Kind::Read => Request::read(first, buffer, token),
            Kind::Write => Request::write(first, buffer, token),
        };
        match session.disk().submit(request) {
            Ok(()) => accepted = n + 1,
            Err(rejected) if rejected.error == SubmitError::QueueFull => {
                let (Some(Buffer::One(slice)), token) = rejected.request.into_parts() else {
                    fail!("the refused request came back without its buffer");
                };
                if token as usize != n {
                    fail!("request {n} was refused with the token {token}");
                }
                buffers[n] = Some(slice);
                refused = true;
                break;
            }
            Err(rejected) => return Err(session.rejected(rejected).into()),
        }
    }
    if session.counters().queue.queue_full - before.queue.queue_full != u64::from(refused) {
        fail!("the driver did not count the full queue");
    }
    if usize::from(session.disk().queue().in_flight()) != accepted {
        fail!(
            "{accepted} requests taken, {} in flight",
            session.disk().queue().in_flight()
        );
    }
    session.disk().notify();
    let (mut left, mut wrong) = (accepted, None);
    while left > 0 {
        session.wait(|completion| {
            left = left.saturating_sub(1);
            let n = completion.token as usize;
            if let Err(failure) = check(&completion, bytes) {
                wrong = Some(text!("request {n}: {failure}"));
            }
            match (buffers.get_mut(n), completion.buffer) {
                (Some(place @ None), Some(Buffer::One(slice))) if n < accepted => *place = Some(slice),
                _ => wrong = Some(text!("request {n} came back twice, or without its buffer")),
            }
        })?;
    }
    if let Some(wrong) = wrong {
        return Err(Miss::Fail(wrong));
    }
    if buffers.iter().any(Option::is_none) || session.disk().queue().in_flight() != 0 {
        fail!("not every request came back");
    }
    let ring = session.disk().queue().ring_state();
    if ring.free != ring.size {
        fail!("{} of {} descriptors are free afterwards", ring.free, ring.size);
    }
    let after = session.counters();
    Ok(Seen {
        accepted,
        refused,
        notifies: after.queue.notifies - before.queue.notifies,
        interrupts: after.interrupts.taken - before.interrupts.taken,
    })
}
