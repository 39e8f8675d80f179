//! A disk in memory with a queue. The test says which requests complete, when and how.

use std::collections::{HashMap, VecDeque};

use minix_abi::disk_control::{DiskFlags, DiskHead, Event, Lifetime, QueueFlags, QueueState, RangeLimit, StatCounts};
use minix_blockdriver::statistics::Kind;
use minix_blockdriver::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Broken, Data, DeviceError, DeviceRequest, Direction, DiskInfo,
    GrantedRange as _, Listen, Operations, RangeOperation, Refusal, Tag, Together,
};

use crate::memory::{Range, SharedMemory};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Read,
    Write,
    Flush,
    Discard,
    Zero,
    /// Zeroes, and the storage may be given back.
    Unmap,
    Erase,
    Identify,
    Lifetime,
}

impl Op {
    /// Whether it changes sectors.
    fn changes(self) -> bool {
        matches!(
            self,
            Self::Write | Self::Discard | Self::Zero | Self::Unmap | Self::Erase
        )
    }
}

/// What a discarded or an erased sector holds. Zeroes are what the other two leave.
pub const DISCARDED: u8 = 0xD1;
pub const ERASED: u8 = 0xE4;

/// A request to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRequest {
    pub op: Op,
    /// In sectors.
    pub first: u64,
    pub sectors: u64,
    /// Where in the memory of clients.
    pub segments: Vec<Range>,
    /// Or which bounce buffer, and how many bytes of it.
    pub bounce: Option<(BounceBuffer, usize)>,
    pub tag: Tag,
}

impl DiskRequest {
    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.first + other.sectors && other.first < self.first + self.sectors
    }
}

/// What changed on the disk, for a test that cuts the power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sectors from this one on; on the medium at once if there is no cache.
    Sectors {
        op: Op,
        first: u64,
        bytes: Vec<u8>,
        durable: bool,
    },
    /// The first so many changes are on the medium: those that were complete when the flush was submitted, and no others, though
    /// they may have completed before it.
    Flushed { covers: usize },
}

pub struct FakeDisk {
    pub memory: SharedMemory,
    pub info: DiskInfo,
    pub content: Vec<u8>,
    /// The content after a power cut.
    pub medium: Vec<u8>,
    /// Every change, if it is to be kept.
    pub changes: Option<Vec<Change>>,
    /// How many there were when a flush was submitted that is not complete.
    covered: HashMap<Tag, usize>,
    /// Flushes are answered, and nothing else happens.
    pub ignores_flushes: bool,
    /// The ranges of the next request.
    pub listed: Option<(Tag, Vec<Range>)>,
    /// Submitted and not completed, in the order of their submission.
    pub pending: Vec<DiskRequest>,
    /// The first so many of these are known to the device.
    pub notified: usize,
    /// Completed, and not fetched.
    pub finished: VecDeque<(Tag, Result<(), DeviceError>)>,
    /// All requests so far.
    pub log: Vec<DiskRequest>,
    /// Requests complete with the next poll, and in order.
    pub automatic: bool,
    /// Requests it takes at a time.
    pub room: usize,
    /// The answers to the next requests; later ones are taken.
    pub refusals: VecDeque<Option<Refusal>>,
    /// The device reaches no addresses from here on.
    pub unreachable_from: u64,
    pub broken: bool,
    /// The results of the next resets; later ones work. After one that fails the device is stopped: its requests are gone,
    /// and it has no information.
    pub resets: VecDeque<Result<(), Broken>>,
    /// Whether the disk has a write cache after the next reset, if that changes. The content of the cache stays.
    pub cache_after_reset: Option<bool>,
    /// Resets that fail leave the device working on its requests.
    pub stuck: bool,
    /// The device asks for a reset again after each start.
    pub breaks_at_start: bool,
    /// Completed requests are found by a reset only.
    pub poll_finds_nothing: bool,
    /// The device needs a reset, and only its status shows it.
    pub silently_dead: bool,
    /// The device was started, and not reset since.
    live: bool,
    /// Requests that never complete.
    pub lost: Vec<DiskRequest>,
    pub reset_count: usize,
    pub can_switch_cache: bool,
    /// Sectors that were written since the last flush.
    pub unflushed: usize,
    pub bounce_buffers: Vec<Box<[u8; BOUNCE_BYTES]>>,
    /// Sectors that fail.
    pub bad_sectors: Vec<u64>,
    /// Writes that fail have happened all the same.
    pub half_done: bool,
    /// It has completed a part of a request.
    pub progress: bool,
    pub listens: Listen,
    /// Calls of `interrupted`.
    pub interrupts: u32,
    /// Events for the driver to take.
    pub events: VecDeque<Event>,
    /// The device was asked for its id, or how worn it is, and has answered.
    pub told: (bool, bool),
    /// What became of its requests, by kind.
    pub operations: [Operations; 6],
}

/// Where its registers are.
pub const ADDRESS: u64 = 0x1000_8000;
pub const IRQ: i32 = 8;
/// What it answers when it is asked.
pub const ID: [u8; 20] = *b"fake disk\0\0\0\0\0\0\0\0\0\0\0";
pub const LIFETIME: Lifetime = Lifetime {
    pre_eol: 1,
    single_level: 2,
    multi_level: 3,
};

fn kind_of(op: Op) -> Option<Kind> {
    Some(match op {
        Op::Read => Kind::Read,
        Op::Write => Kind::Write,
        Op::Flush => Kind::Flush,
        Op::Discard => Kind::Discard,
        Op::Zero | Op::Unmap => Kind::Zero,
        Op::Erase => Kind::Erase,
        Op::Identify | Op::Lifetime => return None,
    })
}

/// A disk with a write cache, and no limits of its own.
pub(crate) fn disk_info(sectors: u64) -> DiskInfo {
    DiskInfo {
        sectors,
        block_bytes: 512,
        read_only: false,
        can_flush: true,
        write_cache: true,
        max_segments: 64,
        max_segment_bytes: u32::MAX,
        geometry: None,
        cache_switch: true,
        discard: Some(RANGE_LIMIT),
        write_zeroes: Some(RANGE_LIMIT),
        zeroes_unmap: true,
        secure_erase: Some(RANGE_LIMIT),
        lifetime: true,
    }
}

/// The limit of each range command.
pub const RANGE_LIMIT: RangeLimit = RangeLimit {
    sectors: 100,
    ranges: 1,
    alignment: 8,
};

impl FakeDisk {
    pub fn new(memory: SharedMemory, sectors: u64) -> Self {
        Self {
            memory,
            info: disk_info(sectors),
            live: true,
            stuck: false,
            cache_after_reset: None,
            breaks_at_start: false,
            silently_dead: false,
            poll_finds_nothing: false,
            lost: Vec::new(),
            content: vec![0; sectors as usize * 512],
            medium: vec![0; sectors as usize * 512],
            changes: None,
            covered: HashMap::new(),
            ignores_flushes: false,
            listed: None,
            pending: Vec::new(),
            notified: 0,
            finished: VecDeque::new(),
            log: Vec::new(),
            automatic: true,
            room: usize::MAX,
            refusals: VecDeque::new(),
            unreachable_from: u64::MAX,
            broken: false,
            resets: VecDeque::new(),
            reset_count: 0,
            can_switch_cache: true,
            unflushed: 0,
            bounce_buffers: (0..4).map(|_| Box::new([0; BOUNCE_BYTES])).collect(),
            bad_sectors: Vec::new(),
            half_done: false,
            progress: false,
            listens: Listen::Polled,
            interrupts: 0,
            events: VecDeque::new(),
            told: (false, false),
            operations: Default::default(),
        }
    }

    /// Completes the `nth` of the pending requests: moves the data, or fails.
    pub fn finish(&mut self, nth: usize, result: Result<(), DeviceError>) {
        assert!(
            nth < self.notified,
            "the device works on a request that it does not know"
        );
        let request = self.pending.remove(nth);
        self.notified -= 1;
        let touches = |sector: &u64| (request.first..request.first + request.sectors).contains(sector);
        let is_beyond = request.first + request.sectors > self.info.sectors;
        let result = if self.bad_sectors.iter().any(touches) || is_beyond {
            Err(DeviceError::Io)
        } else {
            result
        };
        if result.is_ok() || self.half_done && request.op.changes() && !is_beyond {
            self.carry_out(&request);
        }
        if let Some(kind) = kind_of(request.op) {
            let counted = &mut self.operations[kind as usize];
            counted.operations += 1;
            match result {
                Ok(()) => counted.bytes += request.sectors * 512,
                Err(_) => counted.errors += 1,
            }
        }
        self.finished.push_back((request.tag, result));
    }

    /// Loses the `nth` of the pending requests: the device keeps it until the reset, and does not complete it.
    pub fn lose(&mut self, nth: usize) {
        assert!(nth < self.notified);
        self.lost.push(self.pending.remove(nth));
        self.notified -= 1;
    }

    /// Completes all requests that the device knows.
    pub fn finish_all(&mut self) {
        while self.notified > 0 {
            self.finish(0, Ok(()));
        }
    }

    fn carry_out(&mut self, request: &DiskRequest) {
        if request.op == Op::Flush {
            if self.ignores_flushes {
                return;
            }
            self.unflushed = 0;
            self.medium.clone_from(&self.content);
            if let (Some(changes), Some(&covers)) = (&mut self.changes, self.covered.get(&request.tag)) {
                changes.push(Change::Flushed { covers });
            }
            return;
        }
        match request.op {
            Op::Identify => return self.told.0 = true,
            Op::Lifetime => return self.told.1 = true,
            _ => {}
        }
        let range = request.first as usize * 512..(request.first + request.sectors) as usize * 512;
        let fill = match request.op {
            Op::Discard => Some(DISCARDED),
            Op::Zero | Op::Unmap => Some(0),
            Op::Erase => Some(ERASED),
            _ => None,
        };
        if let Some(fill) = fill {
            self.content[range.clone()].fill(fill);
        }
        let mut at = range.start;
        if let Some((block, bytes)) = request.bounce {
            let block = &mut self.bounce_buffers[usize::from(block.0)][..bytes];
            let content = &mut self.content[at..at + bytes];
            match request.op {
                Op::Read => block.copy_from_slice(content),
                _ => content.copy_from_slice(block),
            }
        }
        for segment in &request.segments {
            let bytes = segment.bytes() as usize;
            let content = &mut self.content[at..at + bytes];
            match request.op {
                Op::Read => self.memory.borrow_mut().write(segment.address(), content),
                _ => self.memory.borrow().read(segment.address(), content),
            }
            at += bytes;
        }
        if let Some(changes) = self.changes.as_mut().filter(|_| request.op.changes()) {
            changes.push(Change::Sectors {
                op: request.op,
                first: request.first,
                bytes: self.content[range.clone()].to_vec(),
                durable: !self.info.write_cache,
            });
        }
        if request.op.changes() && !self.info.write_cache {
            self.medium.resize(self.content.len(), 0);
            self.medium[range.clone()].copy_from_slice(&self.content[range]);
        }
        if request.op.changes() {
            self.unflushed += request.sectors as usize;
        }
    }

    /// Whether a request that is not completed has the bounce buffer.
    fn is_lent(&self, block: BounceBuffer) -> bool {
        let has = |request: &DiskRequest| request.bounce.is_some_and(|(used, _)| used == block);
        self.pending.iter().chain(&self.lost).any(has)
    }

    /// All requests so far, without addresses.
    pub fn ops(&self) -> Vec<(Op, u64, u64)> {
        self.log
            .iter()
            .map(|request| (request.op, request.first, request.sectors))
            .collect()
    }
}

impl BlockDevice for FakeDisk {
    type Range = Range;

    fn info(&self) -> Option<&DiskInfo> {
        (self.live && !self.broken).then_some(&self.info)
    }

    fn listen(&mut self, how: Listen) {
        self.listens = how;
    }

    fn interrupted(&mut self) {
        self.interrupts += 1;
    }

    fn dismiss_interrupt(&mut self) {}

    fn list_ranges(&mut self, tag: Tag, ranges: &[Range]) -> Result<Together, Refusal> {
        self.listed = Some((tag, ranges.to_vec()));
        Ok(Together::of(ranges))
    }

    fn submit(&mut self, asked: DeviceRequest, tag: Tag) -> Result<(), Refusal> {
        if self.broken || !self.live {
            return Err(Refusal::Broken);
        }
        if let Some(Some(refusal)) = self.refusals.pop_front() {
            return Err(refusal);
        }
        if self.pending.len() + self.finished.len() + self.lost.len() >= self.room {
            return Err(Refusal::Full);
        }
        let (op, first, data) = match asked {
            DeviceRequest::Transfer { direction, first, data } => match direction {
                Direction::Read => (Op::Read, first, data),
                Direction::Write => (Op::Write, first, data),
            },
            DeviceRequest::Flush => (Op::Flush, 0, Data::Granted),
            DeviceRequest::Identify => (Op::Identify, 0, Data::Granted),
            DeviceRequest::AskLifetime => (Op::Lifetime, 0, Data::Granted),
            DeviceRequest::Range { operation, first, .. } => {
                let op = match operation {
                    RangeOperation::Discard => Op::Discard,
                    RangeOperation::WriteZeroes { may_unmap: false } => Op::Zero,
                    RangeOperation::WriteZeroes { may_unmap: true } => Op::Unmap,
                    RangeOperation::Erase => Op::Erase,
                };
                (op, first, Data::Granted)
            }
        };
        let takes_data = matches!(op, Op::Read | Op::Write);
        let (segments, bounce) = match data {
            _ if !takes_data => (Vec::new(), None),
            Data::Granted => {
                let (listed, segments) = self.listed.take().expect("ranges are listed");
                assert_eq!(listed, tag, "the ranges are those of another request");
                (segments, None)
            }
            Data::Bounce(block, bytes) => {
                assert!(usize::from(block.0) < self.bounce_buffers.len() && bytes <= BOUNCE_BYTES);
                assert!(!self.is_lent(block), "the block is in use");
                (Vec::new(), Some((block, bytes)))
            }
        };
        let bytes: u64 = segments.iter().map(Range::bytes).sum();
        let bytes = bytes + bounce.map_or(0, |(_, bytes)| bytes as u64);
        let bytes = match asked {
            DeviceRequest::Range { sectors, .. } => sectors * 512,
            _ => bytes,
        };
        let request = DiskRequest {
            op,
            first,
            sectors: bytes / 512,
            segments: segments.clone(),
            bounce,
            tag,
        };
        assert!(
            segments
                .iter()
                .all(|segment| segment.bytes() > 0 && segment.address() % 2 == 0)
        );
        assert!(
            bytes.is_multiple_of(self.info.block_bytes.into()),
            "not whole blocks: {request:?}"
        );
        if op == Op::Flush {
            if !self.info.can_flush {
                return Err(Refusal::Unsupported);
            }
        } else if !matches!(op, Op::Identify | Op::Lifetime) {
            assert!(bytes > 0);
            assert_eq!(first * 512 % u64::from(self.info.block_bytes), 0, "{request:?}");
            let longest = u64::from(self.info.max_segment_bytes);
            assert!(segments.len() <= usize::from(self.info.max_segments), "{request:?}");
            assert!(segments.iter().all(|segment| segment.bytes() <= longest), "{request:?}");
            if segments
                .iter()
                .any(|segment| segment.address() + segment.bytes() > self.unreachable_from)
            {
                return Err(Refusal::Unreachable);
            }
            if first + request.sectors > self.info.sectors || op.changes() && self.info.read_only {
                return Err(Refusal::Invalid);
            }
        }
        for other in self.pending.iter().chain(&self.lost) {
            assert_ne!(other.tag, tag, "the tag is in use");
            let writes = op.changes() || other.op.changes();
            assert!(!(writes && request.overlaps(other)), "{request:?} races with {other:?}");
        }
        assert!(self.finished.iter().all(|(used, _)| *used != tag), "the tag is in use");
        if op == Op::Flush {
            let changes = self.changes.as_ref().map_or(0, Vec::len);
            self.covered.insert(tag, changes);
        }
        self.log.push(request.clone());
        self.pending.push(request);
        Ok(())
    }

    fn notify(&mut self) {
        assert!(self.notified < self.pending.len(), "there is no new request");
        self.notified = self.pending.len();
    }

    fn poll(&mut self, mut done: impl FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken> {
        if !self.live {
            return Err(Broken);
        }
        if self.automatic && !self.broken {
            self.finish_all();
        }
        while !self.poll_finds_nothing
            && let Some((tag, result)) = self.finished.pop_front()
        {
            self.progress = true;
            done(tag, result);
        }
        let progress = std::mem::take(&mut self.progress);
        if self.broken { Err(Broken) } else { Ok(progress) }
    }

    fn reset(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        self.reset_count += 1;
        let result = self.resets.pop_front().unwrap_or(Ok(()));
        if result.is_err() && self.stuck && self.live {
            self.broken = true;
            return result;
        }
        self.pending.clear();
        if let Some(cache) = self.cache_after_reset.take() {
            self.info.write_cache = cache;
        }
        while let Some((tag, result)) = self.finished.pop_front() {
            done(tag, result);
        }
        self.lost.clear();
        self.notified = 0;
        self.live = result.is_ok();
        self.silently_dead = false;
        self.poll_finds_nothing = false;
        self.broken = result.is_err() || self.breaks_at_start;
        result
    }

    fn is_alive(&mut self) -> bool {
        self.live && !self.broken && !self.silently_dead
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal> {
        if !self.live || self.broken {
            return Err(Refusal::Broken);
        }
        assert!(self.pending.is_empty());
        if !self.can_switch_cache {
            return Err(Refusal::Unsupported);
        }
        self.info.write_cache = on;
        Ok(())
    }

    fn describe(&self, disk: &mut DiskHead) {
        disk.address = ADDRESS;
        disk.irq = IRQ;
        disk.transport_version = 2;
        (disk.offered, disk.accepted) = (0x7000_1234, 0x3000_1230);
        disk.descriptors = 64;
        if self.told.0 {
            disk.id = ID;
            disk.flags |= DiskFlags::ID;
        }
        if self.told.1 {
            disk.lifetime = LIFETIME;
            disk.flags |= DiskFlags::LIFETIME;
        }
    }

    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("MagicValue", 0x7472_6976);
        visit("Status", 0xF);
    }

    fn ring(&self) -> QueueState {
        if self.info().is_none() {
            return QueueState::default();
        }
        QueueState {
            flags: QueueFlags::LIVE,
            size: 64,
            chains: self.pending.len() as u16,
            ..QueueState::default()
        }
    }

    fn count(&self, counts: &mut StatCounts) {
        counts.interrupts = self.interrupts.into();
    }

    fn operations(&self, kind: Kind) -> Operations {
        self.operations[kind as usize]
    }

    fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn bounce_buffers(&self) -> u8 {
        self.bounce_buffers.len() as u8
    }

    fn bounce_buffer(&mut self, block: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]> {
        if self.is_lent(block) {
            return None;
        }
        self.bounce_buffers
            .get_mut(usize::from(block.0))
            .map(|block| &mut **block)
    }
}
