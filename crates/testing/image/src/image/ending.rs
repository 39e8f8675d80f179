//! The last things a run says.

use board_qemu_virt::{console::Console, println};
use image_blk::LineWriter;
use image_blk::record::Record;
use virtio_blk::{DiskCounters, OperationKind};

use super::report::record;
use super::selftest::Tally;

/// The driver's counters, for people and for the host.
pub(crate) fn counters(counters: &DiskCounters) {
    println!("{counters}");
    let mut console = Console;
    board_qemu_virt::console::start_of_line();
    let mut line = LineWriter::begin(&mut console, "counters");
    for kind in OperationKind::ALL {
        let of = counters.queue.of(kind);
        if of.operations > 0 {
            for (what, value) in [
                ("operations", of.operations),
                ("bytes", of.bytes),
                ("errors", of.errors),
            ] {
                line = line.field(&super::report::text!("{}-{what}", kind.name()), value);
            }
        }
    }
    // The console takes everything.
    let _ = line
        .field("device-requests", counters.queue.device_requests)
        .field("notifies", counters.queue.notifies)
        .field("interrupts", counters.interrupts.taken)
        .field("spurious-interrupts", counters.interrupts.spurious)
        .field("queue-full", counters.queue.queue_full)
        .field("odd-lengths", counters.queue.odd_lengths)
        .field("faults", counters.queue.faults)
        .finish();
}

/// The summary, and the record behind which nothing comes.
pub(crate) fn done(tally: Tally) {
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("self-test: {passed} passed, {failed} failed, {skipped} skipped");
    defmt::info!("self-test: {=u32} passed, {=u32} failed", passed, failed);
    record(Record::Done { passed, failed });
}
