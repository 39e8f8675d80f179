//! A copy of the sources in which one change is made at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::draw::{Mutant, Position};
use crate::workspace::Workspace;

/// A copy of all files that git knows or would add.
pub(super) struct Tree(PathBuf);

/// A file with a mutant in it. It is as before when this value goes.
pub(super) struct Mutated {
    file: PathBuf,
    original: String,
}

impl Tree {
    /// Makes the copy, or brings it up to date. Files that are the same stay, so that nothing is built again for their sake.
    pub(super) fn copy(workspace: &Workspace, to: &Path) -> Result<Tree> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&workspace.root)
            .output()
            .context("cannot start git")?;
        ensure!(output.status.success(), "git does not list the files of the workspace");
        for name in output.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let name = std::str::from_utf8(name).context("a file name is no text")?;
            let (from, to) = (workspace.root.join(name), to.join(name));
            match fs::read(&from) {
                Ok(content) => put(&to, &content)?,
                // It was removed, and git was not told.
                Err(_) => drop(fs::remove_file(&to)),
            }
        }
        Ok(Tree(to.to_owned()))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Makes the change.
    pub(super) fn mutate(&self, mutant: &Mutant) -> Result<Mutated> {
        let file = self.0.join(&mutant.file);
        let original = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (start, end) = (offset(&original, mutant.span.start), offset(&original, mutant.span.end));
        let (Some(start), Some(end)) = (start, end) else {
            anyhow::bail!("{} is not in the file", mutant.name);
        };
        let changed = format!("{}{}{}", &original[..start], mutant.replacement, &original[end..]);
        fs::write(&file, changed).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Mutated { file, original })
    }
}

impl Drop for Mutated {
    fn drop(&mut self) {
        // The next copy finds the difference if this fails.
        let _ = fs::write(&self.file, &self.original);
    }
}

fn put(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(file);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(file, content));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Where a position is in a text, in bytes.
fn offset(text: &str, position: Position) -> Option<usize> {
    let start: usize = text
        .split_inclusive('\n')
        .take(position.line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let line = text.get(start..)?;
    let mut columns = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    columns.nth(position.column.checked_sub(1)?).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::super::draw::Span;
    use super::*;

    #[test]
    fn a_change_is_made_and_undone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "fn a() {\n    é == b\n}\n";
        fs::write(folder.path().join("f.rs"), text).unwrap();
        let tree = Tree(folder.path().to_owned());
        let mutant = Mutant {
            name: "replace == with !=".to_owned(),
            package: String::new(),
            file: "f.rs".to_owned(),
            span: Span {
                start: Position { line: 2, column: 7 },
                end: Position { line: 2, column: 9 },
            },
            replacement: "!=".to_owned(),
        };
        let read = || fs::read_to_string(folder.path().join("f.rs")).unwrap();
        let mutated = tree.mutate(&mutant).unwrap();
        assert_eq!(read(), text.replace("==", "!="));
        drop(mutated);
        assert_eq!(read(), text);
        assert_eq!(offset(text, Position { line: 9, column: 1 }), Some(text.len()));
        assert_eq!(offset(text, Position { line: 1, column: 99 }), None);
    }
}
