//! `two-disks` copies the first disk to the second, which is larger.

use std::path::Path;

use anyhow::{Context, Result, bail};
use guest_protocol::pattern;

use super::{Example, Ran};

pub(super) const EXAMPLE: Example = Example {
    harts: 1,
    needs: &[],
    disks: &[make_first, make_second],
    judge,
};

/// The last part of the copy is smaller than the others.
const FIRST_SECTORS: usize = 2048 + 5;
const SECOND_SECTORS: usize = 4096;

fn content(seed: u64, sectors: usize) -> Vec<u8> {
    let mut content = vec![0; sectors * 512];
    for (sector, bytes) in (0..).zip(content.chunks_mut(512)) {
        pattern::fill(seed, sector, bytes);
    }
    content
}

fn first() -> Vec<u8> {
    content(1, FIRST_SECTORS)
}

fn make_first(path: &Path) -> Result<()> {
    std::fs::write(path, first()).context("cannot make the disk")
}

fn make_second(path: &Path) -> Result<()> {
    std::fs::write(path, content(2, SECOND_SECTORS)).context("cannot make the disk")
}

fn judge(ran: &Ran) -> Result<()> {
    ran.has_line(&format!("disks of {FIRST_SECTORS} and {SECOND_SECTORS} sectors"))?;
    let line = ran
        .text
        .lines()
        .find_map(|line| line.strip_prefix("copied, with up to "));
    let together = line.and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    if together.is_none_or(|together| together < 2) {
        bail!("both disks together had {together:?} requests in flight");
    }
    ran.has_line("the disks are equal")?;
    if ran.disk(0)? != first() {
        bail!("the first disk has changed");
    }
    let mut wanted = content(2, SECOND_SECTORS);
    wanted[..FIRST_SECTORS * 512].copy_from_slice(&first());
    if ran.disk(1)? != wanted {
        bail!("the second disk is not as the example should have left it");
    }
    Ok(())
}
