//! This driver with some queues of one device. Each batch goes through the next queue, so what is counted is a request on a device
//! with so many queues.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use guest_protocol::Case;
use virtio_blk::{Chains, DeviceControl, DeviceQueue, DiskOptions, Vectors};
use virtio_core::PollLimit;

use super::batch::Batch;
use super::buffers::{Buffer as _, Handle};
use super::contender::{Contender, Events};
use super::ours::CAPACITY;
use super::workload::Workload;

type Queue = DeviceQueue<Transport, Handle, u32, CAPACITY>;

/// The driver on its disk, polling, with direct chains.
pub(crate) struct Queues {
    control: Box<DeviceControl<Transport>>,
    queues: Vec<Queue>,
    /// The queue of this batch.
    place: usize,
    name: &'static str,
    batch: Batch<Handle>,
}

impl Queues {
    /// Starts `count` queues.
    pub(crate) fn start(transport: Transport, count: usize, name: &'static str) -> Self {
        let options = DiskOptions {
            chains: Chains::Direct,
            ..DiskOptions::default()
        };
        let mut places: Vec<Option<Queue>> = (0..count).map(|_| None).collect();
        let started = DeviceControl::start(
            transport,
            &mut DmaMemory,
            &options,
            Vectors::NONE,
            &mut PollLimit::default(),
            &mut places,
        );
        let control = match started {
            Ok(control) => Box::new(control),
            Err(failed) => stop("init", "no-disk", &failed.error),
        };
        let queues: Vec<Queue> = places.into_iter().flatten().collect();
        if queues.len() != count {
            stop("init", "no-queue", &"the device has not as many queues");
        }
        Self {
            control,
            queues,
            place: 0,
            name,
            batch: Batch::new(),
        }
    }

    /// Ends the driver and gives the device back.
    pub(crate) fn end(self) -> Transport {
        let mut reset = match self.control.shut_down(&mut PollLimit::default()) {
            Ok(reset) => reset,
            Err((error, _)) => stop("run", "no-reset", &error),
        };
        for queue in self.queues {
            if let Err(foreign) = reset.release(queue, &mut DmaMemory, |_| ()) {
                stop("run", "foreign-queue", &foreign);
            }
        }
        match reset.finish(&mut DmaMemory) {
            Ok((transport, _)) => transport,
            Err(missing) => stop("run", "missing-queue", &missing),
        }
    }
}

impl Contender for Queues {
    fn prepare(&mut self, workload: &Workload) {
        self.batch.prepare(workload);
    }

    /// Every queue has been gone round, so that its chains are like those before.
    fn warm_up(&mut self) -> usize {
        self.queues.len() * CAPACITY
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        workload.case(self.name, "polled", "direct", Handle::NAME)
    }

    #[inline(never)]
    fn submit(&mut self) {
        let queue = &mut self.queues[self.place];
        for request in self.batch.requests(|_| false) {
            if let Err(rejected) = queue.submit(request) {
                stop("run", "rejected", &rejected.error);
            }
        }
    }

    #[inline(never)]
    fn publish(&mut self) {
        self.queues[self.place].notify();
    }

    fn is_completed(&self) -> bool {
        let state = self.queues[self.place].ring_state();
        state.used_index.wrapping_sub(state.used_seen) == state.in_flight
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        let batch = &mut self.batch;
        let completed = self.queues[self.place].poll(|completion| batch.put_back(completion));
        // Takes as long for one queue as for several.
        self.place = (self.place + 1) % self.queues.len();
        match completed {
            Ok(count) => count as usize,
            Err(fault) => stop("run", "fault", &fault),
        }
    }

    fn events(&self) -> Events {
        Events {
            notifies: self.queues.iter().map(|queue| queue.counters().notifies).sum(),
            interrupts: 0,
        }
    }
}
