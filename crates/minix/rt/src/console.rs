//! Text for the console, gathered into lines: each call of the kernel's prints one.

use minix_abi::kernel_call::MAX_DIAG_BYTES;

/// Text that waits for its line to end.
///
/// A line leaves when it ends, or when it is as long as the kernel prints at once.
#[derive(Clone, Debug)]
pub struct Line {
    bytes: [u8; MAX_DIAG_BYTES],
    length: usize,
}

impl Line {
    /// No text.
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_DIAG_BYTES],
            length: 0,
        }
    }

    /// Adds text, and gives `out` every line that is complete.
    pub fn write(&mut self, text: &[u8], out: &mut impl FnMut(&[u8])) {
        for part in text.split_inclusive(|&byte| byte == b'\n') {
            self.add(part, out);
            if part.ends_with(b"\n") {
                self.flush(out);
            }
        }
    }

    /// Gives `out` what waits, if anything does.
    pub fn flush(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.length != 0 {
            out(&self.bytes[..self.length]);
            self.length = 0;
        }
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn add(&mut self, mut text: &[u8], out: &mut impl FnMut(&[u8])) {
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(MAX_DIAG_BYTES - self.length));
            self.bytes[self.length..][..now.len()].copy_from_slice(now);
            self.length += now.len();
            text = later;
            if self.length == MAX_DIAG_BYTES {
                self.flush(out);
            }
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}
