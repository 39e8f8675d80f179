//! What every contender can do, in the stages that are measured.

use board_qemu_virt::{Interrupts, Source, Ticks};
use guest_protocol::Case;

use super::workload::Workload;

/// The most requests of a turn.
pub(crate) const TURN_REQUESTS: usize = 8192;

/// One way to use a disk. It has the disk for itself, and does batches of one [`Workload`] at a time.
///
/// The stages are functions of their own that are never inlined: so the code of the driver in them is the same in both passes,
/// however often they are called, and its counts do not change with the code around it.
pub(crate) trait Contender {
    /// What [`submit`](Self::submit), [`publish`](Self::publish) and [`complete`](Self::complete) are in a report; `None` for one
    /// that does nothing. The empty name stands for the whole request.
    const STAGES: [Option<&'static str>; 3] = [Some("submit"), Some("publish"), Some("pop")];

    /// Makes ready for a turn: up to [`TURN_REQUESTS`] in batches of this shape. Nothing is in flight.
    fn prepare(&mut self, workload: &Workload);

    /// Requests of the workload to do after which every batch is like the one before.
    fn warm_up(&mut self) -> usize {
        1
    }

    /// What the report calls it.
    fn case(&self, workload: &Workload) -> Case<'static>;

    /// Puts a batch into the queue.
    fn submit(&mut self);

    /// Publishes the batch, and notifies the device if it asks for it.
    fn publish(&mut self);

    /// Both at once, in the way that the contender has for batches: the device may start before the last request is there.
    fn start(&mut self) {
        self.submit();
        self.publish();
    }

    /// Whether the device has completed the whole batch.
    fn is_completed(&self) -> bool;

    /// From now on waits for interrupts, or polls if there is no line. Nothing is in flight. Most contenders only poll.
    fn listen(&mut self, line: Option<Line>) {
        let _ = line;
    }

    /// Waits until something is completed, if interrupts tell of it.
    fn wait(&mut self) {}

    /// Takes back what is completed. Returns how many requests.
    fn complete(&mut self) -> usize;

    /// Notifications and interrupts so far, as far as they are counted.
    fn events(&self) -> Events;

    /// Instructions of waiting inside of the stages, since this was last asked.
    fn waited(&mut self) -> u64 {
        0
    }
}

/// What passed between driver and device beside memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) notifies: u64,
    pub(crate) interrupts: u64,
}

/// The interrupt of a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) interrupts: Interrupts,
    pub(crate) source: Source,
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Line {
    /// Sleeps until it fires; false if that takes too long.
    pub(crate) fn wait(self, deadline: Ticks) -> bool {
        self.interrupts.wait(self.source, deadline)
    }
}
