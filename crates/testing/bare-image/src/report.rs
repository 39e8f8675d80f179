//! The output of an image: text for people, and records for the host.

use core::fmt::{self, Write};

use board_qemu_virt::{console, power, println};
use guest_protocol::{LINE_BYTES, Record};

/// The exit status of a run in which a test failed.
pub const FAILED: u8 = 1;
/// The exit status of a run that could not start.
const NOT_STARTED: u8 = 2;

/// Prints a record on a line of its own.
pub fn record(record: Record<'_>) {
    console::write_line(record.line(&mut [0; LINE_BYTES]));
}

/// Reports a failure nothing can be done about, to people and to the host, and ends the run. Works without a heap.
pub fn stop(stage: &str, kind: &str, why: &dyn fmt::Display) -> ! {
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
    #[cfg(feature = "defmt")]
    defmt::error!("stopped at {=str}: {=str}", stage, text.as_str());
    leave(NOT_STARTED)
}

/// Ends the run with this status, 0 being success.
pub fn leave(status: u8) -> ! {
    power::off(status)
}
