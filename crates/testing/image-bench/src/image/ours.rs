//! This driver.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use board_qemu_virt::{Ticks, counters};
use guest_protocol::Case;
use virtio_blk::proto::Sector;
use virtio_blk::{Completion, Disk, DiskOptions, Request};
use virtio_core::Features;

use super::buffers::Buffer;
use super::contender::{Contender, Events, Line};
use super::workload::{SECTOR_BYTES, Workload};

/// Capacity of the queue, in descriptors and requests: what QEMU offers by default.
pub(crate) const CAPACITY: usize = 256;

/// The most segments of a request.
const MAX_SEGMENTS: u16 = 64;

/// How long an interrupt may take, in ticks of the clock of QEMU's machine; some seconds.
const PATIENCE: Ticks = Ticks(100_000_000);

/// How the chains of requests reach the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chains {
    /// In the descriptor table of the queue.
    Direct,
    /// In the table of their slot.
    Indirect,
}

impl Chains {
    fn name(self) -> &'static str {
        match self {
            Chains::Direct => "direct",
            Chains::Indirect => "indirect",
        }
    }

    fn options(self) -> DiskOptions {
        let mut options = DiskOptions {
            max_segments: MAX_SEGMENTS,
            ..DiskOptions::default()
        };
        if self == Chains::Direct {
            options.features = options.features.difference(Features::INDIRECT_DESC);
        }
        options
    }

    /// Whether a batch is in flight as a whole.
    pub(crate) fn hold(self, workload: &Workload) -> bool {
        let descriptors = match self {
            Chains::Direct => workload.segments + 2,
            Chains::Indirect => 1,
        };
        workload.depth * descriptors <= CAPACITY
    }
}

/// The driver on its disk.
pub(crate) struct Ours<B: Buffer> {
    disk: Box<Disk<Transport, B, u32, CAPACITY>>,
    chains: Chains,
    /// `None` to poll.
    line: Option<Line>,
    workload: Workload,
    /// The buffers of the batch; those in flight are with the driver.
    buffers: Vec<Option<B>>,
    /// Those of other workloads, so that going back to one takes no time.
    others: Vec<(Workload, Vec<Option<B>>)>,
}

impl<B: Buffer> Ours<B> {
    /// Starts the driver, polling.
    pub(crate) fn start(transport: Transport, chains: Chains) -> Self {
        match Disk::start(transport, &mut DmaMemory, &chains.options()) {
            Ok(disk) => Self {
                disk: Box::new(disk),
                chains,
                line: None,
                workload: Workload::reads(0),
                buffers: Vec::new(),
                others: Vec::new(),
            },
            Err(failed) => stop("init", "no-disk", &failed.error),
        }
    }

    /// Ends the driver and gives the device back.
    pub(crate) fn end(mut self) -> Transport {
        self.listen(None);
        match self.disk.shut_down(&mut DmaMemory, |_| ()) {
            Ok((transport, _)) => transport,
            Err((timeout, _)) => stop("run", "no-reset", &timeout),
        }
    }
}

impl<B: Buffer> Contender for Ours<B> {
    fn prepare(&mut self, workload: &Workload) {
        if self.workload == *workload {
            return;
        }
        let known = self.others.iter().position(|(other, _)| other == workload);
        let buffers = match known {
            Some(place) => self.others.swap_remove(place).1,
            None => (0..workload.depth).map(|_| Some(B::allocate(workload))).collect(),
        };
        let before = core::mem::replace(&mut self.buffers, buffers);
        self.others.push((self.workload, before));
        self.workload = *workload;
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        let mode = if self.line.is_some() { "interrupts" } else { "polled" };
        workload.case("ours", mode, self.chains.name(), B::NAME)
    }

    #[inline(never)]
    fn submit(&mut self) {
        let sectors = (self.workload.bytes / SECTOR_BYTES) as u64;
        let mut sector = 0;
        for (index, place) in self.buffers.iter_mut().enumerate() {
            let Some(buffer) = place.take() else { missing() };
            let request = match self.workload.operation.writes(index) {
                true => Request::write(Sector(sector), buffer, index as u32),
                false => Request::read(Sector(sector), buffer, index as u32),
            };
            if let Err(rejected) = self.disk.submit(request) {
                stop("run", "rejected", &rejected.error);
            }
            sector += sectors;
        }
    }

    #[inline(never)]
    fn publish(&mut self) {
        self.disk.notify();
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
        let buffers = &mut self.buffers;
        let each = |completion: Completion<B, u32>| {
            if let Err(error) = completion.result {
                stop("run", "failed", &error);
            }
            if let Some(place) = buffers.get_mut(completion.token as usize) {
                *place = completion.buffer;
            }
        };
        let completed = match self.line {
            None => self.disk.poll(each),
            Some(line) => {
                let seen = self.disk.on_interrupt(each);
                line.interrupts.unmask(line.source);
                seen.map(|seen| seen.completions)
            }
        };
        match completed {
            Ok(count) => count as usize,
            Err(fault) => stop("run", "fault", &fault),
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
fn missing() -> ! {
    stop("run", "no-buffer", &"a request came back without its buffer")
}
