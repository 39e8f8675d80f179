//! Sends requests, and reports each before it is sent and after it is answered.

use guest_protocol::{Ask, Fate, Record, SECTOR_BYTES, SectorRange, witness};
use heapless::Vec;
use minix_abi::bdev::{BdevFlags, BdevReply, BdevRequest, VectorElement};
use minix_abi::disk_control::{RangeFlags, RangeRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::signal::Signal;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};
use minix_rt::{Ipc, kernel};
use zerocopy::IntoBytes;

use super::choice::{Choice, MAX_SECTORS};
use crate::bdev::{Arrival, Direction, Outstanding, READ_WRITE, Session, Trouble, control};
use crate::buffer::Memory;
use crate::client::Client;

/// Most requests at a time.
pub(super) const MAX_DEPTH: usize = 8;
const DATA_BYTES: usize = MAX_SECTORS as usize * SECTOR_BYTES;
/// Room of a request: its data, and a page for its vector or its argument.
pub(super) const SLOT_BYTES: usize = DATA_BYTES + 4096;
/// Pieces of memory of a vector.
const PIECES: usize = 2;
/// Replies between two looks for a signal.
const REPLIES_PER_LOOK: u32 = 4;

/// The first request, by which the session opens the disk.
const FIRST: u32 = 1;

/// Reports that a witness is about to find the driver and open the disk.
pub(super) fn connecting<I: Ipc>(client: &mut Client<I>, number: u32) {
    client.record(&Record::Asked {
        client: number,
        number: FIRST,
        driver: 0,
        ask: Ask::Open,
        range: SectorRange::default(),
    });
}

/// A request in flight.
#[derive(Debug)]
struct Sent {
    number: u32,
    ask: Ask,
    range: SectorRange,
    slot: usize,
    /// One for each piece of memory and one for the vector.
    grants: Vec<GrantId, { PIECES + 1 }>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WitnessCounters {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) restarts: u64,
}

pub(super) struct Witness<'c, I: Ipc> {
    session: Session<'c, I>,
    minor: Minor,
    memory: Memory,
    choice: Choice,
    client: u32,
    depth: usize,
    /// The time-out that the driver is told, in milliseconds; 0: none.
    timeout: u64,
    last_number: u32,
    outstanding: Outstanding<Sent, MAX_DEPTH>,
    /// A close that is to be sent once nothing is in flight.
    close_next: bool,
    /// The driver does not know that the disk is open.
    must_open: bool,
    stopping: bool,
    pub(super) counters: WitnessCounters,
}

impl<'c, I: Ipc> Witness<'c, I> {
    /// A witness with so many requests at a time, 1 to [`MAX_DEPTH`], on a session that has the minor open.
    pub(super) fn new(
        session: Session<'c, I>,
        minor: Minor,
        memory: Memory,
        choice: Choice,
        client: u32,
        depth: usize,
        timeout: u64,
    ) -> Self {
        Self {
            session,
            minor,
            memory,
            choice,
            client,
            depth,
            timeout,
            last_number: FIRST,
            outstanding: Outstanding::default(),
            close_next: false,
            must_open: false,
            stopping: false,
            counters: WitnessCounters::default(),
        }
    }

    /// Sends so many requests, or goes on until a signal comes; then closes the disk.
    pub(super) fn run(&mut self, requests: u64) -> Result<(), Trouble> {
        self.heard(FIRST, Fate::Done);
        match self.set_timeout() {
            Err(Trouble::Died) => self.reconnect()?,
            other => other?,
        }
        let mut replies = 0_u32;
        loop {
            self.stopping |= u64::from(self.last_number) >= requests;
            while !self.stopping && !self.close_next && !self.must_open && self.in_flight() < self.depth {
                self.send_next()?;
            }
            if self.in_flight() == 0 {
                if self.must_open {
                    self.reopen()?;
                } else if self.stopping {
                    return self.close();
                } else if core::mem::take(&mut self.close_next) {
                    self.close()?;
                    self.open()?;
                }
                continue;
            }
            match self.session.receive() {
                Arrival::Driver(message) => {
                    self.answer(&message)?;
                    replies += 1;
                    if replies.is_multiple_of(REPLIES_PER_LOOK) {
                        self.session.look_around()?;
                    }
                }
                Arrival::Signal(Signal::TERM) => self.stopping = true,
                Arrival::Stray(_) | Arrival::Signal(_) | Arrival::Nothing => {}
                Arrival::Died => self.reconnect()?,
                Arrival::Failed(errno) => return Err(errno.into()),
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.outstanding.iter().count()
    }

    /// Reports a request that is about to be sent. Returns its number.
    fn asked(&mut self, ask: Ask, range: SectorRange) -> u32 {
        self.last_number += 1;
        let (client, number, driver) = (self.client, self.last_number, self.session.driver().0);
        self.session.client.record(&Record::Asked {
            client,
            number,
            driver,
            ask,
            range,
        });
        number
    }

    /// Counts and reports the end of a request.
    fn heard(&mut self, number: u32, fate: Fate) {
        let counters = &mut self.counters;
        match fate {
            Fate::Done => counters.done += 1,
            Fate::Failed => counters.failed += 1,
            Fate::Lost => counters.lost += 1,
        }
        self.report(number, fate);
    }

    fn report(&mut self, number: u32, fate: Fate) {
        let client = self.client;
        self.session.client.record(&Record::Heard { client, number, fate });
    }

    /// Draws a request and sends it.
    fn send_next(&mut self) -> Result<(), Trouble> {
        let (ask, range) = self.choice.draw();
        let direction = if ask == Ask::Read {
            Direction::Read
        } else {
            Direction::Write
        };
        let flags = match ask {
            Ask::Close | Ask::Open => {
                self.close_next = true;
                return Ok(());
            }
            Ask::Force => BdevFlags::FORCEWRITE,
            _ => BdevFlags::empty(),
        };
        let number = self.asked(ask, range);
        let is_free = |slot: &usize| !self.outstanding.iter().any(|sent| sent.slot == *slot);
        // There is one for each request at a time.
        let slot = (0..self.depth).find(is_free).ok_or(Trouble::NoRoom)?;
        let base = slot * SLOT_BYTES;
        let mut grants = Vec::new();
        let id = number as i32;
        let (kind, request) = match ask {
            Ask::Read | Ask::Write | Ask::Force => {
                let bytes = range.count as usize * SECTOR_BYTES;
                if direction == Direction::Write {
                    let seed = witness::seed(self.client, number);
                    self.memory.fill_pattern(base, bytes, seed, range.first);
                }
                let mut request = BdevRequest {
                    position: range.first * SECTOR_BYTES as u64,
                    minor: self.minor,
                    id,
                    count: bytes as i32,
                    flags,
                    ..Default::default()
                };
                let mut kind = direction.simple();
                let cut = self.choice.cut(range.count).unwrap_or(0);
                let pieces = [cut, range.count - cut];
                let mut offset = base;
                for (place, sectors) in pieces.into_iter().filter(|sectors| *sectors > 0).enumerate() {
                    let bytes = sectors as usize * SECTOR_BYTES;
                    request.grant = self
                        .session
                        .grant(self.memory.piece(offset, bytes), direction.access())?;
                    let _ = grants.push(request.grant);
                    let element = self.session.element(request.grant, bytes as u64);
                    let place = base + DATA_BYTES + place * size_of::<VectorElement>();
                    self.memory.write(place, element.as_bytes());
                    offset += bytes;
                }
                if grants.len() > 1 {
                    kind = direction.vector();
                    let vector = self
                        .memory
                        .piece(base + DATA_BYTES, grants.len() * size_of::<VectorElement>());
                    request.count = grants.len() as i32;
                    request.grant = self.session.grant(vector, GrantFlags::READ)?;
                    let _ = grants.push(request.grant);
                }
                (kind, request)
            }
            Ask::Zero | Ask::Discard => {
                let (code, flags) = match ask {
                    Ask::Zero => (IoctlCode::VBLKZERO, RangeFlags::FORCE | RangeFlags::UNMAP),
                    _ => (IoctlCode::VBLKDISCARD, RangeFlags::FORCE),
                };
                let argument = RangeRequest::new(flags, range.first, range.count);
                self.memory.write(base + DATA_BYTES, argument.as_bytes());
                let piece = self.memory.piece(base + DATA_BYTES, size_of::<RangeRequest>());
                let grant = self.session.grant(piece, GrantFlags::READ | GrantFlags::WRITE)?;
                let _ = grants.push(grant);
                let request = control(self.minor, code, grant);
                (MessageType::BDEV_IOCTL, BdevRequest { id, ..request })
            }
            _ => {
                let request = control(self.minor, IoctlCode::DIOCFLUSH, GrantId::INVALID);
                (MessageType::BDEV_IOCTL, BdevRequest { id, ..request })
            }
        };
        let sent = Sent {
            number,
            ask,
            range,
            slot,
            grants,
        };
        self.outstanding.send(id, sent);
        Ok(self.session.post(kind, &request)?)
    }

    fn answer(&mut self, message: &Message) -> Result<(), Trouble> {
        let BdevReply { status, id } = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            return Err(Trouble::WrongType(message.kind));
        }
        let sent = self.outstanding.answer(id).map_err(|_| Trouble::NeverAsked(id))?;
        self.revoke(&sent);
        if status == Errno::ERESTART.into() {
            // The driver has done nothing about it.
            self.must_open = true;
            self.heard(sent.number, Fate::Lost);
            return Ok(());
        }
        if matches!(sent.ask, Ask::Zero | Ask::Discard) && status == Errno::EOPNOTSUPP.into() {
            // The disk does not have the command.
            self.report(sent.number, Fate::Failed);
            return Ok(());
        }
        let wanted = match sent.ask {
            Ask::Read | Ask::Write | Ask::Force => Status::count(sent.range.count * SECTOR_BYTES as u64),
            _ => Some(Status::OK),
        };
        let is_done = wanted == Some(status);
        self.heard(sent.number, if is_done { Fate::Done } else { Fate::Failed });
        if !is_done {
            let (ask, range) = (sent.ask, sent.range);
            self.session.client.say(format_args!("{ask:?} of {range}: {status:?}"));
        }
        Ok(())
    }

    fn revoke(&mut self, sent: &Sent) {
        let client = &mut *self.session.client;
        sent.grants.iter().for_each(|grant| client.revoke(*grant));
    }

    /// The driver is dead: finds its successor and opens the disk there. Then nothing of the dead one can reach the disk any more.
    fn reconnect(&mut self) -> Result<(), Trouble> {
        loop {
            self.session.recover()?;
            self.counters.restarts += 1;
            match self.set_timeout() {
                Err(Trouble::Died) => {}
                other => break other?,
            }
        }
        for sent in self.outstanding.take() {
            self.revoke(&sent);
            self.heard(sent.number, Fate::Lost);
        }
        Ok(())
    }

    fn set_timeout(&mut self) -> Result<(), Trouble> {
        if self.timeout == 0 {
            return Ok(());
        }
        let hz = u64::from(kernel::hz(&mut self.session.client.ipc)?);
        let mut ticks = (self.timeout * hz).div_ceil(1000) as i32;
        let minor = self.minor;
        let status = self.session.ioctl(minor, IoctlCode::DIOCTIMEOUT, &mut ticks)?;
        Trouble::unless_moved(status, 0)
    }

    /// The driver was restarted and has forgotten that the disk is open.
    fn reopen(&mut self) -> Result<(), Trouble> {
        match self.session.open(self.minor, READ_WRITE) {
            Err(Trouble::Died) => self.reconnect()?,
            status => Trouble::unless_moved(status?, 0)?,
        }
        self.must_open = false;
        Ok(())
    }

    /// Closes the disk, at a successor of the driver if need be.
    fn close(&mut self) -> Result<(), Trouble> {
        loop {
            let number = self.asked(Ask::Close, SectorRange::default());
            match self.session.close(self.minor) {
                // It is open at the successor.
                Err(Trouble::Died) => {
                    self.reconnect()?;
                    self.heard(number, Fate::Lost);
                }
                // It is not, as if it had never been.
                Ok(status) if status == Errno::ERESTART.into() => {
                    self.heard(number, Fate::Lost);
                    return Ok(());
                }
                status => {
                    Trouble::unless_moved(status?, 0)?;
                    self.heard(number, Fate::Done);
                    return Ok(());
                }
            }
        }
    }

    fn open(&mut self) -> Result<(), Trouble> {
        let number = self.asked(Ask::Open, SectorRange::default());
        let minor = self.minor;
        let status = self.session.repeat(|session| session.open(minor, READ_WRITE))?;
        Trouble::unless_moved(status, 0)?;
        self.heard(number, Fate::Done);
        match self.set_timeout() {
            Err(Trouble::Died) => self.reconnect(),
            other => other,
        }
    }
}
