//! The table of sizes by feature in the README of `virtio-blk`.
//!
//! A size is that of the smallest user of the driver, built for size, with the feature turned on. A number stays as long as it is off by
//! no more than [`AIR`], so that a few instructions more or less change no text.

use anyhow::{Context, Result};

use super::Generated;
use crate::bench::minimal::{Minimal, Profile, USER};
use crate::bench::sizes::Size;
use crate::cli::Kind;
use crate::progress::Progress;
use crate::workspace::{Workspace, directory};

/// The crate whose README has the table.
const CRATE: &str = "virtio-blk";

/// The lines around the table.
const BEGIN: &str = "<!-- Sizes: written by `cargo xtask generate sizes`. -->\n";
const END: &str = "<!-- End of sizes. -->\n";

/// Bytes by which a number may be off.
const AIR: f64 = 100.0;
/// Bytes of the unit.
const KB: f64 = 1000.0;

/// The rows: what they are called, and the features of the driver. The first one is what the others are compared with.
const ROWS: [(&str, &str); 8] = [
    ("none: reads, writes and flushes", ""),
    ("`split`", "split"),
    ("`ranges`, with `split`", "ranges"),
    ("`identify`", "identify"),
    ("`lifetime`", "lifetime"),
    ("`queues`", "queues"),
    ("`zoned`, with `split`", "zoned"),
    ("those on by default", "default"),
];

/// Builds a program for each row and puts the sizes into the README.
pub(crate) fn generate(workspace: &Workspace, progress: Progress) -> Result<Generated> {
    let file = directory(workspace.package(CRATE)?).join("README.md");
    let there = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut sizes = Vec::new();
    for (_, features) in ROWS {
        sizes.push(Minimal::build_with(workspace, Profile::Small, features, progress)?.size(USER)?);
    }
    Ok(Generated {
        text: with_table(&there, &sizes)?,
        file,
        kind: Kind::Sizes,
    })
}

/// The text with the table of these sizes, one for each row.
fn with_table(there: &str, sizes: &[Size]) -> Result<String> {
    let (before, rest) = there
        .split_once(BEGIN)
        .context("the README has no place for the table")?;
    let (old, after) = rest.split_once(END).context("the README has no end of the table")?;
    let mut table = "| features | code, KB | constants, KB |\n|---|---|---|\n".to_owned();
    let base = sizes.first().copied().unwrap_or_default();
    for ((name, features), size) in ROWS.iter().zip(sizes) {
        let old: Vec<f64> = numbers(old, name);
        let mut cells = format!("| {name} |");
        let of = |size: &Size| [size.text, size.rodata].map(|bytes| bytes as f64);
        for (column, (bytes, base)) in of(size).into_iter().zip(of(&base)).enumerate() {
            let (sign, bytes) = if features.is_empty() {
                ("", bytes)
            } else {
                ("+", bytes - base)
            };
            let kept = old.get(column).filter(|old| (**old * KB - bytes).abs() <= AIR);
            let number = kept.copied().unwrap_or(bytes / KB);
            cells += &format!(" {sign}{:.1} |", if number.abs() < 0.05 { 0.0 } else { number });
        }
        table += &cells;
        table.push('\n');
    }
    Ok([before, BEGIN, &table, END, after].concat())
}

/// The numbers of the row of that name.
fn numbers(table: &str, name: &str) -> Vec<f64> {
    let row = table.lines().find_map(|line| line.strip_prefix(&format!("| {name} |")));
    let cells = row.unwrap_or_default().split('|').map(str::trim);
    cells.filter_map(|cell| cell.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: u64) -> Vec<Size> {
        let more = |text| Size {
            text,
            rodata: 400,
            ram: 0,
        };
        let mut sizes = vec![more(8000); ROWS.len()];
        sizes[1] = more(text);
        sizes
    }

    fn text(sizes: &[Size], there: &str) -> String {
        with_table(there, sizes).unwrap()
    }

    #[test]
    fn a_row_tells_what_its_features_add() {
        let there = format!("before\n{BEGIN}{END}after\n");
        let text = text(&sizes(11_120), &there);
        assert!(text.starts_with(&format!("before\n{BEGIN}| features | code")), "{text}");
        assert!(
            text.contains("| none: reads, writes and flushes | 8.0 | 0.4 |\n"),
            "{text}"
        );
        assert!(text.contains("| `split` | +3.1 | +0.0 |\n"), "{text}");
        assert!(text.ends_with(&format!("|\n{END}after\n")), "{text}");
    }

    #[test]
    fn a_number_stays_until_it_is_off_by_more_than_allowed() {
        let there = text(&sizes(11_120), &format!("{BEGIN}{END}"));
        assert_eq!(text(&sizes(11_190), &there), there);
        assert_eq!(text(&sizes(11_001), &there), there);
        assert!(text(&sizes(11_210), &there).contains("| `split` | +3.2 |"));
        assert!(text(&sizes(10_990), &there).contains("| `split` | +3.0 |"));
    }

    #[test]
    fn a_text_without_the_place_is_an_error() {
        assert!(with_table("nothing", &sizes(0)).is_err());
        assert!(with_table(BEGIN, &sizes(0)).is_err());
    }
}
