//! Mutants that no test can find, each with the reason: data, in `xtask/mutants.toml`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Place of the list, from the root of the workspace.
const LIST: &str = "xtask/mutants.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    argued: Vec<Argued>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argued {
    /// Its name, without the place in the file, which changes.
    mutant: String,
    /// Why no test sees it.
    why: String,
}

/// The mutants that are argued.
pub(super) struct Arguments(Vec<Argued>);

impl Arguments {
    pub(super) fn load(root: &Path) -> Result<Arguments> {
        let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
        let arguments = Arguments::parse(&text)?;
        for argued in &arguments.0 {
            let file = argued.mutant.split(": ").next().unwrap_or_default();
            ensure!(root.join(file).is_file(), "{LIST}: there is no {file}");
        }
        Ok(arguments)
    }

    fn parse(text: &str) -> Result<Arguments> {
        let list: List = toml::from_str(text).with_context(|| format!("cannot read {LIST}"))?;
        for argued in &list.argued {
            ensure!(!argued.why.trim().is_empty(), "{LIST}: no reason for {}", argued.mutant);
        }
        Ok(Arguments(list.argued))
    }

    /// Whether this mutant is argued.
    pub(super) fn has(&self, name: &str) -> bool {
        let name = without_place(name);
        self.0.iter().any(|argued| argued.mutant == name)
    }
}

/// `f.rs:12:5: replace ...` as `f.rs: replace ...`.
pub(super) fn without_place(name: &str) -> String {
    match name.split_once(": ") {
        Some((place, change)) => format!("{}: {change}", place.split(':').next().unwrap_or(place)),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_argued_wherever_it_stands_in_its_file() {
        let list = "[[argued]]\nmutant = 'f.rs: replace < with <= in A::b'\nwhy = 'Both are the same at 0.'\n";
        let arguments = Arguments::parse(list).unwrap();
        assert!(arguments.has("f.rs:12:5: replace < with <= in A::b"));
        assert!(!arguments.has("f.rs:12:5: replace < with == in A::b"));
        assert!(!arguments.has("g.rs:12:5: replace < with <= in A::b"));
        assert!(Arguments::parse(&list.replace("Both are the same at 0.", " ")).is_err());
    }

    #[test]
    fn the_list_names_files_and_reasons() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Arguments::load(root).unwrap();
    }
}
