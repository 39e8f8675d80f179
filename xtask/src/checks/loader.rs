//! `cargo xtask build` and `cargo xtask minix check`: what is built can be loaded, and what cannot be loaded is refused with one
//! line that says why.

use std::path::Path;

use super::command_line::xtask;
use super::{Check, Verdict};
use crate::minix::programs::SERVICE;

/// Changes a program so that it breaks one rule.
type Damage = fn(&mut Vec<u8>);

/// Offsets in an ELF file, and in a program header.
const TYPE: usize = 16;
const HEADERS: usize = 32;
const HEADER_BYTES: usize = 54;
const SEGMENT_FLAGS: usize = 4;
const SEGMENT_ADDRESS: usize = 16;
const SEGMENT_IN_MEMORY: usize = 40;

/// Name, damage, part of the line.
const DAMAGED: [(&str, Damage, &str); 10] = [
    ("magic", |elf| elf[0] = 0, "not an ELF file"),
    ("32-bit", |elf| elf[4] = 1, "64-bit"),
    ("big-endian", |elf| elf[5] = 2, "little-endian"),
    ("object", |elf| elf[TYPE] = 1, "neither ET_EXEC nor ET_DYN"),
    ("far-headers", |elf| elf[HEADERS + 1] = 2, "first 512 bytes"),
    ("odd-headers", |elf| elf[HEADER_BYTES] = 57, "instead of 56"),
    (
        "interpreter",
        |elf| {
            let at = first_header(elf);
            elf[at] = 3;
        },
        "interpreter",
    ),
    (
        "high",
        |elf| {
            let at = first_header(elf) + SEGMENT_ADDRESS + 4;
            elf[at] = 1;
        },
        "4 GiB",
    ),
    (
        "shared-page",
        |elf| {
            // The first segment grows into the next one.
            let at = first_header(elf) + SEGMENT_IN_MEMORY + 2;
            elf[at] += 0x10;
        },
        "shares a page",
    ),
    (
        "no-code",
        |elf| {
            let at = first_header(elf) + SEGMENT_FLAGS;
            elf[at] &= !1;
        },
        "entry point",
    ),
];

pub(super) fn checks() -> Vec<Check> {
    let build = Check::new("minix/build", |context| {
        let directory = context.workspace.target.join("minix");
        let built = succeeds(&directory, "build")?;
        for name in [SERVICE, "system.conf"] {
            if !directory.join(name).is_file() {
                return Err(format!("no {name}\n{built}"));
            }
        }
        if built.lines().count() != 1 || !built.contains(SERVICE) {
            return Err(format!("not one line that names the service\n{built}"));
        }
        let checked = succeeds(&directory, &format!("minix check {SERVICE}"))?;
        if checked.contains("loadable") && checked.lines().count() > 1 {
            Ok(())
        } else {
            Err(checked)
        }
    });
    let refused = DAMAGED.into_iter().map(|(name, damage, part)| {
        Check::new(format!("minix/refused/{name}"), move |context| {
            // Built by the check above, or by this one where that was left out.
            let elf = context.workspace.target.join("minix").join(SERVICE);
            if !elf.is_file() {
                succeeds(&context.workspace.root, "build")?;
            }
            let mut program = std::fs::read(&elf).map_err(|error| error.to_string())?;
            damage(&mut program);
            refuses("program", &program, part)
        })
    });
    let large = Check::new("minix/refused/large", |context| {
        let elf = context.workspace.target.join("minix").join(SERVICE);
        if !elf.is_file() {
            succeeds(&context.workspace.root, "build")?;
        }
        let mut program = std::fs::read(&elf).map_err(|error| error.to_string())?;
        program.resize(200_000, 0);
        refuses(SERVICE, &program, "200000 bytes")
    });
    std::iter::once(build).chain(refused).chain([large]).collect()
}

fn first_header(elf: &[u8]) -> usize {
    usize::from(elf[HEADERS])
}

fn succeeds(directory: &Path, arguments: &str) -> Result<String, String> {
    let directory = if directory.is_dir() { directory } else { Path::new(".") };
    let output = xtask(directory, arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text + &String::from_utf8_lossy(&output.stderr))
    }
}

/// A program of this content is refused with one line.
fn refuses(name: &str, program: &[u8], part: &str) -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(directory.path().join(name), program).map_err(|error| error.to_string())?;
    let output = xtask(directory.path(), &format!("minix check {name}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_one_line = text.lines().count() == 1 && text.starts_with("error: ") && text.contains(part);
    if output.status.code() == Some(1) && is_one_line {
        Ok(())
    } else {
        Err(format!(
            "not refused with one line about `{part}`: {}\n{text}",
            output.status
        ))
    }
}
