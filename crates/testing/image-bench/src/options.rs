//! The words of the boot command line, by which the host controls the image.

use core::fmt;

/// What a boot measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Instructions of each stage, exactly. The machine counts instructions.
    Counts,
    /// Requests per second and latency.
    Rates {
        /// How often each contender has its turn.
        rounds: u32,
        /// How long a turn takes, in microseconds.
        slice_micros: u64,
    },
}

impl Pass {
    /// Reads a command line; `None` if it makes no sense.
    pub fn parse(text: &str) -> Option<Pass> {
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

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pass::Counts => f.write_str("counts"),
            Pass::Rates { rounds, slice_micros } => write!(f, "rates {rounds} {slice_micros}"),
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
        ] {
            assert_eq!(Pass::parse(text), None, "{text}");
        }
    }
}
