//! The language of the monitor.

use core::fmt;

/// What to print for `help`.
pub(crate) const HELP: &str = "\
help                               this text
info                               what kind of disk it is
regs                               the device's registers
queues                             the state of the queue
stats                              what the driver has counted
parts                              the partition table
read SECTOR [COUNT]                print sectors (one if no count is given)
write SECTOR TEXT|0xBYTE [COUNT]   put a text at the start of sectors, or fill them with a byte
flush                              make everything written durable
trim SECTOR COUNT                  give sectors up
zero SECTOR COUNT                  fill sectors with zeroes
bench                              measure
reset                              shut the device down and start it again
quit                               power off
Sectors have 512 bytes. Numbers are decimal, or hexadecimal after 0x. A text with spaces goes in double quotes.";

/// What `write` puts into a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    /// At the start; the rest of the sector stays.
    Text(&'a str),
    /// Everywhere.
    Byte(u8),
}

/// A command with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// An empty line.
    Nothing,
    Help,
    Info,
    Regs,
    Queues,
    Stats,
    Parts,
    Read {
        first: u64,
        count: u64,
    },
    Write {
        first: u64,
        data: Data<'a>,
        count: u64,
    },
    Flush,
    Trim {
        first: u64,
        count: u64,
    },
    Zero {
        first: u64,
        count: u64,
    },
    Bench,
    Reset,
    Quit,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadCommand<'a> {
    Unknown(&'a str),
    /// How it is used.
    Usage(&'static str),
    NotANumber(&'a str),
    /// A count of zero.
    NoSectors,
    /// Longer than a sector.
    TextTooLong,
}

impl fmt::Display for BadCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCommand::Unknown(word) => write!(f, "there is no command `{word}`; try `help`"),
            BadCommand::Usage(usage) => write!(f, "usage: {usage}"),
            BadCommand::NotANumber(word) => write!(f, "`{word}` is not a number"),
            BadCommand::NoSectors => f.write_str("the count must be at least 1"),
            BadCommand::TextTooLong => f.write_str("the text is longer than a sector"),
        }
    }
}

/// Reads a line.
pub(crate) fn parse(line: &str) -> Result<Command<'_>, BadCommand<'_>> {
    let mut words = Words(line);
    let Some(name) = words.next() else {
        return Ok(Command::Nothing);
    };
    let simple = match name {
        "help" | "?" => Command::Help,
        "info" => Command::Info,
        "regs" => Command::Regs,
        "queues" => Command::Queues,
        "stats" => Command::Stats,
        "parts" => Command::Parts,
        "flush" => Command::Flush,
        "bench" => Command::Bench,
        "reset" => Command::Reset,
        "quit" => Command::Quit,
        "read" => return read(&mut words),
        "write" => return write(&mut words),
        "trim" => {
            let (first, count) = range(&mut words, "trim SECTOR COUNT")?;
            return Ok(Command::Trim { first, count });
        }
        "zero" => {
            let (first, count) = range(&mut words, "zero SECTOR COUNT")?;
            return Ok(Command::Zero { first, count });
        }
        _ => return Err(BadCommand::Unknown(name)),
    };
    match words.next() {
        None => Ok(simple),
        Some(_) => Err(BadCommand::Usage("this command stands alone")),
    }
}

fn read<'a>(words: &mut Words<'a>) -> Result<Command<'a>, BadCommand<'a>> {
    let usage = BadCommand::Usage("read SECTOR [COUNT]");
    let first = number(words.next().ok_or(usage)?)?;
    let count = optional_count(words, usage)?;
    Ok(Command::Read { first, count })
}

fn write<'a>(words: &mut Words<'a>) -> Result<Command<'a>, BadCommand<'a>> {
    let usage = BadCommand::Usage("write SECTOR TEXT|0xBYTE [COUNT]");
    let first = number(words.next().ok_or(usage)?)?;
    let quoted = words.at_quote();
    let word = words.next().ok_or(usage)?;
    let data = match word.strip_prefix("0x") {
        Some(hex) if !quoted => Data::Byte(u8::from_str_radix(hex, 16).map_err(|_| BadCommand::NotANumber(word))?),
        _ if word.len() > image_blk::SECTOR_BYTES => return Err(BadCommand::TextTooLong),
        _ => Data::Text(word),
    };
    let count = optional_count(words, usage)?;
    Ok(Command::Write { first, data, count })
}

fn range<'a>(words: &mut Words<'a>, usage: &'static str) -> Result<(u64, u64), BadCommand<'a>> {
    let usage = BadCommand::Usage(usage);
    let first = number(words.next().ok_or(usage)?)?;
    let count = count(words.next().ok_or(usage)?)?;
    match words.next() {
        None => Ok((first, count)),
        Some(_) => Err(usage),
    }
}

fn optional_count<'a>(words: &mut Words<'a>, usage: BadCommand<'a>) -> Result<u64, BadCommand<'a>> {
    let found = words.next().map_or(Ok(1), count)?;
    match words.next() {
        None => Ok(found),
        Some(_) => Err(usage),
    }
}

fn count(word: &str) -> Result<u64, BadCommand<'_>> {
    match number(word)? {
        0 => Err(BadCommand::NoSectors),
        count => Ok(count),
    }
}

fn number(word: &str) -> Result<u64, BadCommand<'_>> {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| BadCommand::NotANumber(word))
}

/// The words of a line; what stands in double quotes is one word.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// Whether the next word is quoted.
    fn at_quote(&self) -> bool {
        self.0.trim_start().starts_with('"')
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let (word, rest) = match rest.strip_prefix('"') {
            // A quote that is never closed reaches to the end of the line.
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None if rest.is_empty() => return None,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        self.0 = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_with_their_arguments() {
        for (line, command) in [
            ("", Command::Nothing),
            ("   ", Command::Nothing),
            (" help ", Command::Help),
            ("read 7", Command::Read { first: 7, count: 1 }),
            ("read  0x10   3", Command::Read { first: 16, count: 3 }),
            (
                "write 5 hello",
                Command::Write {
                    first: 5,
                    data: Data::Text("hello"),
                    count: 1,
                },
            ),
            (
                "write 5 \"0x41 and more\" 2",
                Command::Write {
                    first: 5,
                    data: Data::Text("0x41 and more"),
                    count: 2,
                },
            ),
            (
                "write 5 0xff 2",
                Command::Write {
                    first: 5,
                    data: Data::Byte(255),
                    count: 2,
                },
            ),
            ("trim 8 16", Command::Trim { first: 8, count: 16 }),
            (
                "zero 0 18446744073709551615",
                Command::Zero {
                    first: 0,
                    count: u64::MAX,
                },
            ),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn every_command_of_the_help_exists() {
        let names = HELP.lines().take_while(|line| !line.starts_with("Sectors"));
        for name in names.filter_map(|line| line.split(' ').next()) {
            assert!(!matches!(parse(name), Err(BadCommand::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, error) in [
            ("reed 1", BadCommand::Unknown("reed")),
            ("read", BadCommand::Usage("read SECTOR [COUNT]")),
            ("read one", BadCommand::NotANumber("one")),
            ("read -1", BadCommand::NotANumber("-1")),
            (
                "read 18446744073709551616",
                BadCommand::NotANumber("18446744073709551616"),
            ),
            ("read 1 0", BadCommand::NoSectors),
            ("read 1 2 3", BadCommand::Usage("read SECTOR [COUNT]")),
            ("write 1", BadCommand::Usage("write SECTOR TEXT|0xBYTE [COUNT]")),
            ("write 1 0x100", BadCommand::NotANumber("0x100")),
            ("trim 1", BadCommand::Usage("trim SECTOR COUNT")),
            ("quit now", BadCommand::Usage("this command stands alone")),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
        let long = format!("write 1 {}", "x".repeat(513));
        assert_eq!(parse(&long), Err(BadCommand::TextTooLong));
    }
}
