//! What is counted of the device over all resets.

use minix_blockdriver::Operations;
use minix_blockdriver::statistics::Kind;
use virtio_blk::{DiskCounters, OperationKind};

/// What happened to the device since the service has it, over all resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTotals {
    /// Interrupts taken.
    pub interrupts: u64,
    /// Those that had no cause.
    pub spurious_interrupts: u64,
    /// Doorbells rung.
    pub notifies: u64,
    /// Used lengths that were not those of their requests.
    pub odd_lengths: u64,
    /// Times the device broke the rules of the ring.
    pub faults: u64,
    /// What became of its requests, by kind.
    pub operations: [Operations; Kind::ALL.len()],
}

/// The kinds that are counted, in the order of [`Kind::ALL`].
const COUNTED: [OperationKind; Kind::ALL.len()] = [
    OperationKind::Read,
    OperationKind::Write,
    OperationKind::Flush,
    OperationKind::Discard,
    OperationKind::WriteZeroes,
    OperationKind::SecureErase,
];

impl DeviceTotals {
    pub(super) fn add(&mut self, counters: &DiskCounters) {
        let DiskCounters { queue, interrupts } = counters;
        self.interrupts += interrupts.taken;
        self.spurious_interrupts += interrupts.spurious;
        self.notifies += queue.notifies;
        self.odd_lengths += queue.odd_lengths;
        self.faults += queue.faults;
        for (sum, kind) in self.operations.iter_mut().zip(COUNTED) {
            let more = queue.of(kind);
            sum.operations += more.operations;
            sum.bytes = sum.bytes.wrapping_add(more.bytes);
            sum.errors += more.errors;
        }
    }
}
