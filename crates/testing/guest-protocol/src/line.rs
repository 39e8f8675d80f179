//! The syntax of a machine-readable line: `\x1e<name> key=value key=value\n`.
//!
//! Values never hold white space, so that a line can be taken apart without quoting rules. Writing enforces it.

use core::fmt::{self, Write};

/// The byte that opens a machine-readable line: the ASCII record separator, which console text has no use for.
pub const MARK: char = '\u{1e}';

/// Writes one machine-readable line, a field at a time. Errors of the writer are kept until [`LineWriter::finish`].
///
/// ```
/// let mut out = String::new();
/// guest_protocol::LineWriter::begin(&mut out, "counters").field("reads", 12).field("note", "two words").finish().unwrap();
/// assert_eq!(out, "\u{1e}counters reads=12 note=two_words\n");
/// ```
#[derive(Debug)]
#[must_use = "the line ends with `finish`"]
pub struct LineWriter<'w, W: Write> {
    out: &'w mut W,
    result: fmt::Result,
}

impl<'w, W: Write> LineWriter<'w, W> {
    /// Opens a line of the given name.
    pub fn begin(out: &'w mut W, name: &str) -> Self {
        let result = out.write_char(MARK).and_then(|()| Spaceless(out).write_str(name));
        LineWriter { out, result }
    }

    /// Adds one field. White space and control characters in the value become `_`.
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.result = self.result.and_then(|()| {
            self.out.write_char(' ')?;
            self.out.write_str(key)?;
            self.out.write_char('=')?;
            write!(Spaceless(self.out), "{value}")
        });
        self
    }

    /// Ends the line.
    ///
    /// # Errors
    ///
    /// The first error of the writer since [`LineWriter::begin`].
    pub fn finish(self) -> fmt::Result {
        self.result?;
        self.out.write_char('\n')
    }
}

/// Passes text on with everything that would break a line replaced.
struct Spaceless<'w, W: Write>(&'w mut W);

impl<W: Write> Write for Spaceless<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            self.0
                .write_char(if c.is_whitespace() || c.is_control() { '_' } else { c })
        })
    }
}

/// The `key=value` part of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// Takes a line apart into its name and its fields, if it is a machine-readable one. The end of line may be there or
    /// not, in either convention.
    pub fn split(line: &'a str) -> Option<(&'a str, Fields<'a>)> {
        let line = line.strip_prefix(MARK)?.trim_end_matches(['\n', '\r']);
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some((name, Fields(rest)))
    }

    /// The value of the first field of that name.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// All fields in order. A word without `=` is a field with an empty value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.0
            .split_ascii_whitespace()
            .map(|word| word.split_once('=').unwrap_or((word, "")))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn nothing_in_a_value_can_break_the_line() {
        let mut out = String::new();
        LineWriter::begin(&mut out, "a b")
            .field("k", "x\n\u{1e}y\tz=1")
            .field("empty", "")
            .finish()
            .unwrap();
        assert_eq!(out, "\u{1e}a_b k=x__y_z=1 empty=\n");
        let (name, fields) = Fields::split(&out).unwrap();
        assert_eq!(name, "a_b");
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("k", "x__y_z=1"), ("empty", "")]);
    }

    #[test]
    fn only_marked_lines_are_taken_apart() {
        assert_eq!(Fields::split("done passed=1"), None);
        assert_eq!(Fields::split(""), None);
        assert_eq!(Fields::split("\u{1e}done\r\n"), Some(("done", Fields(""))));
    }

    #[test]
    fn an_error_of_the_writer_is_reported_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        assert_eq!(
            LineWriter::begin(&mut Full, "done").field("k", 1).finish(),
            Err(fmt::Error)
        );
    }
}
