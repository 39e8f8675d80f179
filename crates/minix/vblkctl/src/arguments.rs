//! The command line.

use core::time::Duration;

use bitflags::bitflags;
use getargs::{Arg, Opt, Options};

use crate::units::{parse_number, parse_sectors};
use crate::word::Word;

/// The disk that is meant when none is named.
const DEFAULT_DEVICE: &str = "/dev/c0d0";

/// Entries of a trace when no number is given.
const DEFAULT_ENTRIES: u64 = 4096;

/// Seconds of a trace when none are given.
const DEFAULT_SECONDS: u64 = 1;

/// Words of a command: its name and two operands.
const MAX_WORDS: usize = 3;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: vblkctl [-d DEVICE] COMMAND

Tells what a VirtIO disk is, does and did, and gives up ranges of it. DEVICE is the
node of a disk or of a partition, /dev/c0d0 if none is given.

  info [-j]                       the device, its limits, its partitions
  stat [-j] [-i SECONDS [-c N]]   what was counted; every SECONDS what was new, N times
  regs                            registers of the device
  queue                           the virtqueue, and the requests in flight
  log                             the last events: time-outs, resets, faults, ...
  flush                           make completed writes durable
  cache [on|off]                  tell or switch the write cache
  timeout MS                      set how long the device may complete nothing
  discard FIRST COUNT | --all     give up what is in these sectors
  zero FIRST COUNT | --all        let these sectors read as zeroes
  erase FIRST COUNT | --all       make what is in these sectors unrecoverable
  trace [-s SECONDS] [-n ENTRIES] record the requests of that time and print them
  trace --reset                   end a trace that was left behind

  -j, --json        numbers for programs, in one line
  -i, --interval    seconds between two lines
  -c, --count       how many lines
  -u, --unmap       zero: the device may give the storage back
  -a, --all         all sectors of DEVICE; asks on a terminal
  -y, --yes         do not ask
  -f, --force       do not ask, and do it although DEVICE is open elsewhere
  -h, --help        this text
  -V, --version     the version

FIRST and COUNT are sectors of 512 bytes, from the start of DEVICE, or sizes with
K, M, G or T. The exit status is 0 if all went well, 1 if not, 2 for a wrong command.
";

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Help,
    Version,
    Command { device: &'a str, command: Command },
}

/// A command for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Info { json: bool },
    Stat { json: bool, every: Option<Repeat> },
    Regs,
    Queue,
    Log,
    Flush,
    Cache { switch: Option<bool> },
    Timeout { millis: u32 },
    Range(Range),
    Trace { span: Duration, entries: u64 },
    TraceReset,
}

/// Lines every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) interval: Duration,
    /// How many lines; without a number there is no end.
    pub(crate) count: Option<u64>,
}

/// Sectors to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) action: Action,
    pub(crate) span: Span,
    /// Not to ask.
    pub(crate) yes: bool,
    /// Although it is open elsewhere.
    pub(crate) force: bool,
}

/// What is done to sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Discard,
    Zero { unmap: bool },
    Erase,
}

/// Which sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    All,
    Sectors { first: u64, count: u64 },
}

/// A command line that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misuse<'a> {
    #[error("no command; see vblkctl --help")]
    NoCommand,
    #[error("'{0}' is no command; see vblkctl --help")]
    UnknownCommand(&'a str),
    #[error("{0} is no option; see vblkctl --help")]
    UnknownOption(Opt<Word<'a>>),
    #[error("{0} needs a value")]
    NoValue(Opt<Word<'a>>),
    #[error("{0} takes no value")]
    NeedsNoValue(Opt<Word<'a>>),
    #[error("{0} is given twice")]
    Twice(Opt<Word<'a>>),
    #[error("{what}: '{value}' is not {expected}")]
    BadValue {
        what: &'static str,
        value: &'a str,
        expected: &'static str,
    },
    #[error("{command} does not take {option}")]
    NotHere { command: &'a str, option: &'static str },
    #[error("{0} needs {1}")]
    Needs(&'a str, &'static str),
    #[error("'{0}' is one word too many")]
    TooMany(&'a str),
}

bitflags! {
    /// Options that were given.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Given: u16 {
        const DEVICE = 1;
        const JSON = 2;
        const INTERVAL = 4;
        const COUNT = 8;
        const SECONDS = 0x10;
        const ENTRIES = 0x20;
        const RESET = 0x40;
        const UNMAP = 0x80;
        const ALL = 0x100;
        const YES = 0x200;
        const FORCE = 0x400;
    }
}

impl Given {
    /// The option of this name.
    fn named(option: Opt<Word<'_>>) -> Option<Self> {
        Some(match option {
            Opt::Short('d') | Opt::Long(Word("device")) => Self::DEVICE,
            Opt::Short('j') | Opt::Long(Word("json")) => Self::JSON,
            Opt::Short('i') | Opt::Long(Word("interval")) => Self::INTERVAL,
            Opt::Short('c') | Opt::Long(Word("count")) => Self::COUNT,
            Opt::Short('s') | Opt::Long(Word("seconds")) => Self::SECONDS,
            Opt::Short('n') | Opt::Long(Word("entries")) => Self::ENTRIES,
            Opt::Long(Word("reset")) => Self::RESET,
            Opt::Short('u') | Opt::Long(Word("unmap")) => Self::UNMAP,
            Opt::Short('a') | Opt::Long(Word("all")) => Self::ALL,
            Opt::Short('y') | Opt::Long(Word("yes")) => Self::YES,
            Opt::Short('f') | Opt::Long(Word("force")) => Self::FORCE,
            _ => return None,
        })
    }

    /// The long name of the first of these options.
    fn name(self) -> &'static str {
        const NAMES: [&str; 11] = [
            "--device",
            "--json",
            "--interval",
            "--count",
            "--seconds",
            "--entries",
            "--reset",
            "--unmap",
            "--all",
            "--yes",
            "--force",
        ];
        let nth = self.bits().trailing_zeros() as usize;
        NAMES.get(nth).copied().unwrap_or("this option")
    }
}

/// The words, sorted into options and others.
#[derive(Debug)]
struct Words<'a> {
    device: &'a str,
    given: Given,
    interval: u64,
    count: u64,
    seconds: u64,
    entries: u64,
    others: [Option<&'a str>; MAX_WORDS],
}

/// Reads the words after the name of the program.
pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Request<'a>, Misuse<'a>> {
    let mut sorted = Words {
        device: DEFAULT_DEVICE,
        given: Given::empty(),
        interval: 0,
        count: 0,
        seconds: DEFAULT_SECONDS,
        entries: DEFAULT_ENTRIES,
        others: [None; MAX_WORDS],
    };
    let mut options = Options::new(words.map(Word));
    while let Some(word) = options.next_arg().map_err(misuse)? {
        let option = match word {
            Arg::Positional(Word(word)) => {
                let free = sorted.others.iter_mut().find(|place| place.is_none());
                *free.ok_or(Misuse::TooMany(word))? = Some(word);
                continue;
            }
            Arg::Short('h') | Arg::Long(Word("help")) => return Ok(Request::Help),
            Arg::Short('V') | Arg::Long(Word("version")) => return Ok(Request::Version),
            Arg::Short(short) => Opt::Short(short),
            Arg::Long(long) => Opt::Long(long),
        };
        let flag = Given::named(option).ok_or(Misuse::UnknownOption(option))?;
        if sorted.given.contains(flag) {
            return Err(Misuse::Twice(option));
        }
        sorted.given |= flag;
        match flag {
            Given::DEVICE => sorted.device = options.value().map_err(misuse)?.0,
            Given::INTERVAL => sorted.interval = positive("--interval", options.value().map_err(misuse)?.0)?,
            Given::COUNT => sorted.count = positive("--count", options.value().map_err(misuse)?.0)?,
            Given::SECONDS => sorted.seconds = positive("--seconds", options.value().map_err(misuse)?.0)?,
            Given::ENTRIES => sorted.entries = positive("--entries", options.value().map_err(misuse)?.0)?,
            _ => {}
        }
    }
    let device = sorted.device;
    let command = command(&sorted)?;
    Ok(Request::Command { device, command })
}

fn misuse(error: getargs::Error<Word<'_>>) -> Misuse<'_> {
    match error {
        getargs::Error::DoesNotRequireValue(option) => Misuse::NeedsNoValue(option),
        getargs::Error::RequiresValue(option) => Misuse::NoValue(option),
        // There is no other, and an option that cannot be read lacks something.
        _ => Misuse::NoCommand,
    }
}

/// Seconds, lines or entries, which four billion are enough for.
fn positive<'a>(what: &'static str, value: &'a str) -> Result<u64, Misuse<'a>> {
    match parse_number(value) {
        Some(number) if (1..=u64::from(u32::MAX)).contains(&number) => Ok(number),
        _ => Err(Misuse::BadValue {
            what,
            value,
            expected: "a number from 1 to 4294967295",
        }),
    }
}

/// The command that the words make.
fn command<'a>(words: &Words<'a>) -> Result<Command, Misuse<'a>> {
    let [Some(name), first, second] = words.others else {
        return Err(Misuse::NoCommand);
    };
    let range = Given::ALL | Given::YES | Given::FORCE;
    let (allowed, operands) = match name {
        "info" => (Given::JSON, 0),
        "stat" => (Given::JSON | Given::INTERVAL | Given::COUNT, 0),
        "regs" | "queue" | "log" | "flush" => (Given::empty(), 0),
        "cache" | "timeout" => (Given::empty(), 1),
        "discard" | "erase" => (range, 2),
        "zero" => (range | Given::UNMAP, 2),
        "trace" => (Given::SECONDS | Given::ENTRIES | Given::RESET, 0),
        _ => return Err(Misuse::UnknownCommand(name)),
    };
    let excess = words.given - allowed - Given::DEVICE;
    if !excess.is_empty() {
        let option = excess.name();
        return Err(Misuse::NotHere { command: name, option });
    }
    if let Some(word) = [first, second].into_iter().flatten().nth(operands) {
        return Err(Misuse::TooMany(word));
    }
    let given = |flag| words.given.contains(flag);
    let json = given(Given::JSON);
    Ok(match name {
        "info" => Command::Info { json },
        "stat" => Command::Stat {
            json,
            every: repeat(words)?,
        },
        "regs" => Command::Regs,
        "queue" => Command::Queue,
        "log" => Command::Log,
        "flush" => Command::Flush,
        "cache" => Command::Cache {
            switch: first.map(on_or_off).transpose()?,
        },
        "timeout" => Command::Timeout {
            millis: millis(first.ok_or(Misuse::Needs("timeout", "milliseconds"))?)?,
        },
        "trace" if given(Given::RESET) => {
            if given(Given::SECONDS) || given(Given::ENTRIES) {
                return Err(Misuse::NotHere {
                    command: "trace --reset",
                    option: (words.given & (Given::SECONDS | Given::ENTRIES)).name(),
                });
            }
            Command::TraceReset
        }
        "trace" => Command::Trace {
            span: Duration::from_secs(words.seconds),
            entries: words.entries,
        },
        _ => Command::Range(Range {
            action: match name {
                "discard" => Action::Discard,
                "erase" => Action::Erase,
                _ => Action::Zero {
                    unmap: given(Given::UNMAP),
                },
            },
            span: span(name, words)?,
            yes: given(Given::YES),
            force: given(Given::FORCE),
        }),
    })
}

fn repeat<'a>(words: &Words<'a>) -> Result<Option<Repeat>, Misuse<'a>> {
    let count = words.given.contains(Given::COUNT).then_some(words.count);
    if words.given.contains(Given::INTERVAL) {
        let interval = Duration::from_secs(words.interval);
        Ok(Some(Repeat { interval, count }))
    } else if count.is_some() {
        Err(Misuse::Needs("--count", "--interval"))
    } else {
        Ok(None)
    }
}

fn on_or_off(word: &str) -> Result<bool, Misuse<'_>> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        value => Err(Misuse::BadValue {
            what: "cache",
            value,
            expected: "on or off",
        }),
    }
}

fn millis(value: &str) -> Result<u32, Misuse<'_>> {
    match parse_number(value).and_then(|number| u32::try_from(number).ok()) {
        Some(millis) if (1..=i32::MAX as u32).contains(&millis) => Ok(millis),
        _ => Err(Misuse::BadValue {
            what: "timeout",
            value,
            expected: "a number of milliseconds from 1 to 2147483647",
        }),
    }
}

fn span<'a>(name: &'a str, words: &Words<'a>) -> Result<Span, Misuse<'a>> {
    let [_, first, count] = words.others;
    match (words.given.contains(Given::ALL), first, count) {
        (true, None, _) => Ok(Span::All),
        (true, Some(word), _) => Err(Misuse::TooMany(word)),
        (false, Some(first), Some(count)) => {
            let first = number_of_sectors("FIRST", first)?;
            match number_of_sectors("COUNT", count)? {
                0 => Err(Misuse::BadValue {
                    what: "COUNT",
                    value: count,
                    expected: "a number of sectors above zero",
                }),
                count => Ok(Span::Sectors { first, count }),
            }
        }
        (false, _, _) => Err(Misuse::Needs(name, "FIRST and COUNT, or --all")),
    }
}

fn number_of_sectors<'a>(what: &'static str, value: &'a str) -> Result<u64, Misuse<'a>> {
    parse_sectors(value).ok_or(Misuse::BadValue {
        what,
        value,
        expected: "a number of sectors, or a size with K, M, G or T",
    })
}
