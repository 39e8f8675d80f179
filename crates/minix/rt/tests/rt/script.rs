//! A kernel that plays from a script: it knows which trap comes next, and what to answer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use minix_abi::grant::{Grant, GrantEntry};
use minix_abi::ipc::{AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{DiagCtl, SetGrant};
use minix_abi::notify::Notification;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_rt::Ipc;

type Answer = Box<dyn FnOnce(&mut Message)>;
type Look = Box<dyn FnOnce(&mut [AsyncMessage])>;

enum Step {
    Receive(Endpoint, Result<(IpcStatus, Message), Errno>),
    SendRec(Endpoint, Answer),
    Notify(Endpoint),
    Kernel(MessageType, Answer),
    Senda(Look, Result<(), Errno>),
}

/// The process was ended: by itself, or by RS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// See the module. What is printed needs no step; it is kept in `printed`.
#[derive(Default)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    pub(crate) printed: Vec<Vec<u8>>,
    /// Address and entries of the grant table.
    pub(crate) grants: Option<(u64, i32)>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// RECEIVE from `from` gets a message sent with `call`.
    pub(crate) fn receive(self, from: Endpoint, source: Endpoint, call: IpcCall, message: Message) -> Self {
        let message = Message { source, ..message };
        self.then(Step::Receive(from, Ok((IpcStatus::new(call, false), message))))
    }

    /// RECEIVE from `from` fails.
    pub(crate) fn receive_fails(self, from: Endpoint, errno: Errno) -> Self {
        self.then(Step::Receive(from, Err(errno)))
    }

    /// SENDREC to `to`, whose answer takes the message's place.
    pub(crate) fn sendrec(self, to: Endpoint, answer: impl FnOnce(&mut Message) + 'static) -> Self {
        self.then(Step::SendRec(to, Box::new(answer)))
    }

    pub(crate) fn notify(self, to: Endpoint) -> Self {
        self.then(Step::Notify(to))
    }

    /// A kernel call; `answer` finds the request and leaves the reply, whose type is set to zero beforehand.
    pub(crate) fn call(self, kind: MessageType, answer: impl FnOnce(&mut Message) + 'static) -> Self {
        self.then(Step::Kernel(kind, Box::new(answer)))
    }

    /// A kernel call that fails.
    pub(crate) fn call_fails(self, kind: MessageType, errno: Errno) -> Self {
        self.call(kind, move |message| message.kind = MessageType(errno.to_wire()))
    }

    /// The process asks to be ended.
    pub(crate) fn exit(self) -> Self {
        self.call(MessageType::SYS_EXIT, |_| panic_any(Ended))
    }

    /// SENDA with a table; `look` may change it as the kernel would.
    pub(crate) fn senda(self, look: impl FnOnce(&mut [AsyncMessage]) + 'static) -> Self {
        self.then(Step::Senda(Box::new(look), Ok(())))
    }

    pub(crate) fn senda_fails(self, errno: Errno) -> Self {
        self.then(Step::Senda(Box::new(|_| {}), Err(errno)))
    }

    /// Adds what the kernel does on top of `self`.
    pub(crate) fn extend(&mut self, more: Self) {
        self.steps.extend(more.steps);
    }

    /// Runs what has to end the process.
    pub(crate) fn ends<R>(&mut self, body: impl FnOnce(&mut Self) -> R) {
        match catch_unwind(AssertUnwindSafe(|| body(self))) {
            Ok(_) => panic!("the process goes on"),
            Err(cause) => assert_eq!(cause.downcast_ref(), Some(&Ended), "it ended for another reason"),
        }
        self.over();
    }

    /// Everything in the script has happened.
    pub(crate) fn over(&self) {
        assert_eq!(self.steps.len(), 0, "steps that did not happen");
    }

    fn next(&mut self, what: &str) -> Step {
        self.steps.pop_front().unwrap_or_else(|| panic!("unexpected: {what}"))
    }
}

/// The entries of the grant table at an address.
pub(crate) fn grant_entry((table, entries): (u64, i32), id: GrantId) -> GrantEntry {
    let index = id.index().expect("a grant");
    assert!((index as i32) < entries);
    let table: *const GrantEntry = std::ptr::with_exposed_provenance(table as usize);
    // SAFETY: the tests keep the table alive, and the runtime is not writing to it while it traps.
    unsafe { table.add(index as usize).read_volatile() }
}

/// The live entry behind a grant that is in use, and where its memory is.
pub(crate) fn granted(table: (u64, i32), id: GrantId) -> (GrantEntry, u64, u64) {
    let entry = grant_entry(table, id);
    assert_eq!(entry.sequence, id.sequence().expect("a grant") as i32);
    match entry.grant() {
        Some(Grant::Direct(direct)) => {
            assert_eq!(direct.grantee, Endpoint::DS);
            (entry, direct.start, direct.bytes)
        }
        other => panic!("not a direct grant: {other:?}"),
    }
}

/// Memory that the runtime has lent to be read.
pub(crate) fn readable(address: u64, bytes: u64) -> &'static [u8] {
    let start: *const u8 = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the runtime has lent this memory for the duration of the trap that is being played.
    unsafe { std::slice::from_raw_parts(start, bytes as usize) }
}

/// Memory that the runtime has lent to be written.
pub(crate) fn memory(address: u64, bytes: u64) -> &'static mut [u8] {
    let start: *mut u8 = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the runtime has lent this memory for the duration of the trap that is being played.
    unsafe { std::slice::from_raw_parts_mut(start, bytes as usize) }
}

pub(crate) fn ping() -> Message {
    Message::with_payload(MessageType::NOTIFY_MESSAGE, &Notification::default())
}

// SAFETY: the memory that messages name is touched by the steps of a script alone, as the kernel would. Some scripts answer with
// addresses where nothing is; the tests compare those and do not look there.
unsafe impl Ipc for Script {
    fn send(&mut self, to: Endpoint, _: &Message) -> Result<(), Errno> {
        panic!("unexpected: SEND to {to}")
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        match self.next("RECEIVE") {
            Step::Receive(expected, answer) => {
                assert_eq!(from, expected);
                let (status, received) = answer?;
                *message = received;
                Ok(status)
            }
            _ => panic!("unexpected: RECEIVE from {from}"),
        }
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        match self.next("SENDREC") {
            Step::SendRec(expected, answer) => {
                assert_eq!(to, expected);
                answer(message);
                message.source = to;
                Ok(())
            }
            _ => panic!("unexpected: SENDREC to {to} of {message:?}"),
        }
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        match self.next("NOTIFY") {
            Step::Notify(expected) => assert_eq!(to, expected),
            _ => panic!("unexpected: NOTIFY to {to}"),
        }
        Ok(())
    }

    fn sendnb(&mut self, to: Endpoint, _: &Message) -> Result<(), Errno> {
        panic!("unexpected: SENDNB to {to}")
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        match self.next("SENDA") {
            Step::Senda(look, result) => {
                // SAFETY: the caller promises so many entries, and traps.
                look(unsafe { std::slice::from_raw_parts_mut(table, entries) });
                result
            }
            _ => panic!("unexpected: SENDA"),
        }
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        let kind = message.kind;
        if kind == MessageType::SYS_DIAGCTL {
            let text: DiagCtl = message.payload();
            self.printed.push(readable(text.address, text.bytes as u64).to_vec());
            return Ok(0);
        }
        if kind == MessageType::SYS_SETGRANT {
            let table: SetGrant = message.payload();
            self.grants = Some((table.table, table.entries));
            return Ok(0);
        }
        match self.next("a kernel call") {
            Step::Kernel(expected, answer) => {
                assert_eq!(kind, expected);
                message.kind = MessageType(0);
                answer(message);
                message.source = Endpoint::SYSTEM;
                message.status().result()
            }
            _ => panic!("unexpected: {kind:?}"),
        }
    }
}
