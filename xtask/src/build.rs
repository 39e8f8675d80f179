//! Building programs of this workspace.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::workspace::{RISCV, Workspace};

/// Packages and programs are called the same.
const IMAGE: &str = "image-blk";
const BENCH_IMAGE: &str = "image-bench";

/// Builds the bare image and returns its path.
pub(crate) fn image(workspace: &Workspace, progress: Progress) -> Result<PathBuf> {
    for_target(workspace, "building the image", &[IMAGE], progress)?;
    Ok(image_path(workspace))
}

/// Where the bare image is once it is built.
pub(crate) fn image_path(workspace: &Workspace) -> PathBuf {
    on_target(workspace, IMAGE)
}

/// Builds the benchmark image and returns its path. It is built by itself: with other programs it would get their features, and
/// then it would be them that are measured.
pub(crate) fn bench_image(workspace: &Workspace, progress: Progress) -> Result<PathBuf> {
    for_target(workspace, "building the benchmark image", &[BENCH_IMAGE], progress)?;
    Ok(bench_image_path(workspace))
}

/// Where the benchmark image is once it is built.
pub(crate) fn bench_image_path(workspace: &Workspace) -> PathBuf {
    on_target(workspace, BENCH_IMAGE)
}

/// Where a program for [`RISCV`] is once it is built.
pub(crate) fn on_target(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join(RISCV).join("release").join(name)
}

/// Builds the programs of these crates for [`RISCV`].
pub(crate) fn for_target(workspace: &Workspace, heading: &str, crates: &[&str], progress: Progress) -> Result<()> {
    programs(workspace, heading, crates, &["--release", "--target", RISCV], progress)
}

/// Builds the programs of these crates. What cargo prints is shown only if it fails.
pub(crate) fn programs(
    workspace: &Workspace,
    heading: &str,
    crates: &[&str],
    options: &[&str],
    progress: Progress,
) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--bins"]).args(options);
    for name in crates {
        command.args(["--package", name]);
    }
    let finished = progress.step(heading, |step| step.command(&command))?;
    if !finished.status.success() {
        eprint!("{}", finished.output);
        bail!("{} does not build, see above", crates.join(", "));
    }
    Ok(())
}
