//! The clients: what they asked for, and whether the answer is one that they can be given.

use std::collections::{BTreeSet, HashMap};

use minix_abi::Errno;
use minix_abi::disk_control::RangeRequest;
use virtio_blk_model::{Model, feature};
use zerocopy::FromBytes;

use crate::history::{End, History, Pattern};
use crate::kernel::Answer;
use crate::memory::Buffer;
use crate::plan::{MOST_SECTORS, RangeKind, Report, World};
use crate::reports;
use crate::run::Failure;

/// Minors that clients know of.
const MINORS: usize = 3;

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) enum ClientOperation {
    Open {
        write: bool,
    },
    Close,
    Flush,
    SetCache {
        on: bool,
    },
    /// `first` is from the start of the minor; both in sectors.
    Transfer {
        write: bool,
        force: bool,
        first: u64,
        count: u64,
        number: u32,
    },
    /// `first` is from the start of the minor; both in sectors.
    Range {
        kind: RangeKind,
        force: bool,
        first: u64,
        count: u64,
        number: u32,
    },
    Report(Report),
}

#[derive(Debug)]
struct Asked {
    minor: i32,
    operation: ClientOperation,
    arrival: u64,
    /// Sizes that the disk may have had for the driver since the request came, in sectors.
    sizes: BTreeSet<u64>,
    /// An open of the minor came before it.
    known: bool,
    /// Nothing excuses an error.
    must_work: bool,
}

/// What is known of a minor.
#[derive(Default)]
struct Minor {
    /// An open of it was sent.
    known: bool,
    /// An open of it was answered.
    answered: bool,
    opens: u32,
    /// When an error of a flush was last told to a client that has it open.
    told: u64,
}

pub(crate) struct Clients {
    world: World,
    pub(crate) history: History,
    asked: HashMap<i32, Asked>,
    minors: [Minor; MINORS],
    /// Counts all that happens.
    now: u64,
    /// When flushes failed, and which minors were open then.
    failed_flushes: Vec<(u64, [bool; MINORS])>,
    /// Sizes that the disk may have for the driver.
    sizes: BTreeSet<u64>,
    /// The device has done something that excuses errors, and was not honest since.
    harmed: bool,
    /// It has done so at some time. Of flushes that failed clients are told later.
    pub(crate) ever_harmed: bool,
    /// The disk was resized, or its table could perhaps not be read.
    table_in_doubt: bool,
    /// The disk was or is read-only.
    read_only: bool,
    /// The driver has given the device up, and may.
    pub(crate) given_up: bool,
    /// The cache was switched off, and this was acknowledged.
    cache_off: bool,
    /// A client has tried to write, to flush, or to switch the cache.
    pub(crate) flush_is_due: bool,
    next_write: u32,
    next_id: i32,
}

impl Clients {
    pub(crate) fn new(world: &World, table: Vec<u8>) -> Self {
        Self {
            world: world.clone(),
            history: History::new(table),
            asked: HashMap::new(),
            minors: Default::default(),
            now: 0,
            failed_flushes: Vec::new(),
            sizes: BTreeSet::from([world.sectors]),
            harmed: false,
            ever_harmed: false,
            table_in_doubt: false,
            read_only: world.read_only,
            given_up: false,
            cache_off: false,
            flush_is_due: false,
            next_write: 0,
            next_id: 0,
        }
    }

    pub(crate) fn next_write(&mut self) -> u32 {
        self.next_write += 1;
        self.next_write
    }

    /// Where the blocks of a minor are on a disk of `sectors`: first and length, in sectors.
    fn extent(&self, minor: i32, sectors: u64) -> (u64, u64) {
        let whole = sectors / self.world.block_sectors() * self.world.block_sectors();
        let (first, count) = match (minor, self.world.partitions()) {
            (1 | 2, Some(parts)) => parts[minor as usize - 1],
            _ => (0, whole),
        };
        (first, count.min(whole.saturating_sub(first)))
    }

    /// The first sector of a minor.
    pub(crate) fn base(&self, minor: i32) -> u64 {
        self.extent(minor, MOST_SECTORS).0
    }

    /// A request is sent; its id.
    pub(crate) fn asks(&mut self, minor: i32, operation: ClientOperation, must_work: bool) -> i32 {
        self.now += 1;
        self.next_id += 1;
        match operation {
            ClientOperation::Transfer {
                write: true,
                first,
                count,
                number,
                ..
            } => {
                self.flush_is_due = true;
                let base = self.base(minor);
                self.history.write(base + first, count, self.now, number, Pattern::Data);
            }
            ClientOperation::Range {
                kind,
                first,
                count,
                number,
                ..
            } => {
                self.flush_is_due = true;
                let pattern = match kind {
                    RangeKind::Zero { .. } => Pattern::Zeroes,
                    RangeKind::Discard | RangeKind::Erase => Pattern::Noise,
                };
                let base = self.base(minor);
                self.history.write(base + first, count, self.now, number, pattern);
            }
            ClientOperation::Flush | ClientOperation::SetCache { .. } => self.flush_is_due = true,
            _ => {}
        }
        if matches!(operation, ClientOperation::SetCache { on: true }) {
            self.cache_off = false;
        }
        if matches!(operation, ClientOperation::Open { .. }) {
            self.minors[minor as usize].known = true;
        }
        let asked = Asked {
            minor,
            operation,
            arrival: self.now,
            sizes: self.sizes.clone(),
            known: self.minors[minor as usize].known,
            must_work,
        };
        self.asked.insert(self.next_id, asked);
        self.next_id
    }

    /// The disk has another size now.
    pub(crate) fn resized(&mut self, sectors: u64) {
        self.table_in_doubt = true;
        self.sizes.insert(sectors);
        for asked in self.asked.values_mut() {
            asked.sizes.insert(sectors);
        }
    }

    /// The driver knows how large the disk is.
    pub(crate) fn size_is_known(&mut self, sectors: u64) {
        if self.sizes.len() > 1 {
            self.sizes = BTreeSet::from([sectors]);
        }
    }

    /// Whether a request that is not answered came when the disk was larger.
    pub(crate) fn knows_larger_disk(&self, sectors: u64) -> bool {
        let larger = |sizes: &BTreeSet<u64>| sizes.last().is_some_and(|&size| size > sectors);
        larger(&self.sizes) || self.asked.values().any(|asked| larger(&asked.sizes))
    }

    /// The device did something that excuses errors.
    pub(crate) fn harm(&mut self) {
        self.harmed = true;
        self.ever_harmed = true;
        self.table_in_doubt = true;
    }

    /// The device keeps to the rules, and all requests it could have harmed are over.
    pub(crate) fn heal(&mut self) {
        self.harmed = false;
    }

    /// The disk may be read-only from now on, or writable again.
    pub(crate) fn becomes_read_only(&mut self) {
        self.read_only = true;
    }

    /// The device has answered a flush with an error.
    pub(crate) fn flush_failed(&mut self) {
        self.now += 1;
        let open = |nth: usize| self.minors[nth].opens > 0;
        self.failed_flushes.push((self.now, [open(0), open(1), open(2)]));
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, model: &Model, answer: &Answer) -> Result<(), Failure> {
        self.now += 1;
        let asked = self.asked.remove(&answer.id).expect("the kernel knows who waits");
        self.judge(&asked, answer).map_err(|(kind, why)| {
            let status = answer.status;
            Failure::new(
                kind,
                format!("request {} answered {status}: {why}: {asked:?}", answer.id),
            )
        })?;
        let checked = if self.is_durable(&asked, answer.status) {
            self.history.check_all(model)
        } else {
            self.history.check_unflushed(model)
        };
        checked.map_err(|what| {
            let status = answer.status;
            Failure::new(
                "lost",
                format!("{what}; after request {} answered {status}: {asked:?}", answer.id),
            )
        })
    }

    fn is_durable(&self, asked: &Asked, status: i32) -> bool {
        let durable = match asked.operation {
            ClientOperation::Flush | ClientOperation::Close => true,
            ClientOperation::SetCache { on } => !on,
            ClientOperation::Transfer { write, force, .. } => write && (force || self.cache_off),
            ClientOperation::Range { .. } => self.cache_off,
            ClientOperation::Open { .. } | ClientOperation::Report(_) => false,
        };
        durable && status >= 0
    }

    fn judge(&mut self, asked: &Asked, answer: &Answer) -> Result<(), (&'static str, String)> {
        let status = answer.status;
        let known = asked.known;
        let wrong = |why: &str| Err(("wrong status", why.to_string()));
        match asked.operation {
            ClientOperation::Transfer { .. } => return self.judge_transfer(asked, answer),
            ClientOperation::Range { .. } => return self.judge_range(asked, answer),
            _ => {}
        }
        if !known {
            return if status == wire(Errno::ERESTART) {
                Ok(())
            } else {
                wrong("the minor was never opened")
            };
        }
        let harmed = match asked.operation {
            ClientOperation::Open { .. } => self.harmed,
            _ => self.ever_harmed,
        };
        let excused = status == wire(Errno::EIO) && (self.given_up || harmed) && !asked.must_work;
        let minor = &mut self.minors[asked.minor as usize];
        minor.answered |= matches!(asked.operation, ClientOperation::Open { .. });
        match asked.operation {
            ClientOperation::Open { write } => match status {
                0 => minor.opens += 1,
                _ if excused => {}
                _ if status == wire(Errno::EACCES) && self.read_only && write => {}
                _ => return wrong("an open"),
            },
            ClientOperation::Close if minor.opens == 0 => {
                if status != wire(Errno::EINVAL) {
                    return wrong("a close of what is not open");
                }
            }
            ClientOperation::Close => {
                let total: u32 = self.minors.iter().map(|minor| minor.opens).sum();
                match status {
                    0 if total == 1 => self.promise(asked),
                    0 => {}
                    _ if !self.flush_is_due && !self.given_up => {
                        return wrong("nothing was written that a close could fail on");
                    }
                    _ if excused || status == wire(Errno::EOPNOTSUPP) && harmed => self.tell(asked.minor),
                    _ => return wrong("a close"),
                }
                // A close that fails has closed all the same.
                self.minors[asked.minor as usize].opens -= 1;
            }
            ClientOperation::Flush => {
                let cannot = status == wire(Errno::EOPNOTSUPP)
                    && (harmed && !asked.must_work || !self.world.offers(feature::FLUSH));
                match status {
                    0 => self.promise(asked),
                    _ if excused || cannot => self.tell(asked.minor),
                    _ => return wrong("a flush"),
                }
            }
            ClientOperation::SetCache { on } => match status {
                0 if on => self.cache_off = false,
                0 => {
                    self.promise(asked);
                    // Unless a client has asked for it again meanwhile.
                    let on_again = |other: &Asked| matches!(other.operation, ClientOperation::SetCache { on: true });
                    self.cache_off = !self.asked.values().any(on_again);
                }
                _ if status == wire(Errno::EOPNOTSUPP) && (harmed || !self.world.offers(feature::CONFIG_WCE)) => {
                    self.tell(asked.minor);
                }
                _ if excused => self.tell(asked.minor),
                _ => return wrong("a switch of the write cache"),
            },
            ClientOperation::Report(report) => {
                // Most are told ahead of requests that came before, such as the first open.
                if status == wire(Errno::ERESTART) && !minor.answered {
                    return Ok(());
                }
                if status != 0 {
                    return wrong("a report");
                }
                reports::check(report, &answer.content).map_err(|what| ("wrong report", what))?;
            }
            ClientOperation::Transfer { .. } | ClientOperation::Range { .. } => {}
        }
        Ok(())
    }

    fn judge_range(&mut self, asked: &Asked, answer: &Answer) -> Result<(), (&'static str, String)> {
        let &ClientOperation::Range {
            kind,
            force,
            first,
            count,
            number,
        } = &asked.operation
        else {
            return Ok(());
        };
        let wrong = |why: &str| Err(("wrong status", why.to_string()));
        let status = answer.status;
        let refusals = [
            Errno::ERESTART,
            Errno::EINVAL,
            Errno::EACCES,
            Errno::EBUSY,
            Errno::ENXIO,
        ];
        let end = match status {
            0 => End::Done,
            _ if refusals.map(wire).contains(&status) => End::Never,
            _ => End::Unknown,
        };
        let start = self.base(asked.minor) + first;
        self.history.ended(start, count, number, end, self.cache_off);
        if !asked.known {
            return if status == wire(Errno::ERESTART) {
                Ok(())
            } else {
                wrong("the minor was never opened")
            };
        }
        let told = RangeRequest::read_from_bytes(&answer.content).expect("it is that long");
        if told.done != if status == 0 { count } else { 0 } {
            return Err(("wrong data", format!("{} sectors are said to be done", told.done)));
        }
        let inside = |&size: &u64| self.extent(asked.minor, size).1 >= first + count;
        let doubt = asked.sizes.len() > 1 || asked.minor != 0 && self.table_in_doubt;
        let bit = match kind {
            RangeKind::Discard => feature::DISCARD,
            RangeKind::Zero { .. } => feature::WRITE_ZEROES,
            RangeKind::Erase => feature::SECURE_ERASE,
        };
        // Openings and ranges come one after the other, so this is how it was when the range was looked at.
        let open = |nth: usize| self.minors[nth].opens > 0;
        let elsewhere = match asked.minor {
            0 => open(1) || open(2),
            _ => open(0),
        };
        let is_busy = self.minors[asked.minor as usize].opens > 1 || elsewhere;
        let is_fine = match status {
            0 => asked.sizes.iter().any(inside) && self.world.offers(bit) && (force || !is_busy || self.table_in_doubt),
            _ if status == wire(Errno::EINVAL) => doubt || !asked.sizes.iter().all(inside),
            _ if status == wire(Errno::EBUSY) => !force && is_busy,
            _ if status == wire(Errno::EACCES) => self.read_only,
            _ if status == wire(Errno::ENXIO) => doubt,
            _ if status == wire(Errno::EOPNOTSUPP) => !self.world.offers(bit) || self.ever_harmed && !asked.must_work,
            _ if status == wire(Errno::EIO) => {
                // It can be that of the flush ahead of it.
                self.tell(asked.minor);
                (self.ever_harmed || self.given_up) && !asked.must_work || asked.sizes.len() > 1
            }
            _ => false,
        };
        if is_fine { Ok(()) } else { wrong("a range") }
    }

    /// An error was told to a client that wanted to know whether its data is safe.
    fn tell(&mut self, minor: i32) {
        self.minors[minor as usize].told = self.now;
    }

    /// The client was told that everything that came before its request is durable. A flush can have failed meanwhile. If that
    /// was told on this minor, or the minor was not open then, what was written before that flush is not promised.
    fn promise(&mut self, asked: &Asked) {
        let nth = asked.minor as usize;
        let told = self.minors[nth].told;
        // A client that switches the cache off is not told of flushes that failed.
        let untold = matches!(asked.operation, ClientOperation::SetCache { .. });
        let excused = |&&(at, open): &&(u64, [bool; MINORS])| {
            self.world.failed_flush_forgets && (told > at || !open[nth] || untold)
        };
        let after = self.failed_flushes.iter().rev().find(excused).map_or(0, |&(at, _)| at);
        self.history.promised(after, asked.arrival);
    }

    fn judge_transfer(&mut self, asked: &Asked, answer: &Answer) -> Result<(), (&'static str, String)> {
        let &ClientOperation::Transfer {
            write,
            force,
            first,
            count,
            number,
        } = &asked.operation
        else {
            return Ok(());
        };
        let status = answer.status;
        let start = self.base(asked.minor) + first;
        let moved = u64::try_from(status).map_or(0, |bytes| bytes / 512);
        if write {
            // A write that was under way when the disk shrank can have happened where the disk does not end yet.
            let end = match status {
                0.. if asked.sizes.len() > 1 => End::Unknown,
                0.. => End::Never,
                _ if [Errno::ERESTART, Errno::EINVAL].map(wire).contains(&status) => End::Never,
                _ => End::Unknown,
            };
            self.history
                .ended(start + moved, count - moved.min(count), number, end, false);
            self.history
                .ended(start, moved, number, End::Done, force || self.cache_off);
        }
        if !asked.known {
            return if status == wire(Errno::ERESTART) {
                Ok(())
            } else {
                Err(("wrong status", "the minor was never opened".to_string()))
            };
        }
        if status < 0 {
            if force {
                self.tell(asked.minor);
            }
            let errors = [Errno::EIO, Errno::ENOTSUP, Errno::EOPNOTSUPP].map(wire);
            let harmed = self.harmed || force && self.ever_harmed;
            let excused = (harmed || self.given_up) && !asked.must_work && errors.contains(&status);
            let refused = write && self.read_only && status == wire(Errno::EIO);
            let shrunk = asked.sizes.len() > 1 && status == wire(Errno::EIO);
            return if excused || refused || shrunk {
                Ok(())
            } else {
                Err(("wrong status", "nothing went wrong".to_string()))
            };
        }
        self.check_length(asked, status, first, count)?;
        if !write {
            self.check_data(asked, answer, start, moved)?;
        }
        Ok(())
    }

    /// A transfer ends with the minor, and is complete otherwise.
    fn check_length(&self, asked: &Asked, status: i32, first: u64, count: u64) -> Result<(), (&'static str, String)> {
        let lengths: Vec<u64> = asked
            .sizes
            .iter()
            .map(|&size| self.extent(asked.minor, size).1.saturating_sub(first).min(count) * 512)
            .collect();
        let status = status as u64;
        // With nothing open, as after opens that failed, the table is as it was.
        let nothing_open = self.minors.iter().all(|minor| minor.opens == 0);
        let loose = asked.minor != 0 && self.table_in_doubt || asked.sizes.len() > 1 || nothing_open;
        let most = lengths.iter().max().copied().unwrap_or(0);
        if lengths.contains(&status) || loose && status <= most && status.is_multiple_of(512) {
            return Ok(());
        }
        Err(("wrong length", format!("expected one of {lengths:?}")))
    }

    fn check_data(&self, asked: &Asked, answer: &Answer, start: u64, moved: u64) -> Result<(), (&'static str, String)> {
        let (read, rest) = answer.content.split_at(moved as usize * 512);
        for (sector, bytes) in (start..).zip(read.chunks(512)) {
            let checked = self.history.check_read(sector, asked.arrival, bytes);
            checked.map_err(|what| ("wrong data", what))?;
        }
        // A read that was under way when the disk shrank can have filled what the answer does not count any more.
        if asked.sizes.len() > 1 || rest.iter().all(|&byte| Buffer::is_fresh(byte)) {
            Ok(())
        } else {
            Err((
                "wrong data",
                "the buffer was written beyond what the status tells".to_string(),
            ))
        }
    }

    /// Requests without an answer.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let mut waiting: Vec<_> = self.asked.iter().collect();
        waiting.sort_by_key(|(id, _)| **id);
        waiting
            .iter()
            .map(|(id, asked)| format!("request {id}: {asked:?}"))
            .collect()
    }

    /// Minors that are open, as often as they are.
    pub(crate) fn open_minors(&self) -> Vec<i32> {
        let minors = (0..).zip(&self.minors);
        minors
            .flat_map(|(nth, minor)| std::iter::repeat_n(nth, minor.opens as usize))
            .collect()
    }

    pub(crate) const fn block_sectors(&self) -> u64 {
        self.world.block_sectors()
    }

    /// Whether writes can be refused.
    pub(crate) const fn may_be_read_only(&self) -> bool {
        self.read_only
    }
}

pub(crate) fn wire(errno: Errno) -> i32 {
    errno.to_wire()
}
