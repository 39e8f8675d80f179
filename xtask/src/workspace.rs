//! What cargo knows about this workspace.

use std::collections::BTreeMap;
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
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// `Some([])` stands for `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) targets: Vec<Target>,
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

    /// Every feature set a build should be tried with: the defaults, each feature alone, all together.
    pub(crate) fn feature_sets(&self) -> Vec<Vec<&str>> {
        let features: Vec<&str> = self
            .features
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "default")
            .collect();
        let mut sets = vec![Vec::new()];
        sets.extend(features.iter().map(|feature| vec![*feature]));
        if features.len() > 1 {
            sets.push(features);
        }
        sets
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

    fn package(features: &[&str], publish: Option<Vec<String>>) -> Package {
        Package {
            name: "p".into(),
            manifest_path: "/w/p/Cargo.toml".into(),
            features: features.iter().map(|name| ((*name).to_owned(), Vec::new())).collect(),
            publish,
            targets: Vec::new(),
        }
    }

    #[test]
    fn feature_sets_are_none_each_and_all() {
        assert_eq!(package(&["default"], None).feature_sets(), [Vec::<&str>::new()]);
        assert_eq!(package(&["default", "log"], None).feature_sets(), [vec![], vec!["log"]]);
        assert_eq!(
            package(&["defmt", "log"], None).feature_sets(),
            [vec![], vec!["defmt"], vec!["log"], vec!["defmt", "log"]]
        );
    }

    #[test]
    fn publish_false_is_not_published() {
        assert!(package(&[], None).is_published());
        assert!(!package(&[], Some(Vec::new())).is_published());
    }

    #[test]
    fn this_workspace_is_found() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.packages.iter().any(|package| package.name == "xtask"));
        assert!(workspace.root.join("rust-toolchain.toml").is_file());
    }
}
