//! The words of the command line.

use core::ffi::{CStr, c_char};

/// What a word that is not UTF-8 is taken for: no word that anybody knows.
const NOT_TEXT: &str = "\u{FFFD}";

/// The words behind the program's name, in order.
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
    /// Pointers to NUL-terminated strings, those not yet handed out.
    Pointers(&'static [*const c_char]),
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
    /// `stack` is the address of such a count; the pointers behind it are those of NUL-terminated strings; all of it stays as
    /// it is for as long as the program runs.
    pub unsafe fn from_stack(stack: *const u64) -> Self {
        // SAFETY: the count is there.
        let count = unsafe { stack.read() };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: behind the count there are as many pointers, which nobody changes.
        let pointers: &'static [*const c_char] = unsafe { core::slice::from_raw_parts(stack.add(1).cast(), count) };
        let (program, rest) = match pointers.split_first() {
            // SAFETY: it is one of the pointers that the caller speaks of.
            Some((&first, rest)) => (unsafe { text(first) }, rest),
            None => ("", pointers),
        };
        Self {
            program,
            words: Words::Pointers(rest),
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
            Words::Pointers(pointers) => {
                let (&first, rest) = pointers.split_first()?;
                *pointers = rest;
                // SAFETY: whoever made this from a stack has promised that the pointers are those of strings.
                Some(unsafe { text(first) })
            }
        }
    }
}

/// # Safety
///
/// `start` is null or the address of a NUL-terminated string that stays as it is.
unsafe fn text(start: *const c_char) -> &'static str {
    if start.is_null() {
        return "";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(start) }.to_str().unwrap_or(NOT_TEXT)
}
