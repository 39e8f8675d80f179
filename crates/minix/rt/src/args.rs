//! The words of the command line.

use core::ffi::{CStr, c_char};
use core::ptr;

/// Stands for a word that is not UTF-8. No option has this name.
const NOT_TEXT: &str = "\u{FFFD}";

/// The words after the program's name, in order.
///
/// A word that is not UTF-8 comes as the replacement character, alone.
#[derive(Clone, Debug)]
pub struct Args {
    program: &'static str,
    words: Words,
}

#[derive(Clone, Debug)]
enum Words {
    List(&'static [&'static str]),
    /// Addresses of NUL-terminated strings, those not yet handed out.
    Addresses(&'static [u64]),
}

impl Args {
    /// A command line made of a program name and words: for tests, and for programs on a host.
    pub const fn new(program: &'static str, words: &'static [&'static str]) -> Self {
        Self {
            program,
            words: Words::List(words),
        }
    }

    /// The command line that the kernel leaves on the stack of a process: a count of eight bytes, and so many pointers.
    ///
    /// # Safety
    ///
    /// `stack` is the address of such a count; the pointers after it are those of NUL-terminated strings, and of exposed
    /// provenance; all of it stays as it is for as long as the program runs.
    pub unsafe fn from_stack(stack: *const u64) -> Self {
        // SAFETY: the count is there.
        let count = unsafe { stack.read() };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: as many pointers follow the count, and no code changes them.
        let addresses: &'static [u64] = unsafe { core::slice::from_raw_parts(stack.add(1), count) };
        let (program, rest) = match addresses.split_first() {
            // SAFETY: it is one of the pointers that the caller speaks of.
            Some((&first, rest)) => (unsafe { text(first) }, rest),
            None => ("", addresses),
        };
        Self {
            program,
            words: Words::Addresses(rest),
        }
    }

    /// The name that the program was started by: a path.
    pub const fn program(&self) -> &'static str {
        self.program
    }
}

impl Iterator for Args {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        match &mut self.words {
            Words::List(list) => {
                let (&first, rest) = list.split_first()?;
                *list = rest;
                Some(first)
            }
            Words::Addresses(addresses) => {
                let (&first, rest) = addresses.split_first()?;
                *addresses = rest;
                // SAFETY: the caller of `from_stack` has promised that the pointers are those of strings.
                Some(unsafe { text(first) })
            }
        }
    }
}

/// # Safety
///
/// `address` is zero or that of a NUL-terminated string that stays as it is, and whose provenance is exposed.
unsafe fn text(address: u64) -> &'static str {
    // Addresses are 64 bits wide where this runs.
    let start: *const c_char = ptr::with_exposed_provenance(address as usize);
    if start.is_null() {
        return "";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(start) }.to_str().unwrap_or(NOT_TEXT)
}
