//! The made-up system, with what else the programs ask of it: messages from one sender, messages to oneself, signals, labels,
//! and a driver that dies when it likes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{GetInfo, InfoRequest, PrivFlags, WhoAmI};
use minix_abi::rs::{InitFlags, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::Ipc;

use crate::system::Trap;
use crate::system::bug::Bug;

const CLIENT: Endpoint = Endpoint(40);

#[derive(Default)]
struct Extra {
    /// For the client, from others than the driver.
    inbox: VecDeque<(IpcStatus, Message)>,
    messages_to_driver: u32,
    /// After how many messages each to kill the driver; 0 for never.
    lifetime: u32,
    /// After how many messages to the driver to tell the client to stop.
    stop_after: Option<u32>,
}

/// A client's way into it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) trap: Trap,
    extra: Rc<RefCell<Extra>>,
}

impl World {
    pub(crate) fn new(sectors: u64) -> Self {
        Self::with_bug(sectors, Bug::None)
    }

    pub(crate) fn with_bug(sectors: u64, bug: Bug) -> Self {
        Self {
            trap: Trap::new(sectors, bug),
            extra: Rc::default(),
        }
    }

    /// The driver dies every so many messages.
    pub(crate) fn kill_every(self, messages: u32) -> Self {
        self.extra.borrow_mut().lifetime = messages;
        self
    }

    /// RS asks the client to stop after so many messages to the driver.
    pub(crate) fn stop_after(self, messages: u32) -> Self {
        self.extra.borrow_mut().stop_after = Some(messages);
        self
    }

    fn driver(&self) -> Endpoint {
        self.trap.0.borrow().endpoint()
    }

    /// A message that nobody waits with. Every other reply overtakes those before it.
    fn take(&mut self, to: Endpoint, mut message: Message) -> Result<(), Errno> {
        if to == CLIENT {
            message.source = CLIENT;
            self.put(message);
            return Ok(());
        }
        let is_known = (0x500..=0x506).contains(&message.kind.0) || message.kind == MessageType::CDEV_OPEN;
        if to != self.driver() {
            return Err(Errno::EDEADSRCDST);
        }
        if !is_known {
            // Nothing that the made-up driver knows how to leave alone.
            return if self.survives() {
                Ok(())
            } else {
                Err(Errno::EDEADSRCDST)
            };
        }
        self.sendrec(to, &mut message)?;
        message.source = to;
        self.put(message);
        Ok(())
    }

    fn put(&self, message: Message) {
        let mut extra = self.extra.borrow_mut();
        let entry = (IpcStatus::new(IpcCall::SENDA, false), message);
        if message.source != CLIENT && message.body[4] & 1 == 0 {
            extra.inbox.push_front(entry);
        } else {
            extra.inbox.push_back(entry);
        }
    }

    /// A message is about to reach the driver. False if it dies of it.
    fn survives(&self) -> bool {
        let mut extra = self.extra.borrow_mut();
        extra.messages_to_driver += 1;
        if extra.stop_after == Some(extra.messages_to_driver) {
            let body = SignalReceived { signal: Signal::TERM };
            let mut message = Message::with_payload(MessageType::COMMON_SIGNAL, &body);
            message.source = Endpoint::RS;
            extra.inbox.push_back((IpcStatus::new(IpcCall::SENDA, false), message));
        }
        let dies = extra.lifetime > 0 && extra.messages_to_driver.is_multiple_of(extra.lifetime);
        if dies {
            self.trap.0.borrow_mut().replace_driver();
            // Replies that a driver has not got rid of die with it.
            extra
                .inbox
                .retain(|(_, message)| message.kind != MessageType::BDEV_REPLY);
        }
        !dies
    }
}

// SAFETY: what is about memory is left to the `Trap`, which keeps the contract, except for the table of asynchronous
// messages, in which entries are marked when they are taken; nothing looks into it later.
unsafe impl Ipc for World {
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        self.trap.send(to, message)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        let is_other = |sender: Endpoint| from == Endpoint::ANY || from == sender;
        if from != Endpoint::CLOCK {
            let mut extra = self.extra.borrow_mut();
            let found = extra.inbox.iter().position(|(_, message)| is_other(message.source));
            if let Some((status, received)) = found.and_then(|place| extra.inbox.remove(place)) {
                *message = received;
                return Ok(status);
            }
        }
        if from != Endpoint::ANY && from != Endpoint::CLOCK && from != self.driver() {
            return Err(Errno::EDEADSRCDST);
        }
        self.trap.receive(from, message)
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        if to == self.driver() {
            if !self.survives() {
                return Err(Errno::EDEADSRCDST);
            }
            if message.kind == MessageType::CDEV_OPEN {
                let open: CdevOpen = message.payload();
                *message = Message::with_payload(MessageType::CDEV_REPLY, &CdevReply::refuse(&open));
                return Ok(());
            }
        }
        self.trap.sendrec(to, message)
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        self.trap.notify(to)
    }

    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        self.trap.sendnb(to, message)
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        for index in 0..entries {
            // SAFETY: the caller says that there are so many entries.
            let entry = unsafe { &mut *table.add(index) };
            if entry.is_pending() {
                entry.result = Status::from(self.take(entry.destination, entry.message));
                entry.flags |= AsyncFlags::DONE;
            }
        }
        Ok(())
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        if message.kind == MessageType::SYS_GETINFO && message.payload::<GetInfo>().request == InfoRequest::WHOAMI {
            let who = WhoAmI::new(CLIENT, PrivFlags::empty(), InitFlags::empty(), b"client");
            message.set_payload(&who);
            message.kind = Status::OK.into();
            return Ok(0);
        }
        // SAFETY: as the caller says.
        unsafe { self.trap.kernel_call(message) }
    }
}
