//! What the image says: text for people, and records for the host that runs it.

use core::fmt::{self, Write};

use board_qemu_virt::{ExitStatus, FailureCode, console, power, println};
use guest_protocol::{LINE_BYTES, Record};

/// A line of text without a heap; what does not fit is cut off.
pub(crate) type Text = heapless::String<120, u8>;

/// The exit status of a run in which a test failed.
pub(crate) const FAILED: u8 = 1;
/// The exit status of a run that could not start.
pub(crate) const NOT_STARTED: u8 = 2;

/// Formats into a [`Text`].
macro_rules! text {
    ($($arg:tt)*) => { $crate::image::report::format(::core::format_args!($($arg)*)) };
}
pub(crate) use text;

/// What `text!` expands to.
pub(crate) fn format(arguments: fmt::Arguments<'_>) -> Text {
    /// Takes what fits, so that an overlong text loses its end and not its last piece.
    struct Cut(Text);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
        }
    }
    let mut cut = Cut(Text::new());
    // Fails exactly when something was cut off.
    let _ = cut.write_fmt(arguments);
    cut.0
}

/// Prints a record on a line of its own.
pub(crate) fn record(record: Record<'_>) {
    console::start_of_line();
    console::write_bytes(record.line(&mut [0; LINE_BYTES]));
}

/// Reports a failure nothing can be done about, to people and to the host, and ends the run.
pub(crate) fn stop(stage: &str, kind: &str, why: &dyn fmt::Display) -> ! {
    console::start_of_line();
    println!("stopped: {why}");
    let why = text!("{why}");
    record(Record::Error {
        stage,
        kind,
        text: &why,
    });
    defmt::error!("stopped at {=str}: {=str}", stage, why.as_str());
    leave(NOT_STARTED)
}

/// Ends the run with this status, 0 being success.
pub(crate) fn leave(status: u8) -> ! {
    let status = FailureCode::new(status).map_or(ExitStatus::Success, ExitStatus::Failure);
    power::power_off(status)
}

/// A number of bytes as people say it.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (size, name) in UNITS {
            if self.0 >= size {
                let tenths = u128::from(self.0) * 10 / u128::from(size);
                return match tenths % 10 {
                    0 => write!(f, "{} {name}", tenths / 10),
                    tenth => write!(f, "{}.{tenth} {name}", tenths / 10),
                };
            }
        }
        write!(f, "{} bytes", self.0)
    }
}
