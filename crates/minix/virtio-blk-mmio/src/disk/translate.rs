//! Requests, refusals and faults, each in the terms of the adapter and of the driver.

use minix_abi::disk_control::{Event, EventKind, FaultCode};
use minix_blockdriver::{DeviceRequest, RangeOperation, Refusal, Tag};
use virtio_blk::proto::Sector;
use virtio_blk::{DeviceFault, Request, SectorRange, SubmitError};

use crate::device_state::Data;

/// A request without data, other than a flush, as the driver wants it. Transfers and flushes do not get here, and a flush does no
/// harm.
#[cold]
pub(super) fn command(request: DeviceRequest, tag: Tag) -> Request<Data, Tag> {
    match request {
        DeviceRequest::Transfer { .. } | DeviceRequest::Flush => Request::flush(tag),
        DeviceRequest::Identify => Request::identify(tag),
        DeviceRequest::AskLifetime => Request::lifetime(tag),
        DeviceRequest::Range {
            operation,
            first,
            sectors,
        } => {
            let first = Sector(first);
            let range = SectorRange { first, sectors };
            match operation {
                RangeOperation::Discard => Request::discard(range, tag),
                RangeOperation::WriteZeroes { may_unmap } => Request::write_zeroes(range, may_unmap, tag),
                RangeOperation::Erase => Request::secure_erase(range, tag),
            }
        }
    }
}

/// What is recorded of a fault.
pub(super) fn fault_event(fault: DeviceFault) -> Event {
    let (code, first) = match fault {
        DeviceFault::IndexJump { index, .. } => (FaultCode::INDEX_JUMP, index.into()),
        DeviceFault::IdOutOfRange { id } => (FaultCode::ID_OUT_OF_RANGE, id),
        DeviceFault::NotInFlight { id } => (FaultCode::NOT_IN_FLIGHT, id),
        DeviceFault::Gone => (FaultCode::GONE, 0),
        _ => (FaultCode(0), 0),
    };
    Event {
        first: first.into(),
        code: code.0,
        ..Event::new(EventKind::FAULT)
    }
}

/// Why the adapter is told that a request was not taken.
pub(super) fn refusal(error: SubmitError) -> Refusal {
    match error {
        SubmitError::QueueFull => Refusal::Full,
        SubmitError::TooScattered => Refusal::Unreachable,
        SubmitError::Unsupported => Refusal::Unsupported,
        SubmitError::Broken(_) => Refusal::Broken,
        // Out of range, misaligned, read-only, empty, around the end of the address space.
        _ => Refusal::Invalid,
    }
}
