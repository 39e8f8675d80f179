//! What runs have shown, added up over runs, as `cargo xtask evidence` reads it.

use std::path::Path;

use anyhow::{Context, Result};
use foreign_devices::Totals;
use serde::{Deserialize, Serialize};

/// A figure, without the source and the commit, which `cargo xtask evidence` adds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Figure {
    figure: String,
    value: u64,
    command: String,
}

/// Adds a run to those in a file.
pub(crate) fn add(file: &Path, device: &str, run: &Totals) -> Result<()> {
    let wrong = || format!("{}: not the figures of runs; remove it", file.display());
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str);
    let mut all: Vec<Figure> = lines.collect::<Result<_, _>>().with_context(wrong)?;
    for (what, value) in [
        ("requests", run.operations),
        ("sectors compared", run.sectors_compared),
        ("kills", run.kills),
        ("requests in flight at a kill, each given back once", run.aborted),
        ("waits for an interrupt", run.interrupts),
    ] {
        let figure = format!("{what}, {device}");
        match all.iter_mut().find(|other| other.figure == figure) {
            Some(other) => other.value += value,
            None => all.push(Figure {
                figure,
                value,
                command: format!("cargo run --release -p foreign-devices -- --device {device}"),
            }),
        }
    }
    let lines: Result<Vec<String>, _> = all.iter().map(serde_json::to_string).collect();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(file, lines?.join("\n") + "\n").with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_device_add_up_and_other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("evidence/foreign.json");
        let run = Totals {
            operations: 7,
            kills: 1,
            ..Totals::default()
        };
        for device in ["a", "b", "a"] {
            add(&file, device, &run).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let figures: Vec<Figure> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |name: &str| figures.iter().find(|figure| figure.figure == name).unwrap().value;
        assert_eq!((of("requests, a"), of("requests, b"), of("kills, a")), (14, 7, 2));
        std::fs::write(&file, "{}").unwrap();
        assert!(add(&file, "a", &run).unwrap_err().to_string().contains("remove it"));
    }
}
