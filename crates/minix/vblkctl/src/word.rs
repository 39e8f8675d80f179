//! A word of the command line, as `getargs` takes it apart.

use core::fmt;

use getargs::Argument;

/// A word. For `&str` itself `getargs` has an index that could be out of bounds, and the text of that panic brings five kilobytes
/// of Unicode tables. Nothing here can panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Argument for Word<'_> {
    type ShortOpt = char;

    fn ends_opts(self) -> bool {
        self.0.ends_opts()
    }

    fn parse_long_opt(self) -> Option<(Self, Option<Self>)> {
        let text = self.0.strip_prefix("--").filter(|text| !text.is_empty())?;
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        Some((Self(name), value.map(Self)))
    }

    fn parse_short_cluster(self) -> Option<Self> {
        self.0.parse_short_cluster().map(Self)
    }

    fn consume_short_opt(self) -> (char, Option<Self>) {
        let mut rest = self.0.chars();
        // It is not empty. If it were, this would be no option of the program.
        let first = rest.next().unwrap_or('-');
        (first, Some(Self(rest.as_str())).filter(|rest| !rest.0.is_empty()))
    }

    fn consume_short_val(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_as_their_text_is() {
        for text in [
            "", "-", "--", "-a", "-abc", "-é2", "--x", "--x=", "--x=y=z", "--=y", "file", "a-b",
        ] {
            assert_eq!(Word(text).ends_opts(), text.ends_opts(), "{text}");
            let long = text.parse_long_opt();
            assert_eq!(
                Word(text).parse_long_opt(),
                long.map(|(name, value)| (Word(name), value.map(Word)))
            );
            let cluster = text.parse_short_cluster();
            assert_eq!(Word(text).parse_short_cluster(), cluster.map(Word), "{text}");
            if let Some(cluster) = cluster {
                let (first, rest) = cluster.consume_short_opt();
                assert_eq!(Word(cluster).consume_short_opt(), (first, rest.map(Word)), "{text}");
                assert_eq!(Word(cluster).consume_short_val(), Word(cluster.consume_short_val()));
            }
        }
    }
}
