//! `cargo xtask generate`: texts of the repository that are made from the code, and the checks that hold them to it.
//!
//! [`api`] is the public API of each published crate, [`header`] the block protocol for C, [`driver_header`] the driver for C, both by
//! [`c_header`]; [`sizes`] is the table of sizes by feature. The checks compare and name the difference, the command writes.

pub(crate) mod api;
mod c_header;
pub(crate) mod driver_header;
pub(crate) mod header;
pub(crate) mod sizes;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use similar::TextDiff;

use crate::cli::{GenerateArgs, Kind};
use crate::console::say;
use crate::progress::Progress;
use crate::workspace::{Workspace, is_published};

/// Lines around a difference.
const AROUND: usize = 1;
/// Most lines of a difference that are shown.
const SHOWN: usize = 60;

/// A file, and the text that belongs into it.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    /// What writes it, for the message that it is old.
    pub(crate) kind: Kind,
}

impl Generated {
    /// How the file differs from the text, if it does.
    pub(crate) fn difference(&self, root: &Path) -> Option<String> {
        let there = std::fs::read_to_string(&self.file).unwrap_or_default();
        let lines = difference(&there, &self.text)?;
        let name = self.file.strip_prefix(root).unwrap_or(&self.file).display();
        let command = self.kind.command();
        Some(format!("{name} is old; `{command}` writes it anew\n{lines}"))
    }

    /// Writes the file; true if it has changed.
    fn write(&self) -> Result<bool> {
        if std::fs::read_to_string(&self.file).is_ok_and(|there| there == self.text) {
            return Ok(false);
        }
        let folder = self.file.parent().unwrap_or(&self.file);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&self.file, &self.text));
        written.with_context(|| format!("cannot write {}", self.file.display()))?;
        Ok(true)
    }
}

/// Runs the command.
pub(crate) fn command(args: &GenerateArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    let wants = |kind| args.kinds.is_empty() || args.kinds.contains(&kind);
    let put = |generated: Generated| -> Result<()> {
        let name = generated.file.strip_prefix(&workspace.root).unwrap_or(&generated.file);
        let state = if generated.write()? { "written" } else { "as it was" };
        say(&format!("{}: {state}", name.display()));
        Ok(())
    };
    if wants(Kind::Header) {
        put(header::generate(&workspace)?)?;
        put(driver_header::generate(&workspace)?)?;
    }
    if wants(Kind::Api) {
        for package in workspace.packages.iter().filter(|package| is_published(package)) {
            put(api::generate(&workspace, package, progress)?)?;
        }
    }
    if wants(Kind::Sizes) {
        put(sizes::generate(&workspace, progress)?)?;
    }
    Ok(true)
}

/// The lines that differ, with a sign in front, if there are any.
fn difference(there: &str, wanted: &str) -> Option<String> {
    if there == wanted {
        return None;
    }
    let diff = TextDiff::from_lines(there, wanted);
    let text = diff.unified_diff().context_radius(AROUND).to_string();
    let mut lines: Vec<&str> = text.lines().take(SHOWN).collect();
    if text.lines().count() > SHOWN {
        lines.push("...");
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_lines_that_go_and_come() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let text = difference("a\nb\nc\nd\ne\n", "a\nb\nx\nd\ne\n").unwrap();
        assert!(text.contains("-c\n") && text.contains("+x\n"), "{text}");
        assert!(!text.contains(" a\n"), "{text}");
        let long: String = (0..200).map(|number| format!("{number}\n")).collect();
        let text = difference("", &long).unwrap();
        assert!(text.ends_with("...") && text.lines().count() == SHOWN + 1, "{text}");
    }

    #[test]
    fn a_file_that_is_old_is_named_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let generated = Generated {
            file: folder.path().join("api.txt"),
            text: "new\n".to_owned(),
            kind: Kind::Api,
        };
        let text = generated.difference(folder.path()).unwrap();
        assert!(
            text.starts_with("api.txt is old; `cargo xtask generate api` writes it anew\n"),
            "{text}"
        );
        assert!(generated.write().unwrap());
        assert!(!generated.write().unwrap());
        assert_eq!(generated.difference(folder.path()), None);
    }
}
