//! Manifest fields and files of a crate for the registry.

use std::path::Path;

use cargo_metadata::Package;
use serde_json::{Value, json};

use crate::workspace::{RISCV, directory};

/// What the registry takes: most keywords, and most bytes of one.
const KEYWORDS: usize = 5;
const KEYWORD_BYTES: usize = 20;

/// The host that docs.rs shows beside [`RISCV`].
pub(crate) const HOST: &str = "x86_64-unknown-linux-gnu";

/// The start of a change log in the format of keepachangelog.com, and its first section until there is a release.
const CHANGELOG: &str = "# Changelog\n";
const SECTION: &str = "\n## [";

/// What is missing or wrong, one line each.
pub(crate) fn faults(package: &Package, root: &Path) -> Vec<String> {
    let mut faults = of_manifest(package);
    let folder = directory(package);
    let read = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    let licence = read(&root.join("LICENSE"));
    if licence.is_empty() || read(&folder.join("LICENSE")) != licence {
        faults.push("LICENSE: not a copy of the one at the root".to_owned());
    }
    faults.extend(of_change_log(
        &read(&folder.join("CHANGELOG.md")),
        &package.version.to_string(),
    ));
    let name = package.name.as_str();
    faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
}

fn of_manifest(package: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    let text = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.trim().is_empty());
    want(text(&package.description), "description: missing");
    want(text(&package.license), "license: missing");
    want(!package.authors.is_empty(), "authors: missing");
    want(!package.categories.is_empty(), "categories: missing");
    want(package.rust_version.is_some(), "rust-version: missing");
    want(package.readme.is_some(), "readme: missing");
    let documentation = format!("https://docs.rs/{}", package.name);
    want(
        package.documentation.as_deref() == Some(documentation.as_str()),
        &format!("documentation: not {documentation}"),
    );
    let keywords = &package.keywords;
    let fits = |word: &String| word.len() <= KEYWORD_BYTES && word.starts_with(|c: char| c.is_ascii_alphanumeric());
    want(
        (1..=KEYWORDS).contains(&keywords.len()) && keywords.iter().all(fits),
        &format!("keywords: not one to {KEYWORDS} words of at most {KEYWORD_BYTES} bytes"),
    );
    let docs = json!({ "all-features": true, "default-target": RISCV, "targets": [RISCV, HOST] });
    let stated = package.metadata.get("docs").and_then(|docs| docs.get("rs"));
    want(
        stated == Some(&docs),
        &format!("package.metadata.docs.rs: not all-features, default-target {RISCV}, targets {RISCV} and {HOST}"),
    );
    let xtask = package.metadata.get("xtask").and_then(Value::as_object);
    want(
        xtask.is_some_and(|xtask| xtask.keys().eq(["feature-sets"])),
        "package.metadata.xtask: not `feature-sets` alone; the manifest of the workspace names the targets",
    );
    faults
}

fn of_change_log(text: &str, version: &str) -> Option<String> {
    if !text.starts_with(CHANGELOG) || !text.contains("https://keepachangelog.com/") {
        return Some("CHANGELOG.md: missing, or not in the format of keepachangelog.com".to_owned());
    }
    let mut names = text
        .split(SECTION)
        .skip(1)
        .filter_map(|section| section.split_once(']'));
    let has_section = names.any(|(name, _)| name == "Unreleased" || name == version);
    (!has_section).then(|| format!("CHANGELOG.md: no section for {version} or Unreleased"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Workspace, is_published};

    #[test]
    fn published_crates_have_no_faults_and_others_have() {
        let workspace = Workspace::load().unwrap();
        let (published, others): (Vec<_>, Vec<_>) =
            workspace.packages.iter().partition(|package| is_published(package));
        assert!(published.len() > 10 && others.len() > 10);
        for package in published {
            assert_eq!(faults(package, &workspace.root), [""; 0], "{}", package.name);
        }
        for package in others {
            let faults = faults(package, &workspace.root);
            let names = ["keywords", "documentation", "docs.rs", "LICENSE", "CHANGELOG.md"];
            for name in names {
                assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
            }
        }
    }

    #[test]
    fn a_change_log_has_a_section_for_the_version() {
        let text = |sections: &str| format!("{CHANGELOG}\nhttps://keepachangelog.com/\n{sections}");
        assert_eq!(of_change_log(&text("\n## [Unreleased]\n"), "0.1.0"), None);
        assert_eq!(
            of_change_log(&text("\n## [0.2.0] - 2026-01-01\n\n## [0.1.0]\n"), "0.1.0"),
            None
        );
        assert!(
            of_change_log(&text("\n## [0.2.0]\n"), "0.1.0")
                .unwrap()
                .contains("no section for 0.1.0")
        );
        assert!(of_change_log("# Changes\n", "0.1.0").unwrap().contains("missing"));
    }
}
