//! How changes have ended, in a file that runs add to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How the tests of a changed tree ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// A test failed.
    Caught,
    /// The tests came to no end.
    TimedOut,
    /// It does not compile.
    Unviable,
    /// No test failed.
    Survived,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caught => "caught",
            Self::TimedOut => "timed out",
            Self::Unviable => "unviable",
            Self::Survived => "SURVIVED",
        })
    }
}

/// The outcomes by the name of the change. The name holds what the outcome depends on.
pub(crate) struct Results {
    file: PathBuf,
    outcomes: BTreeMap<String, Outcome>,
}

impl Results {
    pub(crate) fn load(file: &Path) -> Result<Results> {
        let outcomes = match std::fs::read_to_string(file) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{}: not the results of earlier runs; remove it", file.display()))?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Results {
            file: file.to_owned(),
            outcomes,
        })
    }

    pub(crate) fn of(&self, name: &str) -> Option<Outcome> {
        self.outcomes.get(name).copied()
    }

    /// Adds an outcome, and writes the file.
    pub(crate) fn add(&mut self, name: &str, outcome: Outcome) -> Result<()> {
        self.outcomes.insert(name.to_owned(), outcome);
        let text = serde_json::to_string_pretty(&self.outcomes)?;
        std::fs::write(&self.file, text).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// The sums.
    pub(crate) fn summary(&self) -> String {
        let kinds = [Outcome::Caught, Outcome::TimedOut, Outcome::Unviable, Outcome::Survived];
        let count = |kind| self.outcomes.values().filter(|&&outcome| outcome == kind).count();
        let counts: Vec<String> = kinds.iter().map(|&kind| format!("{} {kind}", count(kind))).collect();
        counts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results.json");
        let mut results = Results::load(&file).unwrap();
        results.add("a", Outcome::Caught).unwrap();
        results.add("b", Outcome::Survived).unwrap();
        let again = Results::load(&file).unwrap();
        assert_eq!(
            (again.of("a"), again.of("b"), again.of("c")),
            (Some(Outcome::Caught), Some(Outcome::Survived), None)
        );
        assert_eq!(again.summary(), "1 caught, 0 timed out, 0 unviable, 1 SURVIVED");
        std::fs::write(&file, "[").unwrap();
        assert!(Results::load(&file).is_err());
    }
}
