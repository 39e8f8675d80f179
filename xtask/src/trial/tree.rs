//! A copy of the sources in which one change is made at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// A copy of all files that git knows or would add.
pub(crate) struct Tree(PathBuf);

/// A file with a change in it. It is as before when this value goes.
pub(crate) struct Changed {
    file: PathBuf,
    original: String,
}

impl Tree {
    /// Makes the copy, or brings it up to date. Files that are the same stay, so that nothing is built again for their sake.
    pub(crate) fn copy(workspace: &Workspace, to: &Path) -> Result<Tree> {
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

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Changes the text of a file, named from the root.
    pub(crate) fn change(&self, file: &str, change: impl FnOnce(&str) -> Result<String>) -> Result<Changed> {
        let file = self.0.join(file);
        let original = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        fs::write(&file, change(&original)?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Changed { file, original })
    }
}

impl Drop for Changed {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_and_undone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.rs"), "a == b").unwrap();
        let tree = Tree(folder.path().to_owned());
        let read = || fs::read_to_string(folder.path().join("f.rs")).unwrap();
        let changed = tree.change("f.rs", |text| Ok(text.replace("==", "!="))).unwrap();
        assert_eq!(read(), "a != b");
        drop(changed);
        assert_eq!(read(), "a == b");
        assert!(tree.change("f.rs", |_| anyhow::bail!("not there")).is_err());
        assert_eq!(read(), "a == b");
    }
}
