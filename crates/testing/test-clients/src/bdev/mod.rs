//! A session with a block driver, one request at a time: what file systems do with a library, without its mercy.
//!
//! Each request goes by SENDREC with an id of its own, and the reply has to come from the driver, be a block reply, and
//! have that id. A driver that dies is found again by its label, and what was open is opened again.

mod control;
mod vector;

use core::fmt;

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use minix_rt::Ipc;
use minix_rt::ds::Label;

use crate::buffer::Piece;
use crate::client::Client;
use crate::random::Random;

/// Different minors a session can have open.
pub const MAX_OPEN: usize = 8;
/// How often the data store is asked for a driver's successor ...
pub const RECOVERY_ATTEMPTS: u32 = 100;
/// ... and how long is waited in between, in milliseconds.
pub const RECOVERY_PAUSE_MILLIS: u64 = 50;

/// What went wrong with a request itself, as opposed to what the driver says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The driver is gone. [`Session::recover`] finds its successor.
    Died,
    /// The kernel did not carry the message.
    Ipc(Errno),
    /// There is no room for a grant or a request.
    NoRoom,
    /// What came back is no block reply.
    WrongType(MessageType),
    /// The reply is to another request.
    WrongId {
        /// The request's.
        sent: i32,
        /// The reply's.
        got: i32,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died => f.write_str("driver died"),
            Self::Ipc(errno) => write!(f, "not sent: {errno:?}"),
            Self::NoRoom => f.write_str("no room for the request"),
            Self::WrongType(kind) => write!(f, "reply of type {:#x}", kind.0),
            Self::WrongId { sent, got } => write!(f, "reply to {got} and not to {sent}"),
        }
    }
}

impl core::error::Error for Trouble {}

impl Trouble {
    /// The trouble that an error of the kernel stands for.
    pub fn from_ipc(errno: Errno) -> Self {
        match errno {
            Errno::EDEADSRCDST | Errno::EDEADEPT => Self::Died,
            other => Self::Ipc(other),
        }
    }
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the disk to memory: the driver writes the memory.
    Read,
    /// From memory to the disk: the driver reads the memory.
    Write,
}

impl Direction {
    /// What the driver has to be granted.
    pub const fn access(self) -> GrantFlags {
        match self {
            Self::Read => GrantFlags::WRITE,
            Self::Write => GrantFlags::READ,
        }
    }

    /// The request for one piece of memory.
    pub const fn simple(self) -> MessageType {
        match self {
            Self::Read => MessageType::BDEV_READ,
            Self::Write => MessageType::BDEV_WRITE,
        }
    }

    /// The request for a vector.
    pub const fn vector(self) -> MessageType {
        match self {
            Self::Read => MessageType::BDEV_GATHER,
            Self::Write => MessageType::BDEV_SCATTER,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Open {
    minor: Minor,
    access: BdevAccess,
    count: u32,
}

/// A session with the driver that has a certain label.
#[derive(Debug)]
pub struct Session {
    label: Label,
    driver: Endpoint,
    random: Random,
    opens: heapless::Vec<Open, MAX_OPEN>,
}

impl Session {
    /// Finds the driver. Ids of requests are taken from `seed`.
    ///
    /// # Errors
    ///
    /// What the data store says; [`EINVAL`](Errno::EINVAL) for a label that cannot be one.
    pub fn new<I: Ipc>(client: &mut Client<I>, label: &str, seed: u64) -> Result<Self, Errno> {
        let driver = client.find(label)?;
        Ok(Self {
            label: Label::new(label).ok_or(Errno::EINVAL)?,
            driver,
            random: Random::new(seed),
            opens: heapless::Vec::new(),
        })
    }

    /// The driver, as far as is known.
    pub const fn driver(&self) -> Endpoint {
        self.driver
    }

    /// The driver's label.
    pub fn label(&self) -> &str {
        self.label.as_str()
    }

    /// Sends a request and waits for its reply. The id is chosen here.
    ///
    /// # Errors
    ///
    /// [`Trouble`]. What the driver thinks of the request is in the status.
    pub fn request<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        kind: MessageType,
        request: &BdevRequest,
    ) -> Result<Status, Trouble> {
        let sent = self.random.next() as i32;
        let mut message = Message::with_payload(kind, &BdevRequest { id: sent, ..*request });
        client
            .ipc
            .sendrec(self.driver, &mut message)
            .map_err(Trouble::from_ipc)?;
        let reply: BdevReply = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            return Err(Trouble::WrongType(message.kind));
        }
        if reply.id != sent {
            return Err(Trouble::WrongId { sent, got: reply.id });
        }
        Ok(reply.status)
    }

    /// Opens a minor. If that worked, [`recover`](Self::recover) does it again.
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
        let status = self.send_open(client, minor, access)?;
        if status == Status::OK {
            match self.opens.iter_mut().find(|open| open.minor == minor) {
                Some(open) => open.count += 1,
                // Too many to remember means only that they are not opened again.
                None => drop(self.opens.push(Open {
                    minor,
                    access,
                    count: 1,
                })),
            }
        }
        Ok(status)
    }

    /// Closes a minor.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn close<I: Ipc>(&mut self, client: &mut Client<I>, minor: Minor) -> Result<Status, Trouble> {
        let request = BdevRequest {
            minor,
            ..Default::default()
        };
        let status = self.request(client, MessageType::BDEV_CLOSE, &request)?;
        if let Some(open) = self.opens.iter_mut().find(|open| open.minor == minor) {
            open.count -= 1;
        }
        self.opens.retain(|open| open.count > 0);
        Ok(status)
    }

    /// Moves one piece of memory.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn transfer<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        direction: Direction,
        minor: Minor,
        position: u64,
        piece: Piece,
        flags: BdevFlags,
    ) -> Result<Status, Trouble> {
        let grant = self.grant(client, piece, direction.access())?;
        let request = BdevRequest {
            position,
            minor,
            count: piece.bytes() as i32,
            grant,
            flags,
            ..Default::default()
        };
        let result = self.request(client, direction.simple(), &request);
        client.revoke(grant);
        result
    }

    /// Reads one piece.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn read<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        position: u64,
        into: Piece,
    ) -> Result<Status, Trouble> {
        self.transfer(client, Direction::Read, minor, position, into, BdevFlags::empty())
    }

    /// Writes one piece.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub fn write<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        position: u64,
        from: Piece,
        flags: BdevFlags,
    ) -> Result<Status, Trouble> {
        self.transfer(client, Direction::Write, minor, position, from, flags)
    }

    /// Grants memory to the driver.
    ///
    /// # Errors
    ///
    /// [`NoRoom`](Trouble::NoRoom).
    pub fn grant<I: Ipc>(&self, client: &mut Client<I>, piece: Piece, access: GrantFlags) -> Result<GrantId, Trouble> {
        client.grant(self.driver, piece, access).map_err(|_| Trouble::NoRoom)
    }

    /// Waits for a driver with the same label and another endpoint, and opens again what was open, as often as it was.
    ///
    /// # Errors
    ///
    /// [`Died`](Trouble::Died) if nobody comes, or comes and dies; other [`Trouble`] with an open. One that is refused is
    /// [`Ipc`](Trouble::Ipc) with the driver's error.
    pub fn recover<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Trouble> {
        for _ in 0..RECOVERY_ATTEMPTS {
            match client.find(self.label.as_str()) {
                Ok(found) if found != self.driver => {
                    self.driver = found;
                    return self.reopen(client);
                }
                _ => client.pause(RECOVERY_PAUSE_MILLIS),
            }
        }
        Err(Trouble::Died)
    }

    fn reopen<I: Ipc>(&mut self, client: &mut Client<I>) -> Result<(), Trouble> {
        for index in 0..self.opens.len() {
            let Open { minor, access, count } = self.opens[index];
            for _ in 0..count {
                self.send_open(client, minor, access)?.result().map_err(Trouble::Ipc)?;
            }
        }
        Ok(())
    }

    fn send_open<I: Ipc>(
        &mut self,
        client: &mut Client<I>,
        minor: Minor,
        access: BdevAccess,
    ) -> Result<Status, Trouble> {
        let request = BdevRequest {
            minor,
            access,
            ..Default::default()
        };
        self.request(client, MessageType::BDEV_OPEN, &request)
    }
}
