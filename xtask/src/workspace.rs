//! What cargo knows about this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The target of the image and of every `no_std` crate.
pub(crate) const RISCV: &str = "riscv64gc-unknown-none-elf";

/// The workspace as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) metadata: Option<Metadata>,
    /// `Some([])` stands for `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) targets: Vec<Target>,
}

/// The table `package.metadata` of a manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    xtask: Option<BuildMetadata>,
}

/// The table `package.metadata.xtask`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BuildMetadata {
    feature_sets: Option<Vec<Vec<String>>>,
}

/// Something cargo makes of a crate.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// `bin`, `lib` and the like.
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// The directory of the crate.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Whether it is meant for the registry.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// The names of its programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
    }

    /// The feature sets that the crate must build with for [`RISCV`], as its manifest declares them; `None` for a crate
    /// that needs a host.
    pub(crate) fn feature_sets(&self) -> Option<&[Vec<String>]> {
        self.metadata.as_ref()?.xtask.as_ref()?.feature_sets.as_deref()
    }
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Workspace> {
        // The manifest of xtask itself says where the workspace is, from whichever directory this is called.
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(&manifest)
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
    }

    /// The crate of that name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.with_context(|| format!("there is no crate {name} in the workspace"))
    }

    /// A cargo command that runs at the root of the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }

    /// The directory for everything xtask makes that need not last.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }
}

/// The cargo that runs this, or else the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_crates_declare_their_feature_sets() {
        let workspace = Workspace::load().unwrap();
        let mut published = workspace.packages.iter().filter(|package| package.is_published());
        assert!(published.clone().count() > 8);
        assert!(published.all(|package| package.feature_sets().is_some()));
        assert!(workspace.packages.iter().any(|package| !package.is_published()));
    }
}
