//! The terminal, which QEMU sets up for itself while it has it: without echo, and without lines.
//!
//! QEMU puts the settings back at its own end. One that is killed, or that ends when the shell has the terminal again, does not.

use std::io::{IsTerminal, stdin};
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The settings before QEMU got the terminal for the first time.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// The terminal is lent to QEMU until this value goes, also by a panic.
#[derive(Debug)]
pub(crate) struct Lent(());

impl Lent {
    pub(crate) fn lend() -> Lent {
        if stdin().is_terminal()
            && let Ok(settings) = tcgetattr(stdin())
        {
            BEFORE.get_or_init(|| settings);
        }
        Lent(())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the settings back, if the terminal was lent.
pub(crate) fn restore() {
    if let Some(settings) = BEFORE.get() {
        // The terminal may be closed.
        let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
    }
}
