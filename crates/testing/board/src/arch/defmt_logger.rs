//! `defmt` frames, by semihosting.
//!
//! Encoded frames contain no zero but the one that ends them, so a frame is text to semihosting: it leaves with one
//! request, and its end with a second. Until [`enable`] is called frames are dropped and counted.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{counters, semihosting};

/// A frame longer than this leaves in several requests.
const BUFFER_BYTES: usize = 1024;

static ENABLED: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static STATE: Shared = Shared(UnsafeCell::new(State {
    restore: critical_section::RestoreState::invalid(),
    depth: 0,
    active: false,
    encoder: defmt::Encoder::new(),
    sink: Sink {
        buffer: [0; BUFFER_BYTES + 1],
        used: 0,
    },
}));

struct Shared(UnsafeCell<State>);

// SAFETY: the state is only touched by the logger's functions, that is inside the critical section which `acquire`
// begins and `release` ends.
unsafe impl Sync for Shared {}

struct State {
    restore: critical_section::RestoreState,
    /// Frames begun and not ended. More than one means that formatting a value logs.
    depth: u32,
    /// Whether the outermost frame is being encoded, and not dropped.
    active: bool,
    encoder: defmt::Encoder,
    sink: Sink,
}

/// Where encoded bytes go.
struct Sink {
    /// One byte longer than what is gathered, for the zero at the end.
    buffer: [u8; BUFFER_BYTES + 1],
    used: usize,
}

impl Sink {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == 0 {
                self.flush();
                semihosting::write_byte(0);
                continue;
            }
            if self.used == BUFFER_BYTES {
                self.flush();
            }
            if let Some(place) = self.buffer.get_mut(self.used) {
                *place = byte;
                self.used += 1;
            }
        }
    }

    fn flush(&mut self) {
        if self.used == 0 {
            return;
        }
        if let Some(end) = self.buffer.get_mut(self.used) {
            *end = 0;
        }
        if let Ok(text) = CStr::from_bytes_until_nul(&self.buffer) {
            semihosting::write_text(text);
        }
        self.used = 0;
    }
}

/// Lets frames out, if the host takes them. Returns whether it does.
pub fn enable() -> bool {
    let available = semihosting::is_available();
    ENABLED.store(available, Ordering::Relaxed);
    available
}

/// Frames that did not reach the host: logged before [`enable`], or from within another frame.
pub fn dropped_frames() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

#[defmt::global_logger]
struct Logger;

defmt::timestamp!("{=u64:us}", counters::uptime_micros());

// SAFETY: `acquire` disables interrupts until `release`, and one hart runs, so frames do not interleave; a frame begun
// inside another one is dropped.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: released in `release`, which the macros call exactly once for each `acquire`.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: inside the critical section; the reference ends with this function.
        let state = unsafe { &mut *STATE.0.get() };
        state.depth += 1;
        if state.depth > 1 {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            // SAFETY: undoes the acquisition above. The outer frame keeps its own.
            unsafe { critical_section::release(restore) };
            return;
        }
        state.restore = restore;
        state.active = ENABLED.load(Ordering::Relaxed);
        if state.active {
            let State { encoder, sink, .. } = state;
            encoder.start_frame(|bytes| sink.push(bytes));
        }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        if state.active && state.depth == 1 {
            let State { encoder, sink, .. } = state;
            encoder.write(bytes, |bytes| sink.push(bytes));
        }
    }

    unsafe fn flush() {
        // Every frame is flushed when it ends.
    }

    unsafe fn release() {
        // SAFETY: between `acquire` and `release`, so inside the critical section.
        let state = unsafe { &mut *STATE.0.get() };
        state.depth -= 1;
        if state.depth > 0 {
            return;
        }
        if state.active {
            let State { encoder, sink, .. } = state;
            encoder.end_frame(|bytes| sink.push(bytes));
            sink.flush();
        } else {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        let restore = state.restore;
        // SAFETY: the state that the outermost `acquire` stored.
        unsafe { critical_section::release(restore) };
    }
}
