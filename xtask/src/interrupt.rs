//! Ctrl-C, and its relatives.
//!
//! A process that a signal kills leaves its temporary files behind, and the terminal as QEMU has set it. So a signal only raises a flag, and
//! each place that waits looks at it. A second signal ends xtask at once; the terminal gets its settings back before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::{io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::terminal;

/// The exit code of a program that was interrupted, as shells count: 128 and the number of the signal.
pub(crate) const EXIT_CODE: u8 = 130;

const SIGNALS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Catches the signals from now on.
pub(crate) fn catch() -> io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    // The flag is up before any wait ends by the signal, whenever the thread below gets to run.
    for signal in SIGNALS {
        flag::register(signal, Arc::clone(asked))?;
    }
    let mut signals = Signals::new(SIGNALS)?;
    let second = move || {
        if signals.forever().nth(1).is_some() {
            terminal::restore();
            // Nothing is waited for: the second signal comes if the end after the first takes too long.
            low_level::exit(EXIT_CODE.into());
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(second)
        .map(drop)
}

/// Whether a signal has come.
pub(crate) fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}
