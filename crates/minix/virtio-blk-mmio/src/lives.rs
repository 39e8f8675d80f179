//! The device from one start to the next reset, and where its driver lives.

use core::mem::{self, MaybeUninit};

use minix_blockdriver::{DiskInfo, Geometry, Tag};
use virtio_blk::{Completion, Disk, DiskCounters, DiskOptions, InitError};
use virtio_core::{Dma, Features, RawSegments, Transport};

use crate::lists::{List, MAX_SEGMENTS};
use crate::queue_plan::Plan;

/// Descriptors there is room for. More would make the driver, which is moved at a reset, larger than a stack should have to
/// hold.
pub(crate) const QUEUE: usize = 128;

/// The data of a request: memory of a client, or staging memory.
pub(crate) type Data = RawSegments<List>;

pub(crate) type Running<T> = Disk<T, Data, Tag, QUEUE>;

#[expect(
    clippy::large_enum_variant,
    reason = "there is one of these, nearly always of the large kind, and no heap"
)]
pub(crate) enum State<T: Transport> {
    /// The device works.
    Live(Running<T>),
    /// The device has not started, or not again. It has no memory of anybody. `None` on the way from one to the other.
    Stopped(Option<T>),
}

/// Where the driver of the device lives. It is large, so it stays where it is.
pub struct DiskHome<T: Transport>(pub(crate) MaybeUninit<State<T>>);

impl<T: Transport> DiskHome<T> {
    /// Room for one.
    pub const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

impl<T: Transport> Default for DiskHome<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts a device that is stopped, with the first queue of `plan` that there is memory for.
pub(crate) fn start_device<T: Transport>(
    state: &mut State<T>,
    dma: &mut impl Dma,
    plan: &mut Plan,
) -> Result<(), InitError> {
    loop {
        let step = plan.step();
        let mut options = DiskOptions {
            max_queue_size: step.queue,
            max_segments: MAX_SEGMENTS as u16,
            ..DiskOptions::default()
        };
        if !step.indirect {
            options.features.remove(Features::INDIRECT_DESC);
        }
        match start_once(state, dma, &options) {
            Ok(()) => {}
            Err(InitError::Dma(_)) if plan.step_down() => continue,
            Err(error) => return Err(error),
        }
        let State::Live(disk) = &*state else { continue };
        let has_tables = disk.accepted().contains(Features::INDIRECT_DESC);
        if has_tables || !plan.is_too_small_without_tables() || !plan.step_down() {
            return Ok(());
        }
        // Nothing was submitted, so nothing is lost.
        if !shut_down(state, dma, |_| {}, &mut DiskCounters::default()) {
            return Ok(());
        }
    }
}

/// Starts a device that is stopped.
// The driver is large, and here it is moved. That is not to be part of the frames of others.
#[inline(never)]
fn start_once<T: Transport>(state: &mut State<T>, dma: &mut impl Dma, options: &DiskOptions) -> Result<(), InitError> {
    let transport = match state {
        State::Stopped(transport) => transport.take(),
        State::Live(_) => None,
    };
    // It is stopped, which callers see to.
    let transport = transport.ok_or(InitError::NoQueue)?;
    match Disk::start(transport, dma, options) {
        Ok(disk) => {
            *state = State::Live(disk);
            Ok(())
        }
        Err(failed) => {
            *state = State::Stopped(Some(failed.transport));
            Err(failed.error)
        }
    }
}

/// Resets a device that was started, and takes everything back: what it had goes to `each`. Whether it is stopped now.
#[inline(never)]
pub(crate) fn shut_down<T: Transport>(
    state: &mut State<T>,
    dma: &mut impl Dma,
    each: impl FnMut(Completion<Data, Tag>),
    counted: &mut DiskCounters,
) -> bool {
    if !matches!(state, State::Live(_)) {
        return matches!(state, State::Stopped(Some(_)));
    }
    let State::Live(disk) = mem::replace(state, State::Stopped(None)) else {
        return false;
    };
    match disk.shut_down(dma, each) {
        Ok((transport, counters)) => {
            *counted = counters;
            *state = State::Stopped(Some(transport));
            true
        }
        Err((_, disk)) => {
            *state = State::Live(disk);
            false
        }
    }
}

/// What the disk is, for the adapter. Whether it has a write cache takes a register read, so the caller knows it.
pub(crate) fn info_of<T: Transport>(disk: &Running<T>, write_cache: bool) -> DiskInfo {
    let limits = disk.limits();
    DiskInfo {
        sectors: limits.capacity.get(),
        block_bytes: limits.block_bytes,
        read_only: limits.read_only,
        can_flush: limits.flush,
        write_cache,
        max_segments: limits.max_segments.min(MAX_SEGMENTS as u16),
        geometry: disk.config().geometry.map(|geometry| Geometry {
            cylinders: geometry.cylinders.into(),
            heads: geometry.heads.into(),
            sectors: geometry.sectors.into(),
        }),
    }
}
