//! `read-sector` prints the size of its disk and how the disk begins, and changes nothing.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Example, Ran};

pub(super) const EXAMPLE: Example = Example {
    harts: 1,
    needs: &[],
    disks: &[make],
    judge,
};

const SECTORS: usize = 2048;
const BEGIN: &[u8] = b"sector 0 \\ \x00\xff of a disk";
/// As the example prints the first bytes.
const LINE: &str = r"sector 0 \\ \x00\xff of";

/// Each byte after that.
const BYTE: u8 = 0xA5;

fn content() -> Vec<u8> {
    let mut content = vec![BYTE; SECTORS * 512];
    content[..BEGIN.len()].copy_from_slice(BEGIN);
    content
}

fn make(path: &Path) -> Result<()> {
    std::fs::write(path, content()).context("cannot make the disk")
}

fn judge(ran: &Ran) -> Result<()> {
    ran.has_line(&format!("{SECTORS} sectors"))?;
    ran.has_line(LINE)?;
    if ran.disk(0)? != content() {
        bail!("the disk has changed");
    }
    Ok(())
}
