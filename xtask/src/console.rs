//! The output of a run: kept as text, and shown on standard output where a person wants to see it as it comes.

use std::io::Write;

/// How the text of OpenSBI and the lines of its last block begin.
const FIRMWARE: &[u8] = b"OpenSBI";
const LAST_BLOCK: &[u8] = b"Boot HART ";

/// The output of one run.
#[derive(Debug, Default)]
pub(crate) struct Console {
    text: Vec<u8>,
    is_shown: bool,
    /// Where the firmware's text begins, and where the guest's does, once they are there.
    firmware: Option<usize>,
    guest: Option<usize>,
    /// Side lines that wait for the end of the guest's line.
    waiting: Vec<String>,
}

impl Console {
    /// Kept, and to standard output as it comes, but for the text of the firmware.
    pub(crate) fn shown() -> Console {
        Console {
            is_shown: true,
            ..Console::default()
        }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Text of the firmware and the guest as it comes.
    pub(crate) fn guest(&mut self, bytes: &[u8]) {
        let Some(_) = self.guest else {
            let firmware = *self.firmware.get_or_insert(self.text.len());
            self.text.extend_from_slice(bytes);
            let end = end_of_firmware(&self.text[firmware..]);
            if let Some(end) = end {
                self.begin_guest(firmware + end);
            }
            return;
        };
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

    /// A line that is not from the guest's console, e.g. from `defmt` or `qemu`.
    pub(crate) fn side(&mut self, from: &str, text: &str) {
        self.waiting.push(format!("[{from}] {text}"));
        let is_firmware = self.firmware.is_some() && self.guest.is_none();
        if !is_firmware && self.text.last().is_none_or(|last| *last == b'\n') {
            self.put_waiting();
        }
    }

    /// Ends what the guest left unfinished.
    pub(crate) fn finish(&mut self) {
        if let (Some(firmware), None) = (self.firmware, self.guest) {
            self.begin_guest(firmware);
        }
        if self.text.last().is_some_and(|last| *last != b'\n') {
            self.put(b"\n");
        }
        self.put_waiting();
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// What came after the text of the firmware.
    pub(crate) fn guest_text(&self) -> String {
        String::from_utf8_lossy(&self.text[self.guest.unwrap_or(0)..]).into_owned()
    }

    fn begin_guest(&mut self, place: usize) {
        self.guest = Some(place);
        let text = self.text.split_off(place);
        self.put(&text);
    }

    fn put_waiting(&mut self) {
        for line in std::mem::take(&mut self.waiting) {
            self.put(format!("{line}\n").as_bytes());
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.is_shown {
            put_out(bytes);
        }
    }
}

/// Where the guest's text begins: after the last block of OpenSBI, or at once after any other firmware. None: not yet.
fn end_of_firmware(text: &[u8]) -> Option<usize> {
    let begin = text.trim_ascii_start();
    if !begin.starts_with(FIRMWARE) && !FIRMWARE.starts_with(begin) {
        return Some(0);
    }
    let (mut place, mut end) = (0, None);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let is_whole = line.ends_with(b"\n");
        let is_last_block = line.starts_with(LAST_BLOCK) || !is_whole && LAST_BLOCK.starts_with(line);
        if end.is_some() && !is_last_block {
            return end;
        }
        place += line.len();
        if is_last_block {
            end = Some(place);
        }
    }
    None
}

/// Prints a line on standard output.
pub(crate) fn say(line: &str) {
    put_out(format!("{line}\n").as_bytes());
}

/// Prints a line on standard error.
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
    fn the_guest_begins_after_the_firmware_however_it_comes() {
        let firmware = "\r\nOpenSBI v1.5\r\n  logo\n\nBoot HART ID : 0\r\nBoot HART MEDELEG : 0xf0b509\r\n";
        let all = format!("{firmware}hello\n");
        for chunk in 1..all.len() {
            let mut console = Console::default();
            console.side("xtask", "the command line");
            for bytes in all.as_bytes().chunks(chunk) {
                console.guest(bytes);
            }
            assert_eq!(console.text(), format!("[xtask] the command line\n{all}"));
            assert_eq!(console.guest_text(), "hello\n");
        }
        let mut other = Console::default();
        other.guest(b"U-Boot> ");
        assert_eq!(other.guest_text(), "U-Boot> ");
    }
}
