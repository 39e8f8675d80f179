//! Where the output of a run goes: to the terminal, or into memory for the test runner.

use std::io::{IsTerminal, Write};

/// Dims what does not come from the guest's console.
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The output of one run.
#[derive(Debug)]
pub(crate) struct Console {
    /// None: standard output.
    kept: Option<Vec<u8>>,
    colours: bool,
    at_line_start: bool,
    /// Side lines that wait for the end of the guest's line.
    waiting: Vec<String>,
    /// What the firmware prints before the guest starts, for as long as it is not known whose text it is.
    firmware: Option<Vec<u8>>,
}

impl Console {
    /// Straight to standard output.
    pub(crate) fn terminal() -> Console {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Console {
            kept: None,
            colours,
            at_line_start: true,
            waiting: Vec::new(),
            firmware: Some(Vec::new()),
        }
    }

    /// Into memory.
    pub(crate) fn memory() -> Console {
        Console {
            kept: Some(Vec::new()),
            colours: false,
            at_line_start: true,
            waiting: Vec::new(),
            firmware: Some(Vec::new()),
        }
    }

    /// The guest runs: what came so far is shown, but of the firmware only its name.
    pub(crate) fn guest_started(&mut self) {
        let Some(text) = self.firmware.take() else { return };
        let (firmware, guest) = text.split_at(end_of_firmware(&text));
        let firmware = String::from_utf8_lossy(firmware);
        let waiting = std::mem::take(&mut self.waiting);
        if let Some(name) = firmware.lines().map(str::trim).find(|line| !line.is_empty()) {
            self.side("firmware", name);
        }
        for line in waiting {
            self.put_line(&line);
        }
        self.guest(guest);
    }

    /// Text of the guest, or of the firmware before it, as it comes.
    pub(crate) fn guest(&mut self, bytes: &[u8]) {
        if let Some(firmware) = &mut self.firmware {
            firmware.extend_from_slice(bytes);
            let end = end_of_firmware(firmware);
            let rest = firmware[end..].trim_ascii_start();
            // The rest may be the beginning of one more line of the firmware.
            if end > 0 && !rest.starts_with(LAST_BLOCK) && !LAST_BLOCK.starts_with(rest) {
                self.guest_started();
            }
            return;
        }
        let Some(last) = bytes.last() else { return };
        match bytes.iter().position(|byte| *byte == b'\n') {
            // Side lines go in at the first line end there is.
            Some(end) if !self.waiting.is_empty() => {
                self.put(&bytes[..=end]);
                for line in std::mem::take(&mut self.waiting) {
                    self.put_line(&line);
                }
                self.put(&bytes[end + 1..]);
            }
            _ => self.put(bytes),
        }
        self.at_line_start = *last == b'\n';
    }

    /// A line from beside the guest, e.g. from `defmt` or `qemu`.
    pub(crate) fn side(&mut self, from: &str, text: &str) {
        let line = if self.colours {
            format!("{DIM}[{from}] {text}{PLAIN}")
        } else {
            format!("[{from}] {text}")
        };
        let firmware_waits = self.firmware.as_ref().is_some_and(|text| !text.is_empty());
        if self.at_line_start && !firmware_waits {
            self.put_line(&line);
        } else {
            self.waiting.push(line);
        }
    }

    /// Ends what the guest left unfinished.
    pub(crate) fn finish(&mut self) {
        if let Some(text) = self.firmware.take() {
            self.put(&text);
            self.at_line_start = text.last().is_none_or(|last| *last == b'\n');
        }
        if !self.at_line_start {
            self.put(b"\n");
            self.at_line_start = true;
        }
        for line in std::mem::take(&mut self.waiting) {
            self.put_line(&line);
        }
    }

    /// What was kept.
    pub(crate) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.kept.unwrap_or_default()).into_owned()
    }

    fn put_line(&mut self, line: &str) {
        self.put(line.as_bytes());
        self.put(b"\n");
    }

    fn put(&mut self, bytes: &[u8]) {
        match &mut self.kept {
            Some(kept) => kept.extend_from_slice(bytes),
            None => put_out(bytes),
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

/// How the lines of OpenSBI's last block begin.
const LAST_BLOCK: &[u8] = b"Boot HART ";

/// Where OpenSBI's text ends: after the block of lines about the boot hart. 0 if that has not come.
fn end_of_firmware(text: &[u8]) -> usize {
    let mut place = 0;
    let mut end = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        place += line.len();
        if line.starts_with(LAST_BLOCK) && line.ends_with(b"\n") {
            end = place;
        } else if end > 0 {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMWARE: &str = "\r\nOpenSBI v1.5\r\n  logo\n\nBoot HART ID : 0\r\nBoot HART MEDELEG : 0xf0b509\r\n";

    #[test]
    fn of_the_firmware_only_the_name_is_shown() {
        let all = format!("{FIRMWARE}hello\nworld\n");
        for chunk in 1..all.len() {
            let mut console = Console::memory();
            for bytes in all.as_bytes().chunks(chunk) {
                console.guest(bytes);
            }
            console.finish();
            assert_eq!(console.into_text(), "[firmware] OpenSBI v1.5\nhello\nworld\n");
        }
    }

    #[test]
    fn a_guest_that_says_nothing_leaves_the_whole_text() {
        let mut console = Console::memory();
        console.side("qemu", "a warning");
        console.guest(FIRMWARE.as_bytes());
        console.side("qemu", "an error");
        console.finish();
        let all = format!("[qemu] a warning\n{FIRMWARE}[qemu] an error\n");
        assert_eq!(console.into_text(), all);
    }

    #[test]
    fn an_unknown_firmware_is_shown_whole() {
        let mut console = Console::memory();
        console.guest(b"Boot me\n");
        console.side("defmt", "early");
        console.guest_started();
        console.guest(b"hello\n");
        console.finish();
        assert_eq!(console.into_text(), "[defmt] early\nBoot me\nhello\n");
    }

    #[test]
    fn side_lines_never_break_a_line_of_the_guest() {
        let mut console = Console::memory();
        console.guest_started();
        console.side("defmt", "one");
        console.guest(b"rea");
        console.side("defmt", "two");
        console.side("qemu", "three");
        console.guest(b"d ok\nnext");
        console.side("defmt", "four");
        console.finish();
        assert_eq!(
            console.into_text(),
            "[defmt] one\nread ok\n[defmt] two\n[qemu] three\nnext\n[defmt] four\n"
        );
    }
}
