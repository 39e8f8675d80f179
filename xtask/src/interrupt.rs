//! Ctrl-C, and its relatives.
//!
//! A process that a signal kills leaves its temporary files behind. So a signal only raises a flag, and each place that waits
//! looks at it. A second signal ends xtask at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a program that was interrupted, as shells count: 128 and the number of the signal.
pub(crate) const EXIT_CODE: u8 = 130;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Catches the signals from now on.
pub(crate) fn catch() -> io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    [SIGINT, SIGTERM, SIGHUP].into_iter().try_for_each(|signal| {
        // In this order: the first signal finds the flag down, raises it, and only the next one finds it raised.
        flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), Arc::clone(asked))?;
        flag::register(signal, Arc::clone(asked)).map(drop)
    })
}

/// Whether xtask is to end.
pub(crate) fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}
