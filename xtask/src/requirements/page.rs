//! The page: what its rows say, and its last column, which is made of the citations of tests.
//!
//! A row of a demand on the driver ends in its evidence. Where a person has written one of the [reasons](Evidence), it stays;
//! else the tests stand there that cite the row.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::citation::{Citation, ids};

/// Place of the page, from the root of the workspace.
pub(super) const PAGE: &str = "docs/requirements.md";

/// What shows that a demand is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// Tests fail when it is broken.
    Tested,
    /// It does not compile when it is broken.
    ByType,
    /// A permission that the driver does not use.
    NotUsed,
    /// There is no situation in which it binds this driver.
    NotApplicable,
    /// The driver does otherwise, for a reason: never a MUST.
    NotFollowed,
}

impl Evidence {
    pub(super) const ALL: [Evidence; 5] = [
        Evidence::Tested,
        Evidence::ByType,
        Evidence::NotUsed,
        Evidence::NotApplicable,
        Evidence::NotFollowed,
    ];

    /// Its name.
    pub(super) fn words(self) -> &'static str {
        match self {
            Evidence::Tested => "tested",
            Evidence::ByType => "by type",
            Evidence::NotUsed => "not used",
            Evidence::NotApplicable => "not applicable",
            Evidence::NotFollowed => "not followed",
        }
    }

    /// The kinds that a person states, with the words that begin the cell.
    const STATED: [(&'static str, Evidence); 4] = [
        ("by type: ", Evidence::ByType),
        ("not used: ", Evidence::NotUsed),
        ("not applicable: ", Evidence::NotApplicable),
        ("not followed: ", Evidence::NotFollowed),
    ];

    /// The kind of a cell that a person has written.
    fn stated(cell: &str) -> Option<Evidence> {
        let found = Evidence::STATED.iter().find(|(start, _)| cell.starts_with(start));
        found.map(|&(_, evidence)| evidence)
    }
}

/// The row of a demand on the driver.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) level: String,
    pub(super) evidence: Evidence,
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| `")?.strip_suffix('|')?;
    Some(inner.split(" |").map(str::trim).collect())
}

/// Whether an id is that of a demand on the driver.
fn is_demand(id: &str) -> bool {
    id.contains("-D-")
}

/// The page with its last column brought up to date.
pub(super) fn updated(page: &str, citations: &[Citation]) -> Result<String> {
    let mut text = String::with_capacity(page.len());
    for line in page.lines() {
        match cells(line) {
            Some(cells) if ids(cells[0]).next().is_some_and(is_demand) => {
                ensure!(cells.len() == 5, "not five cells: {line}");
                let id = ids(cells[0]).next().context("a row has an id")?;
                let evidence = match Evidence::stated(cells[4]) {
                    Some(_) => cells[4].to_owned(),
                    None => tests_of(id, citations),
                };
                text.push_str(&format!(
                    "| `{id}` | {} | {} | {} | {evidence} |",
                    cells[1], cells[2], cells[3]
                ));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

fn tests_of(id: &str, citations: &[Citation]) -> String {
    let tests = citations.iter().filter(|citation| citation.id == id);
    let places: Vec<String> = tests.map(|citation| format!("`{}`", citation.place())).collect();
    places.join(", ")
}

/// The rows of the demands, if the page holds together: each id stands once, and each demand has evidence as strong as its level
/// wants it.
pub(super) fn rows(page: &str, citations: &[Citation]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut seen = BTreeMap::new();
    for line in page.lines() {
        let Some(cells) = cells(line) else { continue };
        let id = ids(cells[0])
            .next()
            .with_context(|| format!("a row without an id: {line}"))?;
        ensure!(seen.insert(id, ()).is_none(), "{id} has two rows");
        if is_demand(id) {
            rows.push(row(id, &cells, citations)?);
        }
    }
    for citation in citations {
        ensure!(
            seen.contains_key(citation.id.as_str()),
            "{} is cited in {} and has no row",
            citation.id,
            citation.file
        );
    }
    Ok(rows)
}

fn row(id: &str, cells: &[&str], citations: &[Citation]) -> Result<Row> {
    let [_, level, _, _, cell] = cells else {
        bail!("{id}: a demand has five cells");
    };
    let tests = citations.iter().filter(|citation| citation.id == id);
    let evidence = match Evidence::stated(cell) {
        Some(evidence) => {
            ensure!(
                tests.count() == 0,
                "{id}: tests cite it, so its row need not give a reason"
            );
            evidence
        }
        None => {
            ensure!(
                tests.clone().any(Citation::drives_the_driver),
                "{id}: no test that drives the driver cites it, and the row gives no reason"
            );
            Evidence::Tested
        }
    };
    match evidence {
        Evidence::NotUsed => ensure!(*level == "MAY", "{id}: only a permission can be left unused"),
        Evidence::NotFollowed => ensure!(
            !level.contains("MUST") || READINGS.contains(&id),
            "{id}: a MUST is followed"
        ),
        _ => {}
    }
    Ok(Row {
        id: id.to_owned(),
        level: (*level).to_owned(),
        evidence,
    })
}

/// MUSTs that are not followed, each argued in the section Readings of the page.
const READINGS: [&str; 1] = ["RING-D-17"];

#[cfg(test)]
mod tests {
    use super::*;

    fn citation(file: &str) -> Citation {
        Citation {
            id: "CFG-D-01".to_owned(),
            file: file.to_owned(),
            test: "t".to_owned(),
        }
    }

    fn page(level: &str, cell: &str) -> String {
        format!("| id |\n| `CFG-D-01` | {level} | Place | Meaning. | {cell} |\n| `CFG-N-01` | fact | Place | F. | |\n")
    }

    #[test]
    fn a_cell_without_a_reason_is_made_of_citations() {
        let driver = [citation("crates/virtio/blk/tests/x.rs")];
        let told = updated(&page("MUST", "old"), &driver).unwrap();
        assert_eq!(told, page("MUST", "`virtio/blk/tests/x::t`"));
        assert_eq!(updated(&told, &driver).unwrap(), told);
        let stated = page("MUST", "by type: `Register`");
        assert_eq!(updated(&stated, &[]).unwrap(), stated);
        assert_eq!(updated(&page("MUST", "old"), &[]).unwrap(), page("MUST", ""));
    }

    #[test]
    fn a_demand_has_evidence_of_its_level() {
        let driver = [citation("crates/virtio/blk/tests/x.rs")];
        let model = [citation("crates/testing/model/tests/x.rs")];
        let evidence = |level, cell, tests: &[Citation]| rows(&page(level, cell), tests).map(|rows| rows[0].evidence);
        assert_eq!(evidence("MUST", "x", &driver).unwrap(), Evidence::Tested);
        assert_eq!(evidence("MUST", "by type: `Queue`", &[]).unwrap(), Evidence::ByType);
        assert_eq!(evidence("MAY", "not used: no need", &[]).unwrap(), Evidence::NotUsed);
        assert_eq!(
            evidence("SHOULD", "not followed: why", &[]).unwrap(),
            Evidence::NotFollowed
        );
        for (level, cell, tests) in [
            ("MUST", "x", &[][..]),
            ("SHOULD", "", &[]),
            ("MAY", "", &[]),
            ("MUST", "x", &model),
            ("MUST", "by type: `Queue`", &driver),
            ("MUST", "by type: ", &[]),
            ("MUST", "not followed: why", &[]),
            ("SHOULD", "not used: why it is", &[]),
        ] {
            assert!(evidence(level, cell, tests).is_err(), "{level} {cell}");
        }
        let twice = page("MUST", "x") + &page("MUST", "x");
        assert!(rows(&twice, &driver).is_err());
        assert!(rows("| `RING-D-01` | MUST | P | M. | by type: `Queue` |\n", &driver).is_err());
    }
}
