//! What the service prints in a test: the whole way from a record of the `log` crate to a line on the console.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};
use minix_abi::Instant;
use minix_rt::logger::Logger;

thread_local! {
    static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The clock of the test.
    static NOW: Cell<Instant> = const { Cell::new(Instant::START) };
    static LOGGER: Cell<Option<&'static Logger>> = const { Cell::new(None) };
}

/// Gives records to the logger of the test at hand: tests run side by side in one process.
struct ByTest;

impl Log for ByTest {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(logger) = LOGGER.get() {
            logger.log(record);
        }
    }

    fn flush(&self) {}
}

fn print(text: fmt::Arguments<'_>) {
    PRINTED.with_borrow_mut(|lines| lines.push(text.to_string()));
}

/// A new logger for this test.
pub(crate) fn logger() -> &'static Logger {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&ByTest).expect("there is no other");
        log::set_max_level(LevelFilter::Trace);
    });
    PRINTED.take();
    let logger: &Logger = Box::leak(Box::new(Logger::new(print, now)));
    LOGGER.set(Some(logger));
    logger
}

/// The level of the lines printed in this test from now on. Earlier lines are forgotten.
pub(crate) fn set_level(level: LevelFilter) {
    PRINTED.take();
    LOGGER.get().expect("the service has a logger").set_level(level);
}

/// The clock of the test.
pub(crate) fn now() -> Instant {
    NOW.get()
}

/// Sets the clock, in microseconds.
pub(crate) fn set_time(now: u64) {
    NOW.set(Instant::from_micros(now));
}

/// How many lines with this text were printed in this test.
pub(crate) fn printed(part: &str) -> usize {
    PRINTED.with_borrow(|lines| lines.iter().filter(|line| line.contains(part)).count())
}

/// All lines of this test.
pub(crate) fn lines() -> Vec<String> {
    PRINTED.with_borrow(Vec::clone)
}
