//! The output of the image: text for people, and records for the host.

use alloc::format;
use core::fmt::{self, Write};

use board_qemu_virt::console::{self, Console};
use board_qemu_virt::{power, println};
use image_blk::LineWriter;
use image_blk::record::Record;
use virtio_blk::{Counters, OperationKind};

/// The exit status of a run in which a test failed.
pub(crate) const FAILED: u8 = 1;
/// The exit status of a run that could not start.
const NOT_STARTED: u8 = 2;

/// Prints a record on a line of its own.
pub(crate) fn record(record: Record<'_>) {
    console::start_of_line();
    board_qemu_virt::print!("{record}");
}

/// Reports a failure nothing can be done about, to people and to the host, and ends the run. Works without a heap.
pub(crate) fn stop(stage: &str, kind: &str, why: &dyn fmt::Display) -> ! {
    console::start_of_line();
    println!("stopped: {why}");
    let mut text = heapless::String::<256, u16>::new();
    // What does not fit is left out of the record.
    let _ = write!(text, "{why}");
    record(Record::Error {
        stage,
        kind,
        text: &text,
    });
    defmt::error!("stopped at {=str}: {=str}", stage, text.as_str());
    leave(NOT_STARTED)
}

/// Ends the run with this status, 0 being success.
pub(crate) fn leave(status: u8) -> ! {
    power::off(status)
}

/// The driver's counters, for people and for the host.
pub(crate) fn counters(counters: &Counters) {
    println!("{counters}");
    let mut console = Console;
    let mut line = LineWriter::begin(&mut console, "counters");
    for kind in OperationKind::ALL {
        let of = counters.of(kind);
        if of.operations > 0 {
            for (what, value) in [
                ("operations", of.operations),
                ("bytes", of.bytes),
                ("errors", of.errors),
            ] {
                line = line.field(&format!("{}-{what}", kind.name()), value);
            }
        }
    }
    // The console takes everything.
    let _ = line
        .field("device-requests", counters.device_requests)
        .field("notifies", counters.notifies)
        .field("interrupts", counters.interrupts)
        .field("spurious-interrupts", counters.spurious_interrupts)
        .field("queue-full", counters.queue_full)
        .field("odd-lengths", counters.odd_lengths)
        .field("faults", counters.faults)
        .finish();
}
