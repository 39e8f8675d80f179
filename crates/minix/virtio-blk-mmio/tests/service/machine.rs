//! A machine for the main loop: messages that wait, a device that works while the service does not, one clock for all.
//!
//! The interrupt line can have a second hook, that of a process which has died. The line is never enabled for that one: once it
//! has fired the line stays masked until the hook is removed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{
    IrqCtl, IrqHook, IrqPolicy, IrqRequest, MapElement, PhysRange, SetAlarm, Vumap, VumapReply,
};
use minix_abi::notify::Notification;
use minix_abi::rs::SignalReceived;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Message, MessageType, Status};
use minix_blockdriver::{BlockDriver, DriverOptions, Service};
use minix_rt::Ipc;
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

/// The process waits for a message that never comes.
struct Blocked;
/// The process has ended itself.
struct Ended;

pub(crate) struct State {
    pub(crate) model: Model,
    /// Microseconds.
    pub(crate) now: u64,
    /// Messages of senders that wait.
    pub(crate) inbox: VecDeque<(IpcStatus, Message)>,
    /// What was sent to clients: the receiver, the call, the reply.
    pub(crate) sent: Vec<(Endpoint, IpcCall, BdevReply)>,
    /// Receivers of asynchronous messages are ready only from this time on.
    pub(crate) deaf_until: u64,
    /// What becomes of asynchronous messages.
    pub(crate) delivery: Status,
    /// Alarms that go off before the device does any work.
    pub(crate) lazy_for: u32,
    /// Nothing can be received, except from the clock.
    pub(crate) no_messages: bool,
    /// How often the service listened to the clock alone, and what waited then.
    pub(crate) clock_only: Vec<usize>,
    pub(crate) pings_answered: u32,
    pub(crate) interrupts: u32,
    pub(crate) line_open: bool,
    /// The line has the hook of a dead process, too.
    pub(crate) dead_hook: bool,
    /// That hook has fired.
    dead_hook_holds: bool,
    /// The service has a hook on the line.
    pub(crate) is_hooked: bool,
    alarm: Option<u64>,
    table: Option<(*mut AsyncMessage, usize)>,
    clients: DmaRegion,
}

#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Rc<RefCell<State>>);

type Running = DiskService<Machine, MmioTransport<ModelRegisters>, ModelDma, Box<dyn Fn() -> Instant>>;

pub(crate) struct Rig {
    pub(crate) machine: Machine,
    service: Running,
}

thread_local! {
    static NEXT_ID: Cell<i32> = const { Cell::new(1) };
}

/// A running service; it never watches the device, so everything comes by interrupt.
pub(crate) fn rig() -> Rig {
    let model = Model::new(ModelConfig::modern());
    let logger = journal::logger();
    let layout = std::alloc::Layout::from_size_align(CLIENT_BYTES, 4096).expect("pages");
    let machine = Machine(Rc::new(RefCell::new(State {
        clients: model.dma().allocate(layout).expect("the model has memory"),
        model: model.clone(),
        now: 5_000_000,
        inbox: VecDeque::new(),
        sent: Vec::new(),
        deaf_until: 0,
        delivery: Status::OK,
        lazy_for: 0,
        no_messages: false,
        clock_only: Vec::new(),
        pings_answered: 0,
        interrupts: 0,
        line_open: false,
        dead_hook: false,
        dead_hook_holds: false,
        is_hooked: false,
        alarm: None,
        table: None,
    })));
    let transport = probe(model.registers()).device().expect("the model is a device");
    let lists: &mut ListTable = Box::leak(Box::default());
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let memory: &mut DiskMemory<_> = Box::leak(Box::default());
    let disk = VirtioDisk::start(transport, model.dma(), QueueSize::MAX, lists, memory).expect("the device comes up");
    let mut ipc = machine.clone();
    let line = IrqLine::attach(&mut ipc, 1, 0, IrqPolicy::empty()).expect("it is free");
    let driver = BlockDriver::new(disk, DriverOptions::default());
    let clock: Box<dyn Fn() -> Instant> = Box::new(machine.clock());
    let system = MinixSystem::new(ipc, replies, clock, line, 1000, logger);
    let service = Service::new(system, driver, Duration::ZERO);
    Rig { machine, service }
}

fn by(call: IpcCall) -> IpcStatus {
    IpcStatus::new(call, false)
}

fn notification(source: Endpoint, interrupts: u64) -> (IpcStatus, Message) {
    let body = Notification {
        interrupts,
        ..Notification::default()
    };
    let message = Message::with_payload(MessageType::NOTIFY_MESSAGE, &body);
    (by(IpcCall::NOTIFY), Message { source, ..message })
}

impl Rig {
    pub(crate) fn state(&self) -> std::cell::RefMut<'_, State> {
        self.machine.0.borrow_mut()
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

    /// Has the service leave.
    pub(crate) fn leaves(&mut self) {
        let service = &mut self.service;
        let cause = catch_unwind(AssertUnwindSafe(|| serve::leave(service))).expect_err("it ends");
        if !cause.is::<Ended>() {
            resume_unwind(cause);
        }
    }

    fn arrives(&self, source: Endpoint, call: IpcCall, message: Message) {
        let message = Message { source, ..message };
        self.state().inbox.push_back((by(call), message));
    }

    /// A request of `client`; returns its id.
    pub(crate) fn request(&self, client: Endpoint, call: IpcCall, kind: MessageType, body: BdevRequest) -> i32 {
        let id = NEXT_ID.replace(NEXT_ID.get() + 1);
        self.arrives(client, call, Message::with_payload(kind, &BdevRequest { id, ..body }));
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

    pub(crate) fn told_to_stop(&self) {
        let signal = SignalReceived { signal: Signal::TERM };
        let message = Message::with_payload(MessageType::COMMON_SIGNAL, &signal);
        self.arrives(Endpoint::RS, IpcCall::SENDA, message);
    }

    pub(crate) fn pinged(&self) {
        self.state().inbox.push_back(notification(Endpoint::RS, 0));
    }

    /// What was answered to a request; how often is for the test to know.
    pub(crate) fn answers(&self, id: i32) -> Vec<i32> {
        let state = self.state();
        let answers = state.sent.iter().filter(|(_, _, reply)| reply.id == id);
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

impl Machine {
    /// The clock of the service, and of its logger.
    fn clock(&self) -> impl Fn() -> Instant + use<> {
        let machine = self.clone();
        move || {
            let now = machine.0.borrow().now;
            journal::set_time(now);
            Instant::from_micros(now)
        }
    }
}

impl State {
    /// The hook of the dead process is removed, which opens the line for the other one.
    pub(crate) fn bury_the_dead(&mut self) {
        self.dead_hook = false;
        self.dead_hook_holds = false;
    }

    /// Delivers what waits in the table of asynchronous messages.
    fn deliver(&mut self) {
        let Some((table, entries)) = self.table.filter(|_| self.now >= self.deaf_until) else {
            return;
        };
        for nth in 0..entries {
            // SAFETY: the sender keeps so many entries until they are done or replaced, and is not running now.
            let entry = unsafe { &mut *table.add(nth) };
            if entry.is_pending() {
                assert!(entry.flags.contains(AsyncFlags::NOREPLY));
                entry.result = self.delivery;
                entry.flags |= AsyncFlags::DONE;
                if self.delivery == Status::OK {
                    self.sent
                        .push((entry.destination, IpcCall::SENDA, entry.message.payload()));
                }
            }
        }
        self.table = None;
    }
}

// SAFETY: no memory is mapped. Ranges lie in memory of the model that stands for that of clients. Entries of the table of
// asynchronous messages are marked when they are taken, and only the last table is looked into.
unsafe impl Ipc for Machine {
    fn send(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        panic!("it would wait for a client")
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        let mut state = self.0.borrow_mut();
        let waiting = state.inbox.len();
        let anybody = match from {
            Endpoint::ANY if state.no_messages => return Err(Errno::EDEADSRCDST),
            Endpoint::ANY => true,
            Endpoint::CLOCK => {
                state.clock_only.push(waiting);
                false
            }
            other => panic!("it waits for {other}"),
        };
        let (status, received) = 'next: {
            if state.lazy_for == 0 {
                state.model.process(usize::MAX);
            }
            if anybody && state.line_open && !state.dead_hook_holds && state.model.interrupt_line() {
                state.line_open = false;
                state.dead_hook_holds = state.dead_hook;
                state.interrupts += 1;
                break 'next notification(Endpoint::HARDWARE, 1);
            }
            if anybody && let Some(next) = state.inbox.pop_front() {
                break 'next next;
            }
            let Some(at) = state.alarm.take() else {
                drop(state);
                panic_any(Blocked)
            };
            state.now = state.now.max(at);
            state.lazy_for = state.lazy_for.saturating_sub(1);
            state.deliver();
            notification(Endpoint::CLOCK, 0)
        };
        *message = received;
        Ok(status)
    }

    fn sendrec(&mut self, to: Endpoint, _: &mut Message) -> Result<(), Errno> {
        panic!("it asks {to}")
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        assert_eq!(to, Endpoint::RS);
        self.0.borrow_mut().pings_answered += 1;
        Ok(())
    }

    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        assert_eq!(message.kind, MessageType::BDEV_REPLY);
        self.0.borrow_mut().sent.push((to, IpcCall::SENDNB, message.payload()));
        Ok(())
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        let mut state = self.0.borrow_mut();
        state.table = Some((table, entries));
        state.deliver();
        Ok(())
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        let mut state = self.0.borrow_mut();
        match message.kind {
            MessageType::SYS_EXIT => {
                drop(state);
                panic_any(Ended)
            }
            MessageType::SYS_SETALARM => {
                let request: SetAlarm = message.payload();
                assert!(request.expires > 0 && request.absolute == 0);
                state.alarm = Some(state.now + request.expires * 1000);
            }
            MessageType::SYS_IRQCTL => {
                let request: IrqCtl = message.payload();
                match request.request {
                    IrqRequest::SETPOLICY => state.is_hooked = true,
                    IrqRequest::ENABLE if state.is_hooked => {}
                    IrqRequest::RMPOLICY if state.is_hooked => state.is_hooked = false,
                    _ => return Err(Errno::EINVAL),
                }
                state.line_open = state.is_hooked;
                message.set_payload(&IrqHook { hook_id: 1 });
            }
            MessageType::SYS_VUMAP => {
                let request: Vumap = message.payload();
                assert_eq!((request.input_count, request.offset), (1, 0));
                let element: *const MapElement = std::ptr::with_exposed_provenance(request.input as usize);
                // SAFETY: the caller keeps both vectors for the call, and says that they have room for one.
                let element = unsafe { element.read() };
                let range = PhysRange {
                    address: state.clients.device_addr().get() + (element.address & 0xFFFF_FFFF) * 4096,
                    bytes: element.bytes,
                };
                let place: *mut PhysRange = std::ptr::with_exposed_provenance_mut(request.output as usize);
                // SAFETY: as above.
                unsafe { place.write(range) };
                message.set_payload(&VumapReply { filled: 1 });
            }
            kind => panic!("unexpected: {kind:?}"),
        }
        Ok(0)
    }
}
