//! `cargo xtask build` and `cargo xtask minix check`: what is built can be loaded, and what cannot be loaded is refused with one
//! line that says why.

use std::path::Path;

use super::check::{Check, Verdict};
use super::command_line::{refused, xtask};
use crate::minix::shipped::{SERVICE, SHIPPED};

/// Name of the check, how the program breaks a rule, and part of the line.
type Case = (&'static str, fn(&mut Vec<u8>), &'static str);

#[rustfmt::skip]
const REFUSED: [Case; 10] = [
    ("magic", |elf| elf[0] = 0, "not an ELF file"),
    ("32-bit", |elf| elf[4] = 1, "64-bit"),
    ("big-endian", |elf| elf[5] = 2, "little-endian"),
    ("object", |elf| elf[16] = 1, "neither ET_EXEC nor ET_DYN"),
    ("far-headers", |elf| elf[33] = 2, "first 512 bytes"),
    ("odd-headers", |elf| elf[54] = 57, "instead of 56"),
    // Type, flags, address and size in memory of the first segment.
    ("interpreter", |elf| *first_header(elf, 0) = 3, "interpreter"),
    ("no-code", |elf| *first_header(elf, 4) &= !1, "entry point"),
    ("high", |elf| *first_header(elf, 16 + 4) = 1, "4 GiB"),
    ("shared-page", |elf| *first_header(elf, 40 + 2) += 0x10, "shares a page"),
];

pub(super) fn checks() -> Vec<Check> {
    let broken = REFUSED.into_iter().map(|(name, damage, part)| {
        Check::new(format!("minix/refused/{name}"), move |context| {
            let mut elf = built(&context.workspace.root, &context.workspace.target)?;
            damage(&mut elf);
            is_refused("program", &elf, part)
        })
    });
    let large = SHIPPED.iter().map(|program| {
        Check::new(format!("minix/refused/large/{}", program.name), |context| {
            let mut elf = built(&context.workspace.root, &context.workspace.target)?;
            elf.resize(program.limit + 1, 0);
            is_refused(program.name, &elf, &format!("{} bytes", program.limit + 1))
        })
    });
    let build = Check::new("minix/build", |context| {
        let built = succeeds(&context.workspace.root, "build")?;
        let directory = context.workspace.target.join("minix");
        let programs = SHIPPED.iter().map(|program| program.name);
        let mut lines = built.lines();
        for name in programs.clone().chain(["system.conf"]) {
            let file = directory.join(name);
            if !file.is_file() {
                return Err(format!("no {name}\n{built}"));
            }
            let named = format!("{}: ", file.display());
            if !lines.next().is_some_and(|line| line.starts_with(&named)) {
                return Err(format!("not one line for each file\n{built}"));
            }
        }
        for name in programs {
            let checked = succeeds(&directory, &format!("minix check {name}"))?;
            if !checked.contains("loadable") || checked.lines().count() <= 1 {
                return Err(checked);
            }
        }
        lines
            .next()
            .map_or(Ok(()), |_| Err(format!("more lines than files\n{built}")))
    });
    std::iter::once(build).chain(broken).chain(large).collect()
}

/// A file of this name and content is refused with one line that has this part.
fn is_refused(name: &str, elf: &[u8], part: &str) -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(directory.path().join(name), elf).map_err(|error| error.to_string())?;
    refused(&xtask(directory.path(), &format!("minix check {name}"))?, 1, part)
}

/// A byte of the first program header.
fn first_header(elf: &mut [u8], at: usize) -> &mut u8 {
    let headers = usize::from(elf[32]);
    &mut elf[headers + at]
}

/// The service, built by the check above, or by this one where that was left out.
fn built(root: &Path, target: &Path) -> Result<Vec<u8>, String> {
    let elf = target.join("minix").join(SERVICE);
    if !elf.is_file() {
        succeeds(root, "build")?;
    }
    std::fs::read(&elf).map_err(|error| error.to_string())
}

fn succeeds(directory: &Path, arguments: &str) -> Result<String, String> {
    let output = xtask(directory, arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text + &String::from_utf8_lossy(&output.stderr))
    }
}
