//! Every test that `docs/minix-rules.md` names is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates whose tests are cited, and their folders; the first one needs not be named.
const CRATES: [(&str, &str); 3] = [
    ("minix-blockdriver", "blockdriver"),
    ("minix-rt", "rt"),
    ("minix-virtio-blk", "virtio-blk-mmio"),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Adds the names of functions that follow `#[test]`.
fn tests(text: &str, found: &mut BTreeSet<String>) {
    for part in text.split("#[test]\n").skip(1) {
        // Other attributes and their reasons may stand between.
        let signature = part
            .lines()
            .map(str::trim_start)
            .find_map(|line| line.strip_prefix("fn "));
        if let Some((name, _)) = signature.and_then(|rest| rest.split_once('(')) {
            found.insert(name.to_owned());
        }
    }
}

fn all_tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all_tests(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            tests(&fs::read_to_string(&path).expect("text"), found);
        }
    }
}

/// The crate and the name of each test in a cell: names in backticks, a crate and a colon before those of another crate. A
/// semicolon leads back to the first crate.
fn cited(cell: &str) -> Vec<(&str, &str)> {
    let mut cites = Vec::new();
    for group in cell.split(';') {
        let (mut in_crate, _) = CRATES[0];
        for (nth, piece) in group.split('`').enumerate() {
            if nth % 2 == 1 {
                cites.push((in_crate, piece));
            } else if let Some(name) = piece.trim().strip_suffix(':') {
                in_crate = name.trim_start_matches(',').trim();
            }
        }
    }
    cites
}

#[test]
fn every_test_that_the_page_names_exists() {
    let mut existing = BTreeMap::new();
    for (name, folder) in CRATES {
        let mut found = BTreeSet::new();
        for part in ["src", "tests"] {
            all_tests(&crates().join(folder).join(part), &mut found);
        }
        existing.insert(name, found);
    }
    let page = fs::read_to_string(crates().join("../../docs/minix-rules.md")).expect("the page");
    let mut rules = 0;
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| rule | tests |")
    {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [rule, cell] = cells[..] else {
            panic!("not two cells: {line}");
        };
        let cites = cited(cell);
        assert!(!cites.is_empty(), "no test: {rule}");
        for (in_crate, test) in cites {
            let tests = existing
                .get(in_crate)
                .unwrap_or_else(|| panic!("no such crate: {in_crate}"));
            assert!(tests.contains(test), "no such test in {in_crate}: {test}");
        }
        rules += 1;
    }
    assert!(rules > 80, "only {rules} rules were understood");
}

#[test]
fn names_are_found_with_their_crates() {
    let cell = " `a`, `b`, minix-rt: `c`, `d`, minix-virtio-blk: `e`; `f` ";
    let [(own, _), (rt, _), (service, _)] = CRATES;
    let expected = [(own, "a"), (own, "b"), (rt, "c"), (rt, "d"), (service, "e"), (own, "f")];
    assert_eq!(cited(cell), expected);
    let mut found = BTreeSet::new();
    tests(
        "#[test]\n#[ignore]\nfn one() {\n}\nfn no() {}\n    #[test]\n    fn two(a in b) {",
        &mut found,
    );
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}
