//! The seven requests to a block driver, and their callers.

use minix_abi::ipc::IpcStatus;
use minix_abi::trace::TraceRequest;
use minix_abi::{Endpoint, MessageType};

use crate::device::Direction;

/// The client that waits for the answer, and how the answer reaches it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) endpoint: Endpoint,
    /// How the request came.
    pub(crate) status: IpcStatus,
    pub(crate) id: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Close,
    Ioctl,
    Read,
    Write,
    Gather,
    Scatter,
}

impl Kind {
    /// `None` for a message that is no request to a block driver.
    pub(crate) fn of(message: MessageType) -> Option<Self> {
        Some(match message {
            MessageType::BDEV_OPEN => Self::Open,
            MessageType::BDEV_CLOSE => Self::Close,
            MessageType::BDEV_IOCTL => Self::Ioctl,
            MessageType::BDEV_READ => Self::Read,
            MessageType::BDEV_WRITE => Self::Write,
            MessageType::BDEV_GATHER => Self::Gather,
            MessageType::BDEV_SCATTER => Self::Scatter,
            _ => return None,
        })
    }

    /// Which way the data goes; `None` for a request that is a barrier.
    pub(crate) const fn direction(self) -> Option<Direction> {
        match self {
            Self::Read | Self::Gather => Some(Direction::Read),
            Self::Write | Self::Scatter => Some(Direction::Write),
            Self::Open | Self::Close | Self::Ioctl => None,
        }
    }

    pub(crate) const fn has_vector(self) -> bool {
        matches!(self, Self::Gather | Self::Scatter)
    }

    pub(crate) const fn traced_as(self) -> TraceRequest {
        match self {
            Self::Open => TraceRequest::OPEN,
            Self::Close => TraceRequest::CLOSE,
            Self::Ioctl => TraceRequest::IOCTL,
            Self::Read => TraceRequest::READ,
            Self::Write => TraceRequest::WRITE,
            Self::Gather => TraceRequest::GATHER,
            Self::Scatter => TraceRequest::SCATTER,
        }
    }
}
