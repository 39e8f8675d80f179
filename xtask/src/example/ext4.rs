//! `ext4` lists and reads the files of an ext4 file system, which is made by `mkfs.ext4` from a folder, and changes nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::file_system::{Files, checksum, content, run, write_folder};
use super::{Example, Ran};
use crate::tools::E2FSPROGS;

pub(super) const EXAMPLE: Example = Example {
    harts: 1,
    needs: &[E2FSPROGS],
    disks: &[make],
    judge,
};

/// Large and small ones, one without bytes, and one that is far from the root.
fn files() -> Files {
    Files::from([
        ("hello.txt".to_owned(), b"hello from the host\n".into()),
        ("empty".to_owned(), Vec::new()),
        ("folder/large.bin".to_owned(), content(1, 1_500_001)),
        ("folder/in/a/folder/small.bin".to_owned(), content(2, 1025)),
    ])
}

fn make(path: &Path) -> Result<()> {
    let tree = path.with_extension("tree");
    write_folder(&tree, &files())?;
    std::os::unix::fs::symlink("../hello.txt", tree.join("folder/link"))?;
    let options = ["-q", "-F", "-L", "example", "-b", "1024", "-d"].map(AsRef::as_ref);
    let places = [tree.as_os_str(), path.as_os_str(), "12M".as_ref()];
    run("mkfs.ext4", options.into_iter().chain(places))?;
    fs::copy(path, copy(path)).context("cannot copy the disk")?;
    Ok(())
}

/// The disk as it was made.
fn copy(path: &Path) -> std::path::PathBuf {
    path.with_extension("made")
}

fn judge(ran: &Ran) -> Result<()> {
    ran.has_line("file system `example`")?;
    for (name, content) in files() {
        ran.has_line(&format!("/{name}: {} bytes, {}", content.len(), checksum(&content)))?;
    }
    ran.has_line("/folder/link -> ../hello.txt")?;
    let disk = &ran.disks[0];
    run("e2fsck", ["-f".as_ref(), "-n".as_ref(), disk.as_os_str()])?;
    if ran.disk(0)? != fs::read(copy(disk)).context("cannot read the copy of the disk")? {
        bail!("the disk has changed");
    }
    Ok(())
}
