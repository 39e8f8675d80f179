//! The smallest user of the driver: it works, it is small, and no panic is left in it.

use std::path::Path;

use elf::ElfBytes;
use elf::endian::LittleEndian;

use super::check::{Check, Context, Guest, Verdict};
use super::small_machine;
use crate::bench::minimal::{Minimal, Profile, RIVAL, USER};
use crate::progress::Progress;

/// Most bytes of code that a user of reads and writes alone may get from the driver, at opt-level z.
const MOST_TEXT: u64 = 8 << 10;

/// Part of the names of the functions that begin a panic. A linker keeps one only if there is a way to it.
const PANIC: &str = "9panicking";

/// Sector and byte that the programs write.
const SECTOR: usize = 3;
const CONTENT: u8 = 0x5A;

pub(super) fn checks() -> Vec<Check> {
    let size = Check::new("minimal/size", |context| {
        let programs = Minimal::build(&context.workspace, Profile::Small, Progress::Silent);
        let size = programs.and_then(|programs| programs.size(USER));
        let text = size.map_err(|error| format!("{error:#}"))?.text;
        match text <= MOST_TEXT {
            true => Ok(()),
            false => Err(format!(
                "{text} bytes of code, {MOST_TEXT} are allowed; `nm --size-sort -S` tells where they are"
            )),
        }
    });
    let panics = [Profile::Small, Profile::Fast].map(|profile| {
        Check::new(format!("minimal/no-panic/{}", profile.name()), move |context| {
            let programs = Minimal::build(&context.workspace, profile, Progress::Silent);
            let programs = programs.map_err(|error| format!("{error:#}"))?;
            // The other driver shows that a panic would be found.
            match [USER, RIVAL].map(|name| has_panic(&programs.program(name))) {
                [Ok(false), Ok(true)] => Ok(()),
                [Ok(true), _] => Err("a panic can be reached".to_owned()),
                found => Err(format!("no symbols to tell by: {found:?}")),
            }
        })
    });
    let runs = [(USER, "true"), (USER, "false"), (RIVAL, "false")].map(|(name, legacy)| Check {
        boots: Some(Guest::Bare),
        ..Check::new(format!("minimal/run/{name}/legacy-{legacy}"), move |context| {
            let programs = Minimal::build(&context.workspace, Profile::Small, Progress::Silent);
            let program = programs.map_err(|error| format!("{error:#}"))?.program(name);
            boot(context, &program, legacy)
        })
    });
    std::iter::once(size).chain(panics).chain(runs).collect()
}

/// Whether a program has a way to a panic.
fn has_panic(path: &Path) -> Result<bool, String> {
    let file = std::fs::read(path).map_err(|error| error.to_string())?;
    let broken = |error: elf::ParseError| error.to_string();
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&file).map_err(broken)?;
    let (symbols, names) = elf.symbol_table().map_err(broken)?.ok_or("there are no symbols")?;
    if symbols.is_empty() {
        return Err("there are no symbols".to_owned());
    }
    let mut names = symbols.iter().map(|symbol| names.get(symbol.st_name as usize));
    Ok(names.any(|name| name.is_ok_and(|name| name.contains(PANIC))))
}

/// Boots the program with an empty disk. It says by its status whether it read what it had written; the disk says it, too.
fn boot(context: &Context, program: &Path, legacy: &str) -> Verdict {
    let failed = |error: std::io::Error| error.to_string();
    let disk = tempfile::NamedTempFile::new().map_err(failed)?;
    disk.as_file().set_len(1 << 20).map_err(failed)?;
    small_machine::boot(context, program, disk.path(), legacy, |_| true)?;
    let content = std::fs::read(disk.path()).map_err(failed)?;
    let written = content.iter().enumerate().all(|(place, &byte)| match place / 512 {
        SECTOR => byte == CONTENT,
        _ => byte == 0,
    });
    if written {
        Ok(())
    } else {
        Err("the disk is not as the program should have left it".to_owned())
    }
}
