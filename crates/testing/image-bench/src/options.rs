//! The words of the boot command line, by which the host controls the image.

use core::fmt;

use crate::choice::Choice;

/// What a boot measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass<'a> {
    /// Instructions of each stage, exactly. The machine counts instructions.
    Counts,
    /// Requests per second and latency.
    Rates {
        /// How often each contender has its turn.
        rounds: u32,
        /// How long a turn takes, in microseconds.
        slice_micros: u64,
    },
    /// Instructions of the first case that is like this, and of no other, for a host that logs what is executed.
    Profile(Choice<'a>),
}

impl<'a> Pass<'a> {
    /// Reads a command line; `None` if it makes no sense.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(choice) = text.strip_prefix("profile") {
            return Choice::default().changed(choice).ok().map(Pass::Profile);
        }
        let mut words = text.split_ascii_whitespace();
        let pass = match words.next()? {
            "counts" => Pass::Counts,
            "rates" => Pass::Rates {
                rounds: words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
                slice_micros: words.next()?.parse().ok()?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(pass)
    }
}

impl fmt::Display for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pass::Counts => f.write_str("counts"),
            Pass::Rates { rounds, slice_micros } => write!(f, "rates {rounds} {slice_micros}"),
            Pass::Profile(choice) => write!(f, "profile {choice}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_formatted_pass_parses_back() {
        for pass in [
            Pass::Counts,
            Pass::Rates {
                rounds: 100,
                slice_micros: 4000,
            },
            Pass::Profile(Choice {
                contender: "raw",
                depth: 8,
                ..Choice::default()
            }),
            Pass::Profile(Choice::default()),
        ] {
            assert_eq!(Pass::parse(&pass.to_string()), Some(pass));
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "",
            "fast",
            "counts 1",
            "rates",
            "rates 0 4000",
            "rates 1",
            "rates 1 2 3",
            "rates -1 2",
            "profile depth",
            "profile depth=-1",
        ] {
            assert_eq!(Pass::parse(text), None, "{text}");
        }
    }
}
