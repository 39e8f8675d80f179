//! A run: random requests, many at a time, and a device that is killed now and then.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use fastrand::Rng;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Completion, Disk, DiskOptions, IoError, Request, SectorRange, SubmitError};
use virtio_core::{InterruptSource, PollLimit};

use crate::buffer::{Buffer, MOST_BYTES};
use crate::device::{Device, SECTORS};
use crate::ledger::{Effect, Entry, Ledger, Token};
use crate::reference::{self, Reference, SECTOR};

/// Descriptors of the queue, and buffers.
const QUEUE: usize = 64;
const BUFFERS: usize = 32;

type TestDisk<D> = Disk<<D as Device>::Transport, Buffer, Token, QUEUE>;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests that are answered before it ends.
    pub operations: u64,
    /// How often the device is killed meanwhile.
    pub kills: u64,
    /// The same seed makes the same choices. What the device does in between is its own.
    pub seed: u64,
    /// How long the device may answer nothing before its requests count as lost.
    pub patience: Duration,
}

/// What was done in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered by the device.
    pub operations: u64,
    /// Sectors that were read and compared.
    pub sectors_compared: u64,
    /// How often the device was killed.
    pub kills: u64,
    /// Requests that came back unanswered because it was.
    pub aborted: u64,
    /// Interrupts that were waited for.
    pub interrupts: u64,
}

/// Does random requests on a device, and looks at every answer and every sector. An error says what was wrong.
pub fn run<D: Device>(device: &mut D, plan: &Plan) -> Result<Totals> {
    let mut run = Run {
        device,
        random: Rng::with_seed(plan.seed),
        reference: Reference::new(SECTORS),
        ledger: Ledger::default(),
        totals: Totals::default(),
        scratch: Vec::new(),
        patience: plan.patience,
    };
    for life in 0..=plan.kills {
        let until = plan.operations * (life + 1) / (plan.kills + 1);
        run.live(until, life < plan.kills)?;
    }
    Ok(run.totals)
}

struct Run<'d, D: Device> {
    device: &'d mut D,
    random: Rng,
    reference: Reference,
    ledger: Ledger,
    totals: Totals,
    scratch: Vec<u8>,
    patience: Duration,
}

impl<D: Device> Run<'_, D> {
    /// From a start of the device up to so many requests in all. Then it is killed in the middle of its work, or all of its content is
    /// compared and it is shut down.
    fn live(&mut self, until: u64, killed: bool) -> Result<()> {
        let mut memory = self.device.memory();
        let transport = self.device.connect()?;
        let disk = TestDisk::<D>::start(
            transport,
            &mut memory,
            &DiskOptions::default(),
            &mut PollLimit::default(),
        );
        let mut disk = disk.map_err(|error| anyhow!("the device does not start: {}", error.error))?;
        let buffers: Result<Vec<Buffer>> = (0..BUFFERS).map(|_| Buffer::new(&mut memory)).collect();
        let mut buffers = buffers?;
        while self.totals.operations < until {
            self.submit_some(&mut disk, &mut buffers)?;
            self.collect_some(&mut disk, &mut buffers)?;
        }
        if killed {
            self.submit_some(&mut disk, &mut buffers)?;
            disk.notify();
            self.device.kill();
            self.totals.kills += 1;
        } else {
            self.settle(&mut disk, &mut buffers)?;
            self.compare_all(&mut disk, &mut buffers)?;
        }
        let mut back = Vec::new();
        let stopped = disk.shut_down(&mut memory, &mut PollLimit::default(), |done| back.push(done));
        let (transport, _) = stopped.map_err(|(error, _)| anyhow!("the device does not stop: {error}"))?;
        drop(transport);
        for done in back {
            self.settle_one(done, &mut buffers)?;
        }
        self.ledger.all_answered()?;
        ensure!(buffers.len() == BUFFERS, "{} buffers are lost", BUFFERS - buffers.len());
        buffers.into_iter().for_each(|buffer| buffer.release(&mut memory));
        if killed {
            drop(memory);
            self.device.start_again()?;
        }
        Ok(())
    }

    /// Submits up to sixteen requests. Mostly they are notified of at once.
    fn submit_some(&mut self, disk: &mut TestDisk<D>, buffers: &mut Vec<Buffer>) -> Result<()> {
        for _ in 0..self.random.usize(1..=16) {
            if !self.submit_one(disk, buffers)? {
                break;
            }
        }
        if self.random.u8(..8) > 0 {
            disk.notify();
        }
        Ok(())
    }

    /// Submits a request. Answers whether there may be room for another.
    fn submit_one(&mut self, disk: &mut TestDisk<D>, buffers: &mut Vec<Buffer>) -> Result<bool> {
        let most = self.random.usize(1..=MOST_BYTES / SECTOR);
        let count = self.random.usize(1..=most);
        // Few places, so that requests meet.
        let first = match self.random.u8(..4) {
            0 => self.random.usize(..=SECTORS - count),
            _ => self.random.usize(..512),
        };
        let sectors = first..first + count;
        let (kind, version) = (self.random.u8(..32), self.reference.next_version());
        let effect = match kind {
            0..=13 => Effect::Read,
            14..=27 => Effect::Write { version },
            28 => Effect::Zeroes,
            29 => Effect::Discard,
            _ => Effect::None,
        };
        if effect != Effect::None && !self.ledger.allows(&effect, &sectors) {
            return Ok(true);
        }
        let token = self.ledger.token();
        let range = SectorRange {
            first: Sector(first as u64),
            sectors: count as u64,
        };
        let request = match effect {
            Effect::Read | Effect::Write { .. } => {
                let Some(mut buffer) = buffers.pop() else {
                    return Ok(false);
                };
                let most = usize::from(disk.limits().max_segments);
                buffer.cut(&mut self.random, count * SECTOR, most);
                if effect == Effect::Read {
                    Request::read(range.first, buffer, token)
                } else {
                    reference::content(first, count, version, &mut self.scratch);
                    buffer.fill(&self.scratch);
                    Request::write(range.first, buffer, token)
                }
            }
            Effect::Zeroes => Request::write_zeroes(range, self.random.bool(), token),
            Effect::Discard => Request::discard(range, token),
            Effect::None if kind == 30 => Request::identify(token),
            Effect::None => Request::flush(token),
        };
        let sectors = if effect == Effect::None { 0..0 } else { sectors };
        match disk.submit(request) {
            Ok(()) => {
                self.ledger.taken(token, Entry { effect, sectors });
                Ok(true)
            }
            Err(rejected) => {
                buffers.extend(rejected.request.into_parts().0);
                match rejected.error {
                    SubmitError::QueueFull => {
                        disk.notify();
                        Ok(false)
                    }
                    SubmitError::Unsupported => Ok(true),
                    error => bail!("the driver refuses a request: {error}"),
                }
            }
        }
    }

    /// Takes completions, by polls or by an interrupt. At least one, if it is the device's turn.
    fn collect_some(&mut self, disk: &mut TestDisk<D>, buffers: &mut Vec<Buffer>) -> Result<()> {
        if self.ledger.in_flight() == 0 {
            return Ok(());
        }
        // Without a notification the device need not do anything.
        let must_answer = self.ledger.in_flight() > BUFFERS / 2;
        if must_answer {
            disk.notify();
        }
        let by_interrupt = must_answer && self.random.u8(..8) == 0;
        let started = Instant::now();
        loop {
            let mut back = Vec::new();
            let taken = if by_interrupt {
                disk.drain(|done| back.push(done))
            } else {
                disk.poll(|done| back.push(done))
            };
            taken.map_err(|fault| anyhow!("the device breaks the rules: {fault}"))?;
            if by_interrupt && back.is_empty() {
                self.totals.interrupts += 1;
                self.device.wait(disk.control().transport());
                let seen = disk.on_interrupt(InterruptSource::Line, |done| back.push(done));
                seen.map_err(|fault| anyhow!("the device breaks the rules: {fault}"))?;
            }
            let found = !back.is_empty();
            for done in back {
                self.settle_one(done, buffers)?;
            }
            if found || !must_answer {
                return Ok(());
            }
            if started.elapsed() > self.patience {
                self.ledger.all_answered()?;
            }
            std::thread::yield_now();
        }
    }

    /// Waits until every request is answered.
    fn settle(&mut self, disk: &mut TestDisk<D>, buffers: &mut Vec<Buffer>) -> Result<()> {
        disk.notify();
        let mut last = Instant::now();
        while self.ledger.in_flight() > 0 {
            let mut back = Vec::new();
            disk.poll(|done| back.push(done))
                .map_err(|fault| anyhow!("the device breaks the rules: {fault}"))?;
            if !back.is_empty() {
                last = Instant::now();
            } else if last.elapsed() > self.patience {
                self.ledger.all_answered()?;
            }
            for done in back {
                self.settle_one(done, buffers)?;
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Takes note of a request that came back.
    fn settle_one(&mut self, done: Completion<Buffer, Token>, buffers: &mut Vec<Buffer>) -> Result<()> {
        let Entry { effect, sectors } = self.ledger.answered(done.token)?;
        if let Some(buffer) = &done.buffer {
            buffer.check_margins()?;
        }
        match (done.result, effect) {
            (Err(IoError::Aborted), effect) => {
                self.totals.aborted += 1;
                match effect {
                    Effect::Write { version } => self.reference.perhaps_written(sectors, version),
                    Effect::Zeroes => self.reference.perhaps_zeroed(sectors),
                    Effect::Discard => self.reference.discarded(sectors),
                    Effect::Read | Effect::None => {}
                }
            }
            (Ok(Answer::Done), effect) => {
                self.totals.operations += 1;
                match effect {
                    Effect::Read => {
                        let buffer = done
                            .buffer
                            .as_ref()
                            .ok_or_else(|| anyhow!("a read came back without its buffer"))?;
                        buffer.content(&mut self.scratch);
                        self.totals.sectors_compared += sectors.len() as u64;
                        self.reference.check(sectors.start, &self.scratch)?;
                    }
                    Effect::Write { version } => self.reference.written(sectors, version),
                    Effect::Zeroes => self.reference.zeroed(sectors),
                    Effect::Discard => self.reference.discarded(sectors),
                    Effect::None => {}
                }
            }
            (Ok(Answer::Id(_)), Effect::None) => self.totals.operations += 1,
            (result, effect) => bail!("request {} ({effect:?}) ends with {result:?}", done.token),
        }
        buffers.extend(done.buffer);
        Ok(())
    }

    /// Reads the whole disk.
    fn compare_all(&mut self, disk: &mut TestDisk<D>, buffers: &mut Vec<Buffer>) -> Result<()> {
        let step = MOST_BYTES / SECTOR;
        for first in (0..self.reference.sectors()).step_by(step) {
            let mut buffer = buffers.pop().ok_or_else(|| anyhow!("no buffer is left"))?;
            buffer.cut(&mut self.random, MOST_BYTES, usize::from(disk.limits().max_segments));
            let (token, sectors) = (self.ledger.token(), first..first + step);
            let request = Request::read(Sector(first as u64), buffer, token);
            let taken = disk.submit(request);
            taken.map_err(|rejected| anyhow!("the driver refuses a read: {}", rejected.error))?;
            self.ledger.taken(
                token,
                Entry {
                    effect: Effect::Read,
                    sectors,
                },
            );
            self.settle(disk, buffers)?;
        }
        Ok(())
    }
}
