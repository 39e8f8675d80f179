//! What every contender can do, in the stages that are measured.

use guest_protocol::Case;

use super::workload::Workload;

/// One way to use a disk. It has the disk for itself, and data for the batches of one [`Workload`] at a time.
pub(crate) trait Contender {
    /// Makes ready for batches of this shape.
    fn prepare(&mut self, workload: &Workload);

    /// What the report calls it.
    fn case<'a>(&self, workload: &Workload) -> Case<'a>;

    /// Puts a batch into the queue.
    fn submit(&mut self);

    /// Publishes the batch, and notifies the device if it asks for it.
    fn publish(&mut self);

    /// Whether the device has completed the whole batch.
    fn is_completed(&self) -> bool;

    /// Takes back what is completed. Returns how many requests.
    fn complete(&mut self) -> usize;

    /// Notifications and interrupts so far.
    fn events(&self) -> Events;
}

/// What passed between driver and device beside memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) notifies: u64,
    pub(crate) interrupts: u64,
}
