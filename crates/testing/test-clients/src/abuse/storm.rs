//! The random messages: sends them, collects the replies, and makes sure now and then that the driver still works.

use core::fmt::Display;

use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use guest_protocol::{SECTOR_BYTES, pattern::Digest};

use super::account::{Account, MAX_AWAITED, Opened, Wrong};
use super::bench::BOTH;
use super::book::{Book, Extent};
use super::noise::{Bounds, DATA_BYTES, MOVABLE, Noise, Pool, VECTOR_ELEMENTS};
use crate::buffer::{Kind, Memory, Piece};
use crate::client::Client;
use crate::post::{Arrival, Post};

/// Messages between two ordinary reads.
const MESSAGES_PER_LOOK: u64 = 100;
/// Most messages without waiting for replies.
const BURST: u64 = 24;
const _: () = assert!(BURST as usize <= MAX_AWAITED);
/// How often the last replies are asked for. Once would be enough, if they came in order.
const FENCES: u32 = 4;
/// Failures after which there is no point in going on.
const MAX_FAILURES: u32 = 8;
/// From how many messages on a share of them has to succeed ...
const FEW_MESSAGES: u64 = 500;
/// ... and how large that is: one in so many for reads, and the same for writes.
const ONE_IN: u64 = 20;
/// What an ordinary read is about.
const LOOK_BYTES: usize = 8 * SECTOR_BYTES;

const VECTOR_BYTES: usize = VECTOR_ELEMENTS as usize * size_of::<VectorElement>();
/// Where things are in the memory behind the data.
const VECTORS: usize = DATA_BYTES as usize;
const ARGUMENT: usize = VECTORS + 3 * VECTOR_BYTES;
const TIMEOUT: usize = ARGUMENT + 64;
const FENCE: usize = TIMEOUT + 64;
const LOOK: usize = VECTORS + 4096;
const BYTES: usize = LOOK + LOOK_BYTES;

/// What goes wrong for good: everything else is counted.
enum Stop {
    Died,
    Kernel(Errno),
}

pub(super) struct Storm<'c, I: Ipc> {
    client: &'c mut Client<I>,
    post: Post,
    bounds: Bounds,
    memory: Memory,
    pool: Pool,
    noise: Noise,
    account: Account,
    book: Book,
    next_id: i32,
    fence: Option<i32>,
    fence_grant: GrantId,
    failures: u32,
}

/// How it went.
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) replies: u64,
    pub(super) failures: u32,
}

impl<'c, I: Ipc> Storm<'c, I> {
    /// Gets ready. The minor is open once, nothing else is.
    /// `capacity` is that of the disk, in bytes.
    pub(super) fn new(
        client: &'c mut Client<I>,
        mut post: Post,
        bounds: Bounds,
        capacity: u64,
        seed: u64,
    ) -> Result<Self, Errno> {
        let memory = Memory::new(&mut client.ipc, Kind::Scattered, BYTES)?;
        let mut grant = |to: Option<Endpoint>, piece: Piece, access| {
            let to = to.unwrap_or(post.session().driver());
            client.grant(to, piece, access)
        };
        let data = memory.piece(0, DATA_BYTES as usize);
        let vector = |nth: usize| memory.piece(VECTORS + nth * VECTOR_BYTES, VECTOR_BYTES);
        let revoked = grant(None, data, BOTH)?;
        let fence_grant = grant(None, memory.piece(FENCE, 4), GrantFlags::WRITE)?;
        let mut pool = Pool {
            good: grant(None, data, BOTH)?,
            read_only: grant(None, data, GrantFlags::READ)?,
            write_only: grant(None, data, GrantFlags::WRITE)?,
            short: grant(None, memory.piece(0, 512), BOTH)?,
            revoked,
            foreign: grant(Some(Endpoint::RS), data, BOTH)?,
            good_vector: grant(None, vector(0), GrantFlags::READ)?,
            bad_vector: grant(None, vector(1), GrantFlags::READ)?,
            noisy_vector: grant(None, vector(2), GrantFlags::READ)?,
            argument: grant(None, memory.piece(ARGUMENT, 64), BOTH)?,
            timeout: grant(None, memory.piece(TIMEOUT, 4), BOTH)?,
        };
        // Taken back only now, so that none of the others is in its place.
        client.revoke(revoked);
        if pool.revoked == pool.good {
            pool.revoked = GrantId::INVALID;
        }
        let account = Account::new(bounds.minor);
        Ok(Self {
            noise: Noise::new(seed, bounds.clone(), pool),
            client,
            post,
            bounds,
            memory,
            book: Book::new(pool, capacity),
            pool,
            account,
            next_id: 1,
            fence: None,
            fence_grant,
            failures: 0,
        })
    }

    /// Sends so many messages. Gives the session back with the minor open once.
    pub(super) fn run(mut self, count: u64) -> (Outcome, Post) {
        let mut sent = 0;
        self.fill_vectors();
        let outcome = self.run_all(count, &mut sent).and_then(|()| self.clean_up());
        match outcome {
            Ok(()) => {}
            Err(Stop::Died) => self.fail(&"the driver died"),
            Err(Stop::Kernel(errno)) => self.fail(&format_args!("not sent or received: {errno:?}")),
        }
        let result = Outcome {
            sent,
            replies: self.account.replies(),
            failures: self.failures,
        };
        (result, self.post)
    }

    fn run_all(&mut self, count: u64, sent: &mut u64) -> Result<(), Stop> {
        self.learn_opens()?;
        self.learn_places()?;
        let reference = self.look()?;
        let mut next_look = MESSAGES_PER_LOOK;
        while *sent < count && self.failures < MAX_FAILURES {
            let burst = self.noise.burst(BURST).min(count - *sent);
            for _ in 0..burst {
                self.shoot()?;
            }
            *sent += burst;
            self.settle()?;
            if *sent >= next_look {
                next_look += MESSAGES_PER_LOOK;
                self.check_opens()?;
                self.learn_places()?;
                if self.look()? != reference {
                    self.fail(&"an ordinary read brings something else than before");
                }
            }
        }
        self.check_shares(*sent);
        Ok(())
    }

    /// Which minors the driver takes for opened: others may have opened some before.
    fn learn_opens(&mut self) -> Result<(), Stop> {
        for minor in all_minors() {
            let (status, _) = self.post.session().open_count(self.client, minor).map_err(stop)?;
            let opened = match status {
                Status::OK => Opened::Surely,
                status if status == Errno::ERESTART.into() => Opened::Never,
                status => {
                    self.fail(&format_args!("the count of opens is answered {status:?}"));
                    Opened::Perhaps
                }
            };
            self.account.set_opened(minor, opened);
        }
        Ok(())
    }

    /// Where those minors lie that were opened since.
    fn learn_places(&mut self) -> Result<(), Stop> {
        for minor in all_minors() {
            let moves = MOVABLE.contains(&minor.0);
            if moves || self.book.knows(minor) || self.account.opened(minor) != Opened::Surely {
                continue;
            }
            let (status, place) = self.post.session().partition(self.client, minor).map_err(stop)?;
            if status == Status::OK {
                let (base, bytes) = (place.base, place.bytes);
                self.book.set_extent(minor, Extent { base, bytes });
            } else {
                self.fail(&format_args!("the place of minor {} is answered {status:?}", minor.0));
            }
        }
        Ok(())
    }

    /// Not everything may be refused.
    fn check_shares(&mut self, sent: u64) {
        let (reads, writes) = self.account.moved();
        let may_write = self.bounds.scratch.end - self.bounds.scratch.start >= VECTOR_ELEMENTS * SECTOR_BYTES as u64;
        for (what, moved, is_due) in [("reads", reads, true), ("writes", writes, may_write)] {
            if is_due && sent >= FEW_MESSAGES && moved < sent / ONE_IN {
                self.fail(&format_args!(
                    "of {sent} messages only {moved} were {what} that moved data"
                ));
            }
        }
    }

    fn shoot(&mut self) -> Result<(), Stop> {
        let id = self.take_id();
        let shot = self.noise.shot(id);
        // There is room: bursts are shorter than the account is long.
        let request: BdevRequest = shot.message.payload();
        let expected = self.book.narrow(shot.message.kind, &request, shot.expected);
        let _ = self.account.sent(id, expected);
        self.post.message(self.client, &shot.message).map_err(Stop::Kernel)
    }

    fn take_id(&mut self) -> i32 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    /// Waits until everything that is due has come. A control request is served after everything before it, so when that
    /// one is answered, the rest has been; but messages may overtake each other on the way, in both directions. So only
    /// those count that left when there was nothing else to be fetched, and there are a few of them.
    fn settle(&mut self) -> Result<(), Stop> {
        let mut fences = 0;
        while fences < FENCES {
            if self.post.unfetched() == 0 {
                fences += 1;
            }
            let id = self.take_id();
            self.fence = Some(id);
            let request = BdevRequest {
                minor: self.bounds.minor,
                id,
                grant: self.fence_grant,
                user: Endpoint::NONE,
                request: IoctlCode::DIOCOPENCT,
                ..Default::default()
            };
            self.post
                .request(self.client, MessageType::BDEV_IOCTL, &request)
                .map_err(Stop::Kernel)?;
            while self.fence.is_some() {
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

    fn receive(&mut self) -> Result<(), Stop> {
        match self.post.receive(self.client) {
            Arrival::Driver(message) => {
                let reply: BdevReply = message.payload();
                if message.kind == MessageType::BDEV_REPLY && self.fence == Some(reply.id) {
                    self.fence = None;
                    if reply.status != Status::OK {
                        self.fail(&format_args!("the count of opens is answered {:?}", reply.status));
                    }
                } else if let Err(wrong) = self.account.arrived(&message) {
                    self.fail_with(&message, wrong);
                }
                Ok(())
            }
            Arrival::Died => Err(Stop::Died),
            Arrival::Failed(errno) => Err(Stop::Kernel(errno)),
            Arrival::Stranger(_) | Arrival::Signal(_) | Arrival::Nothing => Ok(()),
        }
    }

    fn fail_with(&mut self, message: &Message, wrong: Wrong) {
        self.fail(&format_args!("{wrong} ({:?})", message.kind));
    }

    /// The driver counts as this account does.
    fn check_opens(&mut self) -> Result<(), Stop> {
        let counted = self.post.session().open_count(self.client, self.bounds.minor);
        let wanted = self.account.total_opens();
        match counted {
            Ok((Status::OK, count)) if count == wanted => {}
            Ok((status, count)) => {
                self.fail(&format_args!(
                    "open {wanted} times, the driver says {count} ({status:?})"
                ));
            }
            Err(trouble) => return Err(stop(trouble)),
        }
        Ok(())
    }

    /// An ordinary read of what is nobody's scratch: the digest of it.
    fn look(&mut self) -> Result<u64, Stop> {
        let position = if self.bounds.scratch.start < LOOK_BYTES as u64 {
            self.bounds.scratch.end
        } else {
            0
        };
        let piece = self.memory.piece(LOOK, LOOK_BYTES);
        self.memory.fill(LOOK, LOOK_BYTES, 0xEE);
        let status = self
            .post
            .session()
            .read(self.client, self.bounds.minor, position, piece)
            .map_err(stop)?;
        if status != Status(LOOK_BYTES as i32) {
            self.fail(&format_args!("an ordinary read is answered {status:?}"));
        }
        let mut digest = Digest::new();
        let mut sector = [0; SECTOR_BYTES];
        for offset in (0..LOOK_BYTES).step_by(SECTOR_BYTES) {
            self.memory.read(LOOK + offset, &mut sector);
            digest.update(&sector);
        }
        Ok(digest.finish())
    }

    fn fill_vectors(&mut self) {
        let Pool {
            good,
            write_only,
            read_only,
            revoked,
            foreign,
            ..
        } = self.pool;
        let bad = [GrantId::INVALID, revoked, foreign, GrantId(i32::MIN), GrantId(i32::MAX)];
        let kinds = [good, write_only, read_only];
        for nth in 0..VECTOR_ELEMENTS as usize {
            let element = self.post.session().element(good, 512);
            self.put_element(0, nth, element);
            let element = self.post.session().element(bad[nth % bad.len()], 512 << (nth % 4));
            self.put_element(1, nth, element);
            let mut noise = [0; size_of::<VectorElement>()];
            self.noise.fill(&mut noise);
            let mut element: VectorElement = zerocopy::transmute!(noise);
            if nth % 4 != 3 {
                // Not too noisy, or nobody would look at the second one.
                element = self.post.session().element(kinds[nth % kinds.len()], 512 << (nth % 8));
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
    fn clean_up(&mut self) -> Result<(), Stop> {
        let minor = self.bounds.minor;
        let (client, session) = (&mut *self.client, self.post.session());
        // Any of them may be refused: there may be no trace, and no write cache.
        session
            .ioctl_with(client, minor, IoctlCode::BIOCTRACECTL, &mut 1i32)
            .map_err(stop)?;
        session
            .ioctl_with(client, minor, IoctlCode::BIOCTRACEBUF, &mut 0u64)
            .map_err(stop)?;
        session
            .ioctl_with(client, minor, IoctlCode::DIOCSETWC, &mut 1i32)
            .map_err(stop)?;
        session
            .ioctl_with(client, minor, IoctlCode::DIOCTIMEOUT, &mut 0i32)
            .map_err(stop)?;
        for other in all_minors() {
            let keep = i32::from(other == minor);
            while self.account.opens(other) > keep {
                let request = BdevRequest {
                    minor: other,
                    access: BdevAccess::empty(),
                    ..Default::default()
                };
                let session = self.post.session();
                let closed = session
                    .request(self.client, MessageType::BDEV_CLOSE, &request)
                    .map_err(stop)?;
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
            self.client.error("abuse", "wrong", why);
        }
    }
}

fn all_minors() -> impl Iterator<Item = Minor> {
    (0..5).chain(128..144).map(Minor)
}

fn stop(trouble: crate::bdev::Trouble) -> Stop {
    match trouble {
        crate::bdev::Trouble::Died => Stop::Died,
        crate::bdev::Trouble::Ipc(errno) => Stop::Kernel(errno),
        _ => Stop::Kernel(Errno::EBADMSG),
    }
}
