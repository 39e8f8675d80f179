//! The words of the command line.

use core::fmt;
use core::time::Duration;

use log::LevelFilter;
use minix_blockdriver::WatchOptions;
use virtio_core::QueueSize;

use crate::device_state::QUEUE;

/// What the service was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Which block device it serves, counted from zero by address.
    pub instance: u32,
    /// How to watch the device for a completion before waiting for its interrupt.
    pub watch: WatchOptions,
    /// Descriptors of the queue at most; fewer are used where fewer do.
    pub queue: QueueSize,
    /// What is printed: this and what is more important.
    pub log: LevelFilter,
}

/// Microseconds that watching may last: a typing error must not burn the machine.
const MAX_WATCH_MICROS: u32 = 10_000;

/// The largest number of descriptors that can be asked for. The service has room for 128 and uses no more.
const MAX_QUEUE: u16 = 256;

/// Descriptors that one request needs.
const MIN_QUEUE: u16 = 4;

impl Default for Arguments {
    fn default() -> Self {
        Self {
            instance: 0,
            watch: WatchOptions {
                limit: Duration::from_micros(500),
                share: 20,
            },
            queue: QueueSize::at_most(QUEUE as u32).unwrap_or(QueueSize::MAX),
            log: LevelFilter::Info,
        }
    }
}

/// A word that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgsError<'a> {
    /// The word.
    pub word: &'a str,
    /// Why.
    pub reason: Reason,
}

/// Why a word makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is none of the known ones.
    Unknown,
    /// The value is not what the word takes.
    BadValue {
        /// The values of the word.
        expected: &'static str,
    },
    /// The word was given before.
    Repeated,
}

impl fmt::Display for ArgsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument '{}': ", self.word)?;
        match self.reason {
            Reason::Unknown => f.write_str("not known; there are instance=, poll_us=, poll_share=, queue= and log="),
            Reason::BadValue { expected } => write!(f, "expected {expected}"),
            Reason::Repeated => f.write_str("given twice"),
        }
    }
}

impl core::error::Error for ArgsError<'_> {}

/// Reads the words. One argument may hold several, separated by spaces, as systems differ in who splits them, or by commas, as
/// other programs of the system take them.
///
/// # Errors
///
/// [`ArgsError`] for the first word that makes no sense.
pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Arguments, ArgsError<'a>> {
    let mut parsed = Arguments::default();
    let mut seen = [false; 5];
    let separates = |character: char| character == ',' || character.is_ascii_whitespace();
    let words = arguments.into_iter().flat_map(|argument| argument.split(separates));
    for word in words.filter(|word| !word.is_empty()) {
        let fail = |reason| ArgsError { word, reason };
        let bad = |expected| fail(Reason::BadValue { expected });
        let (name, value) = word.split_once('=').ok_or(fail(Reason::Unknown))?;
        let nth = match name {
            "instance" => {
                parsed.instance = number(value).ok_or(bad("a number, from 0"))?;
                0
            }
            "poll_us" => {
                let micros = number(value).filter(|&micros| micros <= MAX_WATCH_MICROS);
                let micros = micros.ok_or(bad("microseconds, 0 to 10000"))?;
                parsed.watch.limit = Duration::from_micros(micros.into());
                1
            }
            "queue" => {
                let size = number(value)
                    .and_then(|size| u16::try_from(size).ok())
                    .filter(|size| (MIN_QUEUE..=MAX_QUEUE).contains(size))
                    .and_then(QueueSize::new);
                parsed.queue = size.ok_or(bad("a power of two, 4 to 256"))?;
                2
            }
            "log" => {
                parsed.log = level(value).ok_or(bad("off, error, warn, info or debug"))?;
                3
            }
            "poll_share" => {
                let share = number(value).and_then(|share| u8::try_from(share).ok());
                let share = share.filter(|&share| share <= 100);
                parsed.watch.share = share.ok_or(bad("percent, 0 to 100"))?;
                4
            }
            _ => return Err(fail(Reason::Unknown)),
        };
        if core::mem::replace(&mut seen[nth], true) {
            return Err(fail(Reason::Repeated));
        }
    }
    Ok(parsed)
}

/// The level with a name.
fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "off" => LevelFilter::Off,
        "error" => LevelFilter::Error,
        "warn" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        _ => return None,
    })
}

/// A decimal number without a sign.
fn number(text: &str) -> Option<u32> {
    // `parse` would take a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    fn size(size: u16) -> QueueSize {
        QueueSize::new(size).unwrap()
    }

    #[test]
    fn nothing_gives_the_defaults() {
        let arguments = parse([]).unwrap();
        assert_eq!(arguments, Arguments::default());
        assert_eq!(arguments.instance, 0);
        assert_eq!((arguments.watch.limit.as_micros(), arguments.watch.share), (500, 20));
        assert_eq!((arguments.queue, arguments.log), (size(128), LevelFilter::Info));
    }

    #[test]
    fn every_word_is_heard_however_they_are_split() {
        let all = Arguments {
            instance: 1,
            watch: WatchOptions {
                limit: Duration::ZERO,
                share: 7,
            },
            queue: size(16),
            log: LevelFilter::Off,
        };
        assert_eq!(
            parse(["instance=1", "poll_us=0", "poll_share=7", "queue=16", "log=off"]),
            Ok(all)
        );
        assert_eq!(parse(["log=off queue=16  instance=1 poll_us=0 poll_share=7"]), Ok(all));
        assert_eq!(
            parse(["", "log=off queue=16", " instance=1", "poll_us=0 ", "poll_share=7"]),
            Ok(all)
        );
        assert_eq!(parse(["log=off,queue=16,instance=1,poll_us=0,poll_share=7"]), Ok(all));
        assert_eq!(
            parse(["log=off,", ",queue=16, instance=1\tpoll_us=0,poll_share=7,,"]),
            Ok(all)
        );
        for (name, level) in [
            ("error", LevelFilter::Error),
            ("warn", LevelFilter::Warn),
            ("info", LevelFilter::Info),
            ("debug", LevelFilter::Debug),
        ] {
            assert_eq!(parse([std::format!("log={name}").as_str()]).unwrap().log, level);
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for word in ["help", "Instance=1", "inst=1", "=", "\u{FFFD}", "poll-us=1"] {
            let error = parse(["instance=0", word]).unwrap_err();
            assert_eq!((error.word, error.reason), (word, Reason::Unknown), "{word}");
        }
        for word in [
            "instance=",
            "instance=-1",
            "instance=+1",
            "instance=0x1",
            "instance=4294967296",
            "poll_us=10001",
            "poll_us=50us",
            "poll_share=",
            "poll_share=101",
            "poll_share=256",
            "poll_share=20%",
            "queue=0",
            "queue=2",
            "queue=100",
            "queue=512",
            "queue=65536",
            "log=",
            "log=INFO",
            "log=off=on",
        ] {
            let error = parse([word]).unwrap_err();
            assert_eq!(error.word, word);
            assert!(matches!(error.reason, Reason::BadValue { .. }), "{word}");
        }
        let error = parse(["queue=8", "log=off", "queue=8"]).unwrap_err();
        assert_eq!(error.reason, Reason::Repeated);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let text = |word| parse([word]).unwrap_err().to_string();
        assert_eq!(text("queue=7"), "argument 'queue=7': expected a power of two, 4 to 256");
        assert_eq!(
            text("verbose"),
            "argument 'verbose': not known; there are instance=, poll_us=, poll_share=, queue= and log="
        );
    }
}
