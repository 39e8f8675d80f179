//! Building the bare-metal image.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::workspace::{RISCV, Workspace};

/// Package and program are called the same.
const NAME: &str = "image-blk";

/// Where the image is once it is built.
pub(crate) fn path(workspace: &Workspace) -> PathBuf {
    workspace.target.join(RISCV).join("release").join(NAME)
}

/// Builds the image and gives its path. What cargo prints is shown only if it fails.
pub(crate) fn build(workspace: &Workspace, progress: Progress) -> Result<PathBuf> {
    let finished = progress.step("building the image", |step| {
        step.command(workspace.cargo().args([
            "build",
            "--release",
            "--package",
            NAME,
            "--bin",
            NAME,
            "--target",
            RISCV,
        ]))
    })?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        bail!("the image does not build, see above");
    }
    Ok(path(workspace))
}
