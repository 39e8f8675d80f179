//! A device that follows a script: a disk in memory, and a queue of which the test says what is finished, when and how.

use std::collections::VecDeque;

use minix_blockdriver::{
    BlockDevice, Broken, Data, DeviceError, DeviceRequest, DiskInfo, Refusal, STAGING_BYTES, StagingBlock, Tag,
};

use super::memory::{Range, SharedMemory};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Read,
    Write,
    Flush,
}

/// A request that the device was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub op: Op,
    /// In sectors.
    pub first: u64,
    pub sectors: u64,
    /// Where in the memory of clients.
    pub segments: Vec<Range>,
    /// Or which block of staging memory, and how many bytes of it.
    pub staging: Option<(StagingBlock, usize)>,
    pub tag: Tag,
}

impl Given {
    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.first + other.sectors && other.first < self.first + self.sectors
    }
}

pub struct FakeDisk {
    pub memory: SharedMemory,
    pub info: DiskInfo,
    pub content: Vec<u8>,
    /// What a power cut leaves.
    pub medium: Vec<u8>,
    /// What it has and is not done with, in the order it came.
    pub pending: Vec<Given>,
    /// Of these, how many it was told of.
    pub announced: usize,
    /// Finished, and not fetched.
    pub finished: VecDeque<(Tag, Result<(), DeviceError>)>,
    /// Everything it was ever given.
    pub log: Vec<Given>,
    /// Whether everything is finished at once.
    pub automatic: bool,
    /// Requests it takes at a time.
    pub room: usize,
    /// What it says to the next requests, as far as it goes.
    pub refusals: VecDeque<Option<Refusal>>,
    /// Addresses it cannot be given, from here on.
    pub unreachable_from: u64,
    pub broken: bool,
    /// What comes of the next resets, as far as it goes. After one that fails the device is stopped: its requests are gone,
    /// and it says nothing of itself.
    pub resets: VecDeque<Result<(), Broken>>,
    /// Whether it has a write cache after the next reset, if that changes. What is in the cache stays there.
    pub cache_after_reset: Option<bool>,
    /// Resets that fail leave the device working on its requests.
    pub stuck: bool,
    /// The device asks for a reset again after each start.
    pub breaks_at_start: bool,
    /// What is finished is found by a reset only.
    pub poll_finds_nothing: bool,
    /// It asks for a reset, and only a look at its status tells.
    pub silently_dead: bool,
    /// The device was started, and not reset since.
    live: bool,
    /// Requests that it never finishes.
    pub lost: Vec<Given>,
    pub reset_count: usize,
    pub can_switch_cache: bool,
    /// Parts of requests that are finished.
    pub parts: u64,
    /// Sectors that were written since the last flush.
    pub unflushed: usize,
    pub staging: Vec<Box<[u8; STAGING_BYTES]>>,
    /// Sectors that fail.
    pub bad_sectors: Vec<u64>,
    /// Writes that fail have happened all the same.
    pub half_done: bool,
}

impl FakeDisk {
    pub fn new(memory: SharedMemory, sectors: u64) -> Self {
        let info = DiskInfo {
            sectors,
            block_bytes: 512,
            read_only: false,
            can_flush: true,
            write_cache: true,
            max_segments: 64,
            geometry: None,
        };
        Self {
            memory,
            info,
            live: true,
            stuck: false,
            cache_after_reset: None,
            breaks_at_start: false,
            silently_dead: false,
            poll_finds_nothing: false,
            lost: Vec::new(),
            content: vec![0; sectors as usize * 512],
            medium: vec![0; sectors as usize * 512],
            pending: Vec::new(),
            announced: 0,
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
            parts: 0,
            unflushed: 0,
            staging: (0..4).map(|_| Box::new([0; STAGING_BYTES])).collect(),
            bad_sectors: Vec::new(),
            half_done: false,
        }
    }

    /// Finishes the `nth` of the pending requests: moves the data, or fails.
    pub fn finish(&mut self, nth: usize, result: Result<(), DeviceError>) {
        assert!(nth < self.announced, "the device works on what it was not told of");
        let given = self.pending.remove(nth);
        self.announced -= 1;
        let touches = |sector: &u64| (given.first..given.first + given.sectors).contains(sector);
        let is_beyond = given.first + given.sectors > self.info.sectors;
        let result = if self.bad_sectors.iter().any(touches) || is_beyond {
            Err(DeviceError::Io)
        } else {
            result
        };
        if result.is_ok() || self.half_done && given.op == Op::Write && !is_beyond {
            self.carry_out(&given);
        }
        self.finished.push_back((given.tag, result));
    }

    /// Loses the `nth` of the pending requests: it has it until the reset, and does not finish it.
    pub fn lose(&mut self, nth: usize) {
        assert!(nth < self.announced);
        self.lost.push(self.pending.remove(nth));
        self.announced -= 1;
    }

    /// Finishes everything that it was told of.
    pub fn finish_all(&mut self) {
        while self.announced > 0 {
            self.finish(0, Ok(()));
        }
    }

    fn carry_out(&mut self, given: &Given) {
        if given.op == Op::Flush {
            self.unflushed = 0;
            self.medium.clone_from(&self.content);
            return;
        }
        let mut at = given.first as usize * 512;
        if let Some((block, bytes)) = given.staging {
            let block = &mut self.staging[usize::from(block.0)][..bytes];
            let content = &mut self.content[at..at + bytes];
            match given.op {
                Op::Read => block.copy_from_slice(content),
                _ => content.copy_from_slice(block),
            }
        }
        for segment in &given.segments {
            let bytes = segment.bytes() as usize;
            let content = &mut self.content[at..at + bytes];
            match given.op {
                Op::Read => self.memory.borrow_mut().write(segment.address(), content),
                _ => self.memory.borrow().read(segment.address(), content),
            }
            at += bytes;
        }
        if given.op == Op::Write && !self.info.write_cache {
            let range = given.first as usize * 512..(given.first + given.sectors) as usize * 512;
            self.medium.resize(self.content.len(), 0);
            self.medium[range.clone()].copy_from_slice(&self.content[range]);
        }
        if given.op == Op::Write {
            self.unflushed += given.sectors as usize;
        }
    }

    /// Whether a request that is not finished has a block of staging memory.
    fn is_lent(&self, block: StagingBlock) -> bool {
        let has = |given: &Given| given.staging.is_some_and(|(used, _)| used == block);
        self.pending.iter().chain(&self.lost).any(has)
    }

    /// Everything it was given, without addresses.
    pub fn ops(&self) -> Vec<(Op, u64, u64)> {
        self.log
            .iter()
            .map(|given| (given.op, given.first, given.sectors))
            .collect()
    }
}

impl BlockDevice for FakeDisk {
    type Range = Range;

    fn info(&self) -> Option<DiskInfo> {
        (self.live && !self.broken).then_some(self.info)
    }

    fn submit(&mut self, request: DeviceRequest<'_, Range>, tag: Tag) -> Result<(), Refusal> {
        if self.broken || !self.live {
            return Err(Refusal::Broken);
        }
        if let Some(Some(refusal)) = self.refusals.pop_front() {
            return Err(refusal);
        }
        if self.pending.len() + self.finished.len() + self.lost.len() >= self.room {
            return Err(Refusal::Full);
        }
        let (op, first, data) = match request {
            DeviceRequest::Read { first, data } => (Op::Read, first, data),
            DeviceRequest::Write { first, data } => (Op::Write, first, data),
            DeviceRequest::Flush => (Op::Flush, 0, Data::Granted(&[])),
        };
        let (segments, staging) = match data {
            Data::Granted(segments) => (segments, None),
            Data::Bounce(block, bytes) => {
                assert!(usize::from(block.0) < self.staging.len() && bytes <= STAGING_BYTES);
                assert!(!self.is_lent(block), "the block is in use");
                (&[][..], Some((block, bytes)))
            }
        };
        let bytes: u64 = segments.iter().map(Range::bytes).sum();
        let bytes = bytes + staging.map_or(0, |(_, bytes)| bytes as u64);
        let given = Given {
            op,
            first,
            sectors: bytes / 512,
            segments: segments.to_vec(),
            staging,
            tag,
        };
        assert!(
            segments
                .iter()
                .all(|segment| segment.bytes() > 0 && segment.address() % 2 == 0)
        );
        assert!(
            bytes.is_multiple_of(self.info.block_bytes.into()),
            "not whole blocks: {given:?}"
        );
        if op == Op::Flush {
            if !self.info.can_flush {
                return Err(Refusal::Unsupported);
            }
        } else {
            assert!(bytes > 0);
            if segments.len() > usize::from(self.info.max_segments) {
                return Err(Refusal::Unreachable);
            }
            if segments
                .iter()
                .any(|segment| segment.address() + segment.bytes() > self.unreachable_from)
            {
                return Err(Refusal::Unreachable);
            }
            if first + given.sectors > self.info.sectors || op == Op::Write && self.info.read_only {
                return Err(Refusal::Invalid);
            }
        }
        for other in self.pending.iter().chain(&self.lost) {
            assert_ne!(other.tag, tag, "the tag is in use");
            let writes = op == Op::Write || other.op == Op::Write;
            assert!(!(writes && given.overlaps(other)), "{given:?} races with {other:?}");
        }
        assert!(self.finished.iter().all(|(used, _)| *used != tag), "the tag is in use");
        self.log.push(given.clone());
        self.pending.push(given);
        Ok(())
    }

    fn notify(&mut self) {
        assert!(self.announced < self.pending.len(), "nothing to tell the device");
        self.announced = self.pending.len();
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        if !self.live {
            return Err(Broken);
        }
        if self.automatic && !self.broken {
            self.finish_all();
        }
        while !self.poll_finds_nothing
            && let Some((tag, result)) = self.finished.pop_front()
        {
            done(tag, result);
        }
        if self.broken { Err(Broken) } else { Ok(()) }
    }

    fn parts_finished(&self) -> u64 {
        self.parts
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
        self.announced = 0;
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

    fn staging_blocks(&self) -> u8 {
        self.staging.len() as u8
    }

    fn staging(&mut self, block: StagingBlock) -> Option<&mut [u8; STAGING_BYTES]> {
        if self.is_lent(block) {
            return None;
        }
        self.staging.get_mut(usize::from(block.0)).map(|block| &mut **block)
    }
}
