//! The `log` crate's records on the console: a line each, repeats counted, floods cut.
//!
//! Printing a line takes the kernel, and on MINIX the whole system, longer than most requests. So a line that comes again
//! within a second of the last time is counted, not printed, and no more than [`LINES_A_SECOND`] are printed in a second. Missing
//! lines are reported in one line each, a second later at most if the program calls [`catch_up`](Logger::catch_up) by the
//! [`deadline`](Logger::deadline).

use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use minix_abi::Instant;

use crate::exclusive::Exclusive;

/// Lines that are printed in a second at most, not counting those about missing ones.
pub const LINES_A_SECOND: u32 = 32;

/// How long a line is remembered, and how long lines are counted.
const SECOND: Duration = Duration::from_secs(1);

/// A logger for a static. It takes its output and its clock from outside.
#[derive(Debug)]
pub struct Logger {
    print: fn(fmt::Arguments<'_>),
    clock: fn() -> Instant,
    /// The [`LevelFilter`] as a number.
    level: AtomicUsize,
    flood: Exclusive<Flood>,
}

impl Logger {
    /// A logger that prints every record by `print`, which ends the line. `clock` never goes back.
    pub const fn new(print: fn(fmt::Arguments<'_>), clock: fn() -> Instant) -> Self {
        Self {
            print,
            clock,
            level: AtomicUsize::new(LevelFilter::Trace as usize),
            flood: Exclusive::new(Flood::new()),
        }
    }

    /// Makes this the logger of the program, for records up to `level`. The first logger of a program stays.
    pub fn install(&'static self, level: LevelFilter) {
        // Another logger can only be there already if the program has installed it.
        let _ = log::set_logger(self);
        self.set_level(level);
        log::set_max_level(level);
    }

    /// Prints records up to `level` from now on.
    pub fn set_level(&self, level: LevelFilter) {
        self.level.store(level as usize, Ordering::Relaxed);
    }

    /// When [`catch_up`](Self::catch_up) has something to tell; `None` if nothing is missing.
    pub fn deadline(&self) -> Option<Instant> {
        self.flood.with(|flood| flood.due()).flatten()
    }

    /// Tells of missing lines if it is time.
    pub fn catch_up(&self) {
        let now = (self.clock)();
        let missing = self.flood.with(|flood| flood.overdue(now));
        self.tell(missing.unwrap_or_default());
    }

    fn tell(&self, missing: Missing) {
        match missing.repeats {
            0 => {}
            1 => (self.print)(format_args!("the last line came once more")),
            repeats => (self.print)(format_args!("the last line came {repeats} more times")),
        }
        if missing.left_out > 0 {
            (self.print)(format_args!("{} lines were left out", missing.left_out));
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() as usize <= self.level.load(Ordering::Relaxed)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (now, line) = ((self.clock)(), digest(*record.args()));
        // A record that is made while another one is looked at is printed in any case.
        let (missing, is_printed) = self
            .flood
            .with(|flood| flood.admit(now, line))
            .unwrap_or((Missing::default(), true));
        self.tell(missing);
        if is_printed {
            (self.print)(*record.args());
        }
    }

    /// Tells of missing lines, whether it is time or not.
    fn flush(&self) {
        let missing = self.flood.with(Flood::take_missing);
        self.tell(missing.unwrap_or_default());
    }
}

/// Lines that were not printed and that nothing was said about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    /// Repeats of the line that was printed last.
    repeats: u32,
    /// Lines beyond those of a second.
    left_out: u32,
}

/// Which lines are printed.
#[derive(Clone, Debug)]
struct Flood {
    /// Digest of the line that was printed last, and when it last came.
    last: Option<(u64, Instant)>,
    missing: Missing,
    /// When the second that is counted began.
    since: Instant,
    /// Lines printed in it.
    lines: u32,
}

impl Flood {
    const fn new() -> Self {
        Self {
            last: None,
            missing: Missing {
                repeats: 0,
                left_out: 0,
            },
            since: Instant::START,
            lines: 0,
        }
    }

    fn take_missing(&mut self) -> Missing {
        core::mem::take(&mut self.missing)
    }

    fn due(&self) -> Option<Instant> {
        (self.missing != Missing::default()).then(|| self.since.after(SECOND))
    }

    fn overdue(&mut self, now: Instant) -> Missing {
        if now < self.since.after(SECOND) {
            return Missing::default();
        }
        (self.since, self.lines) = (now, 0);
        self.take_missing()
    }

    /// What has to be said first, and whether a line is printed.
    fn admit(&mut self, now: Instant, line: u64) -> (Missing, bool) {
        let mut missing = self.overdue(now);
        match &mut self.last {
            Some((last, seen)) if *last == line && now < seen.after(SECOND) => {
                *seen = now;
                self.missing.repeats = self.missing.repeats.saturating_add(1);
                return (missing, false);
            }
            _ => {}
        }
        if self.lines >= LINES_A_SECOND {
            self.missing.left_out = self.missing.left_out.saturating_add(1);
            return (missing, false);
        }
        // Repeats are told before another line becomes the last one.
        let rest = self.take_missing();
        missing.repeats += rest.repeats;
        missing.left_out += rest.left_out;
        self.last = Some((line, now));
        self.lines += 1;
        (missing, true)
    }
}

/// A number that stands for a text: FNV-1a.
fn digest(text: fmt::Arguments<'_>) -> u64 {
    struct Digest(u64);
    impl fmt::Write for Digest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
            }
            Ok(())
        }
    }
    let mut digest = Digest(0xCBF2_9CE4_8422_2325);
    // It takes everything; a `Display` that fails only loses its own text.
    let _ = digest.write_fmt(text);
    digest.0
}
