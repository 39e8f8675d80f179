//! Lines and regions of source files, and how often tests ran them.
//!
//! A region is a piece of code that runs as a whole, such as a condition or a branch. A generic function has the same regions in each of its
//! instances; they count once, and as run if any instance was. Tests that stand at the end of a file do not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// So many of all were run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) run: u64,
    pub(super) all: u64,
}

impl Share {
    pub(super) fn percent(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "there are not that many lines")]
        let percent = 100.0 * self.run as f64 / self.all.max(1) as f64;
        percent
    }

    fn of<'a>(counts: impl Iterator<Item = &'a u64>) -> Share {
        counts.fold(Share::default(), |sum, &count| Share {
            run: sum.run + u64::from(count > 0),
            all: sum.all + 1,
        })
    }
}

/// Where a region begins and ends: line, column, line, column.
type Place = [u32; 4];

#[derive(Default)]
struct Counts {
    lines: BTreeMap<u32, u64>,
    regions: BTreeMap<Place, u64>,
}

/// What was measured, by file.
#[derive(Default)]
pub(super) struct Measure(BTreeMap<PathBuf, Counts>);

/// The report that `llvm-cov export` writes, as far as it is read.
#[derive(Deserialize)]
struct Report {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    filenames: Vec<PathBuf>,
    /// Place, count, file, expanded file, kind.
    regions: Vec<[u64; 8]>,
}

/// The kind of a region that is code; others are gaps, expansions and branches.
const CODE: u64 = 0;

impl Measure {
    /// Adds the lines of a report in the form of lcov. `source` gives the text of a file.
    pub(super) fn add_lines(&mut self, lcov: &str, source: impl Fn(&Path) -> String) -> Result<()> {
        let mut file = PathBuf::new();
        let mut end = 0;
        for line in lcov.lines() {
            if let Some(name) = line.strip_prefix("SF:") {
                file = PathBuf::from(name);
                end = tests_begin(&source(&file));
            } else if let Some(data) = line.strip_prefix("DA:") {
                let wrong = || format!("not a line of a report: {line}");
                let mut numbers = data.split(',');
                let number: u32 = numbers.next().and_then(|it| it.parse().ok()).with_context(wrong)?;
                let count: u64 = numbers.next().and_then(|it| it.parse().ok()).with_context(wrong)?;
                if number < end {
                    let lines = &mut self.0.entry(file.clone()).or_default().lines;
                    *lines.entry(number).or_default() += count;
                }
            }
        }
        Ok(())
    }

    /// Adds the regions of a report in JSON.
    pub(super) fn add_regions(&mut self, json: &str, source: impl Fn(&Path) -> String) -> Result<()> {
        let report: Report = serde_json::from_str(json).context("not a report of llvm-cov")?;
        let mut ends: BTreeMap<PathBuf, u32> = BTreeMap::new();
        for function in report.data.iter().flat_map(|data| &data.functions) {
            for &[line, column, last_line, last_column, count, file, _, kind] in &function.regions {
                let Some(file) = usize::try_from(file).ok().and_then(|at| function.filenames.get(at)) else {
                    continue;
                };
                let end = *ends.entry(file.clone()).or_insert_with(|| tests_begin(&source(file)));
                let place = [line, column, last_line, last_column].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
                if kind == CODE && place[0] < end {
                    let regions = &mut self.0.entry(file.clone()).or_default().regions;
                    *regions.entry(place).or_default() += count;
                }
            }
        }
        Ok(())
    }

    fn files<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Counts)> {
        self.0.iter().filter(move |(file, _)| file.starts_with(folder))
    }

    /// The lines and the regions of the files in a folder.
    pub(super) fn of(&self, folder: &Path) -> (Share, Share) {
        let lines = self.files(folder).flat_map(|(_, counts)| counts.lines.values());
        let regions = self.files(folder).flat_map(|(_, counts)| counts.regions.values());
        (Share::of(lines), Share::of(regions))
    }

    /// The lines that no test runs, by file.
    pub(super) fn missing(&self, folder: &Path) -> Vec<(PathBuf, Vec<String>)> {
        let mut found = Vec::new();
        for (file, counts) in self.files(folder) {
            let missing = counts.lines.iter().filter(|(_, count)| **count == 0);
            let lines: Vec<String> = missing.map(|(line, _)| line.to_string()).collect();
            if !lines.is_empty() {
                found.push((file.clone(), lines));
            }
        }
        found
    }
}

/// The first line of the tests at the end of a file, or one that it does not have.
fn tests_begin(text: &str) -> u32 {
    let mut number = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        number += 1;
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod tests {")) {
            return number;
        }
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "fn a() {}\nfn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";

    fn source(_: &Path) -> String {
        SOURCE.to_owned()
    }

    #[test]
    fn lines_before_the_tests_count() {
        let mut measure = Measure::default();
        let lcov = "SF:/x/src/a.rs\nDA:1,3\nDA:2,0\nDA:5,9\nend_of_record\nSF:/y/src/b.rs\nDA:1,0\n";
        measure.add_lines(lcov, source).unwrap();
        let (lines, _) = measure.of(Path::new("/x/src"));
        assert_eq!(lines, Share { run: 1, all: 2 });
        assert_eq!(
            measure.missing(Path::new("/x/src")),
            [(PathBuf::from("/x/src/a.rs"), vec!["2".to_owned()])]
        );
        assert!(measure.add_lines("DA:x", source).is_err());
    }

    #[test]
    fn a_region_counts_once_for_all_instances() {
        let mut measure = Measure::default();
        let json = r#"{"data": [{"functions": [
            {"filenames": ["/x/src/a.rs"], "regions": [[1,1,1,9,0,0,0,0], [2,1,2,9,0,0,0,0], [5,1,5,9,1,0,0,0], [1,3,1,4,1,0,0,3]]},
            {"filenames": ["/x/src/a.rs"], "regions": [[1,1,1,9,4,0,0,0]]}]}]}"#;
        measure.add_regions(json, source).unwrap();
        let (_, regions) = measure.of(Path::new("/x"));
        assert_eq!(regions, Share { run: 1, all: 2 });
        assert!((regions.percent() - 50.0).abs() < 1e-9);
        assert!(measure.add_regions("{}", source).is_err());
    }
}
