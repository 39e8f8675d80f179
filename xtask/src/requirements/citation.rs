//! What code and tests say of requirements.
//!
//! A test that fails when a requirement is broken says so in front of its attributes: `// Shows RING-D-24, RING-D-25.` It is the
//! only place where a requirement and a test are tied together. The last column of the page is made of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

const AREAS: [&str; 12] = [
    "INIT", "SUSP", "FEAT", "CFG", "RING", "NOTF", "VQR", "PACK", "MMIO", "PCI", "BLK", "LEG",
];

/// How a citation begins, after blanks.
const SHOWS: &str = "// Shows ";

/// A test that shows a requirement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Citation {
    pub(super) id: String,
    /// From the root of the workspace.
    pub(super) file: String,
    /// The name of the function.
    pub(super) test: String,
}

impl Citation {
    /// Whether the test drives the product: a test of the scaffolding shows nothing about the driver.
    pub(super) fn drives_the_driver(&self) -> bool {
        !self.file.starts_with("crates/testing/")
    }

    /// The test as the page names it: the path without what all have in common.
    pub(super) fn place(&self) -> String {
        let file = self.file.strip_prefix("crates/").unwrap_or(&self.file);
        format!("{}::{}", file.strip_suffix(".rs").unwrap_or(file), self.test)
    }
}

/// The ids in `text`, as in `INIT-D-01`.
pub(super) fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('-').filter_map(|(dash, _)| {
        let start = text[..dash]
            .rfind(|c: char| !c.is_ascii_uppercase())
            .map_or(0, |at| at + 1);
        let id = text.get(start..dash + 5)?;
        let tail = &id.as_bytes()[dash - start..];
        let is_id = AREAS.contains(&&text[start..dash])
            && matches!(tail, [b'-', b'D' | b'N' | b'V', b'-', a, b] if a.is_ascii_digit() && b.is_ascii_digit());
        is_id.then_some(id)
    })
}

/// The citations of one file.
///
/// # Errors
///
/// If a citation has no test after it, or says something else than ids.
pub(super) fn citations(file: &str, text: &str) -> Result<Vec<Citation>> {
    let mut found = Vec::new();
    let mut cited: Vec<&str> = Vec::new();
    let mut is_test = false;
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(list) = line.strip_prefix(SHOWS) {
            let wanted = list.trim_end_matches('.').split(", ");
            ensure!(
                list.ends_with('.') && wanted.clone().eq(ids(list)),
                "{file}:{number}: not a list of requirements: {list}"
            );
            cited.extend(wanted);
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("fn ") {
            let test = name.split(['(', '<']).next().unwrap_or(name);
            ensure!(cited.is_empty() || is_test, "{file}:{number}: `{test}` is not a test");
            found.extend(cited.drain(..).map(|id| Citation {
                id: id.to_owned(),
                file: file.to_owned(),
                test: test.to_owned(),
            }));
            is_test = false;
        } else if !(cited.is_empty() || line.starts_with("#[") || line.starts_with("//")) {
            bail!("{file}:{number}: requirements are cited, and no test follows");
        }
    }
    ensure!(
        cited.is_empty(),
        "{file}: requirements are cited at its end, and no test follows"
    );
    Ok(found)
}

/// The sources and pages below these folders, from the root of the workspace.
pub(super) fn files(root: &Path, folders: &[&str]) -> Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        Ok((name.to_string_lossy().into_owned(), text))
    };
    paths.into_iter().map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != "book" {
                walk(&path, found)?;
            }
        } else if matches!(path.extension().and_then(|it| it.to_str()), Some("rs" | "md" | "ld")) {
            found.push(path);
        }
    }
    Ok(())
}

/// All citations of the crates.
pub(super) fn all(root: &Path) -> Result<Vec<Citation>> {
    let mut found = Vec::new();
    for (file, text) in files(root, &["crates"])? {
        if file.ends_with(".rs") {
            found.extend(citations(&file, &text)?);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_recognised_wherever_it_stands() {
        let text = "see `INIT-D-12` (RING-D-24), BLK-N-1 XINIT-D-01 and INIT-X-01; MMIO-V-02.";
        assert_eq!(ids(text).collect::<Vec<_>>(), ["INIT-D-12", "RING-D-24", "MMIO-V-02"]);
    }

    #[test]
    fn a_citation_belongs_to_the_test_after_it() {
        let text = "// Shows CFG-D-01, CFG-D-02.\n// Why.\n#[test]\n#[ignore]\nfn a() {}\n#[test]\nfn b() {}\n";
        let found = citations("crates/x/tests/y.rs", text).unwrap();
        let told: Vec<_> = found.iter().map(|it| (it.id.as_str(), it.place())).collect();
        assert_eq!(
            told,
            [
                ("CFG-D-01", "x/tests/y::a".to_owned()),
                ("CFG-D-02", "x/tests/y::a".to_owned())
            ]
        );
    }

    #[test]
    fn a_citation_without_a_test_is_an_error() {
        for text in [
            "// Shows CFG-D-01.\nfn a() {}\n",
            "// Shows CFG-D-01.\nstruct S;\n#[test]\nfn a() {}\n",
            "// Shows CFG-D-01.\n",
            "// Shows CFG-D-1.\n#[test]\nfn a() {}\n",
            "// Shows CFG-D-01\n#[test]\nfn a() {}\n",
        ] {
            assert!(citations("f.rs", text).is_err(), "{text}");
        }
    }
}
