//! Finding a QEMU that will do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::path::find_program;

const PROGRAM: &str = "qemu-system-riscv64";

/// The firmware that `-bios default` loads on the 64-bit machine.
const FIRMWARE: &str = "opensbi-riscv64-generic-fw_dynamic.bin";

/// The oldest major version whose `virt` machine and block device do all that the runs need.
const OLDEST: u32 = 7;

/// A QEMU for 64-bit RISC-V, new enough and with its firmware.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    /// Major and minor version, as in `10.0`.
    pub(crate) version: String,
}

impl Qemu {
    /// The QEMU at `explicit`, or else the one on the path. An error says what is missing.
    pub(super) fn find(explicit: Option<&Path>) -> Result<Qemu> {
        let missing = || format!("QEMU ({PROGRAM}) is missing");
        let program = match explicit {
            Some(path) => path.to_owned(),
            None => find_program(PROGRAM).with_context(missing)?,
        };
        let answer = |arguments: &[&str]| {
            let output = Command::new(&program).args(arguments).stdin(Stdio::null()).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let text = answer(&["--version"]).ok().with_context(missing)?;
        let (major, version) = parse_version(&text).context("this program does not say a QEMU version")?;
        ensure!(
            major >= OLDEST,
            "QEMU {version} is too old, {OLDEST}.0 or newer is needed"
        );
        // QEMU itself knows where it looks for firmware.
        let directories = answer(&["-L", "help"]).ok().with_context(missing)?;
        let mut directories = directories.lines().map(|line| Path::new(line.trim()));
        let has_firmware = directories.any(|directory| directory.join(FIRMWARE).is_file());
        ensure!(has_firmware, "QEMU has no OpenSBI firmware ({FIRMWARE})");
        Ok(Qemu { program, version })
    }

    /// What to call QEMU where none has been looked for.
    pub(crate) fn usual_name() -> &'static Path {
        Path::new(PROGRAM)
    }
}

/// From the first line, e.g. `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let (_, after) = text.lines().next()?.split_once("QEMU emulator version ")?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, format!("{major}.{}", numbers.next()?)))
}
