//! A machine for the main loop: messages that wait, a device that works while the service does not, one clock for all.
//!
//! The interrupt line can have a second hook, that of a process which has died. The line is never enabled for that one: once it
//! has fired the line stays masked until the hook is removed.

use std::cell::{Cell, RefCell, RefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use fake_minix::host::{readable, writable};
use fake_minix::{Blocked, Ended, Process, System as Minix, Trap, notification};
use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcCall;
use minix_abi::kernel_call::{IrqPolicy, MapElement, PhysRange, SafeCopy, Vumap, VumapReply};
use minix_abi::rs::SignalReceived;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Message, MessageType};
use minix_blockdriver::statistics::{Guesses, Watches};
use minix_blockdriver::{BlockDriver, DriverOptions, Service, WatchOptions};
use minix_rt::kernel::IrqLine;
use minix_virtio_blk::disk::{DiskMemory, ListTable, VirtioDisk};
use minix_virtio_blk::serve::{self, DiskService};
use minix_virtio_blk::system::{MinixSystem, ReplyTable};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters};
use virtio_core::{Dma as _, DmaRegion, QueueSize};
use virtio_mmio::{MmioTransport, probe};

use crate::journal;

/// Clients share this much memory; grant N is the N-th page of it.
const CLIENT_BYTES: usize = 64 << 12;
const SELF: Endpoint = Endpoint(0x8_0040);
const LINE: i32 = 1;

pub(crate) struct State {
    pub(crate) model: Model,
    /// The device does no work before so many alarms.
    pub(crate) lazy_until: u32,
    /// Nothing can be received, except from the clock.
    pub(crate) no_messages: bool,
    /// How often the service listened to the clock alone, and what waited then.
    pub(crate) clock_only: Vec<usize>,
    pub(crate) interrupts: u32,
    /// The line has the hook of a dead process, too.
    pub(crate) dead_hook: bool,
    /// That hook has fired.
    dead_hook_holds: bool,
    /// If set, a reading of the clock takes a microsecond, and every so many readings the device does a request.
    pub(crate) works_each: Option<u64>,
    /// The device does all it has while the service waits and no message is there.
    pub(crate) works_when_idle: bool,
    /// Microseconds that it takes to look up memory.
    pub(crate) map_takes: u64,
    /// How many replies had been sent each time it did.
    pub(crate) replies_before: Vec<usize>,
    clients: DmaRegion,
}

type Running = DiskService<Process, MmioTransport<ModelRegisters>, ModelDma, Box<dyn Fn() -> Instant>>;

pub(crate) struct Rig {
    minix: Minix,
    state: Rc<RefCell<State>>,
    service: Running,
}

thread_local! {
    static NEXT_ID: Cell<i32> = const { Cell::new(1) };
}

/// A running service; it never watches the device, so everything comes by interrupt.
pub(crate) fn rig() -> Rig {
    rig_that_watches(WatchOptions::NEVER)
}

/// A running service that watches the device.
pub(crate) fn rig_that_watches(watch: WatchOptions) -> Rig {
    let model = Model::new(ModelConfig::modern());
    let logger = journal::logger();
    let layout = std::alloc::Layout::from_size_align(CLIENT_BYTES, 4096).expect("pages");
    let state = Rc::new(RefCell::new(State {
        clients: model.dma().allocate(layout).expect("the model has memory"),
        model: model.clone(),
        lazy_until: 0,
        no_messages: false,
        clock_only: Vec::new(),
        interrupts: 0,
        dead_hook: false,
        dead_hook_holds: false,
        works_each: None,
        works_when_idle: false,
        map_takes: 0,
        replies_before: Vec::new(),
    }));
    let minix = Minix::default();
    minix.state().now = 5_000_000;
    let machine = Rc::clone(&state);
    // SAFETY: ranges lie in memory of the model that stands for that of clients.
    unsafe { minix.hook(move |minix, trap| machine.borrow_mut().answer(minix, trap)) };
    let mut process = minix.process(SELF, "disk");
    let transport = probe(model.registers()).device().expect("the model is a device");
    let lists: &mut ListTable = Box::leak(Box::default());
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let memory: &mut DiskMemory<_> = Box::leak(Box::default());
    let disk = VirtioDisk::start(transport, model.dma(), QueueSize::MAX, lists, memory).expect("the device comes up");
    let line = IrqLine::attach(&mut process, LINE as u32, 0, IrqPolicy::empty()).expect("it is free");
    let driver = BlockDriver::new(disk, DriverOptions::default());
    let clock: Box<dyn Fn() -> Instant> = Box::new(clock(&minix, &state));
    let system = MinixSystem::new(process, replies, clock, line, 1000, logger);
    let service = Service::new(system, driver, watch);
    Rig { minix, state, service }
}

/// The clock of the service, and of its logger.
fn clock(minix: &Minix, state: &Rc<RefCell<State>>) -> impl Fn() -> Instant + use<> {
    let (minix, state) = (minix.clone(), Rc::clone(state));
    move || {
        let mut minix = minix.state();
        let mut state = state.borrow_mut();
        if let Some(each) = state.works_each {
            minix.now += 1;
            if minix.now.is_multiple_of(each) && state.model.process(1) > 0 {
                state.replies_before.push(minix.sent.len());
            }
        }
        let now = minix.now;
        journal::set_time(now);
        Instant::from_micros(now)
    }
}

impl Rig {
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    pub(crate) fn minix(&self) -> RefMut<'_, fake_minix::State> {
        self.minix.state()
    }

    /// Runs until nothing happens any more. `false` if the service is done.
    pub(crate) fn goes_on(&mut self) -> bool {
        let service = &mut self.service;
        let run = catch_unwind(AssertUnwindSafe(|| while service.round() {}));
        match run {
            Ok(()) => false,
            Err(cause) if cause.is::<Blocked>() => true,
            Err(cause) => resume_unwind(cause),
        }
    }

    /// What the watches came to.
    pub(crate) fn watches(&self) -> Watches {
        self.service.driver().watches()
    }

    /// What came of its guesses that another request comes.
    pub(crate) fn guesses(&self) -> Guesses {
        self.service.guesses()
    }

    /// Requests that were there at once at most.
    pub(crate) fn most_at_once(&self) -> u16 {
        self.service.driver().counters().max_jobs
    }

    /// Has the service leave.
    pub(crate) fn leaves(&mut self) {
        let service = &mut self.service;
        let cause = catch_unwind(AssertUnwindSafe(|| serve::leave(service))).expect_err("it ends");
        if !cause.is::<Ended>() {
            resume_unwind(cause);
        }
    }

    fn push(&self, source: Endpoint, call: IpcCall, message: Message) {
        self.minix().push(SELF, source, call, message);
    }

    /// A request of `client`; returns its id.
    pub(crate) fn request(&self, client: Endpoint, call: IpcCall, kind: MessageType, body: BdevRequest) -> i32 {
        let id = NEXT_ID.replace(NEXT_ID.get() + 1);
        self.push(client, call, Message::with_payload(kind, &BdevRequest { id, ..body }));
        id
    }

    /// VFS opens the disk, or closes it.
    pub(crate) fn vfs(&self, kind: MessageType) -> i32 {
        let body = BdevRequest {
            access: BdevAccess::READ | BdevAccess::WRITE,
            ..BdevRequest::default()
        };
        self.request(Endpoint::VFS, IpcCall::SENDA, kind, body)
    }

    /// A file system reads a page into grant `grant`.
    pub(crate) fn reads(&self, position: u64, grant: i32) -> i32 {
        let body = BdevRequest {
            position,
            count: 4096,
            grant: GrantId(grant),
            ..BdevRequest::default()
        };
        self.request(Endpoint::MFS, IpcCall::SENDREC, MessageType::BDEV_READ, body)
    }

    /// A control request of VFS, with this argument in its grant `grant`.
    pub(crate) fn asks(&self, code: IoctlCode, grant: i32, argument: &[u8]) -> i32 {
        if !argument.is_empty() {
            let page = self.state().clients.as_ptr().as_ptr();
            // SAFETY: the region is this test's; the device is not working on it now.
            let all = unsafe { std::slice::from_raw_parts_mut(page, CLIENT_BYTES) };
            all[grant as usize * 4096..][..argument.len()].copy_from_slice(argument);
        }
        let body = BdevRequest {
            request: code,
            grant: GrantId(grant),
            ..BdevRequest::default()
        };
        self.request(Endpoint::VFS, IpcCall::SENDA, MessageType::BDEV_IOCTL, body)
    }

    pub(crate) fn told_to_stop(&self) {
        let signal = SignalReceived { signal: Signal::TERM };
        let message = Message::with_payload(MessageType::COMMON_SIGNAL, &signal);
        self.push(Endpoint::RS, IpcCall::SENDA, message);
    }

    pub(crate) fn pinged(&self) {
        self.minix().push(SELF, Endpoint::RS, IpcCall::NOTIFY, notification(0));
    }

    /// The replies sent to clients: receiver, call, body.
    pub(crate) fn replies(&self) -> Vec<(Endpoint, IpcCall, BdevReply)> {
        let minix = self.minix();
        let sent = minix.sent.iter();
        sent.map(|(to, call, message)| (*to, *call, message.payload()))
            .collect()
    }

    /// The device does no work before so many alarms.
    pub(crate) fn is_lazy_for(&self, alarms: u32) {
        let until = self.minix().alarms + alarms;
        self.state().lazy_until = until;
    }

    /// What was answered to a request; how often is for the test to know.
    pub(crate) fn answers(&self, id: i32) -> Vec<i32> {
        let sent = self.replies();
        let answers = sent.iter().filter(|(_, _, reply)| reply.id == id);
        answers.map(|(_, _, reply)| reply.status.0).collect()
    }

    /// The page of a client.
    pub(crate) fn page(&self, grant: usize) -> Vec<u8> {
        let state = self.state();
        // SAFETY: the region is this test's; the device is not working on it now.
        let all = unsafe { std::slice::from_raw_parts(state.clients.as_ptr().as_ptr(), CLIENT_BYTES) };
        all[grant * 4096..][..4096].to_vec()
    }
}

impl State {
    /// The hook of the dead process is removed, which opens the line for the other one.
    pub(crate) fn bury_the_dead(&mut self) {
        self.dead_hook = false;
        self.dead_hook_holds = false;
    }

    /// Where the memory of a copy is, which a client has granted.
    fn page_of(&self, copy: &SafeCopy) -> Result<u64, Errno> {
        let grant = u64::try_from(copy.grant.0).map_err(|_| Errno::EINVAL)?;
        if grant >= CLIENT_BYTES as u64 / 4096 || copy.offset + copy.bytes > 4096 {
            return Err(Errno::EPERM);
        }
        Ok(self.clients.as_ptr().as_ptr().expose_provenance() as u64 + grant * 4096 + copy.offset)
    }

    /// What the device and the memory of clients are to the system.
    fn answer(&mut self, minix: &mut fake_minix::State, trap: &mut Trap<'_>) -> Option<Result<u64, Errno>> {
        match trap {
            Trap::Receive(Endpoint::ANY, _) if self.no_messages => return Some(Err(Errno::EDEADSRCDST)),
            Trap::Receive(from, _) => {
                let is_idle = self.works_when_idle && minix.waiting(SELF) == 0;
                if minix.alarms >= self.lazy_until || is_idle {
                    self.model.process(usize::MAX);
                }
                if *from == Endpoint::CLOCK {
                    self.clock_only.push(minix.waiting(SELF));
                } else if minix.open_lines.contains(&LINE) && !self.dead_hook_holds && self.model.interrupt_line() {
                    minix.open_lines.clear();
                    self.dead_hook_holds = self.dead_hook;
                    self.interrupts += 1;
                    minix.push_notification(SELF, Endpoint::HARDWARE, 1);
                }
            }
            Trap::Call(message) if message.kind == MessageType::SYS_SAFECOPYTO => {
                let copy: SafeCopy = message.payload();
                return Some(self.page_of(&copy).map(|page| {
                    writable(page, copy.bytes).copy_from_slice(readable(copy.address, copy.bytes));
                    0
                }));
            }
            Trap::Call(message) if message.kind == MessageType::SYS_SAFECOPYFROM => {
                let copy: SafeCopy = message.payload();
                return Some(self.page_of(&copy).map(|page| {
                    writable(copy.address, copy.bytes).copy_from_slice(readable(page, copy.bytes));
                    0
                }));
            }
            Trap::Call(message) if message.kind == MessageType::SYS_VUMAP => {
                minix.now += self.map_takes;
                let request: Vumap = message.payload();
                assert_eq!((request.input_count, request.offset), (1, 0));
                let element: *const MapElement = std::ptr::with_exposed_provenance(request.input as usize);
                // SAFETY: the caller keeps both vectors for the call, and says that they have room for one.
                let element = unsafe { element.read() };
                let range = PhysRange {
                    address: self.clients.device_addr().get() + (element.address & 0xFFFF_FFFF) * 4096,
                    bytes: element.bytes,
                };
                let place: *mut PhysRange = std::ptr::with_exposed_provenance_mut(request.output as usize);
                // SAFETY: as above.
                unsafe { place.write(range) };
                message.set_payload(&VumapReply { filled: 1 });
                return Some(Ok(0));
            }
            _ => {}
        }
        None
    }
}
