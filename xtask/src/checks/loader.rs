//! `cargo xtask build` and `cargo xtask minix check`: what is built can be loaded, and what cannot be loaded is refused with one
//! line that says why.

use std::path::Path;

use super::Check;
use super::command_line::{refused, xtask};
use crate::minix::programs::SERVICE;

/// Name of the check, of the program, how it breaks a rule, and part of the line.
type Case = (&'static str, &'static str, fn(&mut Vec<u8>), &'static str);

#[rustfmt::skip]
const REFUSED: [Case; 11] = [
    ("magic", "program", |elf| elf[0] = 0, "not an ELF file"),
    ("32-bit", "program", |elf| elf[4] = 1, "64-bit"),
    ("big-endian", "program", |elf| elf[5] = 2, "little-endian"),
    ("object", "program", |elf| elf[16] = 1, "neither ET_EXEC nor ET_DYN"),
    ("far-headers", "program", |elf| elf[33] = 2, "first 512 bytes"),
    ("odd-headers", "program", |elf| elf[54] = 57, "instead of 56"),
    // Type, flags, address and size in memory of the first segment.
    ("interpreter", "program", |elf| *first_header(elf, 0) = 3, "interpreter"),
    ("no-code", "program", |elf| *first_header(elf, 4) &= !1, "entry point"),
    ("high", "program", |elf| *first_header(elf, 16 + 4) = 1, "4 GiB"),
    ("shared-page", "program", |elf| *first_header(elf, 40 + 2) += 0x10, "shares a page"),
    ("large", SERVICE, |elf| elf.resize(200_000, 0), "200000 bytes"),
];

pub(super) fn checks() -> Vec<Check> {
    let refused = REFUSED.map(|(name, program, damage, part)| {
        Check::new(format!("minix/refused/{name}"), move |context| {
            let mut elf = built(&context.workspace.root, &context.workspace.target)?;
            damage(&mut elf);
            let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
            std::fs::write(directory.path().join(program), elf).map_err(|error| error.to_string())?;
            refused(&xtask(directory.path(), &format!("minix check {program}"))?, 1, part)
        })
    });
    let build = Check::new("minix/build", |context| {
        let built = succeeds(&context.workspace.root, "build")?;
        let directory = context.workspace.target.join("minix");
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
    std::iter::once(build).chain(refused).collect()
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
