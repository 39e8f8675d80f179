//! A session with a block driver, as file systems have one, but strict.
//!
//! A request that is waited for goes by SENDREC with an id of its own, and the reply has to come from the driver, be a block
//! reply, and have that id. Others are [posted](Session::post) and their replies [received](Session::receive). A driver that
//! dies is found again by its label, and minors that were open are opened again.

mod control;
mod messages;
mod vector;

use core::fmt;
use core::time::Duration;

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use minix_rt::ds::Label;
use minix_rt::{Ipc, kernel};

use crate::buffer::Piece;
use crate::client::{Client, spin};
use crate::random::Random;

pub use control::control;
pub use messages::{Arrival, BadReply, Outstanding};
pub use vector::element;

/// Different minors a session can have open.
const MAX_OPEN: usize = 8;
/// Pause between two looks for a driver's successor, in milliseconds. It is short: others that are back at work let the clock go
/// on only now and then.
const SEARCH_MILLIS: u64 = 2;
const SEARCHES: u32 = 5000;
/// The same for a client that spins, and looks so often.
const SPIN: Duration = Duration::from_millis(50);
const SPINS: u32 = 100;

/// How a client waits for the successor of a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// It lets others run between its looks, for as long as a scenario takes.
    #[default]
    Patient,
    /// As the file systems of MINIX do: it spins between its looks, and soon gives up.
    Spinning,
}

impl Search {
    const fn looks(self) -> u32 {
        match self {
            Self::Patient => SEARCHES,
            Self::Spinning => SPINS,
        }
    }
}

/// To open for everything.
pub const READ_WRITE: BdevAccess = BdevAccess::READ.union(BdevAccess::WRITE);

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The driver is gone. [`Session::recover`] finds its successor.
    Died,
    /// The kernel did not carry the message.
    Ipc(Errno),
    /// There is no room for a grant or a request.
    NoRoom,
    /// The reply is no block reply.
    WrongType(MessageType),
    /// The reply is to another request.
    WrongId { sent: i32, got: i32 },
    /// The reply is to a request that is not in flight.
    NeverAsked(i32),
    /// The driver answered an error, or another number of bytes.
    Refused(Status),
    /// This sector of the disk holds something else than it has to.
    Content(u64),
}

impl Trouble {
    /// Makes sure that a request moved so many bytes; none for requests without data.
    pub fn unless_moved(status: Status, bytes: usize) -> Result<(), Self> {
        if Status::count(bytes as u64) == Some(status) {
            Ok(())
        } else {
            Err(Self::Refused(status))
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died => f.write_str("driver died"),
            Self::Ipc(errno) => write!(f, "not sent: {errno:?}"),
            Self::NoRoom => f.write_str("no room for the request"),
            Self::WrongType(kind) => write!(f, "reply of type {:#x}", kind.0),
            Self::WrongId { sent, got } => write!(f, "reply to {got} and not to {sent}"),
            Self::NeverAsked(id) => write!(f, "reply to {id}, which is not in flight"),
            Self::Refused(status) => write!(f, "the driver says {status:?}"),
            Self::Content(sector) => write!(f, "sector {sector} holds something else"),
        }
    }
}

/// What the kernel says.
impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EDEADSRCDST | Errno::EDEADEPT => Self::Died,
            other => Self::Ipc(other),
        }
    }
}

/// The reply that is a failure for a program.
impl From<Trouble> for Errno {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Ipc(errno) => errno,
            _ => Self::EIO,
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
pub struct Session<'c, I: Ipc> {
    pub client: &'c mut Client<I>,
    label: Label,
    driver: Endpoint,
    own: Endpoint,
    random: Random,
    opens: heapless::Vec<Open, MAX_OPEN>,
    is_looking: bool,
    search: Search,
}

impl<'c, I: Ipc> Session<'c, I> {
    /// Finds the driver. Ids of requests are taken from `seed`.
    pub fn new(client: &'c mut Client<I>, label: &str, seed: u64) -> Result<Self, Errno> {
        let driver = client.find(label)?;
        Self::with(client, label, seed, driver)
    }

    /// Finds a driver and opens a minor, though drivers may die and be replaced meanwhile.
    pub fn connect(
        client: &'c mut Client<I>,
        label: &str,
        seed: u64,
        minor: Minor,
        access: BdevAccess,
    ) -> Result<Self, Trouble> {
        let mut left = SEARCHES;
        let driver = loop {
            match client.find(label) {
                Err(Errno::ESRCH) if left > 0 => client.pause(SEARCH_MILLIS),
                found => break found?,
            }
            left -= 1;
        };
        let mut session = Self::with(client, label, seed, driver)?;
        let opened = session.repeat(|session| session.open(minor, access))?;
        opened.result()?;
        Ok(session)
    }

    fn with(client: &'c mut Client<I>, label: &str, seed: u64, driver: Endpoint) -> Result<Self, Errno> {
        Ok(Self {
            driver,
            label: Label::new(label).ok_or(Errno::EINVAL)?,
            own: kernel::who_am_i(&mut client.ipc)?.endpoint,
            client,
            random: Random::new(seed),
            opens: heapless::Vec::new(),
            is_looking: false,
            search: Search::default(),
        })
    }

    /// Chooses how it waits for the successor of its driver.
    pub const fn search(&mut self, search: Search) {
        self.search = search;
    }

    /// The driver, as far as is known.
    pub const fn driver(&self) -> Endpoint {
        self.driver
    }

    /// Sends a request and waits for its reply. The id is chosen here. The status is what the driver says of the request.
    pub fn request(&mut self, kind: MessageType, request: &BdevRequest) -> Result<Status, Trouble> {
        let sent = self.random.next() as i32;
        let mut message = Message::with_payload(kind, &BdevRequest { id: sent, ..*request });
        self.client.ipc.sendrec(self.driver, &mut message)?;
        let reply: BdevReply = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            return Err(Trouble::WrongType(message.kind));
        }
        if reply.id != sent {
            return Err(Trouble::WrongId { sent, got: reply.id });
        }
        Ok(reply.status)
    }

    /// Does something again after each restart of the driver: as long as it dies, or does not know that a minor is open.
    pub fn repeat(&mut self, mut body: impl FnMut(&mut Self) -> Result<Status, Trouble>) -> Result<Status, Trouble> {
        let mut left = SEARCHES;
        loop {
            match body(self) {
                Err(Trouble::Died) if left > 0 => self.recover()?,
                // The driver was restarted, and the minor is not open any more.
                Ok(status) if status == Errno::ERESTART.into() && left > 0 => match self.reopen() {
                    Err(Trouble::Died) => self.recover()?,
                    result => result?,
                },
                result => return result,
            }
            left -= 1;
        }
    }

    /// Opens a minor. If that worked, [`recover`](Self::recover) does it again.
    pub fn open(&mut self, minor: Minor, access: BdevAccess) -> Result<Status, Trouble> {
        let status = self.send_open(minor, access)?;
        if status == Status::OK {
            let count = 1;
            match self.opens.iter_mut().find(|open| open.minor == minor) {
                Some(open) => open.count += 1,
                // Too many to remember means only that they are not opened again.
                None => drop(self.opens.push(Open { minor, access, count })),
            }
        }
        Ok(status)
    }

    pub fn close(&mut self, minor: Minor) -> Result<Status, Trouble> {
        let request = BdevRequest {
            minor,
            ..Default::default()
        };
        let status = self.request(MessageType::BDEV_CLOSE, &request)?;
        if let Some(open) = self.opens.iter_mut().find(|open| open.minor == minor) {
            open.count -= 1;
        }
        self.opens.retain(|open| open.count > 0);
        Ok(status)
    }

    /// Moves one piece of memory.
    pub fn transfer(
        &mut self,
        direction: Direction,
        minor: Minor,
        position: u64,
        piece: Piece,
        flags: BdevFlags,
    ) -> Result<Status, Trouble> {
        let grant = self.grant(piece, direction.access())?;
        let request = BdevRequest {
            position,
            minor,
            count: piece.bytes() as i32,
            grant,
            flags,
            ..Default::default()
        };
        let result = self.request(direction.simple(), &request);
        self.client.revoke(grant);
        result
    }

    pub fn read(&mut self, minor: Minor, position: u64, into: Piece) -> Result<Status, Trouble> {
        self.transfer(Direction::Read, minor, position, into, BdevFlags::empty())
    }

    pub fn write(&mut self, minor: Minor, position: u64, from: Piece, flags: BdevFlags) -> Result<Status, Trouble> {
        self.transfer(Direction::Write, minor, position, from, flags)
    }

    /// Grants memory to the driver.
    pub fn grant(&mut self, piece: Piece, access: GrantFlags) -> Result<GrantId, Trouble> {
        let grant = self.client.grant(self.driver, piece, access);
        grant.map_err(|_| Trouble::NoRoom)
    }

    /// Waits for the driver's successor and opens the minors that were open, as often as they were. Messages that were
    /// posted to the dead driver are lost.
    pub fn recover(&mut self) -> Result<(), Trouble> {
        for _ in 0..self.search.looks() {
            match self.client.find(self.label.as_str()) {
                Ok(found) if found != self.driver => {
                    self.driver = found;
                    match self.reopen() {
                        // It died in turn.
                        Err(Trouble::Died) => {}
                        result => return result,
                    }
                }
                _ => match self.search {
                    Search::Patient => self.client.pause(SEARCH_MILLIS),
                    Search::Spinning => spin(SPIN),
                },
            }
        }
        Err(Trouble::Died)
    }

    fn reopen(&mut self) -> Result<(), Trouble> {
        for index in 0..self.opens.len() {
            let Open { minor, access, count } = self.opens[index];
            for _ in 0..count {
                self.send_open(minor, access)?.result()?;
            }
        }
        Ok(())
    }

    fn send_open(&mut self, minor: Minor, access: BdevAccess) -> Result<Status, Trouble> {
        let request = BdevRequest {
            minor,
            access,
            ..Default::default()
        };
        self.request(MessageType::BDEV_OPEN, &request)
    }
}
