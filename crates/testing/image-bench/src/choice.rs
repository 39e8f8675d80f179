//! The one case that a boot counts, for a profile.

use core::fmt;
use core::str::FromStr;

use guest_protocol::Case;

/// What a case must be like. An empty text and a zero fit all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice<'a> {
    pub contender: &'a str,
    pub operation: &'a str,
    pub mode: &'a str,
    pub chains: &'a str,
    pub buffer: &'a str,
    pub depth: u32,
    pub segments: u32,
    pub bytes: u32,
}

impl<'a> Choice<'a> {
    /// Changes it by words as `operation=write depth=8`, separated by commas or white space.
    ///
    /// # Errors
    ///
    /// The first word that is not understood.
    pub fn changed(mut self, words: &'a str) -> Result<Self, &'a str> {
        let words = words.split(|c: char| c == ',' || c.is_ascii_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(word)?;
            match name {
                "contender" => self.contender = value,
                "operation" => self.operation = value,
                "mode" => self.mode = value,
                "chains" => self.chains = value,
                "buffer" => self.buffer = value,
                "depth" => self.depth = u32::from_str(value).map_err(|_| word)?,
                "segments" => self.segments = u32::from_str(value).map_err(|_| word)?,
                "bytes" => self.bytes = u32::from_str(value).map_err(|_| word)?,
                _ => return Err(word),
            }
        }
        Ok(self)
    }

    /// Whether this case is like that.
    #[must_use]
    pub fn fits(&self, case: &Case<'_>) -> bool {
        let texts = [
            (self.contender, case.contender),
            (self.operation, case.operation),
            (self.mode, case.mode),
            (self.chains, case.chains),
            (self.buffer, case.buffer),
        ];
        let numbers = [
            (self.depth, case.depth),
            (self.segments, case.segments),
            (self.bytes, case.bytes),
        ];
        texts.iter().all(|(wanted, is)| wanted.is_empty() || wanted == is)
            && numbers.iter().all(|(wanted, is)| *wanted == 0 || wanted == is)
    }
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("contender", self.contender),
            ("operation", self.operation),
            ("mode", self.mode),
            ("chains", self.chains),
            ("buffer", self.buffer),
        ];
        let numbers = [
            ("depth", self.depth),
            ("segments", self.segments),
            ("bytes", self.bytes),
        ];
        let mut space = "";
        for (name, value) in texts.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, "{space}{name}={value}")?;
            space = " ";
        }
        for (name, value) in numbers.iter().filter(|(_, value)| *value != 0) {
            write!(f, "{space}{name}={value}")?;
            space = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    const CASE: Case<'_> = Case {
        contender: "ours",
        operation: "read",
        mode: "polled",
        chains: "direct",
        buffer: "handle",
        depth: 32,
        segments: 1,
        bytes: 4096,
    };

    #[test]
    fn words_change_a_choice_and_a_formatted_one_parses_back() {
        let usual = Choice {
            contender: "ours",
            depth: 32,
            ..Choice::default()
        };
        let changed = usual.changed("depth=8,chains=direct  bytes=512").unwrap();
        let expected = Choice {
            depth: 8,
            chains: "direct",
            bytes: 512,
            ..usual
        };
        assert_eq!(changed, expected);
        assert_eq!(changed.to_string(), "contender=ours chains=direct depth=8 bytes=512");
        assert_eq!(Choice::default().changed(&changed.to_string()), Ok(changed));
        assert_eq!(usual.changed("depth=8 deep=1"), Err("deep=1"));
        assert_eq!(usual.changed("depth=x"), Err("depth=x"));
        assert_eq!(usual.changed("read"), Err("read"));
    }

    #[test]
    fn a_case_fits_if_everything_that_is_named_is_equal() {
        assert!(Choice::default().fits(&CASE));
        let all =
            "contender=ours operation=read mode=polled chains=direct buffer=handle depth=32 segments=1 bytes=4096";
        assert!(Choice::default().changed(all).unwrap().fits(&CASE));
        for word in all.split(' ') {
            let (name, _) = word.split_once('=').unwrap();
            let other = std::format!("{all} {name}=9");
            assert!(!Choice::default().changed(&other).unwrap().fits(&CASE), "{name}");
        }
    }
}
