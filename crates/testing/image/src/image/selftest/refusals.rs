//! Requests that must not be taken: each is refused with the right error, comes back whole, and reaches no ring.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use virtio_blk::proto::Sector;
use virtio_blk::{Operation, SectorRange, SubmitError};

use super::{Context, TestResult, fail};
use crate::image::buffer::Buffer;
use crate::image::session::{Failure, Request, Session};

/// The token of every request here: it has to come back.
const TOKEN: usize = 0xDEAD_10CC;

type OnRange = fn(SectorRange) -> Request;

fn read(first: u64, bytes: usize) -> Result<Request, Failure> {
    Ok(Request::read(Sector(first), Buffer::allocate(bytes)?, TOKEN))
}

fn write(first: u64, bytes: usize) -> Result<Request, Failure> {
    Ok(Request::write(Sector(first), Buffer::allocate(bytes)?, TOKEN))
}

/// Requests beyond the end of the disk, up to where the arithmetic would overflow; requests that are not whole blocks; and operations
/// that the device does not have.
pub(super) fn refusals(context: &mut Context<'_>) -> TestResult {
    let limits = context.session.limits();
    let (block, bytes) = (limits.block_sectors(), limits.block_bytes as usize);
    let capacity = limits.capacity.get();
    // A disk need not end at the end of a block.
    let end = capacity / block * block;
    let far = u64::MAX / block * block;
    let outside = SubmitError::OutOfRange {
        capacity: limits.capacity,
    };
    let misaligned = SubmitError::Misaligned {
        block_bytes: limits.block_bytes,
    };
    let last = end.saturating_sub(block);
    let mut cases: Vec<(&str, Request, SubmitError)> = vec![
        ("read at the end", read(end, bytes)?, outside),
        ("read across the end", read(last, 2 * bytes)?, outside),
        ("read at the last block of 2^64", read(far - block, bytes)?, outside),
        ("read across 2^64", read(far, 2 * bytes)?, outside),
        ("read a byte", read(0, 1)?, misaligned),
        ("read a byte short", read(0, bytes - 1)?, misaligned),
        ("read a byte more", read(0, bytes + 1)?, misaligned),
    ];
    if limits.read_only {
        cases.push(("write to a read-only disk", write(0, bytes)?, SubmitError::ReadOnly));
    } else {
        cases.extend([
            ("write at the end", write(end, bytes)?, outside),
            ("write across the end", write(last, 2 * bytes)?, outside),
            ("write across 2^64", write(far, 2 * bytes)?, outside),
            ("write a byte short", write(0, bytes - 1)?, misaligned),
        ]);
    }
    if block > 1 {
        cases.push(("read a sector of a block", read(0, 512)?, misaligned));
        cases.push(("read in the middle of a block", read(1, bytes)?, misaligned));
    }
    let write_zeroes: OnRange = |range| Request::write_zeroes(range, true, TOKEN);
    let ranges: [(&str, bool, OnRange); 3] = [
        ("discard", limits.discard.is_some(), |range| {
            Request::discard(range, TOKEN)
        }),
        ("write zeroes", limits.write_zeroes.is_some(), write_zeroes),
        ("secure erase", limits.secure_erase.is_some(), |range| {
            Request::secure_erase(range, TOKEN)
        }),
    ];
    for (name, offered, request) in ranges {
        let mut refuse = |first, sectors, error| {
            let first = Sector(first);
            cases.push((name, request(SectorRange { first, sectors }), error));
        };
        match (limits.read_only, offered) {
            (true, _) => refuse(0, block, SubmitError::ReadOnly),
            (false, false) => refuse(0, block, SubmitError::Unsupported),
            (false, true) => {
                refuse(end, block, outside);
                refuse(0, far, outside);
                refuse(far, 2 * block, outside);
                refuse(0, 0, SubmitError::Empty);
                if block > 1 {
                    refuse(0, 1, misaligned);
                }
            }
        }
    }
    if !limits.flush {
        cases.push(("flush", Request::flush(TOKEN), SubmitError::Unsupported));
    }
    if !limits.lifetime {
        cases.push(("lifetime", Request::lifetime(TOKEN), SubmitError::Unsupported));
    }
    let count = cases.len();
    for (name, request, expected) in cases {
        refused(context.session, request, expected).map_err(|failure| format!("{name}: {failure}"))?;
    }
    Ok(format!("{count} requests"))
}

fn refused(session: &mut Session, request: Request, expected: SubmitError) -> Result<(), Failure> {
    let operation = request.operation();
    let ring = session.disk().queue().ring_state();
    let counters = session.counters();
    let outcome = session.disk().submit(request);
    session.disk().notify();
    let Err(rejected) = outcome else {
        // It must not be left with the device.
        let _ = session.wait(|_| ());
        fail!("taken");
    };
    if rejected.error != expected {
        fail!("\"{}\" in place of \"{expected}\"", rejected.error);
    }
    let same = rejected.request.operation() == operation;
    let (buffer, token) = rejected.request.into_parts();
    let has_data = matches!(operation, Operation::Read(_) | Operation::Write(_));
    if !same || token != TOKEN || buffer.is_some() != has_data {
        fail!("another request came back");
    }
    if session.counters() != counters || session.disk().queue().ring_state() != ring {
        fail!("something reached the ring");
    }
    Ok(())
}
