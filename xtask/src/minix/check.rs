//! A program against the rules by which MINIX loads it, and the service against the size it may have.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkernel::elf_image::Image;

/// The service: the program's name, and the label RS gives it.
pub(crate) const SERVICE: &str = "virtio_blk_mmio";

/// Most bytes of the service: it goes into MINIX's ramdisk, and RS keeps a copy of it in memory.
const SERVICE_LIMIT: usize = 120 << 10;

/// What a file is to MINIX's loader.
#[derive(Debug)]
pub(crate) struct Checked {
    path: PathBuf,
    /// Size of the file.
    pub(crate) bytes: usize,
    entry: u64,
    segments: Vec<Segment>,
    /// What speaks against it. Empty: it can be loaded.
    pub(crate) broken: Vec<String>,
}

/// A segment, apart from its content.
#[derive(Debug)]
struct Segment {
    address: u64,
    in_memory: u64,
    in_file: usize,
    is_executable: bool,
}

impl Checked {
    /// Looks at a file.
    pub(crate) fn read(path: &Path) -> Result<Checked> {
        let file = std::fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Checked::of(path, &file))
    }

    fn of(path: &Path, file: &[u8]) -> Checked {
        let mut checked = Checked {
            path: path.to_owned(),
            bytes: file.len(),
            entry: 0,
            segments: Vec::new(),
            broken: Vec::new(),
        };
        match Image::parse(file) {
            Ok(image) => {
                checked.entry = image.entry;
                checked.segments.extend(image.segments.iter().map(|segment| Segment {
                    address: segment.address,
                    in_memory: segment.memory_bytes,
                    in_file: segment.file.len(),
                    is_executable: segment.is_executable,
                }));
            }
            Err(error) => checked.broken.push(error.to_string()),
        }
        if path.file_name() == Some(OsStr::new(SERVICE)) && file.len() > SERVICE_LIMIT {
            checked
                .broken
                .push(format!("{} bytes, the service may have {SERVICE_LIMIT}", file.len()));
        }
        checked
    }
}

/// For people: one line for the file, one for each segment.
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {} bytes, loadable, entry {:#x}", self.bytes, self.entry)?;
        for segment in &self.segments {
            // MINIX makes every segment readable and writable.
            let rights = if segment.is_executable { "rwx" } else { "rw-" };
            let zeros = segment.in_memory.saturating_sub(segment.in_file as u64);
            write!(
                f,
                "\n  {:#010x} {rights} {} bytes from the file, {zeros} zeros",
                segment.address, segment.in_file
            )?;
        }
        Ok(())
    }
}
