//! A system that follows a script: it knows which trap comes next, and what to answer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::slice;

use minix_abi::ipc::{AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{DiagCtl, SetGrant};
use minix_abi::{Endpoint, Errno, Message, MessageType};

use crate::Ended;
use crate::host::{GrantTable, readable};
use crate::trap::{Fake, Trap, Traps};

type ScriptStep = Box<dyn FnOnce(Trap<'_>) -> Result<u64, Errno>>;

/// The traps that are expected. Printing and `SYS_SETGRANT` need no step.
#[derive(Default)]
pub struct Steps {
    steps: VecDeque<ScriptStep>,
    pub printed: Vec<Vec<u8>>,
    pub grants: Option<GrantTable>,
}

/// A process whose traps follow a script.
pub type Script = Fake<Steps>;

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: impl FnOnce(Trap<'_>) -> Result<u64, Errno> + 'static) -> Self {
        self.steps.push_back(Box::new(step));
        self
    }

    /// RECEIVE from `from` gets a message sent with `call`.
    pub fn receive(self, from: Endpoint, source: Endpoint, call: IpcCall, message: Message) -> Self {
        self.receives(from, Ok((IpcStatus::new(call, false), Message { source, ..message })))
    }

    pub fn receive_fails(self, from: Endpoint, errno: Errno) -> Self {
        self.receives(from, Err(errno))
    }

    fn receives(self, expected: Endpoint, answer: Result<(IpcStatus, Message), Errno>) -> Self {
        self.then(move |trap| match trap {
            Trap::Receive(from, message) if from == expected => {
                let (status, received) = answer?;
                *message = received;
                Ok(status.0)
            }
            other => panic!("unexpected: {other:?}"),
        })
    }

    /// SENDREC to `to`, whose answer takes the message's place.
    pub fn sendrec(self, expected: Endpoint, answer: impl FnOnce(&mut Message) + 'static) -> Self {
        self.then(move |trap| match trap {
            Trap::SendRec(to, message) if to == expected => {
                answer(message);
                message.source = to;
                Ok(0)
            }
            other => panic!("unexpected: {other:?}"),
        })
    }

    pub fn notify(self, expected: Endpoint) -> Self {
        self.then(move |trap| match trap {
            Trap::Notify(to) if to == expected => Ok(0),
            other => panic!("unexpected: {other:?}"),
        })
    }

    /// A kernel call; `answer` finds the request and leaves the reply, whose type is set to zero beforehand.
    pub fn call(self, expected: MessageType, answer: impl FnOnce(&mut Message) + 'static) -> Self {
        self.then(move |trap| match trap {
            Trap::Call(message) if message.kind == expected => {
                message.kind = MessageType(0);
                answer(message);
                message.source = Endpoint::SYSTEM;
                message.status().result().map(u64::from)
            }
            other => panic!("unexpected: {other:?}"),
        })
    }

    pub fn call_fails(self, kind: MessageType, errno: Errno) -> Self {
        self.call(kind, move |message| message.kind = MessageType(errno.to_wire()))
    }

    /// The process asks to be ended.
    pub fn exit(self) -> Self {
        self.call(MessageType::SYS_EXIT, |_| panic_any(Ended))
    }

    /// SENDA with a table; `look` may change it as the kernel would.
    pub fn senda(self, look: impl FnOnce(&mut [AsyncMessage]) + 'static) -> Self {
        self.sends(look, Ok(0))
    }

    pub fn senda_fails(self, errno: Errno) -> Self {
        self.sends(|_| {}, Err(errno))
    }

    fn sends(self, look: impl FnOnce(&mut [AsyncMessage]) + 'static, result: Result<u64, Errno>) -> Self {
        self.then(move |trap| match trap {
            Trap::SendA(table, entries) => {
                // SAFETY: the process promises so many entries, and traps.
                look(unsafe { slice::from_raw_parts_mut(table, entries) });
                result
            }
            other => panic!("unexpected: {other:?}"),
        })
    }

    /// Adds what the kernel does on top of `self`.
    pub fn extend(&mut self, more: Self) {
        self.steps.extend(more.0.steps);
    }

    /// Runs what has to end the process.
    pub fn ends<R>(&mut self, body: impl FnOnce(&mut Self) -> R) {
        match catch_unwind(AssertUnwindSafe(|| body(self))) {
            Ok(_) => panic!("the process goes on"),
            Err(cause) => assert!(cause.is::<Ended>(), "it ended for another reason"),
        }
        self.over();
    }

    /// Everything in the script has happened.
    pub fn over(&self) {
        assert_eq!(self.steps.len(), 0, "steps that did not happen");
    }
}

// SAFETY: the steps of a script alone touch the memory that messages name, as the kernel would. Some scripts answer with
// addresses where nothing is; the tests compare those and do not look there.
unsafe impl Traps for Steps {
    fn trap(&mut self, trap: Trap<'_>) -> Result<u64, Errno> {
        match &trap {
            Trap::Call(message) if message.kind == MessageType::SYS_DIAGCTL => {
                let text: DiagCtl = message.payload();
                self.printed.push(readable(text.address, text.bytes as u64).to_vec());
                return Ok(0);
            }
            Trap::Call(message) if message.kind == MessageType::SYS_SETGRANT => {
                let SetGrant { table, entries, .. } = message.payload();
                self.grants = Some(GrantTable {
                    address: table,
                    entries,
                });
                return Ok(0);
            }
            _ => {}
        }
        match self.steps.pop_front() {
            Some(step) => step(trap),
            None => panic!("unexpected: {trap:?}"),
        }
    }
}
