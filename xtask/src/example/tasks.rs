//! `async` has four tasks that write a part of the disk each, and sixteen bytes each of a sector that they share. The rest stays.

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
const TASKS: usize = 4;
const BYTES: usize = 32 << 10;
const FIRST_BYTE: usize = 64 * 512;
const FIRST_SHARED: usize = 100;

/// Each byte of the disk before.
const BYTE: u8 = 0xA5;
const DISK_BYTES: usize = 1 << 20;

fn make(path: &Path) -> Result<()> {
    std::fs::write(path, vec![BYTE; DISK_BYTES]).context("cannot make the disk")
}

fn judge(ran: &Ran) -> Result<()> {
    let mut content = vec![BYTE; DISK_BYTES];
    for task in 0..TASKS {
        ran.has_line(&format!("task {task} has ended"))?;
        let letter = |first| first + task as u8;
        content[FIRST_BYTE + task * BYTES..][..BYTES].fill(letter(b'a'));
        content[FIRST_SHARED + task * 16..][..16].fill(letter(b'A'));
    }
    if ran.disk(0)? != content {
        bail!("the disk is not as the tasks should have left it");
    }
    Ok(())
}
