//! The device's id, lifetime and write cache, and the checks after all other tests.

use alloc::format;

use virtio_blk::proto::Sector;
use virtio_blk::{Answer, WriteCache, WriteCacheError};

use super::{Context, TestResult, fail, skip};
use crate::image::buffer::Buffer;
use crate::image::session::{Request, Session, taken_back};
use bare_image::memory::DmaMemory;

/// The id string is there and the same each time.
pub(super) fn id(context: &mut Context<'_>) -> TestResult {
    let mut ask = || context.session.command(Request::identify(0));
    match (ask()?, ask()?) {
        (Answer::Id(first), Answer::Id(second)) if first == second => Ok(format!("\"{first}\"")),
        answers => fail!("{answers:?}"),
    }
}

/// The wear estimate, from devices that have one.
pub(super) fn lifetime(context: &mut Context<'_>) -> TestResult {
    if !context.session.limits().lifetime {
        skip!("not offered");
    }
    match context.session.command(Request::lifetime(0))? {
        Answer::Lifetime(lifetime) => Ok(format!("{lifetime:?}")),
        answer => fail!("{answer:?}"),
    }
}

/// The cache can be switched, but not while requests are in flight; or there is no switch, and the driver refuses.
pub(super) fn write_cache(context: &mut Context<'_>) -> TestResult {
    context.needs_blocks(1)?;
    let session = &mut *context.session;
    let bytes = session.block_bytes();
    let before = session.disk().write_cache()?;
    let request = Request::read(Sector(0), Buffer::allocate(bytes)?, 0);
    session.disk().submit(request).map_err(|rejected| rejected.error)?;
    let in_flight = session.disk().set_write_cache(before);
    session.disk().notify();
    let mut done = None;
    session.wait(|completion| done = Some(completion))?;
    taken_back(done.ok_or("no completion")?, bytes as u64)?;
    if in_flight != Err(WriteCacheError::Busy) {
        fail!("switched while a request is in flight: {in_flight:?}");
    }

    let other = match before {
        WriteCache::WriteBack => WriteCache::WriteThrough,
        WriteCache::WriteThrough => WriteCache::WriteBack,
    };
    for mode in [other, before] {
        match session.disk().set_write_cache(mode) {
            Err(WriteCacheError::Unsupported) if mode == other => return Ok(format!("no switch, stays {before:?}")),
            result => result?,
        }
        // Data written under the old mode is durable only after this.
        session.flush()?;
        let now = session.disk().write_cache()?;
        if now != mode {
            fail!("{now:?} after switching to {mode:?}");
        }
    }
    Ok(format!("{before:?}, {other:?} and back"))
}

/// A flush succeeds. Where it was not offered the driver refuses it, which `refusals` has checked.
pub(super) fn flush(context: &mut Context<'_>) -> TestResult {
    if !context.session.limits().flush {
        skip!("not offered: every completed write is durable");
    }
    context.session.flush()?;
    Ok("done".into())
}

/// Completions came the way that was asked for.
pub(super) fn completions(context: &mut Context<'_>) -> TestResult {
    let waiting = context.session.waiting;
    let counters = context.session.counters();
    let taken = counters.interrupts.taken.max(waiting.interrupts.claimed());
    match waiting.queue {
        _ if counters.queue.faults > 0 => fail!("the device broke the rules {} times", counters.queue.faults),
        Some(_) if counters.interrupts.taken == 0 => fail!("no interrupt was taken"),
        None if taken > 0 => fail!("{taken} interrupts were taken while polling"),
        _ => Ok(format!(
            "{} device requests, {} notifies, {} interrupts ({} spurious)",
            counters.queue.device_requests,
            counters.queue.notifies,
            counters.interrupts.taken,
            counters.interrupts.spurious
        )),
    }
}

/// Nothing is left with the device, and all memory comes back.
pub(super) fn shut_down(session: &mut Session) -> TestResult {
    let aborted = session.shut_down();
    let left = DmaMemory::bytes_in_use();
    if aborted > 0 || left > 0 {
        fail!("{aborted} requests were in flight, {left} bytes of DMA memory did not come back");
    }
    Ok("nothing in flight, all memory back".into())
}
