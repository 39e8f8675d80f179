//! Requests that are sent and not waited for: the way of those who have many of them, or who do not expect an answer.
//!
//! Messages leave by SENDA and replies are received from the driver alone. That is how a client hears of the driver's death
//! at once: nobody tells it otherwise, and a clock that stands still while others are busy would tell it late. The price is
//! that signals, which come from RS, have to be [looked for](Post::look_around).

use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::ipc::AsyncFlags;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::asynsend::{Outbox, Table};
use minix_rt::{Ipc, kernel, sef};

use crate::bdev::{Session, Trouble};
use crate::client::Client;

/// Messages that can be on their way at a time.
pub const ENTRIES: usize = 128;
/// How long is waited between two looks for the driver's successor, in milliseconds ...
const SEARCH_MILLIS: u64 = 2;
/// ... and how many there are.
const SEARCHES: u32 = 5000;
/// What is sent to oneself: a number that nobody else uses.
const MARKER: MessageType = MessageType(0x7EAD_0000);

/// The table that SENDA looks into. It has to stay where it is.
pub type PostTable = Table<ENTRIES>;

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// A message from the driver.
    Driver(Message),
    /// A message from somebody who has nothing to say here.
    Stranger(Message),
    /// A signal by way of RS.
    Signal(Signal),
    /// Nothing (more) from others.
    Nothing,
    /// The driver is dead. [`Post::recover`] finds its successor.
    Died,
    /// The kernel did not give a message.
    Failed(Errno),
}

/// A session whose requests are not waited for.
#[derive(Debug)]
pub struct Post {
    session: Session,
    outbox: Outbox<ENTRIES>,
    own: Endpoint,
    is_looking: bool,
}

impl Post {
    /// Takes over a session.
    ///
    /// # Errors
    ///
    /// If the kernel does not say who this process is.
    pub fn new<I: Ipc>(client: &mut Client<I>, session: Session, table: &'static mut PostTable) -> Result<Self, Errno> {
        Ok(Self {
            session,
            outbox: Outbox::new(table),
            own: kernel::who_am_i(&mut client.ipc)?.endpoint,
            is_looking: false,
        })
    }

    /// The session, for requests that are waited for. They may be mixed with others.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Sends a block request. Its id is the caller's business.
    ///
    /// # Errors
    ///
    /// What the kernel says. That the driver is dead is none: it shows with [`receive`](Self::receive).
    pub fn request<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        kind: MessageType,
        request: &BdevRequest,
    ) -> Result<(), Errno> {
        self.message(client, &Message::with_payload(kind, request))
    }

    /// Sends any message to the driver.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn message<I: Ipc>(&mut self, client: &mut Client<I>, message: &Message) -> Result<(), Errno> {
        self.outbox
            .post(&mut client.ipc, self.session.driver(), message, AsyncFlags::EMPTY)
    }

    /// How many messages the driver has not fetched.
    pub fn unfetched(&self) -> usize {
        self.outbox.pending()
    }

    /// The next calls of [`receive`](Self::receive) take messages from everybody, until one returns
    /// [`Arrival::Nothing`].
    ///
    /// There is no way to ask the kernel for a message without waiting. A message to oneself takes care of that: waiting
    /// for anything at all ends with it, at the latest.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn look_around<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Errno> {
        if !self.is_looking {
            let failed = self.outbox.failed();
            self.outbox
                .post(&mut client.ipc, self.own, &Message::new(MARKER), AsyncFlags::EMPTY)?;
            self.is_looking = self.outbox.failed() == failed;
        }
        Ok(())
    }

    /// Waits for a message: from the driver, unless one is looking around.
    pub fn receive<I: Ipc>(&mut self, client: &mut Client<I>) -> Arrival {
        loop {
            let from = if self.is_looking {
                Endpoint::ANY
            } else {
                self.session.driver()
            };
            let mut message = Message::default();
            let status = match client.ipc.receive(from, &mut message) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(Errno::EDEADSRCDST | Errno::EDEADEPT) => return Arrival::Died,
                Err(errno) => return Arrival::Failed(errno),
            };
            if message.source == self.own && message.kind == MARKER {
                self.is_looking = false;
                return Arrival::Nothing;
            }
            match sef::handle(&mut client.ipc, status, &message) {
                sef::Event::Handled => continue,
                sef::Event::Signal(signal) => return Arrival::Signal(signal),
                sef::Event::NotForUs => {}
            }
            if message.source == self.session.driver() {
                return Arrival::Driver(message);
            }
            // The clock, or the kernel about messages that have left.
            if !status.is_notification() {
                return Arrival::Stranger(message);
            }
        }
    }

    /// Waits for the driver's successor and opens what was open. What was sent to the dead one is lost.
    ///
    /// # Errors
    ///
    /// [`Died`](Trouble::Died) if nobody comes; other [`Trouble`] with an open.
    pub fn recover<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Trouble> {
        recover(&mut self.session, client)
    }
}

/// Finds a driver and opens a minor, though drivers may die and be replaced meanwhile. Returns the answer to the open.
///
/// # Errors
///
/// [`Died`](Trouble::Died) if there is no driver for long; other [`Trouble`] with the open.
pub fn connect<I: Ipc>(
    client: &mut Client<I>,
    label: &str,
    seed: u64,
    minor: Minor,
    access: BdevAccess,
) -> Result<(Session, Status), Trouble> {
    for _ in 0..SEARCHES {
        match Session::new(client, label, seed) {
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Trouble::Ipc(errno)),
            Ok(mut session) => match session.open(client, minor, access) {
                // Perhaps its successor lives longer.
                Err(Trouble::Died) => {}
                Err(trouble) => return Err(trouble),
                Ok(status) => return Ok((session, status)),
            },
        }
        client.pause(SEARCH_MILLIS);
    }
    Err(Trouble::Died)
}

/// Waits for the driver's successor, or that one's, and opens what was open.
///
/// # Errors
///
/// [`Died`](Trouble::Died) if nobody comes; other [`Trouble`] with an open.
pub fn recover<I: Ipc>(session: &mut Session, client: &mut Client<I>) -> Result<(), Trouble> {
    for _ in 0..SEARCHES {
        match client.find(session.label()) {
            Ok(found) if found != session.driver() => match session.recover(client) {
                // It died in turn.
                Err(Trouble::Died) => {}
                result => return result,
            },
            // A short pause each time: others that are back at work let the clock go on only now and then.
            _ => client.pause(SEARCH_MILLIS),
        }
    }
    Err(Trouble::Died)
}
