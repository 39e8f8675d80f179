//! What the driver counts.

use core::fmt;
use core::ops::AddAssign;

use virtio_blk_proto::SECTOR_BYTES;

use crate::OperationKind;
use crate::transfer::Transfer;

/// Counts of one kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OperationCounters {
    /// Requests that are over, well or not; those that a shutdown aborted are among them.
    pub operations: u64,
    /// Data bytes of the parts that succeeded, modulo 2^64; for ranges, bytes of the range.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
}

/// One count for each kind of operation.
type PerKind = [u64; OperationKind::ALL.len()];

/// Everything one request queue counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueCounters {
    operations: PerKind,
    bytes: PerKind,
    errors: PerKind,
    /// Device requests: at least one per operation, more for those that were split.
    pub device_requests: u64,
    /// Doorbells rung.
    pub notifies: u64,
    /// Requests sent back because the queue was full.
    pub queue_full: u64,
    /// Device requests that came back with another used length than theirs: success, but not the length of data and status;
    /// or any status, and more than there was room for. Some devices do it always. It decides nothing.
    pub odd_lengths: u64,
    /// Times the device broke the rules of the ring: at most once between two resets, since only a reset helps.
    pub faults: u64,
    /// Interrupts by the vector of the queue, if it has one. Where queues share a vector, each of them counts every interrupt.
    pub interrupts: InterruptCounters,
}

/// Transfers of one poll that went well. In a value of its own, it is counted in registers.
///
/// Both numbers have the sectors in their low [`SECTOR_BITS`] and how many transfers there are above them. A poll takes a ring at most, and
/// a transfer has less than 2^22 sectors, so neither part overflows.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    all: u64,
    writes: u64,
}

/// Bits of the sectors in a [`Tally`].
const SECTOR_BITS: u32 = 40;

impl Tally {
    /// Adds one transfer, without a branch on its direction.
    #[inline]
    pub(crate) fn add(&mut self, transfer: Transfer, sectors: u32) {
        let one = 1 << SECTOR_BITS | u64::from(sectors);
        self.all += one;
        self.writes += one & (transfer as u64).wrapping_neg();
    }

    /// How many there are.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        (self.all >> SECTOR_BITS) as u32
    }
}

impl AddAssign<&Self> for QueueCounters {
    /// Adds the counts of another queue.
    fn add_assign(&mut self, other: &Self) {
        for (own, others) in [
            (&mut self.operations, &other.operations),
            (&mut self.bytes, &other.bytes),
            (&mut self.errors, &other.errors),
        ] {
            // Bytes wrap around, and no other count is ever as large.
            own.iter_mut()
                .zip(others)
                .for_each(|(own, other)| *own = own.wrapping_add(*other));
        }
        self.device_requests += other.device_requests;
        self.notifies += other.notifies;
        self.queue_full += other.queue_full;
        self.odd_lengths += other.odd_lengths;
        self.faults += other.faults;
        self.interrupts.taken += other.interrupts.taken;
        self.interrupts.spurious += other.interrupts.spurious;
    }
}

impl QueueCounters {
    /// The counts of one kind of operation.
    pub fn of(&self, kind: OperationKind) -> OperationCounters {
        OperationCounters {
            operations: self.operations[kind as usize],
            bytes: self.bytes[kind as usize],
            errors: self.errors[kind as usize],
        }
    }

    /// Adds one transfer that went well.
    #[inline]
    pub(crate) fn transferred(&mut self, transfer: Transfer, sectors: u32) {
        let kind = match transfer {
            Transfer::Read => OperationKind::Read,
            Transfer::Write => OperationKind::Write,
        } as usize;
        self.operations[kind] += 1;
        self.bytes[kind] = self.bytes[kind].wrapping_add(u64::from(sectors) * SECTOR_BYTES);
    }

    /// Adds the transfers of a poll.
    #[inline]
    pub(crate) fn add_tally(&mut self, tally: &Tally) {
        // Most polls find transfers of one kind, or none.
        let reads = tally.all - tally.writes;
        if reads != 0 {
            self.add(OperationKind::Read, reads);
        }
        if tally.writes != 0 {
            self.add(OperationKind::Write, tally.writes);
        }
    }

    #[inline]
    fn add(&mut self, kind: OperationKind, transfers: u64) {
        let (kind, sectors) = (kind as usize, transfers & ((1 << SECTOR_BITS) - 1));
        self.operations[kind] += transfers >> SECTOR_BITS;
        self.bytes[kind] = self.bytes[kind].wrapping_add(sectors * SECTOR_BYTES);
    }

    pub(crate) fn completed(&mut self, kind: OperationKind, bytes: u64, failed: bool) {
        let kind = kind as usize;
        self.operations[kind] += 1;
        // No disk is large enough, but a device can claim to be, and a discard of all of it costs nothing.
        self.bytes[kind] = self.bytes[kind].wrapping_add(bytes);
        if failed {
            self.errors[kind] += 1;
        }
    }
}

/// Interrupts of one source: the line of a device, the vector of its configuration, or the vector of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InterruptCounters {
    /// Interrupts followed up.
    pub taken: u64,
    /// Those that brought nothing: no device request came back, no configuration change was announced.
    pub spurious: u64,
}

/// What a disk counts: both halves together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DiskCounters {
    /// What its queue counts.
    pub queue: QueueCounters,
    /// Interrupts.
    pub interrupts: InterruptCounters,
}

impl InterruptCounters {
    /// Counts an interrupt that was followed up.
    pub(crate) fn count(&mut self, spurious: bool) {
        self.taken += 1;
        self.spurious += u64::from(spurious);
    }
}

impl fmt::Display for DiskCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, interrupts } = self;
        for kind in OperationKind::ALL {
            let of = queue.of(kind);
            if of.operations > 0 {
                let name = kind.name();
                writeln!(
                    f,
                    "{name}: {} operations, {} bytes, {} errors",
                    of.operations, of.bytes, of.errors
                )?;
            }
        }
        write!(
            f,
            "device requests {}, notifies {}, interrupts {} ({} spurious), queue full {}, odd lengths {}, faults {}",
            queue.device_requests,
            queue.notifies,
            interrupts.taken,
            interrupts.spurious,
            queue.queue_full,
            queue.odd_lengths,
            queue.faults
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_queues_are_added() {
        let mut one = QueueCounters::default();
        one.completed(OperationKind::Read, u64::MAX, false);
        one.completed(OperationKind::Write, 5, true);
        one.interrupts.count(true);
        one.notifies = 7;
        let mut sum = one;
        sum += &one;
        assert_eq!(sum.of(OperationKind::Read).bytes, u64::MAX - 1);
        let writes = sum.of(OperationKind::Write);
        assert_eq!((writes.operations, writes.bytes, writes.errors), (2, 10, 2));
        assert_eq!(
            (sum.notifies, sum.interrupts.taken, sum.interrupts.spurious),
            (14, 2, 2)
        );
    }

    #[test]
    fn byte_counters_wrap_around() {
        let mut counters = QueueCounters::default();
        counters.completed(OperationKind::Discard, u64::MAX - 511, false);
        counters.completed(OperationKind::Discard, 1024, false);
        assert_eq!(counters.of(OperationKind::Discard).bytes, 512);
        assert_eq!(counters.of(OperationKind::Discard).operations, 2);
    }
}
