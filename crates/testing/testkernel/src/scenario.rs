//! The script of a run: one statement per line, `#` starts a comment.
//!
//! | statement | meaning |
//! |---|---|
//! | `service NAME [as LABEL] [major=N] [argument ...]` | start a service and wait until it is initialised; `service?` lets it fail |
//! | `run PROGRAM [as LABEL] [argument ...]` | start a client and wait for its verdict |
//! | `start PROGRAM [as LABEL] [argument ...]` | start a client and go on |
//! | `wait` | wait for all clients that were started |
//! | `signal LABEL NAME` | send a signal by message |
//! | `down LABEL` | SIGTERM, and SIGKILL after two seconds |
//! | `gone LABEL` | wait until a service that got SIGTERM has left; two seconds at most |
//! | `sleep MICROSECONDS` | let the others go on |
//! | `fragment PAGES` | from now on no more pages than that are free in a row |
//! | `dead-hook LABEL` | put the hook of a dead process on the interrupt line of a service, until RS collects dead slots |
//! | `vfs LABEL open`, `vfs LABEL close`, `vfs LABEL ioctl=openct` | hold the disk open, also across restarts; let go of it; count who holds it |
//! | `kill LABEL rounds=N seed=S min_us=A max_us=B` | kill and restart at random times, then stop the clients that were started |
//! | `ping LABEL`, `prepare LABEL`, `restart LABEL` | ask for a sign of life; ask for live update; kill and restart once |
//! | `measure begin NAME LABEL`, `measure end NAME` | count user instructions and time in between; a label after `end` is not looked at |

use core::fmt;

use guest_protocol::number;
use minix_abi::process::{MAX_ARGUMENTS, MAX_COMMAND_BYTES, MAX_NAME_BYTES};
use minix_abi::signal::Signal;

/// A program to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// The file.
    pub program: &'a str,
    /// The label: the program's name if no other is given.
    pub label: &'a str,
    /// The rest of the line: arguments from the first on, separated by white space.
    pub arguments: &'a str,
}

impl<'a> Program<'a> {
    /// The file, and the label if it is another name.
    fn name(&self) -> impl fmt::Display + 'a {
        let Self { program, label, .. } = *self;
        fmt::from_fn(move |f| match label == program {
            true => f.write_str(program),
            false => write!(f, "{program} as {label}"),
        })
    }

    /// The arguments, each behind a space.
    fn words(&self) -> impl fmt::Display + 'a {
        let arguments = self.arguments;
        fmt::from_fn(move |f| {
            arguments
                .split_ascii_whitespace()
                .try_for_each(|word| write!(f, " {word}"))
        })
    }
}

/// What VFS can be made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfsRequest {
    /// Open the disk, and keep it open.
    Open,
    /// Close it.
    Close,
    /// Ask how often it is open.
    OpenCount,
}

impl VfsRequest {
    /// Its word.
    const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::OpenCount => "ioctl=openct",
        }
    }
}

/// Random kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill<'a> {
    /// Whom.
    pub label: &'a str,
    /// How often.
    pub rounds: u64,
    /// Where the random delays start from.
    pub seed: u64,
    /// The shortest delay after a start, in microseconds.
    pub min_us: u64,
    /// The longest delay after a start, in microseconds.
    pub max_us: u64,
}

/// A line of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    /// Start a service.
    Service {
        /// What to start.
        program: Program<'a>,
        /// The major number it drives.
        major: Option<u32>,
        /// Whether the scenario goes on if the service fails to initialise itself.
        may_fail: bool,
    },
    /// Start a client and wait for it.
    Run(Program<'a>),
    /// Start a client.
    Start(Program<'a>),
    /// Wait for all clients.
    Wait,
    /// Send a signal by message.
    Signal {
        /// To whom.
        label: &'a str,
        /// Which.
        signal: Signal,
    },
    /// Stop a service.
    Down {
        /// Which.
        label: &'a str,
    },
    /// Wait until a service has left by itself.
    Gone {
        /// Which.
        label: &'a str,
    },
    /// Let time pass.
    Sleep {
        /// How much, in microseconds.
        micros: u64,
    },
    /// Leave no more free memory in a row than this.
    Fragment {
        /// How many pages.
        pages: u64,
    },
    /// Put the hook of a dead process on the interrupt line.
    DeadHook {
        /// Of whom.
        label: &'a str,
    },
    /// Let VFS do something with minor 0.
    Vfs {
        /// Of whom.
        label: &'a str,
        /// What.
        request: VfsRequest,
    },
    /// Kill at random times.
    Kill(Kill<'a>),
    /// Ask for a sign of life.
    Ping {
        /// Whom.
        label: &'a str,
    },
    /// Ask to get ready for a live update, which is to be refused.
    Prepare {
        /// Whom.
        label: &'a str,
    },
    /// Kill and restart once.
    Restart {
        /// Whom.
        label: &'a str,
    },
    /// Start to count.
    MeasureBegin {
        /// The name of the measurement.
        name: &'a str,
        /// Whose instructions.
        label: &'a str,
    },
    /// Report what was counted.
    MeasureEnd {
        /// The name of the measurement.
        name: &'a str,
    },
}

/// The line of the script.
impl fmt::Display for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service {
                program,
                major,
                may_fail,
            } => {
                let may_fail = if *may_fail { "?" } else { "" };
                write!(f, "service{may_fail} {}", program.name())?;
                if let Some(major) = major {
                    write!(f, " major={major}")?;
                }
                write!(f, "{}", program.words())
            }
            Self::Run(program) => write!(f, "run {}{}", program.name(), program.words()),
            Self::Start(program) => write!(f, "start {}{}", program.name(), program.words()),
            Self::Wait => f.write_str("wait"),
            Self::Signal { label, signal } => {
                write!(f, "signal {label} ")?;
                match Signal::NAMED.iter().find(|(_, named)| named == signal) {
                    Some((name, _)) => f.write_str(name),
                    None => write!(f, "{signal:?}"),
                }
            }
            Self::Down { label } => write!(f, "down {label}"),
            Self::Gone { label } => write!(f, "gone {label}"),
            Self::Sleep { micros } => write!(f, "sleep {micros}"),
            Self::Fragment { pages } => write!(f, "fragment {pages}"),
            Self::DeadHook { label } => write!(f, "dead-hook {label}"),
            Self::Vfs { label, request } => write!(f, "vfs {label} {}", request.word()),
            Self::Kill(Kill {
                label,
                rounds,
                seed,
                min_us,
                max_us,
            }) => write!(
                f,
                "kill {label} rounds={rounds} seed={seed:#x} min_us={min_us} max_us={max_us}"
            ),
            Self::Ping { label } => write!(f, "ping {label}"),
            Self::Prepare { label } => write!(f, "prepare {label}"),
            Self::Restart { label } => write!(f, "restart {label}"),
            Self::MeasureBegin { name, label } => write!(f, "measure begin {name} {label}"),
            Self::MeasureEnd { name } => write!(f, "measure end {name}"),
        }
    }
}

/// What is wrong with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No statement starts with this word.
    Unknown,
    /// A word is missing.
    Missing,
    /// There are more words than the statement takes.
    TooMany,
    /// A number or name makes no sense there.
    BadValue,
    /// A label or program name of more than 15 bytes.
    LongName,
    /// More words or bytes than a command line can hold.
    LongCommand,
}

/// A line that is no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            Problem::Unknown => "no such statement",
            Problem::Missing => "a word is missing",
            Problem::TooMany => "too many words",
            Problem::BadValue => "a value makes no sense",
            Problem::LongName => "a name is longer than 15 bytes",
            Problem::LongCommand => "the command line is too long",
        };
        write!(f, "line {}: {what}", self.line)
    }
}

impl core::error::Error for ScenarioError {}

/// The statements of a script, in order.
///
/// ```
/// use testkernel::scenario::{Statement, statements};
///
/// let mut script = statements("# first light\nservice virtio_blk_mmio major=3 instance=1\nwait\n");
/// let Some(Ok(Statement::Service { program, major, .. })) = script.next() else { panic!() };
/// assert_eq!((program.label, major, program.arguments), ("virtio_blk_mmio", Some(3), "instance=1"));
/// assert_eq!(script.next(), Some(Ok(Statement::Wait)));
/// assert_eq!(script.next(), None);
/// ```
pub fn statements(text: &str) -> impl Iterator<Item = Result<Statement<'_>, ScenarioError>> {
    text.lines().zip(1..).filter_map(|(line, number)| {
        let line = line.split('#').next().unwrap_or("").trim();
        (!line.is_empty()).then(|| statement(line).map_err(|problem| ScenarioError { line: number, problem }))
    })
}

/// One statement without comment.
fn statement(line: &str) -> Result<Statement<'_>, Problem> {
    let mut words = Words(line);
    let statement = match words.next()? {
        "service" => service(&mut words, false)?,
        "service?" => service(&mut words, true)?,
        "run" => Statement::Run(program(&mut words, |_| Ok(false))?),
        "start" => Statement::Start(program(&mut words, |_| Ok(false))?),
        "wait" => Statement::Wait,
        "signal" => Statement::Signal {
            label: words.name()?,
            signal: signal(words.next()?)?,
        },
        "down" => Statement::Down { label: words.name()? },
        "gone" => Statement::Gone { label: words.name()? },
        "sleep" => Statement::Sleep {
            micros: number(words.next()?).ok_or(Problem::BadValue)?,
        },
        "fragment" => Statement::Fragment {
            pages: number(words.next()?).ok_or(Problem::BadValue)?,
        },
        "dead-hook" => Statement::DeadHook { label: words.name()? },
        "vfs" => Statement::Vfs {
            label: words.name()?,
            request: match words.next()? {
                "open" => VfsRequest::Open,
                "close" => VfsRequest::Close,
                "ioctl=openct" => VfsRequest::OpenCount,
                _ => return Err(Problem::BadValue),
            },
        },
        "kill" => Statement::Kill(kill(&mut words)?),
        "ping" => Statement::Ping { label: words.name()? },
        "prepare" => Statement::Prepare { label: words.name()? },
        "restart" => Statement::Restart { label: words.name()? },
        "measure" => match words.next()? {
            "begin" => Statement::MeasureBegin {
                name: words.next()?,
                label: words.name()?,
            },
            "end" => {
                let name = words.next()?;
                let _ = words.next();
                Statement::MeasureEnd { name }
            }
            _ => return Err(Problem::BadValue),
        },
        _ => return Err(Problem::Unknown),
    };
    if words.0.is_empty() {
        Ok(statement)
    } else {
        Err(Problem::TooMany)
    }
}

/// What is left of a line.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.0.split_ascii_whitespace().next()
    }

    fn next(&mut self) -> Result<&'a str, Problem> {
        let word = self.peek().ok_or(Problem::Missing)?;
        self.0 = self.0.trim_start()[word.len()..].trim_start();
        Ok(word)
    }

    /// A label or program name, which the system keeps in 16 bytes with a NUL.
    fn name(&mut self) -> Result<&'a str, Problem> {
        let name = self.next()?;
        if name.len() <= MAX_NAME_BYTES {
            Ok(name)
        } else {
            Err(Problem::LongName)
        }
    }

    fn rest(&mut self) -> &'a str {
        core::mem::take(&mut self.0)
    }
}

fn service<'a>(words: &mut Words<'a>, may_fail: bool) -> Result<Statement<'a>, Problem> {
    let mut major = None;
    let program = program(words, |word| match word.strip_prefix("major=") {
        Some(value) => {
            major = Some(
                number(value)
                    .and_then(|n| u32::try_from(n).ok())
                    .ok_or(Problem::BadValue)?,
            );
            Ok(true)
        }
        None => Ok(false),
    })?;
    Ok(Statement::Service {
        program,
        major,
        may_fail,
    })
}

/// `NAME [as LABEL] [options] [argument ...]`; `option` tells whether it takes a word, and ends at the first it does not.
fn program<'a>(
    words: &mut Words<'a>,
    mut option: impl FnMut(&str) -> Result<bool, Problem>,
) -> Result<Program<'a>, Problem> {
    let program = words.name()?;
    let mut label = program;
    if words.peek() == Some("as") {
        words.next()?;
        label = words.name()?;
    }
    while let Some(word) = words.peek() {
        if !option(word)? {
            break;
        }
        words.next()?;
    }
    let arguments = words.rest();
    // The program's path is one of the words.
    let too_long = arguments.len() + program.len() + 1 > MAX_COMMAND_BYTES;
    if too_long || arguments.split_ascii_whitespace().count() + 1 > MAX_ARGUMENTS {
        return Err(Problem::LongCommand);
    }
    Ok(Program {
        program,
        label,
        arguments,
    })
}

fn signal(name: &str) -> Result<Signal, Problem> {
    Signal::NAMED
        .iter()
        .find(|(known, signal)| *known == name && *signal <= Signal::LAST_THROUGH_RS)
        .map(|(_, signal)| *signal)
        .ok_or(Problem::BadValue)
}

fn kill<'a>(words: &mut Words<'a>) -> Result<Kill<'a>, Problem> {
    let mut kill = Kill {
        label: words.name()?,
        rounds: 1,
        seed: 1,
        min_us: 1000,
        max_us: 100_000,
    };
    while words.peek().is_some() {
        let (key, value) = words.next()?.split_once('=').ok_or(Problem::BadValue)?;
        let place = match key {
            "rounds" => &mut kill.rounds,
            "seed" => &mut kill.seed,
            "min_us" => &mut kill.min_us,
            "max_us" => &mut kill.max_us,
            _ => return Err(Problem::BadValue),
        };
        *place = number(value).ok_or(Problem::BadValue)?;
    }
    if kill.min_us > kill.max_us {
        Err(Problem::BadValue)
    } else {
        Ok(kill)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::vec::Vec;

    use super::*;

    fn one(line: &str) -> Result<Statement<'_>, Problem> {
        let mut all: Vec<_> = statements(line).collect();
        assert_eq!(all.len(), 1);
        all.remove(0).map_err(|error| error.problem)
    }

    fn named(name: &'static str) -> Program<'static> {
        Program {
            program: name,
            label: name,
            arguments: "",
        }
    }

    #[test]
    fn services_have_a_major_number_and_arguments() {
        let program = Program {
            arguments: "instance=1  poll_us=50",
            ..named("virtio_blk_mmio")
        };
        assert_eq!(
            one("service virtio_blk_mmio major=3 instance=1  poll_us=50"),
            Ok(Statement::Service {
                program,
                major: Some(3),
                may_fail: false
            })
        );
        let second = Program {
            label: "disk2",
            ..named("virtio_blk_mmio")
        };
        assert_eq!(
            one("service? virtio_blk_mmio as disk2 major=8 # absent"),
            Ok(Statement::Service {
                program: second,
                major: Some(8),
                may_fail: true
            })
        );
        // Behind the first argument, everything is one.
        let argument = Program {
            arguments: "log=info major=3",
            ..named("a")
        };
        assert_eq!(
            one("service a log=info major=3"),
            Ok(Statement::Service {
                program: argument,
                major: None,
                may_fail: false
            })
        );
    }

    #[test]
    fn clients_have_labels() {
        let program = Program {
            program: "load",
            label: "load1",
            arguments: "label=x depth=2",
        };
        assert_eq!(
            one("start load as load1 label=x depth=2"),
            Ok(Statement::Start(program))
        );
        assert_eq!(one(" run mfs "), Ok(Statement::Run(named("mfs"))));
    }

    #[test]
    fn the_small_statements() {
        assert_eq!(one("wait"), Ok(Statement::Wait));
        assert_eq!(
            one("signal a TERM"),
            Ok(Statement::Signal {
                label: "a",
                signal: Signal::TERM
            })
        );
        assert_eq!(one("down a"), Ok(Statement::Down { label: "a" }));
        assert_eq!(one("gone a"), Ok(Statement::Gone { label: "a" }));
        assert_eq!(one("sleep 300000"), Ok(Statement::Sleep { micros: 300_000 }));
        assert_eq!(one("sleep long"), Err(Problem::BadValue));
        assert_eq!(one("fragment 4"), Ok(Statement::Fragment { pages: 4 }));
        assert_eq!(one("dead-hook a"), Ok(Statement::DeadHook { label: "a" }));
        let vfs = |request| Ok(Statement::Vfs { label: "a", request });
        assert_eq!(one("vfs a open"), vfs(VfsRequest::Open));
        assert_eq!(one("vfs a close"), vfs(VfsRequest::Close));
        assert_eq!(one("vfs a ioctl=openct"), vfs(VfsRequest::OpenCount));
        assert_eq!(one("vfs a ioctl"), Err(Problem::BadValue));
        assert_eq!(one("ping a"), Ok(Statement::Ping { label: "a" }));
        assert_eq!(one("prepare a"), Ok(Statement::Prepare { label: "a" }));
        assert_eq!(one("restart a"), Ok(Statement::Restart { label: "a" }));
        assert_eq!(
            one("measure begin idle a"),
            Ok(Statement::MeasureBegin {
                name: "idle",
                label: "a"
            })
        );
        assert_eq!(one("measure end idle"), Ok(Statement::MeasureEnd { name: "idle" }));
        assert_eq!(one("measure end idle a"), Ok(Statement::MeasureEnd { name: "idle" }));
        let kill = Kill {
            label: "a",
            rounds: 20,
            seed: 0x10,
            min_us: 5,
            max_us: 6,
        };
        assert_eq!(
            one("kill a rounds=20 seed=0x10 min_us=5 max_us=6"),
            Ok(Statement::Kill(kill))
        );
    }

    #[test]
    fn statements_are_printed_as_they_are_written() {
        let lines = [
            "service virtio_blk_mmio as disk2 major=8 instance=1 poll_us=50",
            "service? virtio_blk_mmio",
            "run shell label=disk open force=1:2:0x3",
            "start load as load1 label=x",
            "wait",
            "signal a TERM",
            "signal a HUP",
            "down a",
            "gone a",
            "sleep 300",
            "fragment 4",
            "dead-hook a",
            "vfs a open",
            "vfs a close",
            "vfs a ioctl=openct",
            "kill a rounds=20 seed=0x10 min_us=5 max_us=6",
            "ping a",
            "prepare a",
            "restart a",
            "measure begin idle a",
            "measure end idle",
        ];
        for line in lines {
            assert_eq!(format!("{}", one(line).unwrap()), line);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(one("launch a"), Err(Problem::Unknown));
        assert_eq!(one("run"), Err(Problem::Missing));
        assert_eq!(one("wait now"), Err(Problem::TooMany));
        assert_eq!(one("down a b"), Err(Problem::TooMany));
        assert_eq!(one("signal a NOPE"), Err(Problem::BadValue));
        assert_eq!(one("signal a KSIG"), Err(Problem::BadValue), "never by message");
        assert_eq!(one("service a major=x"), Err(Problem::BadValue));
        assert_eq!(one("kill a min_us=9 max_us=8"), Err(Problem::BadValue));
        assert_eq!(one("kill a often"), Err(Problem::BadValue));
        assert_eq!(one("run a_name_of_16_byt"), Err(Problem::LongName));
        assert_eq!(one("run a 1 2 3 4 5 6 7 8 9").map(|_| ()), Ok(()));
        assert_eq!(one("run a 1 2 3 4 5 6 7 8 9 10"), Err(Problem::LongCommand));
        let long = format!("run a {}", "x".repeat(510));
        assert_eq!(one(&long), Err(Problem::LongCommand));
        let error = statements("wait\n\n# no\nnonsense\n").nth(1).unwrap().unwrap_err();
        assert_eq!(format!("{error}"), "line 4: no such statement");
    }
}
