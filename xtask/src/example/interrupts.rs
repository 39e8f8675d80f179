//! `interrupts` writes eight blocks, a letter each, and reads them again. The rest of the disk stays.

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
const REQUESTS: usize = 8;
const BLOCK_BYTES: usize = 4096;

/// Each byte of the disk before.
const BYTE: u8 = 0xA5;
const BYTES: usize = 1 << 20;

fn make(path: &Path) -> Result<()> {
    std::fs::write(path, vec![BYTE; BYTES]).context("cannot make the disk")
}

fn judge(ran: &Ran) -> Result<()> {
    ran.has_line(&format!("{REQUESTS} requests in flight"))?;
    let start = format!("{} completions by ", 2 * REQUESTS);
    let line = ran.text.lines().find_map(|line| line.strip_prefix(&start));
    let interrupts = line.and_then(|rest| rest.strip_suffix(" interrupts")?.parse::<u32>().ok());
    // The writes come back before the reads are submitted.
    if interrupts.is_none_or(|interrupts| interrupts < 2) {
        bail!("the completions came by {interrupts:?} interrupts");
    }
    let mut content = vec![BYTE; BYTES];
    for (block, letter) in content.chunks_mut(BLOCK_BYTES).zip(b'a'..).take(REQUESTS) {
        block.fill(letter);
    }
    if ran.disk(0)? != content {
        bail!("the disk is not as the example should have left it");
    }
    Ok(())
}
