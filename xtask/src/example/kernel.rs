//! `kernel` has four harts write blocks to two disks, those of the harts between each other. The rest of the disks stays.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Example, Ran};

pub(super) const EXAMPLE: Example = Example {
    harts: HARTS as u16,
    needs: &[],
    disks: &[make, make],
    judge,
};

/// As the example has them.
const HARTS: usize = 4;
const BLOCKS: usize = 32;
const BLOCK_BYTES: usize = 4096;

/// Each byte of the disks before.
const BYTE: u8 = 0xA5;
const BYTES: usize = 1 << 20;

fn make(path: &Path) -> Result<()> {
    std::fs::write(path, vec![BYTE; BYTES]).context("cannot make a disk")
}

fn judge(ran: &Ran) -> Result<()> {
    for line in 1..=2 {
        ran.has_line(&format!("a disk of {} sectors on line {line}", BYTES / 512))?;
    }
    ran.has_line(&format!(
        "{HARTS} harts have written and read {BLOCKS} blocks each on each of 2 disks"
    ))?;
    let mut content = vec![BYTE; BYTES];
    for (number, block) in content.chunks_mut(BLOCK_BYTES).enumerate().take(HARTS * BLOCKS) {
        let (hart, of_hart) = (number % HARTS, number / HARTS);
        block.fill(b'A' + (hart * 8 + of_hart % 8) as u8);
    }
    for disk in 0..2 {
        if ran.disk(disk)? != content {
            bail!("disk {disk} is not as the example should have left it");
        }
    }
    Ok(())
}
