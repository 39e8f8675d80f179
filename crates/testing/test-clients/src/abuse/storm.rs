//! The random messages: sends them, collects the replies, and makes sure now and then that the driver still works.

use core::fmt::Display;

use guest_protocol::SECTOR_BYTES;
use minix_abi::bdev::{BdevAccess, BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, MessageType, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use super::account::{Account, Expected, MAX_AWAITED};
use super::bench::{BOTH, NOISE};
use super::book::Book;
use super::noise::{Bounds, DATA_BYTES, MOVABLE, Noise, Pool, VECTOR_ELEMENTS};
use crate::bdev::{Arrival, Session, Trouble, control};
use crate::buffer::{Kind, Memory};
use crate::report::Outcome;

/// Messages between two ordinary reads.
const MESSAGES_PER_LOOK: u64 = 100;
/// Most messages without waiting for replies.
const BURST: u64 = 24;
const _: () = assert!(BURST as usize + BARRIERS as usize <= MAX_AWAITED);
/// Most barriers after a burst. One would be enough if messages kept their order.
const BARRIERS: u32 = 4;
/// Failures after which the storm stops.
const MAX_FAILURES: u32 = 8;
/// From how many messages on a share of them has to succeed ...
const FEW_MESSAGES: u64 = 500;
/// ... and how large that is: one in so many for reads, and the same for writes.
const ONE_IN: u64 = 20;
/// Bytes of an ordinary read.
const LOOK_BYTES: usize = 8 * SECTOR_BYTES;

const VECTOR_BYTES: usize = VECTOR_ELEMENTS as usize * size_of::<VectorElement>();
/// Where things are in the memory after the data.
const VECTORS: usize = DATA_BYTES as usize;
const ARGUMENT: usize = VECTORS + 3 * VECTOR_BYTES;
const TIMEOUT: usize = ARGUMENT + 64;
const BARRIER: usize = TIMEOUT + 64;
const LOOK: usize = VECTORS + 4096;
const BYTES: usize = LOOK + LOOK_BYTES;

pub(super) struct Storm<'c, I: Ipc> {
    session: Session<'c, I>,
    memory: Memory,
    noise: Noise,
    account: Account,
    book: Book,
    last_id: i32,
    barrier_grant: GrantId,
    sent: u64,
    failures: u32,
}

impl<'c, I: Ipc> Storm<'c, I> {
    /// Gets ready. The minor is open once, nothing else is. `capacity` is that of the disk, in bytes.
    pub(super) fn new(session: Session<'c, I>, bounds: Bounds, capacity: u64, seed: u64) -> Result<Self, Errno> {
        let memory = Memory::new(&mut session.client.ipc, Kind::Scattered, BYTES)?;
        let driver = session.driver();
        let mut grant = |to, offset, bytes, access| session.client.grant(to, memory.piece(offset, bytes), access);
        let (data, read) = (DATA_BYTES as usize, GrantFlags::READ);
        let revoked = grant(driver, 0, data, BOTH)?;
        let barrier_grant = grant(driver, BARRIER, 4, GrantFlags::WRITE)?;
        let pool = Pool {
            good: grant(driver, 0, data, BOTH)?,
            read_only: grant(driver, 0, data, read)?,
            write_only: grant(driver, 0, data, GrantFlags::WRITE)?,
            short: grant(driver, 0, 512, BOTH)?,
            revoked,
            foreign: grant(Endpoint::RS, 0, data, BOTH)?,
            good_vector: grant(driver, VECTORS, VECTOR_BYTES, read)?,
            bad_vector: grant(driver, VECTORS + VECTOR_BYTES, VECTOR_BYTES, read)?,
            noisy_vector: grant(driver, VECTORS + 2 * VECTOR_BYTES, VECTOR_BYTES, read)?,
            argument: grant(driver, ARGUMENT, 64, BOTH)?,
            timeout: grant(driver, TIMEOUT, 4, BOTH)?,
        };
        // Only now, so that none of the others is in its place.
        session.client.revoke(revoked);
        Ok(Self {
            noise: Noise::new(seed, bounds, pool),
            account: Account::default(),
            book: Book::new(pool, capacity),
            session,
            memory,
            last_id: 0,
            barrier_grant,
            sent: 0,
            failures: 0,
        })
    }

    /// Sends so many messages, reports how it went, and closes the minor.
    pub(super) fn run(mut self, count: u64) {
        self.fill_vectors();
        let done = self.run_all(count).and_then(|()| self.clean_up());
        if let Err(trouble) = done {
            self.fail(&trouble);
        }
        let (sent, replies, failures) = (self.sent, self.account.replies, self.failures);
        let outcome = Outcome::of(failures == 0 && sent == count);
        let detail = format_args!("{sent} sent, {replies} answered, {failures} failures");
        self.session.client.test("random-messages", outcome, &detail);
        let closed = self.session.close(self.noise.bounds.minor);
        let outcome = Outcome::of(closed == Ok(Status::OK));
        self.session.client.test("close", outcome, &format_args!("{closed:?}"));
    }

    fn run_all(&mut self, count: u64) -> Result<(), Trouble> {
        self.open_all()?;
        let reference = self.look()?;
        let mut next_look = MESSAGES_PER_LOOK;
        while self.sent < count && self.failures < MAX_FAILURES {
            let burst = (1 + self.noise.random.below(BURST)).min(count - self.sent);
            for _ in 0..burst {
                self.shoot()?;
            }
            self.sent += burst;
            self.settle()?;
            if self.sent >= next_look {
                next_look += MESSAGES_PER_LOOK;
                self.check_opens()?;
                if self.look()? != reference {
                    self.fail(&"an ordinary read brings something else than before");
                }
            }
        }
        self.check_shares();
        Ok(())
    }

    /// Opens every minor of the drive and asks where it lies: from now on the driver knows all of them.
    fn open_all(&mut self) -> Result<(), Trouble> {
        for minor in all_minors() {
            if minor != self.noise.bounds.minor {
                Trouble::unless_moved(self.session.open(minor, BdevAccess::READ)?, 0)?;
            }
            self.account.count_open(minor, 1);
            if !MOVABLE.contains(&minor.0) {
                let (status, place) = self.session.partition(minor)?;
                Trouble::unless_moved(status, 0)?;
                self.book.set_place(minor, place);
            }
        }
        Ok(())
    }

    /// Not everything may be refused.
    fn check_shares(&mut self) {
        let sent = self.sent;
        let Account { reads, writes, .. } = self.account;
        let may_write =
            self.noise.bounds.scratch.end - self.noise.bounds.scratch.start >= VECTOR_ELEMENTS * SECTOR_BYTES as u64;
        for (what, moved, is_due) in [("reads", reads, true), ("writes", writes, may_write)] {
            if is_due && sent >= FEW_MESSAGES && moved < sent / ONE_IN {
                self.fail(&format_args!(
                    "of {sent} messages only {moved} were {what} that moved data"
                ));
            }
        }
    }

    fn shoot(&mut self) -> Result<(), Trouble> {
        let id = self.take_id();
        let message = self.noise.message(id);
        self.account.sent(id, self.book.expect(&message));
        Ok(self.session.post_message(&message)?)
    }

    fn take_id(&mut self) -> i32 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Waits until everything that is due has come. A control request is a barrier, served after everything before it, so when
    /// that one is answered, the rest has been; but messages may overtake each other in both directions. So only those barriers
    /// count that left when there was nothing else to be fetched, and there are a few of them.
    fn settle(&mut self) -> Result<(), Trouble> {
        let mut barriers = 0;
        while barriers < BARRIERS {
            if self.session.unfetched() == 0 {
                barriers += 1;
            }
            let (id, minor) = (self.take_id(), self.noise.bounds.minor);
            let expected = Expected::Exactly {
                minor,
                status: Status::OK,
                direction: None,
            };
            self.account.sent(id, expected);
            let request = control(minor, IoctlCode::DIOCOPENCT, self.barrier_grant);
            let request = BdevRequest { id, ..request };
            self.session.post(MessageType::BDEV_IOCTL, &request)?;
            while self.account.awaits(id) {
                self.receive()?;
            }
            if self.account.due() == 0 {
                break;
            }
        }
        if let Err(wrong) = self.account.settle() {
            self.fail(&wrong);
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Trouble> {
        match self.session.receive() {
            Arrival::Driver(message) => {
                if let Err(wrong) = self.account.arrived(&message) {
                    self.fail(&format_args!("{wrong} ({:?})", message.kind));
                }
                Ok(())
            }
            Arrival::Died => Err(Trouble::Died),
            Arrival::Failed(errno) => Err(errno.into()),
            Arrival::Stray(_) | Arrival::Signal(_) | Arrival::Nothing => Ok(()),
        }
    }

    /// The driver counts as this account does.
    fn check_opens(&mut self) -> Result<(), Trouble> {
        let wanted = self.account.total_opens();
        let (status, count) = self.session.open_count(self.noise.bounds.minor)?;
        if (status, count) != (Status::OK, wanted) {
            let why = format_args!("open {wanted} times, the driver says {count} ({status:?})");
            self.fail(&why);
        }
        Ok(())
    }

    /// An ordinary read outside of the scratch range: the digest of it.
    fn look(&mut self) -> Result<u64, Trouble> {
        let scratch = &self.noise.bounds.scratch;
        let is_free = scratch.start >= LOOK_BYTES as u64;
        let position = if is_free { 0 } else { scratch.end };
        self.memory.fill_noise(LOOK, LOOK_BYTES, NOISE);
        let piece = self.memory.piece(LOOK, LOOK_BYTES);
        let status = self.session.read(self.noise.bounds.minor, position, piece)?;
        if status != Status(LOOK_BYTES as i32) {
            self.fail(&format_args!("an ordinary read is answered {status:?}"));
        }
        Ok(self.memory.digest(LOOK, LOOK_BYTES))
    }

    fn fill_vectors(&mut self) {
        let pool = self.noise.pool;
        let bad = [
            GrantId::INVALID,
            pool.revoked,
            pool.foreign,
            GrantId(i32::MIN),
            GrantId(i32::MAX),
        ];
        let kinds = [pool.good, pool.write_only, pool.read_only];
        for nth in 0..VECTOR_ELEMENTS as usize {
            let element = self.session.element(pool.good, 512);
            self.put_element(0, nth, element);
            let element = self.session.element(bad[nth % bad.len()], 512 << (nth % 4));
            self.put_element(1, nth, element);
            let mut noise = [0; size_of::<VectorElement>()];
            self.noise.random.fill(&mut noise);
            let mut element: VectorElement = zerocopy::transmute!(noise);
            if nth % 4 != 3 {
                // Not too noisy, or no driver would look at the second one.
                element = self.session.element(kinds[nth % kinds.len()], 512 << (nth % 8));
            }
            self.put_element(2, nth, element);
        }
    }

    fn put_element(&mut self, vector: usize, nth: usize, element: VectorElement) {
        self.book.set_element(vector, nth, &element);
        let place = VECTORS + vector * VECTOR_BYTES + nth * size_of::<VectorElement>();
        self.memory.write(place, element.as_bytes());
    }

    /// Leaves the driver as it was: one open, no trace, the write cache on.
    fn clean_up(&mut self) -> Result<(), Trouble> {
        let minor = self.noise.bounds.minor;
        // Any of them may be refused: there may be no trace, and no write cache.
        self.session.ioctl(minor, IoctlCode::BIOCTRACECTL, &mut 1i32)?;
        self.session.ioctl(minor, IoctlCode::BIOCTRACEBUF, &mut 0u64)?;
        self.session.ioctl(minor, IoctlCode::DIOCSETWC, &mut 1i32)?;
        self.session.ioctl(minor, IoctlCode::DIOCTIMEOUT, &mut 0i32)?;
        for other in all_minors() {
            let keep = i32::from(other == minor);
            while self.account.opens(other) > keep {
                let closed = self.session.close(other)?;
                if closed != Status::OK {
                    self.fail(&format_args!("closing minor {} is answered {closed:?}", other.0));
                }
                self.account.count_open(other, -1);
            }
        }
        self.check_opens()
    }

    fn fail(&mut self, why: &dyn Display) {
        self.failures += 1;
        if self.failures <= MAX_FAILURES {
            self.session.client.error("abuse", "wrong", why);
        }
    }
}

fn all_minors() -> impl Iterator<Item = Minor> {
    (0..5).chain(128..144).map(Minor)
}
