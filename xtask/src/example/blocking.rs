//! `blocking` writes a text over the end of a sector, and is refused to write past the end. What was around the text stays.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Example, Ran};

pub(super) const EXAMPLE: Example = Example {
    harts: 1,
    needs: &[],
    disks: &[make],
    judge,
};

/// As the example has them.
const PLACE: usize = 1000;
const TEXT: &[u8] = b"These bytes go over the end of a sector of 512 bytes, which is at byte 1024 of the disk.";

/// Each byte of the disk before.
const BYTE: u8 = 0xA5;
const BYTES: usize = 1 << 20;

fn make(path: &Path) -> Result<()> {
    std::fs::write(path, vec![BYTE; BYTES]).context("cannot make the disk")
}

fn judge(ran: &Ran) -> Result<()> {
    ran.has_line(&format!("{} bytes written and read again at byte {PLACE}", TEXT.len()))?;
    ran.has_line(&format!(
        "a write at byte {} is refused: past the end, byte {BYTES}",
        BYTES - 4
    ))?;
    let mut content = vec![BYTE; BYTES];
    content[PLACE..][..TEXT.len()].copy_from_slice(TEXT);
    if ran.disk(0)? != content {
        bail!("the disk is not as the example should have left it");
    }
    Ok(())
}
