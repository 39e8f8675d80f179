//! What stands for the calls to the firmware on a host, where an example only says where it runs.

use std::io::Write;

pub(crate) fn put(byte: u8) {
    // There is no other place to say that it fails.
    let _ = std::io::stdout().write_all(&[byte]);
}

pub(crate) fn start_hart(_: usize, _: usize) -> Result<(), usize> {
    Err(0)
}

pub(crate) fn interrupt(_: usize) {}
