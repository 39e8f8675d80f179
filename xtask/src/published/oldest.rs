//! The crates as packaged, in a workspace of their own in which each direct dependency has the oldest version that its manifest
//! allows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Package;

use crate::progress::Progress;
use crate::tools::{ensure_nightly, nightly_cargo};
use crate::workspace::Workspace;

/// Makes the workspace and its lock file anew, and returns its folder. `packages` are packaged already.
pub(crate) fn prepare(workspace: &Workspace, packages: &[&Package]) -> Result<PathBuf> {
    let folder = workspace.scratch().join("oldest");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut members = Vec::new();
    for package in packages {
        let member = format!("{}-{}", package.name, package.version);
        let archive = workspace.target.join("package").join(format!("{member}.crate"));
        // With the present as the time of each file, or cargo would take them for what it has built before.
        let mut unpack = Command::new("tar");
        unpack.args(["--extract", "--gzip", "--touch", "--file"]).arg(&archive);
        succeeds(unpack.arg("--directory").arg(&folder))?;
        let manifest = folder.join(&member).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        fs::write(&manifest, without_dev_dependencies(&text))
            .with_context(|| format!("cannot write {}", manifest.display()))?;
        members.push((package.name.as_str(), member));
    }
    let manifest = folder.join("Cargo.toml");
    fs::write(&manifest, workspace_manifest(&members))
        .with_context(|| format!("cannot write {}", manifest.display()))?;
    lock(workspace, &folder)?;
    Ok(folder)
}

fn lock(workspace: &Workspace, folder: &Path) -> Result<()> {
    ensure_nightly(workspace)?;
    let mut command = nightly_cargo(workspace);
    command.args(["generate-lockfile", "-Zdirect-minimal-versions"]);
    succeeds(command.current_dir(folder))
}

/// A workspace of packages whose dependencies on each other are those beside them.
fn workspace_manifest(members: &[(&str, String)]) -> String {
    let folders: Vec<String> = members.iter().map(|(_, folder)| format!("{folder:?}")).collect();
    let patches: String = members
        .iter()
        .map(|(name, folder)| format!("{name} = {{ path = {folder:?} }}\n"))
        .collect();
    let folders = folders.join(", ");
    format!("[workspace]\nresolver = \"3\"\nmembers = [{folders}]\n\n[patch.crates-io]\n{patches}")
}

/// The manifest as cargo packages it, without the tables of what only tests use.
fn without_dev_dependencies(manifest: &str) -> String {
    let mut is_kept = true;
    let kept = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            is_kept = !line.contains("dev-dependencies");
        }
        is_kept
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn succeeds(command: &mut Command) -> Result<()> {
    let finished = Progress::Silent.step("", |step| step.command(&*command))?;
    if !finished.status.success() {
        bail!("{}", finished.output);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_for_tests_are_left_out() {
        let manifest = "[package]\nname = \"a\"\n[dependencies.log]\nversion = \"0.4\"\n[dev-dependencies.proptest]\nversion = \"1\"\n\
                        [target.\"cfg(not(miri))\".dev-dependencies.gungraun]\nversion = \"0\"\n[lints.rust]\nx = \"deny\"\n";
        let wanted = "[package]\nname = \"a\"\n[dependencies.log]\nversion = \"0.4\"\n[lints.rust]\nx = \"deny\"\n";
        assert_eq!(without_dev_dependencies(manifest), wanted);
    }

    #[test]
    fn members_stand_in_for_what_is_in_the_registry() {
        let members = [("a", "a-0.1.0".to_owned()), ("b-c", "b-c-0.1.0".to_owned())];
        let text = workspace_manifest(&members);
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(manifest["workspace"]["members"][1].as_str(), Some("b-c-0.1.0"));
        assert_eq!(
            manifest["patch"]["crates-io"]["b-c"]["path"].as_str(),
            Some("b-c-0.1.0")
        );
    }
}
