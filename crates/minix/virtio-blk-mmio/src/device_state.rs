//! The state of the device: live, with its driver, or stopped; and the way from one to the other.

use core::mem::{self, MaybeUninit};

use minix_abi::disk_control::RangeLimit;
use minix_blockdriver::{DiskInfo, Geometry, Tag};
use virtio_blk::proto::{BlkFeatures, RangeLimits};
use virtio_blk::{Completion, Disk, DiskCounters, DiskOptions, InitError, WriteCache};
use virtio_core::{Dma, Features, PollLimit, RawSegments, Transport};

use crate::lists::{List, MAX_SEGMENTS};
use crate::queue_plan::QueuePlan;

/// Descriptors there is room for. More would make the driver, which is moved at a reset, larger than a stack should have to
/// hold.
pub(crate) const QUEUE: usize = 128;

/// The data of a request: memory of a client, or a bounce buffer.
pub(crate) type Data = RawSegments<List>;

pub(crate) type Running<T> = Disk<T, Data, Tag, QUEUE>;

#[expect(
    clippy::large_enum_variant,
    reason = "there is one of these, nearly always of the large kind, and no heap"
)]
pub(crate) enum DeviceState<T: Transport> {
    /// The device works.
    Live(Running<T>),
    /// The device has not started, or not again, and uses no memory. `None` on the way from one state to the other.
    Stopped(Option<T>),
}

/// Memory for the state. The driver in it is large, so it stays where it is.
pub struct DiskMemory<T: Transport>(pub(crate) MaybeUninit<DeviceState<T>>);

impl<T: Transport> DiskMemory<T> {
    /// Room for one.
    pub const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

impl<T: Transport> Default for DiskMemory<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts a device that is stopped, with the first layout of `plan` that there is memory for.
pub(crate) fn start_device<T: Transport>(
    state: &mut DeviceState<T>,
    dma: &mut impl Dma,
    plan: &mut QueuePlan,
) -> Result<(), InitError> {
    loop {
        let layout = plan.layout();
        let mut options = DiskOptions {
            max_queue_size: layout.queue,
            max_segments: MAX_SEGMENTS as u16,
            ..DiskOptions::default()
        };
        if !layout.indirect {
            options.features.remove(Features::INDIRECT_DESC);
        }
        match start_once(state, dma, &options) {
            Ok(()) => {}
            Err(InitError::Dma(_)) if plan.step_down() => continue,
            Err(error) => return Err(error),
        }
        let DeviceState::Live(disk) = &*state else { continue };
        let has_tables = disk.accepted_features().contains(Features::INDIRECT_DESC);
        let current = plan.clone();
        if has_tables || !plan.is_too_small_without_tables() || !plan.step_down() {
            return Ok(());
        }
        // Nothing was submitted, so nothing is lost.
        if !shut_down(state, dma, &mut |_| {}, &mut DiskCounters::default()) {
            *plan = current;
            return Ok(());
        }
    }
}

/// Starts a device that is stopped.
// The driver is large, and here it is moved. That is not to be part of the frames of others.
#[inline(never)]
fn start_once<T: Transport>(
    state: &mut DeviceState<T>,
    dma: &mut impl Dma,
    options: &DiskOptions,
) -> Result<(), InitError> {
    let transport = match state {
        DeviceState::Stopped(transport) => transport.take(),
        DeviceState::Live(_) => None,
    };
    // It is stopped, which callers see to.
    let transport = transport.ok_or(InitError::NoQueue)?;
    match Disk::start(transport, dma, options, &mut PollLimit::default()) {
        Ok(disk) => {
            *state = DeviceState::Live(disk);
            Ok(())
        }
        Err(failed) => {
            *state = DeviceState::Stopped(Some(failed.transport));
            Err(failed.error)
        }
    }
}

/// Resets a device that was started, and releases its memory; its requests go to `each`. Whether it is stopped now.
#[inline(never)]
pub(crate) fn shut_down<T: Transport>(
    state: &mut DeviceState<T>,
    dma: &mut impl Dma,
    each: &mut dyn FnMut(Completion<Data, Tag>),
    counted: &mut DiskCounters,
) -> bool {
    if !matches!(state, DeviceState::Live(_)) {
        return matches!(state, DeviceState::Stopped(Some(_)));
    }
    let DeviceState::Live(disk) = mem::replace(state, DeviceState::Stopped(None)) else {
        return false;
    };
    match disk.shut_down(dma, &mut PollLimit::default(), each) {
        Ok((transport, counters)) => {
            *counted = counters;
            *state = DeviceState::Stopped(Some(transport));
            true
        }
        Err((_, disk)) => {
            *state = DeviceState::Live(disk);
            false
        }
    }
}

/// Properties and limits of the disk, for the adapter.
pub(crate) fn info_of<T: Transport>(disk: &Running<T>) -> DiskInfo {
    let limits = disk.limits();
    let max_segments = limits.max_segments.min(MAX_SEGMENTS as u16);
    DiskInfo {
        sectors: limits.capacity.get(),
        block_bytes: limits.block_bytes,
        read_only: limits.read_only,
        can_flush: limits.flush,
        // One that is gone does not flush either, and the next poll says so.
        write_cache: disk.write_cache() == Ok(WriteCache::WriteBack),
        max_segments,
        // So no request is too long as a whole.
        max_segment_bytes: limits
            .max_segment_bytes
            .min(limits.max_request_bytes / u32::from(max_segments.max(1))),
        geometry: disk.config().geometry.map(|geometry| Geometry {
            cylinders: geometry.cylinders.into(),
            heads: geometry.heads.into(),
            sectors: geometry.sectors.into(),
        }),
        cache_switch: blk_features(disk.accepted_features()).contains(BlkFeatures::CONFIG_WCE),
        discard: limits.discard.map(range_limit),
        write_zeroes: limits.write_zeroes.map(|zeroes| RangeLimit {
            sectors: zeroes.max_sectors,
            ranges: zeroes.max_segments,
            // The device does not tell one.
            alignment: limits.block_sectors() as u32,
        }),
        zeroes_unmap: limits.write_zeroes.is_some_and(|zeroes| zeroes.may_unmap),
        secure_erase: limits.secure_erase.map(range_limit),
        lifetime: limits.lifetime,
    }
}

fn range_limit(limits: RangeLimits) -> RangeLimit {
    RangeLimit {
        sectors: limits.max_sectors,
        ranges: limits.max_segments,
        alignment: limits.alignment_sectors,
    }
}

fn blk_features(features: Features) -> BlkFeatures {
    BlkFeatures::from_bits_retain(features.low())
}
