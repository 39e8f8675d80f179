//! The figures of a run as lines of JSON, which the page of the evidence is made of.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// One figure, and the command that makes it.
#[derive(Debug, Serialize)]
struct Figure<'a> {
    figure: &'a str,
    value: u64,
    command: &'a str,
}

/// Writes the figures in the place of those of an earlier run. Returns the file.
pub(super) fn write(target: &Path, figures: &[(&str, u64)], command: &str) -> Result<PathBuf> {
    let directory = target.join("evidence");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut lines = String::new();
    for &(figure, value) in figures {
        let line = Figure { figure, value, command };
        lines += &(serde_json::to_string(&line)? + "\n");
    }
    let file = directory.join("power-cut.json");
    std::fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_a_line_of_json() {
        let target = tempfile::tempdir().unwrap();
        let file = write(target.path(), &[("a \"b\"", 7), ("c", u64::MAX)], "cargo xtask x").unwrap();
        assert_eq!(file, target.path().join("evidence/power-cut.json"));
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "{\"figure\":\"a \\\"b\\\"\",\"value\":7,\"command\":\"cargo xtask x\"}\n\
             {\"figure\":\"c\",\"value\":18446744073709551615,\"command\":\"cargo xtask x\"}\n"
        );
    }
}
