//! This driver.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use guest_protocol::Case;
use virtio_blk::proto::Sector;
use virtio_blk::{Disk, DiskOptions, Request};
use virtio_core::Features;

use super::buffers::Buffer;
use super::contender::{Contender, Events};
use super::workload::{SECTOR_BYTES, Workload};

/// Capacity of the queue, in descriptors and requests: what QEMU offers by default.
const CAPACITY: usize = 256;

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
        let mut options = DiskOptions::default();
        if self == Chains::Direct {
            options.features = options.features.difference(Features::INDIRECT_DESC);
        }
        options
    }
}

/// The driver on its disk.
pub(crate) struct Ours<B: Buffer> {
    disk: Box<Disk<Transport, B, u32, CAPACITY>>,
    chains: Chains,
    workload: Workload,
    /// The buffers of the batch; those in flight are with the driver.
    buffers: Vec<Option<B>>,
}

impl<B: Buffer> Ours<B> {
    /// Starts the driver.
    pub(crate) fn start(transport: Transport, chains: Chains) -> Self {
        match Disk::start(transport, &mut DmaMemory, &chains.options()) {
            Ok(disk) => Self {
                disk: Box::new(disk),
                chains,
                workload: Workload::reads(0),
                buffers: Vec::new(),
            },
            Err(failed) => stop("init", "no-disk", &failed.error),
        }
    }

    /// Ends the driver and gives the device back.
    pub(crate) fn end(self) -> Transport {
        match self.disk.shut_down(&mut DmaMemory, |_| ()) {
            Ok((transport, _)) => transport,
            Err((timeout, _)) => stop("run", "no-reset", &timeout),
        }
    }
}

impl<B: Buffer> Contender for Ours<B> {
    fn prepare(&mut self, workload: &Workload) {
        let allocate = |_| Some(B::allocate(workload));
        self.buffers = (0..workload.depth).map(allocate).collect();
        self.workload = *workload;
    }

    fn case<'a>(&self, workload: &Workload) -> Case<'a> {
        workload.case("ours", "polled", self.chains.name(), B::NAME)
    }

    #[inline(always)]
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

    #[inline(always)]
    fn publish(&mut self) {
        self.disk.notify();
    }

    fn is_completed(&self) -> bool {
        let state = self.disk.queue().ring_state();
        state.used_index.wrapping_sub(state.used_seen) == state.in_flight
    }

    #[inline(always)]
    fn complete(&mut self) -> usize {
        let buffers = &mut self.buffers;
        let completed = self.disk.poll(|completion| {
            if let Err(error) = completion.result {
                stop("run", "failed", &error);
            }
            if let Some(place) = buffers.get_mut(completion.token as usize) {
                *place = completion.buffer;
            }
        });
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
