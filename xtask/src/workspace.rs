//! What cargo knows about this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, Package, TargetKind};

/// The target of the image and of every `no_std` crate.
pub(crate) const RISCV: &str = "riscv64gc-unknown-none-elf";

/// The workspace as `cargo metadata` describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
    /// The targets beside [`RISCV`] that crates for no operating system build for.
    pub(crate) targets: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Workspace> {
        // The manifest of xtask itself says where the workspace is, from whichever directory this is called.
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec();
        let metadata = metadata.context("cannot ask cargo about the workspace")?;
        let targets = metadata
            .workspace_metadata
            .get("xtask")
            .and_then(|xtask| xtask.get("targets"));
        let targets = targets.context("the manifest of the workspace names no targets")?;
        let targets =
            serde_json::from_value(targets.clone()).context("the targets of the workspace are no list of names")?;
        Ok(Workspace {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
            packages: metadata.packages,
            targets,
        })
    }

    /// The crate of that name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| *package.name == name);
        found.with_context(|| format!("there is no crate {name} in the workspace"))
    }

    /// A cargo command that runs at the root of the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }

    /// The directory for files of runs.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }
}

/// The cargo that runs this, or else the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where cargo keeps its programs and what it has downloaded.
pub(crate) fn cargo_home() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"))
}

/// The directory of a crate.
pub(crate) fn directory(package: &Package) -> &Path {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest)
}

/// Whether a crate is meant for the registry. `Some([])` stands for `publish = false`.
pub(crate) fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// The names of the programs of a crate.
pub(crate) fn programs(package: &Package) -> impl Iterator<Item = &str> {
    let programs = package
        .targets
        .iter()
        .filter(|target| target.kind.contains(&TargetKind::Bin));
    programs.map(|target| target.name.as_str())
}

/// The feature sets that a crate must build with for [`RISCV`], as `package.metadata.xtask` in its manifest declares them, each as
/// a list with commas; `None` for a crate that needs a host.
pub(crate) fn feature_sets(package: &Package) -> Option<Vec<String>> {
    let sets = package.metadata.get("xtask")?.get("feature-sets")?;
    let sets: Vec<Vec<String>> = serde_json::from_value(sets.clone()).ok()?;
    Some(sets.iter().map(|set| set.join(",")).collect())
}

/// Whether a crate knows nothing of an operating system, so that it must build for all [`Workspace::targets`].
pub(crate) fn is_portable(package: &Package) -> bool {
    is_published(package)
        && package.manifest_path.as_str().contains("/crates/virtio/")
        && feature_sets(package).is_some()
}

/// Whether a crate belongs to the programs for users to copy.
pub(crate) fn is_example(package: &Package) -> bool {
    directory(package)
        .parent()
        .is_some_and(|folder| folder.ends_with("examples"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt key would take the checks away unseen.
    #[test]
    fn crates_of_the_driver_build_for_other_targets() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.targets.len() >= 5, "{:?}", workspace.targets);
        let portable = workspace.packages.iter().filter(|package| is_portable(package));
        assert!(portable.clone().count() > 6);
        assert!(portable.clone().any(|package| *package.name == "virtio-blk"));
        assert!(!portable.clone().any(|package| package.name.starts_with("minix")));
    }

    #[test]
    fn published_crates_declare_their_feature_sets() {
        let workspace = Workspace::load().unwrap();
        let published = workspace.packages.iter().filter(|package| is_published(package));
        assert!(published.clone().count() > 8);
        for package in published {
            assert!(
                feature_sets(package).is_some_and(|sets| !sets.is_empty()),
                "{}",
                package.name
            );
        }
    }
}
