//! A session with a block driver, several requests at a time.
//!
//! Requests leave by SENDA, replies are received among whatever else arrives, and belong to their requests by id alone.
//! The ids are those of slots, with a count of how often the slot was used, so that a second reply to a request is told
//! from the reply to the next one. Nobody tells a client that its driver died while it had requests: an alarm makes the
//! session look at the data store from time to time.

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest};
use minix_abi::ipc::AsyncFlags;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use minix_rt::asynsend::{Outbox, Table};
use minix_rt::{Ipc, sef};

use crate::bdev::{Direction, Session, Trouble};
use crate::buffer::Piece;
use crate::client::Client;

/// Requests a session can have outstanding.
pub const SLOTS: usize = 64;
/// Entries of the table that SENDA looks into: room for a full set of requests to a driver that died, and for one to its
/// successor.
pub const ENTRIES: usize = 2 * SLOTS;
/// How often the data store is asked whether the driver is still the one it was, in milliseconds.
pub const WATCH_MILLIS: u64 = 100;

/// The table that SENDA looks into. It has to stay where it is.
pub type SendTable = Table<ENTRIES>;

/// A transfer of one piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// The minor.
    pub minor: Minor,
    /// Position on it, in bytes.
    pub position: u64,
    /// The memory. It is left alone until the reply comes.
    pub piece: Piece,
    /// Wishes.
    pub flags: BdevFlags,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A transfer was answered.
    Reply {
        /// Its id.
        id: i32,
        /// The transfer.
        transfer: Transfer,
        /// What the driver says about it.
        status: Status,
    },
    /// A message that answers nothing: from somebody else, of another type, or with an id that is not outstanding (any
    /// more).
    Stray(Message),
    /// The driver is gone, and another one has its label or nobody has. [`AsyncSession::recover`] goes on.
    Died,
    /// A signal by way of RS.
    Signal(Signal),
    /// Nothing for a while; the driver is still the same.
    Quiet,
    /// The kernel did not give a message.
    Failed(Errno),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: i32,
    transfer: Transfer,
    grant: GrantId,
}

/// A session with several requests outstanding.
#[derive(Debug)]
pub struct AsyncSession {
    session: Session,
    outbox: Outbox<ENTRIES>,
    slots: [Option<Slot>; SLOTS],
    uses: u32,
}

impl AsyncSession {
    /// Makes a session asynchronous.
    pub fn new(session: Session, table: &'static mut SendTable) -> Self {
        Self {
            session,
            outbox: Outbox::new(table),
            slots: [None; SLOTS],
            uses: 0,
        }
    }

    /// The session, for requests one at a time: those may be mixed with outstanding ones.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// How many requests are outstanding.
    pub fn outstanding(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// The outstanding transfers with their ids.
    pub fn transfers(&self) -> impl Iterator<Item = (i32, &Transfer)> {
        self.slots.iter().flatten().map(|slot| (slot.id, &slot.transfer))
    }

    /// Opens a minor, waiting for the answer.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn open<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        access: BdevAccess,
    ) -> Result<Status, Trouble> {
        self.session.open(client, minor, access)
    }

    /// Closes a minor, waiting for the answer.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn close<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor) -> Result<Status, Trouble> {
        self.session.close(client, minor)
    }

    /// Sends a transfer and returns its id.
    ///
    /// # Errors
    ///
    /// [`NoRoom`](Trouble::NoRoom) if [`SLOTS`] are outstanding or there is no room for a grant or message;
    /// [`Ipc`](Trouble::Ipc) if the kernel does not want the table.
    pub fn start<I: Ipc>(&mut self, client: &mut Client<I>, transfer: Transfer) -> Result<i32, Trouble> {
        let index = self.slots.iter().position(Option::is_none).ok_or(Trouble::NoRoom)?;
        self.uses = self.uses.wrapping_add(1);
        // The sign stays clear so that ids are easy on the eye.
        let id = ((self.uses << 8 | index as u32) & i32::MAX as u32) as i32;
        let grant = self.send(client, id, &transfer)?;
        self.slots[index] = Some(Slot { id, transfer, grant });
        Ok(id)
    }

    /// Waits until something happens, at most about [`WATCH_MILLIS`].
    pub fn wait<I: Ipc>(&mut self, client: &mut Client<I>) -> Event {
        loop {
            client.arm_alarm(WATCH_MILLIS);
            let mut message = Message::default();
            let status = match client.ipc.receive(Endpoint::ANY, &mut message) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Event::Failed(errno),
            };
            match sef::handle(&mut client.ipc, status, &message) {
                sef::Event::Handled => continue,
                sef::Event::Signal(signal) => return Event::Signal(signal),
                sef::Event::NotForUs => {}
            }
            if !status.is_notification() {
                return self.answer(client, &message);
            }
            if message.source == Endpoint::CLOCK {
                client.alarm_fired();
                return match self.is_alive(client) {
                    true => Event::Quiet,
                    false => Event::Died,
                };
            }
            // ASYNCM tells of entries that are done with; anybody may notify anybody.
        }
    }

    /// Whether the driver that requests are sent to still has its label.
    pub fn is_alive<I: Ipc>(&mut self, client: &mut Client<I>) -> bool {
        client.find(self.session.label()) == Ok(self.session.driver())
    }

    /// Waits for the driver's successor, opens what was open, and sends again what is outstanding, under the same ids.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn recover<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Trouble> {
        self.session.recover(client)?;
        for index in 0..SLOTS {
            if let Some(slot) = self.slots[index] {
                // The grant was for the dead one.
                client.revoke(slot.grant);
                let grant = self.send(client, slot.id, &slot.transfer)?;
                self.slots[index] = Some(Slot { grant, ..slot });
            }
        }
        Ok(())
    }

    fn answer<I: Ipc>(&mut self, client: &mut Client<I>, message: &Message) -> Event {
        let reply: BdevReply = message.payload();
        let from_driver = message.source == self.session.driver() && message.kind == MessageType::BDEV_REPLY;
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.is_some_and(|slot| from_driver && slot.id == reply.id));
        match slot.and_then(Option::take) {
            Some(Slot { id, transfer, grant }) => {
                client.revoke(grant);
                Event::Reply {
                    id,
                    transfer,
                    status: reply.status,
                }
            }
            None => Event::Stray(*message),
        }
    }

    fn send<I: Ipc>(&mut self, client: &mut Client<I>, id: i32, transfer: &Transfer) -> Result<GrantId, Trouble> {
        let grant = self
            .session
            .grant(client, transfer.piece, transfer.direction.access())?;
        let request = BdevRequest {
            position: transfer.position,
            minor: transfer.minor,
            id,
            count: transfer.piece.bytes() as i32,
            grant,
            flags: transfer.flags,
            ..Default::default()
        };
        let message = Message::with_payload(transfer.direction.simple(), &request);
        let sent = self
            .outbox
            .post(&mut client.ipc, self.session.driver(), &message, AsyncFlags::EMPTY);
        match sent {
            Ok(()) => Ok(grant),
            Err(errno) => {
                client.revoke(grant);
                Err(Trouble::from_ipc(errno))
            }
        }
    }
}
