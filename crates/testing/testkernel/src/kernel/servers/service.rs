//! A service as RS knows it.

use heapless::Vec;
use minix_abi::{Endpoint, Status};
use testkernel::config::ServiceConfig;
use testkernel::life::{Leave, Life, Phase};
use testkernel::scenario::Program;

use crate::kernel::frames::Batch;

/// Priorities where the configuration has none: drivers run first.
const DRIVER_PRIORITY: u8 = 3;
const CLIENT_PRIORITY: u8 = 7;

/// What a service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be tested. It drives a major number.
    Driver(u32),
    /// A test that is waited for.
    Client,
    /// A test that runs while others do.
    Background,
    /// A program that a shell starts, which is no service. This line is typed at its terminal, if it has one.
    Program(Option<&'static str>),
}

/// A service, whether it lives or not.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) program: Program<&'static str>,
    pub(super) config: ServiceConfig<'static>,
    pub(crate) kind: Kind,
    pub(crate) endpoint: Endpoint,
    pub(crate) life: Life,
    /// The result of its initialisation.
    pub(crate) result: Option<Status>,
    /// The endpoint of the last instance that served.
    pub(super) served_as: Option<Endpoint>,
    /// The memory of dead instances, and how many frames of it were damaged while a replacement had inherited it.
    pub(super) dead: Vec<Batch, 8>,
    pub(super) damaged: u64,
    /// A replacement has inherited that memory: on MINIX it is not free before the replacement is gone.
    pub(super) is_inherited: bool,
    /// User instructions of dead instances.
    pub(crate) instructions: u64,
    /// The registers of its device, as far as its interrupt line tells.
    pub(crate) window: Option<u64>,
    /// When it could leave.
    pub(crate) leave: Leave,
    /// Pings without an answer.
    pub(crate) pings: u32,
    /// Its answer to a request for a live update: `None` inside for no answer yet.
    pub(crate) prepared: Option<Option<Status>>,
}

impl Service {
    pub(super) fn new(program: Program<&'static str>, config: ServiceConfig<'static>, kind: Kind, now: u64) -> Self {
        Self {
            program,
            config,
            kind,
            endpoint: Endpoint::NONE,
            life: Life::new(now),
            result: None,
            served_as: None,
            dead: Vec::new(),
            damaged: 0,
            is_inherited: false,
            instructions: 0,
            window: None,
            leave: Leave::default(),
            pings: 0,
            prepared: None,
        }
    }

    pub(crate) fn label(&self) -> &'static str {
        self.program.label
    }

    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.kind, Kind::Driver(_))
    }

    pub(crate) fn is_program(&self) -> bool {
        matches!(self.kind, Kind::Program(_))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.life.phase() == Phase::Gone
    }

    pub(super) fn priority(&self) -> u8 {
        self.config.priority.unwrap_or(if self.is_driver() {
            DRIVER_PRIORITY
        } else {
            CLIENT_PRIORITY
        })
    }

    pub(super) fn allows(&self, other: &Self) -> bool {
        self.config.names(other.program.label, other.program.program)
    }
}
