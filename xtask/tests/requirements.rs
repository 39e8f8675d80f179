//! Every requirement id that code or documentation cites has exactly one row in `docs/requirements.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const AREAS: [&str; 12] = [
    "INIT", "SUSP", "FEAT", "CFG", "RING", "NOTF", "VQR", "PACK", "MMIO", "PCI", "BLK", "LEG",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The ids in `text`, as in `INIT-D-01`.
fn ids(text: &str) -> impl Iterator<Item = &str> {
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

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "book" {
                files(&path, found);
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "md" | "ld")) {
            found.push(path);
        }
    }
}

#[test]
fn every_cited_requirement_is_listed_once() {
    let list = root().join("docs/requirements.md");
    let text = fs::read_to_string(&list).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let id = ids(line)
            .next()
            .unwrap_or_else(|| panic!("a row without an id: {line}"));
        *rows.entry(id.to_owned()).or_insert(0) += 1;
    }
    assert!(rows.len() > 100, "the list was not understood");

    let mut sources = Vec::new();
    for folder in ["crates", "xtask", "docs"] {
        files(&root().join(folder), &mut sources);
    }
    let mut cited = 0;
    for path in sources.iter().filter(|path| **path != list) {
        for id in ids(&fs::read_to_string(path).unwrap()) {
            cited += 1;
            assert_eq!(rows.get(id), Some(&1), "{id}, cited in {}", path.display());
        }
    }
    assert!(cited > 300, "only {cited} citations were found");
}

#[test]
fn an_id_is_recognised_wherever_it_stands() {
    let text = "see `INIT-D-12` (RING-D-24), BLK-N-1 XINIT-D-01 and INIT-X-01; MMIO-V-02.";
    assert_eq!(ids(text).collect::<Vec<_>>(), ["INIT-D-12", "RING-D-24", "MMIO-V-02"]);
}
