//! What makes and checks file systems: programs of the host, contents, and checksums as the examples print them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use crc::{CRC_32_ISO_HDLC, Crc};

use crate::tools::find_program;

/// Runs a program. The error is what it printed.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<()> {
    let path = find_program(program).with_context(|| format!("{program} is missing"))?;
    let output = Command::new(path)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{program} complains:\n{}", String::from_utf8_lossy(&text).trim());
    }
    Ok(())
}

/// Bytes that are the same in each run, and repeat in no block.
pub(super) fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

/// A checksum as the examples print it.
pub(super) fn checksum(content: &[u8]) -> String {
    format!("checksum {:08x}", Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(content))
}

/// The contents of files, by path.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A folder with these files.
pub(super) fn write_folder(folder: &Path, files: &Files) -> Result<()> {
    for (name, content) in files {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The folder has these files, and no others.
pub(super) fn compare_folder(folder: &Path, wanted: &Files) -> Result<()> {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(below)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.display().to_string();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>().join(" ");
    if names(&found) != names(wanted) {
        bail!("files on the disk: {}; expected: {}", names(&found), names(wanted));
    }
    for (name, content) in wanted {
        ensure!(found[name] == *content, "{name} has another content");
    }
    Ok(())
}
