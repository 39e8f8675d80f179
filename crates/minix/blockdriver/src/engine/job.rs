//! A request of a client that is being worked on.

use minix_abi::bdev::BdevRequest;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::MapElement;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Instant};

use crate::protocol::request::{Caller, Kind};
use crate::protocol::trace::TraceTicket;
use crate::transfer::Transfer;

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobId(pub(super) u16);

/// No place.
pub(super) const NONE: u16 = u16::MAX;

impl JobId {
    /// Its place in a table of so many jobs. An id is below that; the remainder, a mask where that is a power of two, tells the
    /// compiler so without a branch.
    #[inline(always)]
    pub(super) const fn index<const JOBS: usize>(self) -> usize {
        self.0 as usize % JOBS
    }

    pub(super) fn some(link: u16) -> Option<Self> {
        (link != NONE).then_some(Self(link))
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The place is free.
    Free,
    /// A barrier is ahead of it. Nothing about it was looked at.
    Waiting,
    /// A transfer that passed its checks.
    Transfer,
    /// A barrier: it waits until every request ahead of it is answered, or runs.
    Barrier,
}

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) caller: Caller,
    pub(crate) kind: Kind,
    pub(crate) stage: Stage,
    pub(crate) minor: Minor,
    /// What is asked for, of a request that [waits](Stage::Waiting) or is a [barrier](Stage::Barrier).
    pub(crate) request: BdevRequest,
    /// Its entry in the trace.
    pub(crate) traced: Option<TraceTicket>,
    /// What is left to do, from [`Stage::Transfer`] on.
    pub(crate) transfer: Transfer,
    /// The only element, where there is no vector.
    pub(crate) single: MapElement,
    /// The next one in the same device request.
    pub(crate) merged: Option<JobId>,
    /// When it came.
    pub(crate) arrived: Instant,
    /// Its place in the order of arrival.
    pub(super) order: u64,
}

impl Job {
    pub(super) const FREE: Self = Self {
        caller: Caller {
            endpoint: Endpoint::NONE,
            status: IpcStatus(0),
            id: 0,
        },
        kind: Kind::Open,
        stage: Stage::Free,
        minor: Minor(0),
        request: BdevRequest {
            position: 0,
            minor: Minor(0),
            id: 0,
            access: minix_abi::bdev::BdevAccess::empty(),
            count: 0,
            grant: minix_abi::GrantId::INVALID,
            flags: minix_abi::bdev::BdevFlags::empty(),
            user: Endpoint::NONE,
            pad: minix_abi::Pad::ZERO,
            request: minix_abi::ioctl::IoctlCode(0),
        },
        traced: None,
        transfer: Transfer::NONE,
        single: MapElement { address: 0, bytes: 0 },
        merged: None,
        arrived: Instant::START,
        order: 0,
    };
}
