//! `cargo xtask evidence`: the page that says what was run on the driver and what it showed, `docs/evidence.md`.
//!
//! Commands [`record`] their figures; this one merges them into the [`figure::DATA`] that is checked in, and makes the [`page`] of it.

mod figure;
mod page;

use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use figure::{Figure, Value, grouped, record};

use crate::console::say;
use crate::requirements;
use crate::workspace::Workspace;
use figure::DATA;
use page::PAGE;

/// Runs the command.
pub(crate) fn command() -> Result<bool> {
    let workspace = Workspace::load()?;
    let mut figures = kept(&workspace.root)?;
    let newer = figure::recorded(&workspace)?;
    let count = newer.len();
    figure::merge(&mut figures, newer);
    page::sort(&mut figures);
    let page = made(&workspace.root, &figures)?;
    for (name, text) in [(DATA, figure::lines(&figures)?), (PAGE, page)] {
        std::fs::write(workspace.root.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    say(&format!(
        "{PAGE}: {} figures, {count} of them from runs in this workspace",
        figures.len()
    ));
    Ok(true)
}

/// The figures that are checked in.
fn kept(root: &Path) -> Result<Vec<Figure>> {
    let text = std::fs::read_to_string(root.join(DATA)).with_context(|| format!("cannot read {DATA}"))?;
    figure::parse(&text).context(DATA)
}

/// The page of these figures, and of those that the sources themselves give.
fn made(root: &Path, figures: &[Figure]) -> Result<String> {
    Ok(page::text(&requirements::figures(root)?, figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_its_figures() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut figures = kept(root).unwrap();
        let there = std::fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(
            made(root, &figures).unwrap() == there,
            "the page is old: `cargo xtask evidence`"
        );
        let before = figures.clone();
        page::sort(&mut figures);
        assert_eq!(figures, before, "{DATA} is not in order: `cargo xtask evidence`");
    }
}
