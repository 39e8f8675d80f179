//! Writing the disks of [`layout`](super::layout) to files.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use guest_protocol::{SECTOR_BYTES, SectorRange};

use super::layout::{Layout, Recipe};
use super::source::{Content, Source};
use super::{Attachment, Disk, Origin, Outline, images};
use crate::cli::{Format, QemuArgs};

/// Sectors written at a time.
const CHUNK: u64 = 2048;

/// What the guest is told about it.
pub(super) fn outline(layout: &Layout, read_only: bool) -> Outline {
    Outline {
        scratch: if read_only { Vec::new() } else { layout.scratch.clone() },
        pattern: layout.seed,
        samples: layout.samples.clone(),
    }
}

/// Makes the disk where `attachment` says.
pub(super) fn make(args: &QemuArgs, recipe: Recipe, attachment: Attachment, directory: &Path) -> Result<Disk> {
    let layout = recipe.layout();
    let (content, files) = layout.content(args.block_size)?;
    let content = Arc::new(content);
    let place = Path::new(&attachment.file);
    match attachment.format {
        Format::Raw => write_raw(place, &layout, &content)?,
        Format::Qcow2 => {
            let raw = directory.join("content.raw");
            write_raw(&raw, &layout, &content)?;
            images::convert(&raw, Format::Raw, place, attachment.format)?;
            std::fs::remove_file(&raw).context("cannot remove a temporary file")?;
        }
    }
    let outline = outline(&layout, attachment.read_only);
    let mut original = Source::Computed(content.clone());
    let mut digests = Vec::new();
    for range in &outline.samples {
        digests.push((*range, original.digest(*range)?));
    }
    Ok(Disk {
        attachment,
        overlaid: false,
        sectors: layout.sectors,
        outline,
        digests,
        origin: Origin::Prepared { layout, content, files },
    })
}

/// Writes what is not zeros; the rest of the file is a hole.
fn write_raw(place: &Path, layout: &Layout, content: &Content) -> Result<()> {
    let name = || format!("cannot write {}", place.display());
    let mut file = File::create(place).with_context(name)?;
    file.set_len(layout.sectors * SECTOR_BYTES as u64).with_context(name)?;
    let whole = SectorRange {
        first: 0,
        count: layout.sectors,
    };
    let ranges: Vec<SectorRange> = match content.islands() {
        Some(islands) => islands.collect(),
        None => vec![whole],
    };
    let mut bytes = vec![0; CHUNK as usize * SECTOR_BYTES];
    for range in ranges {
        file.seek(SeekFrom::Start(range.first * SECTOR_BYTES as u64))
            .with_context(name)?;
        let mut sector = range.first;
        while sector < range.end() {
            let count = CHUNK.min(range.end() - sector);
            let bytes = &mut bytes[..count as usize * SECTOR_BYTES];
            content.fill(sector, bytes);
            file.write_all(bytes).with_context(name)?;
            sector += count;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_computed() {
        for recipe in [Recipe::Bare, Recipe::Service, Recipe::Large] {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("disk.raw");
            let layout = recipe.layout();
            let (content, _) = layout.content(512).unwrap();
            write_raw(&place, &layout, &content).unwrap();
            let length = std::fs::metadata(&place).unwrap().len();
            assert_eq!(length, layout.sectors * SECTOR_BYTES as u64);
            let mut written = Source::raw_file(&place).unwrap();
            let mut computed = Source::Computed(Arc::new(content));
            for range in layout.samples {
                assert_eq!(written.digest(range).unwrap(), computed.digest(range).unwrap());
            }
        }
    }

    #[test]
    fn zeros_take_no_room() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("disk.raw");
        let layout = Recipe::Large.layout();
        write_raw(&place, &layout, &layout.content(512).unwrap().0).unwrap();
        assert!(std::fs::metadata(&place).unwrap().blocks() < 1000);
    }
}
