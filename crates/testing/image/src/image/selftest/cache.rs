//! The write cache of the device: switching it, and flushing.

use virtio_blk::proto::Sector;
use virtio_blk::{WriteCache, WriteCacheError};

use super::{Context, Miss, TestResult, fail};
use crate::image::buffer::Buffer;
use crate::image::report::text;
use crate::image::session::{Request, check};

/// The cache can be switched, but not under requests in flight; or the driver says that there is no switch.
pub(super) fn switch(context: &mut Context<'_>) -> TestResult {
    busy(context)?;
    let session = &mut *context.session;
    let before = session.disk().write_cache();
    let other = match before {
        WriteCache::WriteBack => WriteCache::WriteThrough,
        WriteCache::WriteThrough => WriteCache::WriteBack,
    };
    match session.disk().set_write_cache(other) {
        Err(WriteCacheError::Unsupported) => return Ok(text!("no switch, stays {before:?}")),
        Err(error) => fail!("{error}"),
        Ok(()) => {}
    }
    let during = session.disk().write_cache();
    // What was written under the old mode is durable only after this.
    session.flush()?;
    let restored = session.disk().set_write_cache(before);
    let after = session.disk().write_cache();
    if during != other {
        fail!("still {during:?} after switching to {other:?}");
    }
    if restored.is_err() || after != before {
        fail!("{after:?} after switching back to {before:?}");
    }
    Ok(text!("{before:?}, {other:?} and back"))
}

/// While a request is in flight the switch is refused.
fn busy(context: &mut Context<'_>) -> Result<(), Miss> {
    let session = &mut *context.session;
    let bytes = session.block_bytes();
    let slice = session.allocate(bytes)?;
    if let Err(rejected) = session.disk().submit(Request::read(Sector(0), Buffer::One(slice), 0)) {
        return Err(session.rejected(rejected).into());
    }
    let mode = session.disk().write_cache();
    let switched = session.disk().set_write_cache(mode);
    session.disk().notify();
    let mut done = None;
    while done.is_none() {
        session.wait(|completion| done = Some(completion))?;
    }
    if let Some(done) = done {
        let outcome = check(&done, bytes as u64);
        if let Some(buffer) = done.buffer {
            session.discard_buffer(buffer);
        }
        outcome?;
    }
    match switched {
        Err(WriteCacheError::Busy) => Ok(()),
        other => fail!("switching under a request: {other:?}"),
    }
}

/// A flush succeeds; where it was not offered the driver refuses it, which `unsupported-refused` has checked.
pub(super) fn flush(context: &mut Context<'_>) -> TestResult {
    let offered = context.session.disk().limits().flush;
    context.session.flush()?;
    Ok(if offered {
        text!("done")
    } else {
        text!("not offered: every completed write is durable")
    })
}
