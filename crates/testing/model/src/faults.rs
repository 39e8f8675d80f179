//! Devices that misbehave: what a driver must survive.
//!
//! A [`Fault`] is asked at fixed points of a request's life and may twist what the device does there. Every method
//! does nothing by default. [`FaultScript`] is a list of the usual ones by request number.

use std::collections::BTreeMap;

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
    /// The sector in the header.
    pub sector: u64,
    /// Bytes of data, in either direction.
    pub data_bytes: u64,
    /// Bytes the device may write, the status included.
    pub writable_bytes: u64,
}

/// What the device does about a request.
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
    /// Break down: DEVICE_NEEDS_RESET, and nothing more is served.
    BreakDown,
}

/// How the driver hears of a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interrupt {
    /// If it asked for it.
    #[default]
    AsAsked,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// What is about to be written when a request comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The id in the used element.
    pub id: u32,
    /// The length in the used element.
    pub len: u32,
    /// The status byte; `None`: it is not written at all.
    pub status: Option<u8>,
    /// How many used elements are written: normally one.
    pub copies: u16,
    /// How far the used index moves beyond those.
    pub extra_index: u16,
    /// The interrupt.
    pub interrupt: Interrupt,
}

/// Something that goes wrong.
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

/// One thing that goes wrong with one request.
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
    /// Returned with an interrupt nobody asked for.
    ForcedInterrupt,
    /// The device breaks down when it sees the request.
    BreakDown,
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
    /// What this fault makes of a request before it is carried out.
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

    /// What this fault makes of a completion.
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
