//! What kind of machine this is.

use std::path::{Path, PathBuf};

/// The fields of `/etc/os-release` that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// Debian, Ubuntu, or made from one of them.
    pub(crate) debian_like: bool,
    /// The name of the release, e.g. `bookworm`; empty if the system has none.
    pub(crate) codename: String,
    /// The system itself, e.g. `debian`.
    pub(crate) id: String,
    /// The first number of the release's version. None before it is released.
    pub(crate) major: Option<u32>,
}

impl Release {
    /// Of the machine this runs on.
    pub(crate) fn of_this_machine() -> Release {
        Release::parse(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Release {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let families = format!("{} {}", value("ID"), value("ID_LIKE"));
        Release {
            debian_like: families.split(' ').any(|family| matches!(family, "debian" | "ubuntu")),
            codename: value("VERSION_CODENAME"),
            id: value("ID"),
            major: value("VERSION_ID")
                .split('.')
                .next()
                .and_then(|number| number.parse().ok()),
        }
    }

    /// Whether this is one of the systems, at that release or a later one.
    pub(super) fn is_since(&self, releases: &[(&str, u32)]) -> bool {
        let known = releases.iter().find(|(id, _)| *id == self.id);
        known.is_some_and(|(_, first)| self.major.is_none_or(|major| major >= *first))
    }
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Uid: real, effective, saved, file system.
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}

/// A program on the path, or where system programs are kept even if the path leaves that out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let debian =
            Release::parse("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        assert_eq!(
            debian,
            Release {
                debian_like: true,
                codename: "bookworm".into(),
                id: "debian".into(),
                major: Some(12),
            }
        );
        let mint = Release::parse("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\n");
        assert!(mint.debian_like);
        assert!(!Release::parse("ID=fedora\n").debian_like);
        assert_eq!(Release::parse(""), Release::default());
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
