//! All state of the kernel below its servers, and what only needs that: memory of processes, and whose turn it is.

use testkernel::account::Account;
use testkernel::lateness::Lateness;
use testkernel::pacing::Pacing;
use testkernel::replies::Requests;
use testkernel::turns::SERVER_QUEUE;

use super::archive::Archive;
use super::clock::Clock;
use super::frames::{Batch, FrameAllocator, MemoryError};
use super::irq::Irqs;
use super::ports::Ports;
use super::process::{ProcessTable, Slot, State};
use super::report::Failures;
use super::space::pieces;
use super::{paging, physical};

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) archive: Archive,
    pub(crate) frames: FrameAllocator,
    pub(crate) processes: ProcessTable,
    pub(crate) clock: Clock,
    pub(crate) irqs: Irqs,
    /// Messages from and to the servers.
    pub(crate) ports: Ports,
    /// What drivers were asked.
    pub(crate) requests: Requests,
    pub(crate) failures: Failures,
    /// What the process takes that a client measures.
    pub(crate) account: Account,
    /// The notifications of devices, as far as they are the kernel's.
    pub(crate) pacing: Pacing,
    /// How late messages of interrupts are, if they are.
    pub(crate) lateness: Option<Lateness>,
    /// Whether a process that has used up its tick lets others of its queue run, and servers run before any process.
    pub(crate) charges_time: bool,
    /// Whether the host may move the machine to another QEMU, or load a snapshot of it.
    pub(crate) may_move: bool,
    /// Page table with no process in it, for when the hart's one is about to go.
    pub(super) idle_space: u64,
    /// The content of `satp`.
    pub(super) active_space: u64,
    /// A running number for everything that is served in order.
    pub(super) turns: u64,
}

impl Kernel {
    /// Ends a process: its alarm and memory are gone and its slot is free. Its frames are kept back until
    /// [`FrameAllocator::release`], and its interrupt hooks until [`collect`](Irqs::collect). Waits of other processes for it
    /// are for the caller to end.
    pub(crate) fn kill(&mut self, slot: Slot) -> Batch {
        let batch = self.frames.open_batch();
        self.ports.forget(slot);
        if let Some(process) = self.processes.remove(slot) {
            self.irqs.forget(process.endpoint);
            // The hart may be in the space that goes.
            paging::activate(self.idle_space);
            self.active_space = self.idle_space;
            process.space.destroy(&mut self.frames, batch);
        }
        batch
    }

    /// Copies out of a process. Memory on demand is allocated, as VM would do; without that: `space.read`.
    pub(crate) fn read_user(&mut self, slot: Slot, from: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        self.fault_in(slot, from, into.len() as u64)?;
        self.processes[slot].space.read(from, into)
    }

    /// Copies into a process. Memory on demand is allocated, as VM would do; without that: `space.write`.
    pub(crate) fn write_user(&mut self, slot: Slot, to: u64, from: &[u8]) -> Result<(), MemoryError> {
        self.fault_in(slot, to, from.len() as u64)?;
        self.processes[slot].space.write(to, from)
    }

    /// Copies between processes, or inside of one. Memory on demand is allocated. If one of them faults nothing is copied.
    pub(crate) fn copy_user(&mut self, from: (Slot, u64), to: (Slot, u64), bytes: u64) -> Result<(), MemoryError> {
        for (slot, address) in [from, to] {
            self.fault_in(slot, address, bytes)?;
        }
        let (source, target) = (&self.processes[from.0].space, &self.processes[to.0].space);
        for (at, bytes) in pieces(from.1, bytes) {
            let physical_from = source.translate(at)?;
            let mut done = 0;
            for (address, bytes) in pieces(to.1 + (at - from.1), bytes as u64) {
                let physical_to = target.translate(address)?;
                physical::copy(physical_from + done, physical_to, bytes);
                done += bytes as u64;
            }
        }
        Ok(())
    }

    /// Allocates what is on demand in a range. Fails if a part of it is not memory of the process.
    pub(crate) fn fault_in(&mut self, slot: Slot, address: u64, bytes: u64) -> Result<(), MemoryError> {
        self.processes[slot].space.fault_in(&mut self.frames, address, bytes)
    }

    /// Lets a held or waiting process run.
    pub(crate) fn wake(&mut self, slot: Slot) {
        let turn = self.turn();
        let process = &mut self.processes[slot];
        process.state = State::Ready;
        process.ready_since = turn;
    }

    /// Makes a process wait.
    pub(crate) fn block(&mut self, slot: Slot, state: State) {
        let turn = self.turn();
        let process = &mut self.processes[slot];
        process.state = state;
        process.ipc.waiting_since = turn;
    }

    /// Puts a process after others of its priority, if it still lives: it has used up its tick.
    pub(super) fn preempt(&mut self, slot: Slot) {
        let turn = self.turn();
        if let Some(process) = self.processes.get_mut(slot) {
            process.user_ticks += 1;
            if self.charges_time {
                process.ready_since = turn;
            }
        }
    }

    /// Whether the servers get the hart. Where no process is charged for its time, those of higher queues come first.
    pub(crate) fn servers_may_run(&self) -> bool {
        let comes_first = |slot: Slot| {
            let process = &self.processes[slot];
            process.is_ready() && process.priority < SERVER_QUEUE
        };
        self.charges_time || !self.processes.iter().any(comes_first)
    }

    /// A number larger than all before.
    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    pub(super) fn next(&self) -> Option<Slot> {
        let ready = self.processes.iter().filter(|&slot| self.processes[slot].is_ready());
        ready.min_by_key(|&slot| (self.processes[slot].priority, self.processes[slot].ready_since))
    }
}
