//! The results of a benchmark as a page for a browser, and as charts for the book.
//!
//! * [`measurement`] gathers the rows of a configuration.
//! * [`choose`] makes figures of them, with the tools of [`content`]: [`figure`] says what one is.
//! * [`draw`] makes charts, [`html`] the page.

mod choose;
mod content;
mod draw;
mod figure;
mod html;
mod measurement;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::row::Row;
use figure::Content;

/// Writes `index.html` and a chart for each figure that was measured, `ID.svg`; answers where the page is. `notes` are lines about
/// the run, e.g. the version of QEMU.
pub(crate) fn write(rows: &[Row], notes: &[String], directory: &Path) -> Result<PathBuf> {
    let figures = choose::figures(rows);
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for figure in &figures {
        let file = directory.join(figure.id).with_extension("svg");
        match &figure.content {
            Content::Measured { chart, .. } => put(&file, &draw::standalone(chart, figure.title)?)?,
            // A chart of an earlier run would pass for one of this run.
            Content::Absent(_) if file.exists() => {
                std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Content::Absent(_) => {}
        }
    }
    let page = directory.join("index.html");
    put(&page, &html::page(&figures, rows, notes)?)?;
    Ok(page)
}

fn put(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
