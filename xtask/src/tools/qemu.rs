//! Finding a QEMU that will do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::find_program;

const PROGRAM: &str = "qemu-system-riscv64";

/// The firmware that `-bios default` loads on the 64-bit machine.
const FIRMWARE: &str = "opensbi-riscv64-generic-fw_dynamic.bin";

/// The oldest QEMU whose `virt` machine and block device do all that the runs need.
const OLDEST: Version = Version { major: 7, minor: 0 };

/// A QEMU for 64-bit RISC-V, new enough and with its firmware.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why there is no QEMU to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    NotFound,
    NotQemu,
    TooOld(Version),
    NoFirmware,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::NotFound => write!(f, "QEMU ({PROGRAM}) is missing"),
            Unusable::NotQemu => f.write_str("this program does not say a QEMU version"),
            Unusable::TooOld(version) => write!(f, "QEMU {version} is too old, {OLDEST} or newer is needed"),
            Unusable::NoFirmware => write!(f, "QEMU has no OpenSBI firmware ({FIRMWARE})"),
        }
    }
}

impl Qemu {
    /// The QEMU at `explicit`, or else the one on the path.
    pub(super) fn find(explicit: Option<&Path>) -> Result<Qemu, Unusable> {
        let program = match explicit {
            Some(path) => path.to_owned(),
            None => find_program(PROGRAM).ok_or(Unusable::NotFound)?,
        };
        let version = parse_version(&answer(&program, &["--version"])?).ok_or(Unusable::NotQemu)?;
        if version < OLDEST {
            return Err(Unusable::TooOld(version));
        }
        // QEMU itself knows where it looks for firmware.
        let directories = answer(&program, &["-L", "help"])?;
        if !directories
            .lines()
            .any(|directory| Path::new(directory.trim()).join(FIRMWARE).is_file())
        {
            return Err(Unusable::NoFirmware);
        }
        Ok(Qemu { program, version })
    }

    /// A program that is taken for a QEMU unseen.
    #[cfg(test)]
    pub(crate) fn assumed(program: &Path) -> Qemu {
        Qemu {
            program: program.to_owned(),
            version: OLDEST,
        }
    }

    /// What to call QEMU where none has been looked for.
    pub(crate) fn usual_name() -> &'static Path {
        Path::new(PROGRAM)
    }
}

fn answer(program: &Path, arguments: &[&str]) -> Result<String, Unusable> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|_| Unusable::NotFound)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// From the first line, e.g. `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn parse_version(text: &str) -> Option<Version> {
    let (_, after) = text.lines().next()?.split_once("QEMU emulator version ")?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    Some(Version {
        major: numbers.next()?.parse().ok()?,
        minor: numbers.next()?.parse().ok()?,
    })
}
