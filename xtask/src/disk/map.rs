//! Which parts of an image take room, as `qemu-img map` tells it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest_protocol::{SECTOR_BYTES, SectorRange};
use serde::Deserialize;

use super::Disk;
use crate::tools::{QEMU_IMG, find_program};

/// A part of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Part {
    start: u64,
    length: u64,
    /// Whether there is anything stored for it.
    data: bool,
}

/// Whether all of these sectors take no room in the image of a disk.
pub(crate) fn is_hole(disk: &Disk, range: SectorRange) -> Result<bool> {
    let program = find_program(QEMU_IMG).context("qemu-img is missing")?;
    let attachment = &disk.attachment;
    let mut command = Command::new(program);
    command.args(["map", "--output=json", "-f", attachment.format.name(), &attachment.file]);
    let output = command.output().context("cannot run qemu-img")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "qemu-img map: {}", complaint.trim_end());
    let parts: Vec<Part> = serde_json::from_slice(&output.stdout).context("qemu-img map prints no JSON")?;
    Ok(takes_no_room(&parts, range))
}

fn takes_no_room(parts: &[Part], range: SectorRange) -> bool {
    let (start, end) = (range.first * SECTOR_BYTES as u64, range.end() * SECTOR_BYTES as u64);
    let mut stored = parts.iter().filter(|part| part.data);
    !stored.any(|part| part.start < end && start < part.start + part.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_touches_stored_bytes_takes_room() {
        let part = |start, length, data| Part { start, length, data };
        let parts = [part(0, 1024, true), part(1024, 2048, false), part(3072, 512, true)];
        let no_room = |first, count| takes_no_room(&parts, SectorRange { first, count });
        assert!(no_room(2, 4));
        assert!(!no_room(1, 2) && !no_room(5, 2) && !no_room(0, 7));
    }
}
