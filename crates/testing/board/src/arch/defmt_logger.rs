//! `defmt` frames, by semihosting.
//!
//! Encoded frames contain no zero but the one that ends them, so a frame is text to semihosting: it leaves with one
//! request, and its end with a second. Until [`enable`] is called frames are dropped.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{counters, semihosting};

/// A frame longer than this leaves in several requests.
const BUFFER_BYTES: usize = 1024;

static ENABLED: AtomicBool = AtomicBool::new(false);
static STATE: Shared = Shared(UnsafeCell::new(State {
    restore: critical_section::RestoreState::invalid(),
    taken: false,
    encoder: defmt::Encoder::new(),
    text: Text {
        bytes: [0; BUFFER_BYTES + 1],
        used: 0,
    },
}));

struct Shared(UnsafeCell<State>);

// SAFETY: the state is only touched by the logger's functions, that is inside the critical section which `acquire`
// begins and `release` ends.
unsafe impl Sync for Shared {}

struct State {
    restore: critical_section::RestoreState,
    /// A frame is begun and not ended.
    taken: bool,
    encoder: defmt::Encoder,
    text: Text,
}

/// Encoded bytes on their way out.
struct Text {
    /// One byte longer than what is gathered, for the zero at the end.
    bytes: [u8; BUFFER_BYTES + 1],
    used: usize,
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        if !ENABLED.load(Ordering::Relaxed) {
            return;
        }
        for &byte in bytes {
            if byte == 0 || self.used == BUFFER_BYTES {
                self.bytes[self.used] = 0;
                if let Ok(text) = CStr::from_bytes_until_nul(&self.bytes) {
                    semihosting::write_text(text);
                }
                self.used = 0;
            }
            match byte {
                0 => semihosting::write_byte(0),
                _ => {
                    self.bytes[self.used] = byte;
                    self.used += 1;
                }
            }
        }
    }
}

/// Lets frames out, if the host takes them. Returns whether it does.
pub fn enable() -> bool {
    let available = semihosting::is_available();
    ENABLED.store(available, Ordering::Relaxed);
    available
}

#[defmt::global_logger]
struct Logger;

defmt::timestamp!("{=u64:us}", counters::uptime_micros());

// SAFETY: `acquire` begins a critical section, which keeps interrupts and other harts out until `release`, so frames do not
// interleave; a frame begun inside another one is a panic, whose message does not come here.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: released in `release`, which the macros call exactly once for each `acquire`.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: inside the critical section; the reference ends with this function.
        let state = unsafe { &mut *STATE.0.get() };
        assert!(!state.taken, "formatting a value for defmt has logged");
        state.taken = true;
        state.restore = restore;
        state.encoder.start_frame(|bytes| state.text.push(bytes));
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        state.encoder.write(bytes, |bytes| state.text.push(bytes));
    }

    unsafe fn flush() {
        // Every frame is flushed when it ends.
    }

    unsafe fn release() {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        state.encoder.end_frame(|bytes| state.text.push(bytes));
        state.taken = false;
        let restore = state.restore;
        // SAFETY: the state that `acquire` stored.
        unsafe { critical_section::release(restore) };
    }
}
