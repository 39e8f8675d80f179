//! The output of a run: kept as text, and shown on standard output where a person wants to see it as it comes.

use std::io::{IsTerminal, Write};

/// Dims what does not come from the guest's console.
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The output of one run.
#[derive(Debug, Default)]
pub(crate) struct Console {
    text: Vec<u8>,
    is_shown: bool,
    has_colours: bool,
    /// Side lines that wait for the end of the guest's line.
    waiting: Vec<String>,
}

impl Console {
    /// Kept, and straight to standard output.
    pub(crate) fn shown() -> Console {
        Console {
            is_shown: true,
            has_colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            ..Console::default()
        }
    }

    /// Text of the firmware and the guest as it comes.
    pub(crate) fn guest(&mut self, bytes: &[u8]) {
        match bytes.iter().position(|byte| *byte == b'\n') {
            // Side lines go in at the first line end.
            Some(end) if !self.waiting.is_empty() => {
                self.put(&bytes[..=end]);
                self.put_waiting();
                self.put(&bytes[end + 1..]);
            }
            _ => self.put(bytes),
        }
    }

    /// A line from beside the guest, e.g. from `defmt` or `qemu`.
    pub(crate) fn side(&mut self, from: &str, text: &str) {
        self.waiting.push(format!("[{from}] {text}"));
        if self.text.last().is_none_or(|last| *last == b'\n') {
            self.put_waiting();
        }
    }

    /// Ends what the guest left unfinished.
    pub(crate) fn finish(&mut self) {
        if self.text.last().is_some_and(|last| *last != b'\n') {
            self.put(b"\n");
        }
        self.put_waiting();
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    fn put_waiting(&mut self) {
        for line in std::mem::take(&mut self.waiting) {
            self.text.extend_from_slice(format!("{line}\n").as_bytes());
            if self.is_shown {
                let (dim, plain) = if self.has_colours { (DIM, PLAIN) } else { ("", "") };
                say(&format!("{dim}{line}{plain}"));
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.is_shown {
            put_out(bytes);
        }
    }
}

/// Prints a line on standard output.
pub(crate) fn say(line: &str) {
    put_out(format!("{line}\n").as_bytes());
}

/// Prints what is for a person and no result, such as an error.
pub(crate) fn complain(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// A closed pipe downstream (`| head`) must not end a run before the disk is judged, nor be the reason of its failure.
fn put_out(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_lines_never_break_a_line_of_the_guest() {
        let mut console = Console::default();
        console.side("defmt", "one");
        console.guest(b"rea");
        console.side("defmt", "two");
        console.side("qemu", "three");
        console.guest(b"d ok\nnext");
        console.side("defmt", "four");
        console.finish();
        assert_eq!(
            console.text(),
            "[defmt] one\nread ok\n[defmt] two\n[qemu] three\nnext\n[defmt] four\n"
        );
    }
}
