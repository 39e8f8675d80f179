//! RS, the reincarnation server: starts services, watches them, starts them again.
//!
//! Clients of the block driver are services as well: they do their tests while they initialise themselves, and the result
//! is their verdict. They are ended then, and not started again.

use guest_protocol::{End, Record};
use heapless::Vec;
use minix_abi::ipc::IpcCall;
use minix_abi::kernel_call::PrivFlags;
use minix_abi::rs::{Init, InitType, LuPrepare, LuState, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use testkernel::config::ServiceConfig;
use testkernel::life::{Action, Leave, Life, Phase};
use testkernel::scenario::Program as Launch;

use super::instance::{bury, create, disinherit, launch_fresh, privilege, release, settle, unpublish};
use crate::kernel::frames::Batch;
use crate::kernel::process::{MAX_PROCESSES, Slot, State};
use crate::kernel::{Kernel, ipc, scenario_run};

/// Priorities: drivers run first.
const DRIVER_PRIORITY: u8 = 3;
const CLIENT_PRIORITY: u8 = 7;

/// Where the registers of virtio devices are: a window for each interrupt line.
const WINDOWS: u64 = 0x1000_0000;
const WINDOW_BYTES: u64 = 0x1000;

/// What a service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be tested.
    Driver,
    /// A test that is waited for.
    Client,
    /// A test that runs while others do.
    Background,
}

/// A service, whether it lives or not.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) launch: Launch<'static>,
    pub(super) config: ServiceConfig<'static>,
    pub(super) major: Option<u32>,
    pub(crate) kind: Kind,
    pub(crate) endpoint: Endpoint,
    pub(crate) life: Life,
    /// What it said about its initialisation.
    pub(crate) result: Option<Status>,
    /// The endpoint of the last instance that served.
    served_as: Option<Endpoint>,
    /// The memory of dead instances, and how much of it was damaged before it was anybody else's.
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
    /// Set when it is pinged, cleared by its answer.
    pub(crate) is_pinged: bool,
    /// What it said about a live update it was asked for: `None` inside for no answer yet.
    pub(crate) prepared: Option<Option<Status>>,
}

impl Service {
    pub(crate) fn label(&self) -> &'static str {
        self.launch.label
    }

    fn is_patient(&self) -> bool {
        self.kind != Kind::Driver
    }

    pub(super) fn priority(&self) -> u8 {
        if self.kind == Kind::Driver {
            DRIVER_PRIORITY
        } else {
            CLIENT_PRIORITY
        }
    }

    pub(super) fn allows(&self, other: &Self) -> bool {
        self.config.names(other.launch.label, other.launch.program)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rs {
    pub(crate) services: Vec<Service, MAX_PROCESSES>,
}

impl Rs {
    pub(crate) fn labelled(&self, label: &str) -> Option<usize> {
        self.services.iter().position(|service| service.launch.label == label)
    }

    fn position(&self, endpoint: Endpoint) -> Option<usize> {
        self.services
            .iter()
            .position(|service| service.endpoint == endpoint && service.life.phase() != Phase::Gone)
    }
}

/// Whether somebody is a driver, whose replies are watched.
pub(in crate::kernel) fn is_driver(kernel: &Kernel, endpoint: Endpoint) -> bool {
    let rs = &kernel.high.rs;
    rs.position(endpoint)
        .is_some_and(|index| rs.services[index].kind == Kind::Driver)
}

/// A driver gets a message: the last one to close its disk is when it can leave.
pub(in crate::kernel) fn delivered(kernel: &mut Kernel, driver: Endpoint, message: &Message) {
    let now = kernel.now_micros();
    let rs = &mut kernel.high.rs;
    if let Some(index) = rs.position(driver)
        && message.kind == MessageType::BDEV_CLOSE
    {
        rs.services[index].leave.closed(now);
    }
}

/// Starts a service. It is known to DS and mapped by VFS before its first instruction.
pub(in crate::kernel) fn up(
    kernel: &mut Kernel,
    launch: Launch<'static>,
    config: ServiceConfig<'static>,
    major: Option<u32>,
    kind: Kind,
) -> Result<(), &'static str> {
    let now = kernel.now_micros();
    // The dead are kept as long as there is room: somebody may ask what became of them.
    let is_full = kernel.high.rs.services.is_full();
    while let Some(gone) = kernel.high.rs.services.iter().position(|service| {
        let is_in_the_way = service.launch.label == launch.label || is_full && service.kind != Kind::Background;
        service.life.phase() == Phase::Gone && is_in_the_way
    }) {
        settle(kernel, gone);
        kernel.high.rs.services.swap_remove(gone);
    }
    if kernel.high.rs.labelled(launch.label).is_some() {
        return Err("the label is in use");
    }
    let service = Service {
        launch,
        config,
        major,
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
        is_pinged: false,
        prepared: None,
    };
    let index = kernel.high.rs.services.len();
    kernel.high.rs.services.push(service).map_err(|_| "too many services")?;
    let launched = launch_fresh(kernel, index);
    if launched.is_err() {
        kernel.high.rs.services.swap_remove(index);
    }
    launched
}

fn say_ended(kernel: &Kernel, index: usize, how: End) {
    let service = &kernel.high.rs.services[index];
    scenario_run::emit(&Record::Ended {
        label: service.launch.label,
        endpoint: service.endpoint.0,
        how,
        result: service.result.map_or(0, |status| status.0),
    });
}

/// A process has died, is to die, or has left.
pub(in crate::kernel) fn died(kernel: &mut Kernel, slot: Slot, how: End) {
    let now = kernel.now_micros();
    let endpoint = kernel.processes[slot].endpoint;
    let index = kernel.high.rs.position(endpoint).expect("every process is a service");
    say_ended(kernel, index, how);
    if how == End::Exit {
        super::vfs::lost(kernel, slot);
    }
    let service = &mut kernel.high.rs.services[index];
    let (label, before) = (service.launch.label, service.life.phase());
    let action = service.life.died(now);
    if service.kind == Kind::Driver && how != End::Killed && before != Phase::Stopping {
        scenario_run::violation(kernel, format_args!("{label} died by itself: {how:?}"));
    }
    act(kernel, index, action);
}

/// Carries out what the life of a service demands.
fn act(kernel: &mut Kernel, index: usize, action: Action) {
    let service = &kernel.high.rs.services[index];
    let endpoint = service.endpoint;
    let slot = kernel.processes.find(endpoint);
    match action {
        Action::Nothing | Action::Unexpected => {}
        Action::WaitUntil(at) => {
            // Dead, but the place is not free: whoever sends to it waits, and what it has sent can still be taken.
            if let Some(slot) = slot {
                kernel.block(slot, State::Held);
            }
            kernel.high.vfs.hang_up(endpoint);
            kernel.high.run.look_at(at);
        }
        Action::Replace => {
            // The memory of the instance before has been watched for long enough.
            settle(kernel, index);
            kernel.high.rs.services[index].is_inherited = true;
            if let Some(slot) = slot {
                bury(kernel, index, slot);
            }
            kernel.high.vfs.hang_up(endpoint);
            match create(kernel, index) {
                Ok(new) => {
                    let slot = kernel.processes.take_over(new, endpoint);
                    privilege(kernel, index, slot, PrivFlags::RST_SYS);
                    release(kernel, index, slot, InitType::RESTART);
                }
                Err(reason) => scenario_run::violation(kernel, format_args!("no replacement: {reason}")),
            }
        }
        Action::StartFresh => {
            say_ended(kernel, index, End::Killed);
            disinherit(kernel, index);
            if let Some(slot) = slot {
                bury(kernel, index, slot);
            }
            unpublish(kernel, index);
            if let Err(reason) = launch_fresh(kernel, index) {
                scenario_run::violation(kernel, format_args!("no fresh instance: {reason}"));
            }
        }
        Action::Remove => {
            disinherit(kernel, index);
            if let Some(slot) = slot {
                bury(kernel, index, slot);
            }
            unpublish(kernel, index);
        }
        Action::Welcome => welcome(kernel, index, slot),
    }
    kernel.high.run.poke();
}

fn welcome(kernel: &mut Kernel, index: usize, slot: Option<Slot>) {
    let Some(slot) = slot else { return };
    let now = kernel.now_micros();
    let service = &mut kernel.high.rs.services[index];
    if service.kind != Kind::Driver {
        // It has said all it had to say.
        service.life.stop(now);
        died(kernel, slot, End::Exit);
        return;
    }
    let new = service.endpoint;
    if let Some(old) = service.served_as.replace(new) {
        scenario_run::emit(&Record::Restarted {
            label: service.launch.label,
            old: old.0,
            new: new.0,
        });
    }
    super::reply(kernel, Endpoint::RS, slot, Message::reply(Status::OK));
}

/// A message to RS.
pub(super) fn sent(kernel: &mut Kernel, caller: Slot, message: &Message, call: IpcCall) {
    let now = kernel.now_micros();
    let endpoint = kernel.processes[caller].endpoint;
    let Some(index) = kernel.high.rs.position(endpoint) else {
        return;
    };
    let service = &mut kernel.high.rs.services[index];
    let (label, is_asked) = (service.launch.label, call == IpcCall::SENDREC);
    match message.kind {
        MessageType::RS_INIT if is_asked => {
            let result = message.payload::<Init>().result;
            let action = service.life.answered(result, now);
            if action == Action::Unexpected {
                super::reply(kernel, Endpoint::RS, caller, Message::reply(Errno::EINVAL.into()));
                scenario_run::violation(kernel, format_args!("{label} was not asked to initialise itself"));
                return;
            }
            service.result = Some(result);
            if action == Action::Remove {
                let how = if service.kind == Kind::Driver {
                    End::Killed
                } else {
                    End::Exit
                };
                say_ended(kernel, index, how);
            }
            act(kernel, index, action);
        }
        MessageType::RS_LU_PREPARE if is_asked && service.prepared == Some(None) => {
            let result = message.payload::<LuPrepare>().result;
            service.prepared = Some(Some(result));
            super::reply(kernel, Endpoint::RS, caller, Message::reply(result));
            kernel.high.run.poke();
        }
        kind => {
            // On MINIX the two would go on answering each other.
            if is_asked {
                super::reply(kernel, Endpoint::RS, caller, Message::reply(Errno::EINVAL.into()));
            }
            scenario_run::violation(
                kernel,
                format_args!("{label} sent {kind:?} to RS, which expects nothing"),
            );
        }
    }
}

/// A service has notified RS: the answer to a ping.
pub(super) fn ponged(kernel: &mut Kernel, caller: Slot) {
    let endpoint = kernel.processes[caller].endpoint;
    let Some(index) = kernel.high.rs.position(endpoint) else {
        return;
    };
    let service = &mut kernel.high.rs.services[index];
    let label = service.launch.label;
    if !core::mem::take(&mut service.is_pinged) {
        scenario_run::violation(kernel, format_args!("{label} answers a ping that there was not"));
    }
    kernel.high.run.poke();
}

/// Sends a service a sign that it is watched; the answer clears `is_pinged`.
pub(in crate::kernel) fn ping(kernel: &mut Kernel, index: usize, slot: Slot) {
    kernel.high.rs.services[index].is_pinged = true;
    ipc::notify(kernel, Endpoint::RS, slot);
}

/// Asks a service to get ready for a live update.
pub(in crate::kernel) fn prepare(kernel: &mut Kernel, index: usize, slot: Slot) {
    kernel.high.rs.services[index].prepared = Some(None);
    let request = LuPrepare {
        state: LuState::WORK_FREE,
        max_time: 1000,
        state_data: GrantId::INVALID,
        ..LuPrepare::default()
    };
    super::post(
        kernel,
        Endpoint::RS,
        slot,
        Message::with_payload(MessageType::RS_LU_PREPARE, &request),
        false,
    );
}

/// Sends a signal by message. After SIGTERM a driver may leave.
pub(in crate::kernel) fn signal(kernel: &mut Kernel, index: usize, slot: Slot, signal: Signal) {
    let now = kernel.now_micros();
    // A driver hooks the line of its device, and lines and windows go together on this machine.
    let line = kernel.irqs.lines_of(kernel.processes[slot].endpoint).next();
    let service = &mut kernel.high.rs.services[index];
    if signal == Signal::TERM && service.kind == Kind::Driver {
        service.window = line.map(|line| WINDOWS + line as u64 * WINDOW_BYTES);
        service.life.stop(now);
        service.leave.told(now);
    }
    let message = Message::with_payload(MessageType::COMMON_SIGNAL, &SignalReceived { signal });
    super::post(kernel, Endpoint::RS, slot, message, true);
}

/// Looks at the time: back-offs that are over, initialisations that take too long. Collects dead slots if it is idle.
pub(in crate::kernel) fn look(kernel: &mut Kernel, now: u64) {
    for index in 0..kernel.high.rs.services.len() {
        let service = &mut kernel.high.rs.services[index];
        let patient = service.is_patient();
        let action = service.life.time(now, patient);
        if action == Action::Remove {
            say_ended(kernel, index, End::Killed);
        }
        if action != Action::Nothing {
            act(kernel, index, action);
        }
    }
    // As on MINIX, a service that initialises itself, or comes or goes, keeps RS from it. Clients are such services for as
    // long as they run.
    let is_idle = |service: &Service| matches!(service.life.phase(), Phase::Running | Phase::Gone);
    if kernel.high.rs.services.iter().all(is_idle) {
        kernel.irqs.collect(&kernel.processes);
    }
}
