//! `cargo xtask requirements`: what shows that the driver does as the specification wants it.
//!
//! [`citation`] finds the tests that cite a requirement, [`page`] holds `docs/requirements.md` to them, [`breakage`] is a change that
//! breaks a requirement, and [`prove`] makes such changes to see that the tests notice. [`harness`] does the same for the harnesses.

mod breakage;
mod citation;
mod harness;
mod page;
mod prove;

use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::RequirementsArgs;
use crate::console::say;
use crate::evidence::{Figure, Value};
use crate::workspace::Workspace;
use page::{Evidence, PAGE, Row};

/// Runs the command; true unless a breakage went unnoticed.
pub(crate) fn command(args: &RequirementsArgs) -> Result<bool> {
    let workspace = Workspace::load()?;
    if args.harnesses {
        return harness::run(&workspace);
    }
    let citations = citation::all(&workspace.root)?;
    if args.prove {
        return prove::run(&workspace, &citations, args);
    }
    let file = workspace.root.join(PAGE);
    let mut text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {PAGE}"))?;
    if args.write {
        text = page::updated(&text, &citations)?;
        std::fs::write(&file, &text).with_context(|| format!("cannot write {PAGE}"))?;
    }
    let rows = page::rows(&text, &citations)?;
    let counts: Vec<String> = Evidence::ALL
        .iter()
        .map(|&kind| format!("{} {}", count(&rows, kind), kind.words()))
        .collect();
    say(&format!("{} requirements: {}", rows.len(), counts.join(", ")));
    for row in rows.iter().filter(|row| row.evidence == Evidence::NotFollowed) {
        say(&format!("not followed: {} ({})", row.id, row.level));
    }
    Ok(true)
}

/// How many rows have this kind of evidence.
fn count(rows: &[Row], evidence: Evidence) -> usize {
    rows.iter().filter(|row| row.evidence == evidence).count()
}

/// What the page of requirements counts, for the page of evidence.
pub(crate) fn figures(root: &Path) -> Result<Vec<Figure>> {
    let citations = citation::all(root)?;
    let text = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let rows = page::rows(&text, &citations)?;
    let mut counts = vec![("demands on the driver".to_owned(), rows.len())];
    counts.extend(Evidence::ALL.map(|kind| (kind.words().to_owned(), count(&rows, kind))));
    counts.push(("breakages listed".to_owned(), breakage::load(root, &citations)?.len()));
    let figure = |(name, count): (String, usize)| {
        let value = Value::Count(u64::try_from(count).unwrap_or(u64::MAX));
        Figure::counted("requirements", name, value, "cargo xtask requirements")
    };
    Ok(counts.into_iter().map(figure).collect())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    /// The specification's demands on a driver of block devices, by area.
    const DEMANDS: [(&str, u32); 11] = [
        ("INIT", 22),
        ("SUSP", 6),
        ("FEAT", 23),
        ("CFG", 6),
        ("RING", 31),
        ("VQR", 3),
        ("PACK", 19),
        ("MMIO", 34),
        ("PCI", 46),
        ("BLK", 39),
        ("LEG", 30),
    ];

    #[test]
    fn every_demand_has_its_row_and_its_evidence() {
        let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
        let citations = citation::all(&root()).unwrap();
        let rows = page::rows(&text, &citations).unwrap();
        for (area, last) in DEMANDS {
            for number in 1..=last {
                let id = format!("{area}-D-{number:02}");
                assert!(rows.iter().any(|row| row.id == id), "{id}");
            }
        }
        assert_eq!(rows.len(), 259);
        let updated = page::updated(&text, &citations).unwrap();
        assert!(updated == text, "the page is old: `cargo xtask requirements --write`");
    }

    #[test]
    fn every_cited_requirement_is_listed() {
        let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| citation::ids(line).next())
            .collect();
        let mut cited = 0;
        for (file, text) in citation::files(&root(), &["crates", "xtask", "docs"]).unwrap() {
            for id in citation::ids(&text) {
                cited += 1;
                assert!(rows.contains(&id), "{id}, cited in {file}");
            }
        }
        assert!(cited > 300, "only {cited} citations were found");
    }

    #[test]
    fn every_breakage_can_be_made() {
        let citations = citation::all(&root()).unwrap();
        let breakages = breakage::load(&root(), &citations).unwrap();
        assert!(breakages.len() >= 120, "only {} breakages", breakages.len());
    }

    #[test]
    fn every_tested_duty_can_be_broken() {
        let citations = citation::all(&root()).unwrap();
        let breakages = breakage::load(&root(), &citations).unwrap();
        let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
        for row in page::rows(&text, &citations).unwrap() {
            let is_duty = row.evidence == Evidence::Tested && row.level != "MAY";
            let has_breakage = breakages.iter().any(|breakage| breakage.id == row.id);
            assert!(!is_duty || has_breakage, "{} has no breakage", row.id);
        }
    }
}
