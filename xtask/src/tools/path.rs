//! Finding a program.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A program on the path, or where system programs are kept even if the path leaves that out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let is_executable = |data: std::fs::Metadata| data.is_file() && data.permissions().mode() & 0o111 != 0;
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| std::fs::metadata(file).is_ok_and(is_executable))
}
