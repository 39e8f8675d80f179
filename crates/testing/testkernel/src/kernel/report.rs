//! Records for the host, and the count of failures.

use core::fmt::{self, Write};

use board_qemu_virt::console::{self, Console};
use heapless::String;
use testkernel::record::{Record, Verdict};

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
pub(crate) fn test(name: &str, result: Verdict, detail: fmt::Arguments<'_>) {
    emit(&Record::Test {
        name,
        result,
        detail: &line(detail),
    });
}

pub(crate) fn emit(record: &Record<'_>) {
    console::start_of_line();
    // The console takes everything.
    let _ = record.write(&mut Console);
}

pub(crate) fn error(stage: &str, kind: &str, text: fmt::Arguments<'_>) {
    emit(&Record::Error {
        stage,
        kind,
        text: &line(text),
    });
}

/// Parts that do not fit are left out.
fn line(text: fmt::Arguments<'_>) -> String<640> {
    let mut line = String::new();
    let _ = line.write_fmt(text);
    line
}
