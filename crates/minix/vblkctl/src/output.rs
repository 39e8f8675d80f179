//! Text for a descriptor, gathered into few writes.

use core::fmt;

use minix_abi::Errno;
use minix_abi::vfs::Descriptor;

use crate::calls::Calls;
use crate::failure::Failure;

/// Text that waits until there is enough of it, or until it is flushed.
#[derive(Debug)]
struct Output<'a, C> {
    calls: &'a mut C,
    to: Descriptor,
    bytes: [u8; 1024],
    length: usize,
    /// Why nothing is written any more.
    failed: Option<Errno>,
}

impl<'a, C: Calls> Output<'a, C> {
    const fn new(calls: &'a mut C, to: Descriptor) -> Self {
        Self {
            calls,
            to,
            bytes: [0; 1024],
            length: 0,
            failed: None,
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    ///
    /// The first error there was.
    fn flush(&mut self) -> Result<(), Errno> {
        let waiting = self.bytes.get(..self.length).unwrap_or(&[]);
        if self.failed.is_none() && !waiting.is_empty() {
            self.failed = self.calls.write_all(self.to, waiting).err();
        }
        self.length = 0;
        self.failed.map_or(Ok(()), Err)
    }
}

impl<C: Calls> fmt::Write for Output<'_, C> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.bytes.len() {
                self.flush().map_err(|_| fmt::Error)?;
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// A text that a function writes.
pub(crate) struct Text<F>(F);

/// The text that `write` writes.
pub(crate) fn text<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result>(write: F) -> Text<F> {
    Text(write)
}

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Text<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(out)
    }
}

/// Writes a text on standard output. The text of a function is `format_args!("{}", text(...))`.
///
/// # Errors
///
/// [`Failure::Output`].
pub(crate) fn print<C: Calls>(calls: &mut C, text: fmt::Arguments<'_>) -> Result<(), Failure> {
    write(calls, Descriptor::STDOUT, text).map_err(Failure::Output)
}

/// Writes a text.
///
/// # Errors
///
/// Those of the system.
// Once for all texts.
#[inline(never)]
pub(crate) fn write<C: Calls>(calls: &mut C, to: Descriptor, text: fmt::Arguments<'_>) -> Result<(), Errno> {
    let mut out = Output::new(calls, to);
    // The texts of this crate fail only if the descriptor does, which the flush tells.
    let written = fmt::write(&mut out, text);
    out.flush()?;
    written.map_err(|fmt::Error| Errno::EIO)
}
