//! This driver.

use alloc::boxed::Box;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use board_qemu_virt::{Ticks, counters};
use guest_protocol::Case;
use virtio_blk::{Chains, DeviceFault, Disk, DiskOptions};
use virtio_core::{InterruptSource, PollLimit};

use super::batch::Batch;
use super::buffers::Buffer;
use super::contender::{Contender, Events, Line};
use super::workload::{Operation, Workload};

/// Capacity of the queue, in descriptors and requests: what QEMU offers by default.
pub(crate) const CAPACITY: usize = 256;

/// The most segments of a request.
const MAX_SEGMENTS: u16 = 64;

/// How long an interrupt may take, in ticks of the clock of QEMU's machine; some seconds.
const PATIENCE: Ticks = Ticks(100_000_000);

/// Requests until the driver has found out that the queue is never crowded, by which it chooses the chains of each.
const ACQUAINTANCE: usize = 6 * CAPACITY;

fn name(chains: Chains) -> &'static str {
    match chains {
        Chains::Direct => "direct",
        Chains::Indirect => "indirect",
        Chains::PerRequest => "either",
    }
}

/// Whether a queue with these chains holds a batch as a whole.
pub(crate) fn holds(chains: Chains, workload: &Workload) -> bool {
    let descriptors = if chains == Chains::Direct {
        workload.segments + 2
    } else {
        1
    };
    workload.depth * descriptors <= CAPACITY
}

/// The driver on its disk.
pub(crate) struct Ours<B: Buffer> {
    disk: Box<Disk<Transport, B, u32, CAPACITY>>,
    chains: Chains,
    /// `None` to poll.
    line: Option<Line>,
    /// Whether there was no crowd in the queue for long enough that the driver knows.
    is_calm: bool,
    batch: Batch<B>,
}

impl<B: Buffer> Ours<B> {
    /// Starts the driver, polling.
    pub(crate) fn start(transport: Transport, chains: Chains) -> Self {
        let options = DiskOptions {
            max_segments: MAX_SEGMENTS,
            chains,
            ..DiskOptions::default()
        };
        match Disk::start(transport, &mut DmaMemory, &options, &mut PollLimit::default()) {
            Ok(disk) => Self {
                disk: Box::new(disk),
                chains,
                line: None,
                is_calm: false,
                batch: Batch::new(),
            },
            Err(failed) => stop("init", "no-disk", &failed.error),
        }
    }

    /// Submits the requests of the batch one by one.
    #[inline(always)]
    fn submit_each(&mut self, writes: impl Fn(usize) -> bool) {
        for request in self.batch.requests(writes) {
            if let Err(rejected) = self.disk.submit(request) {
                stop("run", "rejected", &rejected.error);
            }
        }
    }

    /// Submits the requests of the batch together.
    #[inline(always)]
    fn submit_all(&mut self, writes: impl Fn(usize) -> bool) {
        if let Err(stopped) = self.disk.submit_all(self.batch.requests(writes)) {
            stop("run", "rejected", &stopped.rejected.error);
        }
    }

    /// Follows up an interrupt by `line`. Of its own, as in a program, which does one or the other.
    #[inline(never)]
    fn complete_interrupt(&mut self, line: Line) -> usize {
        let batch = &mut self.batch;
        let seen = self
            .disk
            .on_interrupt(InterruptSource::Line, |completion| batch.put_back(completion));
        line.interrupts.unmask(line.source);
        match seen {
            Ok(seen) => seen.completions as usize,
            Err(fault) => faulty(fault),
        }
    }

    /// Ends the driver and gives the device back.
    pub(crate) fn end(mut self) -> Transport {
        self.listen(None);
        match self.disk.shut_down(&mut DmaMemory, &mut PollLimit::default(), |_| ()) {
            Ok((transport, _)) => transport,
            Err((timeout, _)) => stop("run", "no-reset", &timeout),
        }
    }
}

impl<B: Buffer> Contender for Ours<B> {
    fn prepare(&mut self, workload: &Workload) {
        self.batch.prepare(workload);
    }

    fn warm_up(&mut self) -> usize {
        let is_calm = self.batch.workload().depth <= CAPACITY / 4;
        // A crowd is noticed at once.
        let is_known = self.chains != Chains::PerRequest || self.is_calm || !is_calm;
        self.is_calm = is_calm;
        if is_known { 1 } else { ACQUAINTANCE }
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        let mode = if self.line.is_some() { "interrupts" } else { "polled" };
        workload.case("ours", mode, name(self.chains), B::NAME)
    }

    #[inline(never)]
    fn submit(&mut self) {
        // As in a program, which reads in one place and writes in another.
        match self.batch.workload().operation {
            Operation::Read => self.submit_each(|_| false),
            Operation::Write => self.submit_each(|_| true),
            Operation::Mixed => self.submit_each(|index| index % 2 == 1),
        }
    }

    #[inline(never)]
    fn publish(&mut self) {
        self.disk.notify();
    }

    #[inline(never)]
    fn start(&mut self) {
        match self.batch.workload().operation {
            Operation::Read => self.submit_all(|_| false),
            Operation::Write => self.submit_all(|_| true),
            Operation::Mixed => self.submit_all(|index| index % 2 == 1),
        }
    }

    fn is_completed(&self) -> bool {
        let state = self.disk.queue().ring_state();
        state.used_index.wrapping_sub(state.used_seen) == state.in_flight
    }

    fn listen(&mut self, line: Option<Line>) {
        if self.line == line {
            return;
        }
        if let Some(line) = self.line {
            line.interrupts.disable(line.source);
            self.disk.suppress_interrupts();
        }
        self.line = line;
        if let Some(line) = line {
            if !line.interrupts.enable(line.source) {
                stop("init", "no-interrupt", &"the interrupt controller has no such source");
            }
            // Asks for an interrupt. Nothing is in flight, so nothing comes back.
            if let Err(fault) = self.disk.drain(|_| ()) {
                stop("run", "fault", &fault);
            }
        }
    }

    fn wait(&mut self) {
        if let Some(line) = self.line
            && !line.wait(counters::now().after(PATIENCE))
        {
            stop("run", "no-interrupt", &"no interrupt came");
        }
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        if let Some(line) = self.line {
            return self.complete_interrupt(line);
        }
        let batch = &mut self.batch;
        match self.disk.poll(|completion| batch.put_back(completion)) {
            Ok(count) => count as usize,
            Err(fault) => faulty(fault),
        }
    }

    fn events(&self) -> Events {
        let counters = self.disk.counters();
        Events {
            notifies: counters.queue.notifies,
            interrupts: counters.interrupts.taken,
        }
    }
}

#[cold]
fn faulty(fault: DeviceFault) -> ! {
    stop("run", "fault", &fault)
}
