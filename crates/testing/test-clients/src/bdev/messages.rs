//! Requests that are sent and not waited for: for clients with many of them, or that do not expect an answer.
//!
//! Messages leave by SENDA and replies are received from the driver alone. That is how a client hears of the driver's death at
//! once: it is told no other way, and a clock that stands still while others are busy would tell it late. The price is that
//! signals, which come from RS, have to be [looked for](Session::look_around).

use core::fmt;

use heapless::{HistoryBuf, Vec};
use minix_abi::bdev::BdevRequest;
use minix_abi::ipc::AsyncFlags;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType};
use minix_rt::{Ipc, sef};

use super::Session;

/// The type of the message that a client sends to itself: a number that has no other use.
const MARKER: MessageType = MessageType(0x7EAD_0000);
/// Ids that are remembered after their reply.
const REMEMBERED_IDS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// A message from the driver.
    Driver(Message),
    /// A message from a process that has nothing to say here.
    Stray(Message),
    /// A signal by way of RS.
    Signal(Signal),
    /// Nothing (more) from others.
    Nothing,
    /// The driver is dead. [`Session::recover`] finds its successor.
    Died,
    /// The kernel did not give a message.
    Failed(Errno),
}

impl<I: Ipc> Session<'_, I> {
    /// Sends a block request. Its id is chosen by the caller. A dead driver is no error here: it shows with
    /// [`receive`](Self::receive).
    pub fn post(&mut self, kind: MessageType, request: &BdevRequest) -> Result<(), Errno> {
        self.post_message(&Message::with_payload(kind, request))
    }

    /// Sends any message to the driver.
    pub fn post_message(&mut self, message: &Message) -> Result<(), Errno> {
        let client = &mut *self.client;
        client
            .outbox
            .send(&mut client.ipc, self.driver, message, AsyncFlags::EMPTY)
    }

    /// How many messages the driver has not fetched.
    pub fn unfetched(&self) -> usize {
        self.client.outbox.pending()
    }

    /// The next calls of [`receive`](Self::receive) take messages from every process, until one returns [`Arrival::Nothing`].
    ///
    /// There is no way to ask the kernel for a message without waiting. A message to oneself takes care of that: waiting for
    /// anything at all ends with it, at the latest.
    pub fn look_around(&mut self) -> Result<(), Errno> {
        if !self.is_looking {
            let client = &mut *self.client;
            let failed = client.outbox.failed();
            let marker = Message::new(MARKER);
            client
                .outbox
                .send(&mut client.ipc, self.own, &marker, AsyncFlags::EMPTY)?;
            self.is_looking = client.outbox.failed() == failed;
        }
        Ok(())
    }

    /// Waits for a message: from the driver, unless one is looking around.
    pub fn receive(&mut self) -> Arrival {
        loop {
            let from = if self.is_looking { Endpoint::ANY } else { self.driver };
            let mut message = Message::default();
            let status = match self.client.ipc.receive(from, &mut message) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(Errno::EDEADSRCDST | Errno::EDEADEPT) => return Arrival::Died,
                Err(errno) => return Arrival::Failed(errno),
            };
            if message.source == self.own && message.kind == MARKER {
                self.is_looking = false;
                return Arrival::Nothing;
            }
            match sef::handle(&mut self.client.ipc, status, &message) {
                sef::Event::Handled => continue,
                sef::Event::Signal(signal) => return Arrival::Signal(signal),
                sef::Event::NotForUs => {}
            }
            if message.source == self.driver {
                return Arrival::Driver(message);
            }
            // The clock, or the kernel about messages that have left.
            if !status.is_notification() {
                return Arrival::Stray(message);
            }
        }
    }
}

/// A reply that answers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// A second reply to a message.
    Twice(i32),
    /// A reply to a message that was never sent to this driver.
    NeverAsked(i32),
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(id) => write!(f, "message {id} answered twice"),
            Self::NeverAsked(id) => write!(f, "a reply to {id}, which was never sent"),
        }
    }
}

/// Messages that were sent and not answered, by their ids.
#[derive(Debug)]
pub struct Outstanding<T, const N: usize> {
    messages: Vec<(i32, T), N>,
    answered: HistoryBuf<i32, REMEMBERED_IDS>,
}

impl<T, const N: usize> Outstanding<T, N> {
    /// A message is sent. False if there is no room to remember it.
    pub fn send(&mut self, id: i32, message: T) -> bool {
        self.messages.push((id, message)).is_ok()
    }

    /// A message is answered.
    pub fn answer(&mut self, id: i32) -> Result<T, BadReply> {
        let Some(place) = self.messages.iter().position(|(sent, _)| *sent == id) else {
            let twice = self.answered.as_slice().contains(&id);
            return Err(if twice {
                BadReply::Twice(id)
            } else {
                BadReply::NeverAsked(id)
            });
        };
        self.answered.write(id);
        Ok(self.messages.swap_remove(place).1)
    }

    pub fn contains(&self, id: i32) -> bool {
        self.messages.iter().any(|(sent, _)| *sent == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.messages.iter().map(|(_, message)| message)
    }

    /// Takes them all. A reply to one of them is one that was never asked for.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T, N> {
        core::mem::take(&mut self.messages)
            .into_iter()
            .map(|(_, message)| message)
    }
}

impl<T, const N: usize> Default for Outstanding<T, N> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            answered: HistoryBuf::new(),
        }
    }
}
