//! Semihosting: a way out of the machine that is not the console.
//!
//! QEMU recognises a certain sequence of three instructions and serves the request itself ("RISC-V Semihosting"). It only
//! does so when started with `-semihosting-config enable=on`; otherwise the breakpoint in the middle is a real one, and
//! the trap handler skips it and takes note.
//!
//! The bytes come out at the character device of `chardev=`. That holds for the requests used here,
//! which write to the debug console. It does not hold for a stream opened as `:tt`: QEMU ties that to its own standard
//! output with any `chardev=`.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, Ordering};

const SYS_WRITE_BYTE: usize = 0x03;
const SYS_WRITE_TEXT: usize = 0x04;
const SYS_ERRNO: usize = 0x13;

static REFUSED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    /// The address of the breakpoint in [`request`].
    #[link_name = "board_semihosting_breakpoint"]
    safe static BREAKPOINT: u8;
}

/// A request to the host.
///
/// # Safety
///
/// `argument` is right for `operation`, and the memory it points to may be accessed as the operation does.
// The sequence must consist of uncompressed instructions on one page: aligned to 16 bytes, its 12 cannot straddle.
#[unsafe(naked)]
unsafe extern "C" fn request(operation: usize, argument: *const u8) -> usize {
    naked_asm!(
        ".balign 16",
        ".option push",
        ".option norvc",
        "slli x0, x0, 0x1f",
        ".global board_semihosting_breakpoint",
        "board_semihosting_breakpoint:",
        "ebreak",
        "srai x0, x0, 7",
        ".option pop",
        "ret",
    )
}

/// Whether a breakpoint at `pc` is a request that was not served. It is remembered; the handler skips the instruction.
pub(super) fn is_refused_request(pc: usize) -> bool {
    let ours = pc == (&raw const BREAKPOINT).addr();
    if ours {
        REFUSED.store(true, Ordering::Relaxed);
    }
    ours
}

/// Asks the host whether it serves requests at all.
pub(super) fn is_available() -> bool {
    REFUSED.store(false, Ordering::Relaxed);
    // SAFETY: the number of the last error; no argument is looked at.
    unsafe { request(SYS_ERRNO, core::ptr::null()) };
    !REFUSED.load(Ordering::Relaxed)
}

/// Writes one byte, zero included. Lost without an error if the host serves no requests.
pub(super) fn write_byte(byte: u8) {
    // SAFETY: the address of a byte, which is read.
    unsafe { request(SYS_WRITE_BYTE, &raw const byte) };
}

/// Writes text, without the zero at its end. Lost without an error if the host serves no requests.
pub(super) fn write_text(text: &core::ffi::CStr) {
    // SAFETY: the address of bytes that end with a zero; they are read.
    unsafe { request(SYS_WRITE_TEXT, text.as_ptr().cast()) };
}
