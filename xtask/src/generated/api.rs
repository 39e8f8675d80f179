//! The public API of a crate as a text, so that a change of it is seen in review.
//!
//! It is that of the crate with all features on the target, without what every type has by blanket implementations.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Package, TargetKind};
use public_api::Builder;

use super::Generated;
use crate::cli::Kind;
use crate::progress::Progress;
use crate::tools::{ensure_nightly_target, nightly_cargo};
use crate::workspace::{RISCV, Workspace, directory};

/// The file beside the manifest.
const FILE: &str = "public-api.txt";

/// Asks the documentation tool of the nightly toolchain for the API. An error of it says what is wrong with the code.
pub(crate) fn generate(workspace: &Workspace, package: &Package, progress: Progress) -> Result<Generated> {
    ensure_nightly_target(workspace, RISCV)?;
    let mut command = nightly_cargo(workspace);
    command.args(["rustdoc", "--package", &package.name, "--lib", "--all-features"]);
    command.args(["--target", RISCV, "--", "-Zunstable-options", "--output-format", "json"]);
    let heading = format!("listing the public items of {}", package.name);
    let finished = progress.step(&heading, |step| step.command(&command))?;
    if !finished.status.success() {
        bail!("{}", finished.output);
    }
    let json = document(workspace, package)?;
    let api = Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .with_context(|| {
            format!(
                "cannot read {}: the nightly toolchain is from before {} or too new for the crate public-api",
                json.display(),
                public_api::MINIMUM_NIGHTLY_RUST_VERSION
            )
        })?;
    Ok(Generated {
        file: directory(package).join(FILE),
        text: api.to_string(),
        kind: Kind::Api,
    })
}

/// Where the tool leaves the description of the library.
fn document(workspace: &Workspace, package: &Package) -> Result<PathBuf> {
    let library = package
        .targets
        .iter()
        .find(|target| target.kind.contains(&TargetKind::Lib));
    let library = library.with_context(|| format!("{} has no library", package.name))?;
    let name = format!("{}.json", library.name.replace('-', "_"));
    Ok(workspace.target.join(RISCV).join("doc").join(name))
}
