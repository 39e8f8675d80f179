//! Records of the `log` crate on the console.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use log::{Level, LevelFilter, Log as _, Record};
use minix_abi::Instant;
use minix_rt::logger::{LINES_A_SECOND, Logger};

const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    static NOW: Cell<Instant> = const { Cell::new(Instant::from_micros(5_000_000)) };
    static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn print(text: fmt::Arguments<'_>) {
    PRINTED.with_borrow_mut(|lines| lines.push(text.to_string()));
}

fn logger() -> Logger {
    Logger::new(print, || NOW.get())
}

fn passes(span: Duration) {
    NOW.set(NOW.get().after(span));
}

fn say(logger: &Logger, level: Level, text: &str) {
    logger.log(&Record::builder().level(level).args(format_args!("{text}")).build());
}

/// What was printed since this was last asked.
fn printed() -> Vec<String> {
    PRINTED.take()
}

#[test]
fn records_up_to_the_level_are_printed() {
    let logger = logger();
    for (filter, lines) in [
        (LevelFilter::Off, 0),
        (LevelFilter::Error, 1),
        (LevelFilter::Warn, 2),
        (LevelFilter::Info, 3),
        (LevelFilter::Debug, 4),
    ] {
        logger.set_level(filter);
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            say(&logger, level, level.as_str());
        }
        assert_eq!(printed().len(), lines, "{filter}");
        passes(SECOND);
    }
}

#[test]
fn a_line_that_comes_again_is_counted() {
    let logger = logger();
    for _ in 0..1000 {
        say(&logger, Level::Warn, "late");
        passes(Duration::from_micros(100));
    }
    assert_eq!(printed(), ["late"]);
    say(&logger, Level::Warn, "other");
    assert_eq!(printed(), ["the last line came 999 more times", "other"]);
    say(&logger, Level::Warn, "other");
    say(&logger, Level::Warn, "late");
    assert_eq!(printed(), ["the last line came once more", "late"]);
}

#[test]
fn repeats_are_told_after_a_second_without_another_line() {
    let logger = logger();
    say(&logger, Level::Warn, "late");
    assert_eq!(logger.deadline(), None);
    say(&logger, Level::Warn, "late");
    let due = logger.deadline().expect("a line is missing");
    assert!(due > NOW.get() && due <= NOW.get().after(SECOND));
    logger.catch_up();
    assert_eq!(printed(), ["late"]);
    NOW.set(due);
    logger.catch_up();
    logger.catch_up();
    assert_eq!(printed(), ["the last line came once more"]);
    assert_eq!(logger.deadline(), None);
}

#[test]
fn a_line_that_comes_again_after_a_second_is_printed() {
    let logger = logger();
    for _ in 0..3 {
        say(&logger, Level::Warn, "late");
        passes(SECOND);
    }
    assert_eq!(printed(), ["late"; 3]);
}

#[test]
fn more_lines_than_fit_in_a_second_are_left_out_and_counted() {
    let logger = logger();
    for nth in 0..1000 {
        say(&logger, Level::Warn, &format!("request {nth} is late"));
    }
    assert_eq!(printed().len(), LINES_A_SECOND as usize);
    passes(SECOND);
    say(&logger, Level::Warn, "other");
    let left_out = format!("{} lines were left out", 1000 - LINES_A_SECOND);
    assert_eq!(printed(), [left_out.as_str(), "other"]);
}

#[test]
fn nothing_is_missing_after_a_flush() {
    let logger = logger();
    say(&logger, Level::Warn, "late");
    say(&logger, Level::Warn, "late");
    logger.flush();
    logger.flush();
    assert_eq!(printed(), ["late", "the last line came once more"]);
}
