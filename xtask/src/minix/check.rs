//! A program against the rules by which MINIX loads it, and one that is shipped against the size it may have.
//!
//! Instructions on floating-point registers are not looked for. MINIX on riscv64 keeps these registers for each process: they are off when
//! a process is switched in, its first instruction that uses them traps, and the kernel then restores what the process had in them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use testkernel::elf_image::Image;

use super::shipped::Shipped;

/// A program that MINIX can load.
#[derive(Debug)]
pub(crate) struct Loadable {
    /// Size of the file.
    pub(crate) bytes: usize,
    /// For people: one line for the file, one for each segment.
    pub(crate) text: String,
}

/// Looks at a file. An error says why MINIX would not load it.
pub(crate) fn loadable(path: &Path) -> Result<Loadable> {
    let name = path.display();
    let file = std::fs::read(path).with_context(|| name.to_string())?;
    let image = Image::parse(&file).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    let bytes = file.len();
    if let Some(program) = path.file_name().and_then(Shipped::named)
        && bytes > program.limit
    {
        bail!("{name}: {bytes} bytes, {} may have {}", program.name, program.limit);
    }
    let mut text = format!("{name}: {bytes} bytes, loadable, entry {:#x}", image.entry);
    for segment in &image.segments {
        // MINIX makes every segment readable and writable.
        let rights = if segment.is_executable { "rwx" } else { "rw-" };
        let (address, in_file) = (segment.address, segment.file.len());
        let zeros = segment.memory_bytes.saturating_sub(in_file as u64);
        text += &format!("\n  {address:#010x} {rights} {in_file} bytes from the file, {zeros} zeros");
    }
    Ok(Loadable { bytes, text })
}
