//! A system: its processes, the kernel between them, VM, RS and DS.
//!
//! A test makes processes, and runs the code under test on them. Where it wants another answer, or to see a trap, it sets a
//! [hook](System::hook). A process whose code is not under test can be a [`Server`]: it is called with each message.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::panic::panic_any;
use std::rc::Rc;

use minix_abi::grant::GrantFlags;
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{
    DiagCode, DiagCtl, GetInfo, InfoRequest, IrqCtl, IrqHook, IrqRequest, MapAccess, MapElement, PhysRange, PrivFlags,
    SafeCopy, SetAlarm, SetGrant, Umap, UmapReply, Vumap, VumapReply, WhoAmI,
};
use minix_abi::notify::Notification;
use minix_abi::rs::InitFlags;
use minix_abi::vm::{MapFlags, MapPhys, Mmap, UnmapPhys};
use minix_abi::{Endpoint, Errno, Message, MessageType, PAGE_BYTES, Status};

use crate::host::{GrantTable, pages, readable, writable};
use crate::store::Store;
use crate::trap::{Fake, Trap, Traps};

/// The process waits for a message that never comes.
#[derive(Debug)]
pub struct Blocked;
/// The process was ended, by itself or by RS.
#[derive(Debug)]
pub struct Ended;

/// A physical address is an address here plus this.
pub const PHYSICAL: u64 = 0x10_0000_0000_0000;
/// The hook of an interrupt line is the number of the line plus this.
pub const HOOK: i32 = 100;
const TICK_MICROS: u64 = 1000;

type Hook = Rc<RefCell<dyn FnMut(&mut State, &mut Trap<'_>) -> Option<Result<u64, Errno>>>>;
type Tamper = Rc<RefCell<dyn FnMut(Message) -> Vec<Message>>>;

/// A process that is called with its messages, and answers by traps of its own.
pub trait Server {
    /// Takes a message.
    ///
    /// # Errors
    ///
    /// What the sender is told if the process is dead.
    fn handle(&mut self, status: IpcStatus, message: &Message) -> Result<(), Errno>;

    /// Goes on with pending work, since all others wait. Returns whether there was any.
    fn idle(&mut self) -> bool;
}

/// What the kernel knows of a process.
#[derive(Default)]
struct Known {
    inbox: VecDeque<(IpcStatus, Message)>,
    grants: GrantTable,
    alarm: Option<u64>,
    /// Its table of asynchronous messages.
    outgoing: Option<(*mut AsyncMessage, usize)>,
}

/// The state of a system, for tests to look at and to change.
#[derive(Default)]
pub struct State {
    /// Microseconds.
    pub now: u64,
    /// Alarms that went off.
    pub alarms: u32,
    known: BTreeMap<i32, Known>,
    servers: BTreeMap<i32, Rc<RefCell<dyn Server>>>,
    /// Messages to others than processes: the receiver, the call, the message.
    pub sent: Vec<(Endpoint, IpcCall, Message)>,
    /// Receivers of asynchronous messages are ready only from this time on.
    pub deaf_until: u64,
    /// The result of asynchronous messages.
    pub delivery: Status,
    pub store: Store,
    /// Mappings of contiguous or ordinary memory so far, in bytes.
    pub mappings: Vec<usize>,
    pub no_memory: bool,
    /// Physical pages of devices: where they are in this process.
    pub device_pages: BTreeMap<u64, usize>,
    pub mapped_devices: Vec<usize>,
    /// The kernel opens no physical memory.
    pub closed: bool,
    /// Interrupt lines with a hook.
    pub hooked: Vec<i32>,
    /// Lines that are not masked.
    pub open_lines: Vec<i32>,
    pub console: Vec<String>,
    pub notified: Vec<Endpoint>,
    hook: Option<Hook>,
    tamper: Option<Tamper>,
}

/// A system. Copies are the same one.
#[derive(Clone, Default)]
pub struct System(Rc<RefCell<State>>);

/// A process as the kernel sees it.
#[derive(Clone)]
pub struct Caller {
    pub system: System,
    pub endpoint: Endpoint,
}

/// A process of a system.
pub type Process = Fake<Caller>;

impl System {
    /// Shows every trap to `hook` first. Without an answer of `hook` the trap is answered as usual.
    ///
    /// # Safety
    ///
    /// As [`Traps`].
    pub unsafe fn hook(&self, hook: impl FnMut(&mut State, &mut Trap<'_>) -> Option<Result<u64, Errno>> + 'static) {
        self.state().hook = Some(Rc::new(RefCell::new(hook)));
    }

    /// Replaces each message between processes by the messages that `tamper` returns.
    pub fn tamper(&self, tamper: impl FnMut(Message) -> Vec<Message> + 'static) {
        self.state().tamper = Some(Rc::new(RefCell::new(tamper)));
    }

    pub fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    pub fn process(&self, endpoint: Endpoint, label: &str) -> Process {
        let mut state = self.state();
        state.known.entry(endpoint.0).or_default();
        state.store.labels.insert(endpoint.0, label.to_owned());
        Fake(Caller {
            system: self.clone(),
            endpoint,
        })
    }

    /// Has `server` take the messages of the process `endpoint`.
    pub fn serve(&self, endpoint: Endpoint, server: impl Server + 'static) {
        self.state().servers.insert(endpoint.0, Rc::new(RefCell::new(server)));
    }

    /// A process dies, and its messages that were not received. Its server serves `successor` from now on.
    pub fn replace(&self, process: Endpoint, successor: Endpoint) {
        let mut state = self.state();
        state.known.remove(&process.0);
        state.store.labels.remove(&process.0);
        if let Some(server) = state.servers.remove(&process.0) {
            state.servers.insert(successor.0, server);
        }
        for known in state.known.values_mut() {
            known.inbox.retain(|(_, message)| message.source != process);
        }
    }

    /// Carries a message to a server or into the inbox of another process.
    fn carry(&self, from: Endpoint, to: Endpoint, call: IpcCall, message: Message) -> Result<(), Errno> {
        let message = Message {
            source: from,
            ..message
        };
        let tamper = self.state().tamper.clone();
        let messages = match tamper {
            Some(tamper) => (tamper.borrow_mut())(message),
            None => vec![message],
        };
        for message in messages {
            let mut state = self.state();
            let server = state.servers.get(&to.0).cloned();
            if let Some(server) = server {
                drop(state);
                server.borrow_mut().handle(IpcStatus::new(call, false), &message)?;
            } else if let Some(known) = state.known.get_mut(&to.0) {
                known.inbox.push_back((IpcStatus::new(call, false), message));
            } else if state.servers.is_empty() {
                state.sent.push((to, call, message));
            } else {
                return Err(Errno::EDEADSRCDST);
            }
        }
        Ok(())
    }

    /// Delivers what waits in tables of asynchronous messages: in that of `sender`, or in all.
    fn deliver(&self, sender: Option<Endpoint>) {
        let state = self.state();
        let mut tables = Vec::new();
        if state.now >= state.deaf_until {
            let tables_of = state
                .known
                .iter()
                .map(|(from, known)| (Endpoint(*from), known.outgoing));
            let wanted = tables_of.filter(|(from, _)| sender.is_none_or(|sender| sender == *from));
            tables.extend(wanted.filter_map(|(from, table)| Some((from, table?))));
        }
        let delivery = state.delivery;
        drop(state);
        for (from, (table, entries)) in tables {
            for nth in 0..entries {
                // SAFETY: the sender keeps so many entries until they are done or replaced, and waits now.
                let entry = unsafe { &mut *table.add(nth) };
                if entry.is_pending() {
                    entry.flags |= AsyncFlags::DONE;
                    let (to, message) = (entry.destination, entry.message);
                    entry.result = match delivery {
                        Status::OK => self.carry(from, to, IpcCall::SENDA, message).into(),
                        refused => refused,
                    };
                }
            }
        }
    }

    /// Lets servers go on. Returns whether one did.
    fn idle(&self) -> bool {
        let servers: Vec<_> = self.state().servers.values().cloned().collect();
        servers.into_iter().any(|server| server.borrow_mut().idle())
    }
}

/// A notification of the kernel's.
pub fn notification(interrupts: u64) -> Message {
    let body = Notification {
        interrupts,
        ..Notification::default()
    };
    Message::with_payload(MessageType::NOTIFY_MESSAGE, &body)
}

impl State {
    /// A message to a process, from any source.
    pub fn push(&mut self, to: Endpoint, source: Endpoint, call: IpcCall, message: Message) {
        let entry = (IpcStatus::new(call, false), Message { source, ..message });
        self.known.entry(to.0).or_default().inbox.push_back(entry);
    }

    /// A notification, which is received before messages.
    pub fn push_notification(&mut self, to: Endpoint, source: Endpoint, interrupts: u64) {
        self.push(to, source, IpcCall::NOTIFY, notification(interrupts));
        if let Some(inbox) = self.known.get_mut(&to.0).map(|known| &mut known.inbox) {
            inbox.rotate_right(1);
        }
    }

    /// The grants of a process.
    pub fn grants(&self, process: Endpoint) -> GrantTable {
        self.known
            .get(&process.0)
            .map_or(GrantTable::default(), |known| known.grants)
    }

    /// How many messages wait for a process.
    pub fn waiting(&self, process: Endpoint) -> usize {
        self.known.get(&process.0).map_or(0, |known| known.inbox.len())
    }

    fn is_alive(&self, process: Endpoint) -> bool {
        self.known.contains_key(&process.0) || self.servers.contains_key(&process.0)
    }

    fn vm(&mut self, message: &mut Message) -> Result<(), Errno> {
        match message.kind {
            MessageType::VM_MMAP if self.no_memory => Err(Errno::ENOMEM),
            MessageType::VM_MMAP => {
                let mut request: Mmap = message.payload();
                let contiguous = request.flags.contains(MapFlags::CONTIG);
                assert!(
                    !contiguous || request.bytes <= Mmap::MAX_CONTIGUOUS_BYTES,
                    "MINIX would go down"
                );
                self.mappings.push(request.bytes as usize);
                request.mapped_at = pages(request.bytes as usize) as u64;
                message.set_payload(&request);
                Ok(())
            }
            MessageType::VM_MUNMAP => Ok(()),
            MessageType::VM_MAP_PHYS => {
                let mut request: MapPhys = message.payload();
                let page = self.device_pages.get(&request.physical).copied().ok_or(Errno::EPERM)?;
                self.mapped_devices.push(page);
                request.mapped_at = page as u64;
                message.set_payload(&request);
                Ok(())
            }
            MessageType::VM_UNMAP_PHYS => {
                let request: UnmapPhys = message.payload();
                let before = self.mapped_devices.len();
                self.mapped_devices.retain(|&page| page as u64 != request.address);
                assert_eq!(self.mapped_devices.len() + 1, before);
                Ok(())
            }
            kind => panic!("unexpected: {kind:?}"),
        }
    }

    fn irq(&mut self, request: IrqCtl) -> Result<IrqHook, Errno> {
        let line = match request.request {
            IrqRequest::SETPOLICY => request.vector,
            _ => request.hook_id - HOOK,
        };
        let is_hooked = self.hooked.contains(&line);
        self.open_lines.retain(|open| *open != line);
        match request.request {
            IrqRequest::SETPOLICY if is_hooked => self.open_lines.push(line),
            IrqRequest::SETPOLICY => {
                self.hooked.push(line);
                self.open_lines.push(line);
            }
            IrqRequest::ENABLE if is_hooked => self.open_lines.push(line),
            IrqRequest::RMPOLICY if is_hooked => self.hooked.retain(|hooked| *hooked != line),
            _ => return Err(Errno::EINVAL),
        }
        Ok(IrqHook { hook_id: line + HOOK })
    }

    fn check(&self, owner: Endpoint, by: Endpoint, copy: &SafeCopy, access: GrantFlags) -> Result<u64, Errno> {
        let grants = self.known.get(&owner.0).ok_or(Errno::EINVAL)?.grants;
        if copy.bytes == 0 {
            return Err(Errno::EDOM);
        }
        grants.check(by, copy.grant, copy.offset, copy.bytes, access)
    }

    /// The memory of grants in ranges, each within a page.
    fn ranges(&self, by: Endpoint, request: &Vumap) -> Result<Vec<PhysRange>, Errno> {
        let grants = self.known.get(&request.owner.0).ok_or(Errno::EINVAL)?.grants;
        let access = match request.access {
            MapAccess::WRITE => GrantFlags::WRITE,
            _ => GrantFlags::READ,
        };
        let input: *const MapElement = std::ptr::with_exposed_provenance(request.input as usize);
        let (mut ranges, mut offset) = (Vec::new(), request.offset);
        for nth in 0..request.input_count as usize {
            // SAFETY: the caller keeps so many elements for the call.
            let element = unsafe { input.add(nth).read() };
            if element.bytes <= offset {
                return Err(Errno::EINVAL);
            }
            let start = grants.check(by, element.grant(), 0, element.bytes, access)?;
            let (mut at, end) = (start + std::mem::take(&mut offset), start + element.bytes);
            while at < end {
                let bytes = (PAGE_BYTES - at % PAGE_BYTES).min(end - at);
                ranges.push(PhysRange {
                    address: at + PHYSICAL,
                    bytes,
                });
                at += bytes;
            }
        }
        ranges.truncate(request.output_max as usize);
        Ok(ranges)
    }

    fn call(&mut self, by: Endpoint, message: &mut Message) -> Result<(), Errno> {
        let known = self.known.entry(by.0).or_default();
        match message.kind {
            MessageType::SYS_SETGRANT => {
                let SetGrant { table, entries, .. } = message.payload();
                known.grants = GrantTable {
                    address: table,
                    entries,
                };
            }
            MessageType::SYS_GETINFO => match message.payload::<GetInfo>() {
                GetInfo {
                    request: InfoRequest::WHOAMI,
                    ..
                } => {
                    let name = self.store.labels.get(&by.0).map_or("", String::as_str);
                    let who = WhoAmI::new(by, PrivFlags::SYS_PROC, InitFlags::empty(), name.as_bytes());
                    message.set_payload(&who);
                }
                info => {
                    assert_eq!(info.request, InfoRequest::HZ);
                    writable(info.address, 4).copy_from_slice(&1000_u32.to_le_bytes());
                }
            },
            MessageType::SYS_SETALARM => {
                let request: SetAlarm = message.payload();
                assert_eq!(request.absolute, 0);
                known.alarm = (request.expires > 0).then(|| self.now + request.expires * TICK_MICROS);
            }
            MessageType::SYS_DIAGCTL => {
                let DiagCtl {
                    code, address, bytes, ..
                } = message.payload();
                if code != DiagCode::DIAG {
                    return Err(Errno::EINVAL);
                }
                let text = readable(address, bytes as u64).to_vec();
                self.console.push(String::from_utf8(text).expect("text"));
            }
            MessageType::SYS_SAFECOPYFROM => {
                let copy: SafeCopy = message.payload();
                let from = self.check(copy.granter, by, &copy, GrantFlags::READ)?;
                writable(copy.address, copy.bytes).copy_from_slice(readable(from, copy.bytes));
            }
            MessageType::SYS_SAFECOPYTO => {
                let copy: SafeCopy = message.payload();
                let to = self.check(copy.granter, by, &copy, GrantFlags::WRITE)?;
                writable(to, copy.bytes).copy_from_slice(readable(copy.address, copy.bytes));
            }
            MessageType::SYS_VUMAP => {
                let request: Vumap = message.payload();
                let ranges = self.ranges(by, &request)?;
                let output: *mut PhysRange = std::ptr::with_exposed_provenance_mut(request.output as usize);
                for (nth, range) in ranges.iter().enumerate() {
                    // SAFETY: the caller has room for as many ranges as it says.
                    unsafe { output.add(nth).write(*range) };
                }
                message.set_payload(&VumapReply {
                    filled: ranges.len() as i32,
                });
            }
            MessageType::SYS_UMAP => {
                let physical = message.payload::<Umap>().address + PHYSICAL;
                message.set_payload(&UmapReply { physical });
            }
            MessageType::SYS_PRIVCTL if self.closed => return Err(Errno::ECALLDENIED),
            MessageType::SYS_PRIVCTL | MessageType::SYS_STATECTL => {}
            MessageType::SYS_IRQCTL => {
                let hook = self.irq(message.payload())?;
                message.set_payload(&hook);
            }
            kind => panic!("unexpected: {kind:?}"),
        }
        Ok(())
    }
}

impl Caller {
    pub fn state(&self) -> RefMut<'_, State> {
        self.system.state()
    }

    /// The next message from `from`: one that waits, or one that comes with time.
    fn receive(&self, from: Endpoint, message: &mut Message) -> Result<u64, Errno> {
        loop {
            let mut state = self.system.state();
            let now = state.now;
            let known = state.known.entry(self.endpoint.0).or_default();
            let is_wanted = |source: Endpoint| from == Endpoint::ANY || from == source;
            if let Some(place) = known.inbox.iter().position(|(_, message)| is_wanted(message.source))
                && let Some((status, received)) = known.inbox.remove(place)
            {
                *message = received;
                return Ok(status.0);
            }
            let alarm = known.alarm.filter(|_| is_wanted(Endpoint::CLOCK));
            if from.is_process() && !from.is_kernel_task() && !state.is_alive(from) {
                return Err(Errno::EDEADSRCDST);
            }
            drop(state);
            if alarm.is_none_or(|at| at > now) && from != Endpoint::CLOCK && self.system.idle() {
                continue;
            }
            let Some(at) = alarm else { panic_any(Blocked) };
            let mut state = self.system.state();
            state.now = now.max(at);
            state.alarms += 1;
            state.known.entry(self.endpoint.0).or_default().alarm = None;
            state.push_notification(self.endpoint, Endpoint::CLOCK, 0);
            drop(state);
            self.system.deliver(None);
        }
    }

    fn sendrec(&self, to: Endpoint, message: &mut Message) -> Result<u64, Errno> {
        let mut state = self.system.state();
        let status = match to {
            Endpoint::VM => state.vm(message).into(),
            Endpoint::RS => Status::OK,
            Endpoint::DS => {
                let grants = state.known.entry(self.endpoint.0).or_default().grants;
                state.store.answer(grants, message);
                return Ok(0);
            }
            to if state.is_alive(to) => {
                drop(state);
                self.system.carry(self.endpoint, to, IpcCall::SENDREC, *message)?;
                return self.receive(to, message);
            }
            _ => return Err(Errno::EDEADSRCDST),
        };
        message.kind = status.into();
        Ok(0)
    }
}

// SAFETY: memory that is mapped is allocated for that, cleared, and never taken back. Kernel calls touch what the message names,
// and for others what was granted. Entries of a table of asynchronous messages are marked when they are taken, and only the last
// table of a process is looked into. A hook answers for itself.
unsafe impl Traps for Caller {
    fn trap(&mut self, mut trap: Trap<'_>) -> Result<u64, Errno> {
        let hook = self.system.state().hook.clone();
        if let Some(hook) = hook {
            let answer = (hook.borrow_mut())(&mut self.system.state(), &mut trap);
            if let Some(answer) = answer {
                return answer;
            }
        }
        match trap {
            Trap::Send(to, _) => panic!("it would wait for {to}"),
            Trap::Receive(from, message) => self.receive(from, message),
            Trap::SendRec(to, message) => self.sendrec(to, message),
            Trap::Notify(to) => {
                self.system.state().notified.push(to);
                Ok(0)
            }
            Trap::SendNb(to, message) => self
                .system
                .carry(self.endpoint, to, IpcCall::SENDNB, *message)
                .map(|()| 0),
            Trap::SendA(table, entries) => {
                let mut state = self.system.state();
                state.known.entry(self.endpoint.0).or_default().outgoing = Some((table, entries));
                drop(state);
                self.system.deliver(Some(self.endpoint));
                Ok(0)
            }
            Trap::Call(message) if message.kind == MessageType::SYS_EXIT => panic_any(Ended),
            Trap::Call(message) => {
                self.system.state().call(self.endpoint, message)?;
                message.source = Endpoint::SYSTEM;
                message.kind = Status::OK.into();
                Ok(0)
            }
        }
    }
}
