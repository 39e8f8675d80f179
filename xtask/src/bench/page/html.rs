//! The page: everything in one file.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::draw::{self, Width, number};
use super::figure::{Content, Figure, Table};
use crate::bench::row::Row;

const STYLE: &str = include_str!("page.css");

/// The page with these figures. `notes` are lines about the run; `rows` are all of its rows.
pub(super) fn page(figures: &[Figure], rows: &[Row], notes: &[String]) -> Result<String> {
    let sections = figures.iter().map(section).collect::<Result<Vec<_>>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "minix-virtio-blk: benchmark" }
                style { (PreEscaped(STYLE)) (PreEscaped(draw::theme())) }
            }
            body {
                main {
                    h1 { "minix-virtio-blk: benchmark" }
                    @for note in notes { p.note { (note) } }
                    @for section in &sections { (section) }
                    (all_rows(rows))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn section(figure: &Figure) -> Result<Markup> {
    Ok(html! {
        section id=(figure.id) {
            h2 { (figure.title) }
            @match &figure.content {
                Content::Absent(sentence) => { p.absent { (sentence) } }
                Content::Measured { chart, table } => {
                    p { (figure.caption) }
                    div.wide role="img" aria-label=(figure.title) {
                        (PreEscaped(draw::embedded(chart, Width::Wide)?))
                    }
                    div.narrow role="img" aria-label=(figure.title) {
                        (PreEscaped(draw::embedded(chart, Width::Narrow)?))
                    }
                    (numbers(table))
                }
            }
        }
    })
}

fn numbers(table: &Table) -> Markup {
    html! {
        div.table {
            table {
                thead { tr { @for cell in &table.head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in &table.rows {
                        @match row.as_slice() {
                            [] => {}
                            [title] => { tr.title { th scope="rowgroup" colspan=(table.head.len()) { (title) } } }
                            [name, cells @ ..] => {
                                tr {
                                    th scope="row" { (name) }
                                    @for cell in cells { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every row of the run, also those that no figure shows.
fn all_rows(rows: &[Row]) -> Markup {
    let head = [
        "contender",
        "operation",
        "stage",
        "depth",
        "segments",
        "bytes",
        "mode",
        "chains",
        "buffer",
        "instructions",
        "notifies",
        "interrupts",
        "ratio to raw",
        "requests/s",
    ];
    let optional = |value: Option<f64>| value.map_or_else(String::new, number);
    let cells = rows.iter().map(|row| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            row.contender.clone(),
            row.operation.clone(),
            text(&row.stage),
            row.depth.to_string(),
            row.segments.to_string(),
            row.bytes.to_string(),
            row.mode.clone(),
            text(&row.chains),
            text(&row.buffer),
            optional(row.instructions_per_request),
            optional(row.notifies_per_request),
            optional(row.interrupts_per_request),
            optional(row.ratio_to_raw),
            optional(row.rate),
        ]
    });
    let table = Table {
        head: head.map(str::to_owned).to_vec(),
        rows: cells.collect(),
    };
    html! {
        section id="rows" {
            h2 { "All rows" }
            details {
                summary { (rows.len()) " rows, per request" }
                (numbers(&table))
            }
        }
    }
}
