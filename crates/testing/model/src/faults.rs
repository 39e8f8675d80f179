//! Devices that misbehave, which a driver must survive.
//!
//! The device asks a [`Fault`] before it carries a request out and before it returns it. [`FaultScript`] has the usual faults
//! by request number. A [`StartFault`] goes wrong in one start.

use std::collections::BTreeMap;

use crate::config::AtDriverOk;

/// One start of the device that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// QueueSizeMax reads 0 at the next look.
    NoQueue,
    /// The device does not keep FEATURES_OK. A legacy device has no such bit: for it this waits.
    FeaturesRefused,
    /// The answer of the device to DRIVER_OK.
    AtDriverOk(AtDriverOk),
    /// The used index moves by this much as soon as the device is live, and nothing was used.
    UsedIndex(u16),
}

/// A request as a fault sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Counts all requests of the model from 0.
    pub number: u64,
    /// The queue it came from.
    pub queue: u16,
    /// Head descriptor of its chain.
    pub head: u16,
    /// The type number.
    pub kind: u32,
    /// The I/O priority in the header of a legacy device; 0 on a modern one.
    pub priority: u32,
    /// A legacy device was told that the request is a barrier.
    pub barrier: bool,
    /// The sector in the header.
    pub sector: u64,
    /// Bytes of data, in either direction.
    pub data_bytes: u64,
    /// Bytes the device may write, the status included.
    pub writable_bytes: u64,
}

/// The treatment of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Carry it out.
    #[default]
    Serve,
    /// Do nothing but answer this status.
    Answer(u8),
    /// For writes and requests with several ranges: carry out the first half, then answer this status (`BLK-D-26`).
    Half(u8),
    /// Carry it out and never answer.
    Swallow,
    /// Keep it and never answer.
    Lose,
    /// Ask for a reset (DEVICE_NEEDS_RESET), and serve no more requests.
    BreakDown,
}

/// Whether a completion interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interrupt {
    /// If the driver asked for it.
    #[default]
    AsAsked,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// The end of a request, before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The id in the used element.
    pub id: u32,
    /// The length in the used element.
    pub len: u32,
    /// The status byte; `None`: it is not written at all.
    pub status: Option<u8>,
    /// The position that an append reports, if it is another than the right one.
    pub append_sector: Option<u64>,
    /// How many used elements are written: normally one.
    pub copies: u16,
    /// How far the used index moves beyond those.
    pub extra_index: u16,
    /// The interrupt.
    pub interrupt: Interrupt,
}

/// A device that goes wrong in some requests.
pub trait Fault: Send {
    /// Before a request is carried out.
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let _ = request;
        Verdict::Serve
    }

    /// Before status and used element are written.
    fn before_completion(&mut self, request: &RequestInfo, completion: &mut Completion) {
        let _ = (request, completion);
    }
}

/// Nothing goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFaults;

impl Fault for NoFaults {}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Answered with this status without being carried out.
    Status(u8),
    /// Carried out by half, for writes and requests with several ranges, and answered with this status.
    Half(u8),
    /// Carried out, and never returned.
    Swallowed,
    /// Returned without a status being written.
    NoStatus,
    /// Never returned.
    Lost,
    /// Returned with this id.
    UsedId(u32),
    /// Returned with this length.
    UsedLen(u32),
    /// Returned with one byte more than the writable part has.
    LenTooLong,
    /// Returned twice.
    Twice,
    /// Returned, with the used index running ahead by that much.
    IndexJump(u16),
    /// Returned without an interrupt.
    NoInterrupt,
    /// Returned with an interrupt that the driver did not ask for.
    ForcedInterrupt,
    /// The device asks for a reset when it sees the request.
    BreakDown,
    /// An append is carried out and reported to be here.
    AppendSector(u64),
}

/// Faults by request number.
#[derive(Clone, Debug, Default)]
pub struct FaultScript(BTreeMap<u64, FaultKind>);

impl FaultScript {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault to request `number`, counted from 0.
    #[must_use]
    pub fn at(mut self, number: u64, kind: FaultKind) -> Self {
        self.0.insert(number, kind);
        self
    }
}

impl FaultKind {
    /// The treatment of a request that has this fault.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Status(status) => Verdict::Answer(status),
            Self::Half(status) => Verdict::Half(status),
            Self::Swallowed => Verdict::Swallow,
            Self::Lost => Verdict::Lose,
            Self::BreakDown => Verdict::BreakDown,
            _ => Verdict::Serve,
        }
    }

    /// Puts this fault into a completion.
    pub fn twist(self, request: &RequestInfo, completion: &mut Completion) {
        match self {
            Self::NoStatus => completion.status = None,
            Self::UsedId(id) => completion.id = id,
            Self::UsedLen(len) => completion.len = len,
            Self::LenTooLong => completion.len = request.writable_bytes as u32 + 1,
            Self::Twice => completion.copies = 2,
            Self::IndexJump(step) => completion.extra_index = step,
            Self::NoInterrupt => completion.interrupt = Interrupt::Never,
            Self::ForcedInterrupt => completion.interrupt = Interrupt::Always,
            Self::AppendSector(sector) => completion.append_sector = Some(sector),
            _ => (),
        }
    }
}

impl Fault for FaultScript {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let fault = self.0.get(&request.number);
        fault.map_or(Verdict::Serve, |fault| fault.verdict())
    }

    fn before_completion(&mut self, request: &RequestInfo, completion: &mut Completion) {
        if let Some(fault) = self.0.get(&request.number) {
            fault.twist(request, completion);
        }
    }
}
