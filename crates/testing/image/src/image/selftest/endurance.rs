//! Batch after batch, until the indices of the ring have started over.

use alloc::format;
use alloc::vec::Vec;

use board_qemu_virt::counters;
use guest_protocol::pattern;
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;

use super::{Context, TestResult, fail};
use crate::image::buffer::Buffer;
use crate::image::scratch;
use crate::image::session::{Failure, Request, Session, taken_back};

/// Requests of a batch.
const DEPTH: u64 = 32;
/// The indices of a ring have sixteen bits.
const REQUESTS: usize = 1 << 16;
/// A slow disk need not come that far.
const MILLIS: u64 = 2000;

/// A request that is made again and again.
struct Repeated {
    first: u64,
    writes: bool,
    /// `None` while it is in flight.
    buffer: Option<Buffer>,
}

/// Reads and writes in turn, each of its own block; reads only on a disk that may not be written. Every buffer is right at the end.
pub(super) fn indices_start_over(context: &mut Context<'_>) -> TestResult {
    context.needs_blocks(1)?;
    let limits = context.session.limits();
    let (block, bytes) = (limits.block_sectors(), limits.block_bytes as usize);
    let depth = DEPTH.min(limits.capacity.get() / block);
    let seed = context.scratch.seed();
    let area = context.scratch.take(depth / 2 * block);
    let mut requests = Vec::new();
    for number in 0..depth {
        let mut buffer = Buffer::allocate(bytes)?;
        let written = area.filter(|_| number % 2 == 1);
        let first = written.map_or(number * block, |area| area.first + number / 2 * block);
        if written.is_some() {
            buffer.fill_with_pattern(seed, first);
        }
        requests.push(Repeated {
            first,
            writes: written.is_some(),
            buffer: Some(buffer),
        });
    }
    let outcome = repeat(context.session, &mut requests);
    if let Some(area) = area.filter(|area| area.count > 0) {
        match outcome {
            Ok(_) => scratch::wrote(area, seed),
            Err(_) => scratch::undefined(area),
        }
    }
    let done = outcome?;
    for Repeated { first, writes, buffer } in requests {
        let content = buffer.map(|buffer| buffer.to_vec()).unwrap_or_default();
        let right = match writes {
            true => pattern::check(seed, first, &content).is_ok(),
            false => content == context.session.read(first, Buffer::allocate(bytes)?)?.to_vec(),
        };
        if !right {
            fail!("the buffer of sector {first} is not as it should be");
        }
    }
    Ok(format!("{done} requests"))
}

/// Does the batch until the indices have started over, or time is up. Returns how many requests were done.
fn repeat(session: &mut Session, requests: &mut [Repeated]) -> Result<usize, Failure> {
    let deadline = counters::now().after(session.waiting.timebase.ticks_from_millis(MILLIS));
    let mut done = 0;
    // Each has its turn at least once.
    while done < requests.len() || done <= REQUESTS && counters::now() < deadline {
        done += batch(session, requests, done)?;
    }
    Ok(done)
}

/// Does as many of the requests as the queue holds, all at once, from where `done` left off. Returns how many.
fn batch(session: &mut Session, requests: &mut [Repeated], done: usize) -> Result<usize, Failure> {
    let bytes = session.block_bytes() as u64;
    let all = requests.len();
    let mut in_flight: usize = 0;
    for number in (done..done + all).map(|number| number % all) {
        let request = &mut requests[number];
        let Some(buffer) = request.buffer.take() else {
            return Err("a request came back without its buffer".into());
        };
        let first = Sector(request.first);
        let submitted = session.disk().submit(match request.writes {
            true => Request::write(first, buffer, number),
            false => Request::read(first, buffer, number),
        });
        match submitted {
            Ok(()) => in_flight += 1,
            Err(rejected) if rejected.error == SubmitError::QueueFull && in_flight > 0 => {
                request.buffer = rejected.request.into_parts().0;
                break;
            }
            Err(rejected) => return Err(rejected.error.into()),
        }
    }
    session.disk().notify();
    let (mut left, mut failed) = (in_flight, None);
    while left > 0 {
        session.wait(|completion| {
            left = left.saturating_sub(1);
            let number = completion.token;
            match (requests.get_mut(number), taken_back(completion, bytes)) {
                (Some(request), Ok(buffer)) => request.buffer = Some(buffer),
                (_, result) => failed = result.err().or(Some("a completion without a request".into())),
            }
        })?;
    }
    failed.map_or(Ok(in_flight), Err)
}
