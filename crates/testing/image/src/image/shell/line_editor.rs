//! The line being typed: echo, backspace, Ctrl-U and Ctrl-C, and every way to end a line.

use core::fmt::{self, Write};

use heapless::Vec;

const BELL: char = '\x07';
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7F;
const CTRL_C: u8 = 0x03;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1B;

/// What was read so far of a key that sends several bytes, such as an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    None,
    Escape,
    Sequence,
}

/// A line of at most `N` characters of ASCII.
#[derive(Debug)]
pub(crate) struct LineEditor<const N: usize> {
    line: Vec<u8, N>,
    key: Key,
    /// The last line ended with a carriage return: a line feed right after it belongs to that end.
    after_return: bool,
}

impl<const N: usize> LineEditor<N> {
    pub(crate) const fn new() -> Self {
        LineEditor {
            line: Vec::new(),
            key: Key::None,
            after_return: false,
        }
    }

    /// Takes a byte in and echoes what it does to `out`. Returns whether the line is complete.
    pub(crate) fn feed(&mut self, byte: u8, out: &mut impl Write) -> Result<bool, fmt::Error> {
        let after_return = core::mem::take(&mut self.after_return);
        match (self.key, byte) {
            (Key::Escape, b'[' | b'O') => {
                self.key = Key::Sequence;
                return Ok(false);
            }
            (Key::Sequence, 0x20..=0x3F) => return Ok(false),
            (Key::Escape | Key::Sequence, _) => {
                self.key = Key::None;
                return Ok(false);
            }
            (Key::None, _) => {}
        }
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                out.write_char('\n')?;
                return Ok(true);
            }
            BACKSPACE | DELETE => {
                if self.line.pop().is_some() {
                    out.write_str("\x08 \x08")?;
                }
            }
            CTRL_U => {
                while self.line.pop().is_some() {
                    out.write_str("\x08 \x08")?;
                }
            }
            CTRL_C => {
                self.line.clear();
                out.write_str("^C\n")?;
                return Ok(true);
            }
            ESCAPE => self.key = Key::Escape,
            b' '..=b'~' => match self.line.push(byte) {
                Ok(()) => out.write_char(char::from(byte))?,
                Err(_) => out.write_char(BELL)?,
            },
            b'\t' => return self.feed(b' ', out),
            _ => out.write_char(BELL)?,
        }
        Ok(false)
    }

    /// The line, without its end.
    pub(crate) fn line(&self) -> &str {
        // Only ASCII was let in.
        core::str::from_utf8(&self.line).unwrap_or("")
    }

    /// Starts the next line.
    pub(crate) fn clear(&mut self) {
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that come of these bytes, and the echo.
    fn type_in(bytes: &[u8]) -> (Vec<String, 8>, String) {
        let mut editor = LineEditor::<10>::new();
        let (mut lines, mut echo) = (Vec::new(), String::new());
        for &byte in bytes {
            if editor.feed(byte, &mut echo).unwrap() {
                lines.push(editor.line().to_owned()).unwrap();
                editor.clear();
            }
        }
        (lines, echo)
    }

    #[test]
    fn every_line_end_ends_one_line() {
        let (lines, echo) = type_in(b"a\rb\nc\r\nd\r\r\n");
        assert_eq!(lines, ["a", "b", "c", "d", ""]);
        assert_eq!(echo, "a\nb\nc\nd\n\n");
    }

    #[test]
    fn corrections_are_made_and_shown() {
        let (lines, echo) = type_in(b"\x7fax\x7fb\x08c\r");
        assert_eq!(lines, ["ac"]);
        assert_eq!(echo, "ax\x08 \x08b\x08 \x08c\n");
        assert_eq!(type_in(b"wrong\x15right\n").0, ["right"]);
        assert_eq!(type_in(b"wrong\x03ok\n").0, ["", "ok"]);
    }

    #[test]
    fn keys_that_mean_nothing_here_leave_no_trace() {
        assert_eq!(type_in(b"a\x1b[Ab\x1b[3~c\x1bOPd\n").0, ["abcd"]);
        assert_eq!(type_in(b"\xc3\xa9\x00e\n").0, ["e"]);
    }

    #[test]
    fn a_full_line_takes_no_more() {
        let (lines, echo) = type_in(b"0123456789ab\x7fx\n");
        assert_eq!(lines, ["012345678x"]);
        assert!(echo.contains("\x07\x07"));
    }
}
