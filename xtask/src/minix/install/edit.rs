//! Texts in which one piece is replaced, so that the rest stays as others have it.

use std::ops::Range;

use anyhow::{Context, Result, bail};

use super::conf;
use super::place::commands;
use crate::minix::shipped::SERVICE;

/// The line of the ramdisk's list after which those of our programs go. The list is in the format of `mkfs.mfs`.
const NEIGHBOUR: &str = "minix-service ---755 0 0 minix-service";

/// A piece of a text, and what is to be in its place.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) at: Range<usize>,
    pub(super) is: String,
}

impl Edit {
    /// The entry of the service in the place of the one that is there, or at the end.
    pub(super) fn entry(text: &str, ours: &str) -> Result<Edit> {
        let ours = entry_of(ours)?.replace("\r\n", "\n");
        let mut edit = match conf::entry(text, SERVICE)? {
            Some(at) => Edit { at, is: ours },
            None if conf::includes(text)? => {
                bail!("has no entry for {SERVICE} but includes other files: put the entry where it belongs by hand")
            }
            None => {
                let line_end = if text.is_empty() || text.ends_with('\n') {
                    ""
                } else {
                    "\n"
                };
                Edit {
                    at: text.len()..text.len(),
                    is: format!("{line_end}\n{ours}\n"),
                }
            }
        };
        if text.contains("\r\n") {
            edit.is = edit.is.replace('\n', "\r\n");
        }
        Ok(edit)
    }

    /// A line for each program that is no service, in the directory `sbin` of the ramdisk.
    pub(super) fn lines(text: &str) -> Result<Edit> {
        let mut place = 0;
        for line in text.split_inclusive('\n') {
            place += line.len();
            let words: Vec<_> = line.split_whitespace().collect();
            if words.join(" ") == NEIGHBOUR {
                let indent: String = line.chars().take_while(|first| first.is_whitespace()).collect();
                let line_end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
                let lines = commands().map(|name| format!("{indent}{name} ---755 0 0 {name}{line_end}"));
                return Ok(Edit {
                    at: place..place,
                    is: lines.collect(),
                });
            }
        }
        bail!("has no line `{NEIGHBOUR}`, after which a program for root would go")
    }

    /// The piece that it takes away.
    pub(super) fn was<'a>(&self, text: &'a str) -> &'a str {
        &text[self.at.clone()]
    }

    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        text.replace_range(self.at.clone(), &self.is);
        text
    }
}

/// The text with one piece in the place of another, if that is in it once.
pub(super) fn exchange(text: &str, piece: &str, other: &str) -> Option<String> {
    let mut places = text.match_indices(piece);
    let (place, _) = places.next()?;
    match places.next() {
        Some(_) => None,
        None => Some(format!("{}{other}{}", &text[..place], &text[place + piece.len()..])),
    }
}

/// The entry alone.
fn entry_of(ours: &str) -> Result<&str> {
    let entry = conf::entry(ours, SERVICE)?.context("the system.conf of the service has no entry for it")?;
    Ok(&ours[entry])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "# Why.\nservice virtio_blk_mmio\n{\n\tuid\t0;\n};\n";

    fn edited(text: &str) -> String {
        Edit::entry(text, OURS).unwrap().apply(text)
    }

    #[test]
    fn the_entry_takes_the_place_of_the_old_one() {
        assert_eq!(
            edited("service a { };\nservice   virtio_blk_mmio{ uid 1; }; # disk\nservice b { };\n"),
            "service a { };\nservice virtio_blk_mmio\n{\n\tuid\t0;\n}; # disk\nservice b { };\n"
        );
    }

    #[test]
    fn a_missing_entry_goes_to_the_end() {
        let entry = "service virtio_blk_mmio\n{\n\tuid\t0;\n};\n";
        assert_eq!(edited("service a { };\n"), format!("service a {{ }};\n\n{entry}"));
        assert_eq!(
            edited("service a { }; # no end"),
            format!("service a {{ }}; # no end\n\n{entry}")
        );
    }

    #[test]
    fn lines_end_as_the_others_do() {
        let text = edited("service a { };\r\nservice virtio_blk_mmio { };\r\n");
        assert_eq!(
            text,
            "service a { };\r\nservice virtio_blk_mmio\r\n{\r\n\tuid\t0;\r\n};\r\n"
        );
    }

    #[test]
    fn a_missing_entry_may_be_in_an_included_file() {
        let error = Edit::entry("include more;\nservice a { };", OURS)
            .unwrap_err()
            .to_string();
        assert!(error.contains("includes other files"), "{error}");
    }

    #[test]
    fn the_line_of_a_program_goes_after_its_neighbour() {
        let text = "\tsbin d--755 0 0\n\t\tminix-service ---755 0 0 minix-service\n\t\tsysenv ---755 0 0 sysenv\n\t$\n";
        let applied = Edit::lines(text).unwrap().apply(text);
        assert!(
            applied.contains("minix-service\n\t\tvblkctl ---755 0 0 vblkctl\n\t\tsysenv"),
            "{applied}"
        );
        assert!(Edit::lines("\tsbin d--755 0 0\n\t$\n").is_err());
    }

    #[test]
    fn a_piece_is_exchanged_only_if_it_is_there_once() {
        assert_eq!(exchange("abc", "b", "x").as_deref(), Some("axc"));
        assert_eq!(exchange("abcb", "b", "x"), None);
        assert_eq!(exchange("ac", "b", "x"), None);
    }
}
