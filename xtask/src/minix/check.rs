//! A program against the rules by which MINIX loads it, and the service against the size it may have.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkernel::elf_image::Image;

use super::programs::SERVICE;

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
            // Whatever a segment asks for, it may be read and written.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest program: one executable segment.
    pub(crate) fn program() -> Vec<u8> {
        let mut elf = vec![0; 0x1010];
        elf[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &2_u16.to_le_bytes());
        put(18, &243_u16.to_le_bytes());
        put(20, &1_u32.to_le_bytes());
        put(24, &0x80_0000_u64.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(52, &64_u16.to_le_bytes());
        put(54, &56_u16.to_le_bytes());
        put(56, &1_u16.to_le_bytes());
        put(64, &1_u32.to_le_bytes());
        put(68, &5_u32.to_le_bytes());
        put(72, &0x1000_u64.to_le_bytes());
        put(80, &0x80_0000_u64.to_le_bytes());
        put(96, &16_u64.to_le_bytes());
        put(104, &24_u64.to_le_bytes());
        put(112, &0x1000_u64.to_le_bytes());
        elf
    }

    #[test]
    fn a_program_is_described() {
        let checked = Checked::of(Path::new("a/b"), &program());
        assert_eq!(
            checked.to_string(),
            "a/b: 4112 bytes, loadable, entry 0x800000\n  0x00800000 rwx 16 bytes from the file, 8 zeros"
        );
        assert!(checked.broken.is_empty());
    }

    #[test]
    fn what_is_broken_is_said() {
        let mut dynamic = program();
        dynamic[64] = 3;
        let checked = Checked::of(Path::new("b"), &dynamic);
        assert_eq!(checked.broken.len(), 1);
        let checked = Checked::of(Path::new("b"), b"#!/bin/sh");
        assert_eq!(checked.broken, ["not an ELF file"]);
    }

    #[test]
    fn only_the_service_has_a_limit_of_its_size() {
        let mut large = program();
        large.resize(SERVICE_LIMIT, 0);
        let service = Path::new("x/virtio_blk_mmio");
        assert!(Checked::of(service, &large).broken.is_empty());
        large.push(0);
        assert!(Checked::of(Path::new("x/y"), &large).broken.is_empty());
        assert_eq!(
            Checked::of(service, &large).broken,
            ["122881 bytes, the service may have 122880"]
        );
    }
}
