//! The kernel: one hart, and never interrupted while it runs itself.
//!
//! | module | what |
//! |---|---|
//! | `start` | takes the machine over |
//! | `trap`, `schedule` | into a process and back; whose turn it is |
//! | `frames`, `physical`, `paging`, `space` | memory |
//! | `process`, `exec`, `archive` | who there is, and how they come to be |
//! | `clock`, `irq` | time and interrupts |
//! | `hooks` | where all of this calls the rest |

pub(crate) mod archive;
mod calls;
pub(crate) mod clock;
pub(crate) mod exec;
pub(crate) mod frames;
mod grants;
pub(crate) mod hooks;
mod ipc;
pub(crate) mod irq;
mod paging;
mod physical;
pub(crate) mod process;
mod scenario_run;
mod scenario_wait;
mod schedule;
mod senda;
mod servers;
pub(crate) mod space;
mod start;
mod trap;

pub(crate) use start::main;

use archive::Archive;
use clock::Clock;
use frames::{Batch, FrameAllocator};
use hooks::High;
use irq::Irqs;
use process::{ProcessTable, Slot};
use space::{Fault, pieces};

/// Everything the kernel knows.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) archive: Archive,
    pub(crate) frames: FrameAllocator,
    pub(crate) processes: ProcessTable,
    pub(crate) clock: Clock,
    pub(crate) irqs: Irqs,
    /// Message passing, servers and the scenario.
    pub(crate) high: High,
    /// Page table with no process in it, for when the hart's one is about to go.
    idle_space: u64,
    /// What `satp` holds.
    active_space: u64,
    /// Counts whatever has to be put in order.
    turns: u64,
}

/// What a process is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// Under which it will be known.
    pub(crate) label: &'a str,
    /// Name of the file in the archive.
    pub(crate) program: &'a str,
    /// The words behind the program's name.
    pub(crate) arguments: &'a [&'a str],
    /// Lower runs first.
    pub(crate) priority: u8,
}

impl Kernel {
    /// Ends a process: its alarm and memory are gone and its slot is free. Nobody gets its frames before
    /// [`FrameAllocator::release`]. Its interrupt hooks stay until [`collect`](Irqs::collect). What others want of it is the
    /// caller's business.
    pub(crate) fn kill(&mut self, slot: Slot) -> Batch {
        let batch = self.frames.open_batch();
        if let Some(process) = self.processes.remove(slot) {
            // The hart may be in the space that goes.
            paging::activate(self.idle_space);
            self.active_space = self.idle_space;
            process.space.destroy(&mut self.frames, batch);
        }
        batch
    }

    /// Copies out of a process. Memory on demand is allocated, as VM would do; without that: `space.read`.
    pub(crate) fn read_user(&mut self, slot: Slot, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.fault_in(slot, from, into.len() as u64)?;
        self.processes[slot].space.read(from, into)
    }

    /// Copies into a process. Memory on demand is allocated, as VM would do; without that: `space.write`.
    pub(crate) fn write_user(&mut self, slot: Slot, to: u64, from: &[u8]) -> Result<(), Fault> {
        self.fault_in(slot, to, from.len() as u64)?;
        self.processes[slot].space.write(to, from)
    }

    /// Copies between processes, or inside of one. Memory on demand is allocated. If one of them faults nothing is copied.
    ///
    /// # Errors
    ///
    /// Who faulted, and how.
    pub(crate) fn copy_user(&mut self, from: (Slot, u64), to: (Slot, u64), bytes: u64) -> Result<(), (Slot, Fault)> {
        for (slot, address) in [from, to] {
            self.fault_in(slot, address, bytes).map_err(|fault| (slot, fault))?;
        }
        let (source, target) = (&self.processes[from.0].space, &self.processes[to.0].space);
        for (at, bytes) in pieces(from.1, bytes) {
            let physical_from = source.translate(at).map_err(|fault| (from.0, fault))?;
            let mut done = 0;
            for (address, bytes) in pieces(to.1 + (at - from.1), bytes as u64) {
                let physical_to = target.translate(address).map_err(|fault| (to.0, fault))?;
                physical::copy(physical_from + done, physical_to, bytes);
                done += bytes as u64;
            }
        }
        Ok(())
    }

    /// Allocates what is on demand in a range. Fails if a part of it is not memory of the process.
    pub(crate) fn fault_in(&mut self, slot: Slot, address: u64, bytes: u64) -> Result<(), Fault> {
        self.processes[slot].space.fault_in(&mut self.frames, address, bytes)
    }

    /// Microseconds since the machine started.
    pub(crate) fn now_micros(&self) -> u64 {
        self.clock.now_micros()
    }
}
