//! Records for the host, and the count of failures.

use core::fmt::{self, Write};

use board_qemu_virt::console;
use guest_protocol::{LINE_BYTES, Outcome, Record};
use heapless::String;

/// Failed statements, breaches of protocol, and damage.
#[derive(Debug, Default)]
pub(crate) struct Failures(pub(crate) u64);

impl Failures {
    /// A program broke the rules. The run has failed, and goes on.
    pub(crate) fn violation(&mut self, text: fmt::Arguments<'_>) {
        emit(&Record::Violation { text: &line(text) });
        self.0 += 1;
    }
}

/// The result of a test that the kernel makes itself.
pub(crate) fn test(name: &str, outcome: Outcome, detail: fmt::Arguments<'_>) {
    emit(&Record::Test {
        group: "test kernel",
        number: 0,
        name,
        outcome,
        detail: &line(detail),
    });
}

pub(crate) fn emit(record: &Record<'_>) {
    console::start_of_line();
    console::write_bytes(record.line(&mut [0; LINE_BYTES]));
}

pub(crate) fn error(stage: &str, kind: &str, text: fmt::Arguments<'_>) {
    emit(&Record::Error {
        stage,
        kind,
        text: &line(text),
    });
}

/// A text, cut off where a record would become too long.
fn line(text: fmt::Arguments<'_>) -> String<200> {
    let mut line = Cut(String::new());
    let _ = line.write_fmt(text);
    line.0
}

struct Cut(String<200>);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.push(c)).map_err(|_| fmt::Error)
    }
}
