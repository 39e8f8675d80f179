//! The page: everything in one file.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

use super::choose;
use super::draw::{self, Width, number};
use super::figure::{Content, Figure, Table};
use crate::bench::row::Row;

const STYLE: &str = include_str!("page.css");

/// The page with these figures. `rows` are all rows of the run, `notes` lines about it.
pub(super) fn page(figures: &[Figure], rows: &[Row], notes: &[String]) -> Result<String> {
    let sections = figures.iter().map(section).collect::<Result<Vec<_>>>()?;
    let rows_of_the_run = all_rows(rows)?;
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
                    p {
                        "This driver, other drivers and a ring that was prepared once, on the same device of QEMU. "
                        "Instructions are exact and the same in every run. Rates and times depend on the machine and "
                        "on what else runs there: only their ratios say something, and only where the spread is small."
                    }
                    @for note in notes { p.note { (note) } }
                    (goals(rows))
                    @for section in &sections { (section) }
                    (rows_of_the_run)
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

/// What the project wants, beside what this run has.
fn goals(rows: &[Row]) -> Markup {
    let goals = choose::goals(rows);
    html! {
        @if !goals.rows.is_empty() {
            section id="goals" {
                h2 { "Goals" }
                (numbers(&goals))
            }
        }
    }
}

/// The columns of the table of all rows that come first; others follow by their names.
const COLUMNS: [&str; 10] = [
    "contender",
    "operation",
    "stage",
    "depth",
    "segments",
    "bytes",
    "mode",
    "chains",
    "buffer",
    "instructions_per_request",
];

/// Every row of the run, also those that no figure shows, with the names and values of `--json`.
fn all_rows(rows: &[Row]) -> Result<Markup> {
    let mut fields: Vec<Map<String, Value>> = Vec::new();
    for row in rows {
        if let Value::Object(row) = serde_json::to_value(row)? {
            fields.push(row);
        }
    }
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    for name in fields.iter().flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let cells = fields.iter().map(|row| {
        let cell = |name: &&str| row.get(*name).map_or_else(String::new, plain);
        columns.iter().map(cell).collect()
    });
    let table = Table {
        head: columns.iter().map(|name| name.replace('_', " ")).collect(),
        rows: cells.collect(),
    };
    Ok(html! {
        section id="rows" {
            h2 { "All rows" }
            details {
                summary { (rows.len()) " rows" }
                (numbers(&table))
            }
        }
    })
}

/// A value as people read it; without the buckets of histograms, which would not fit a cell.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(value) if value.is_f64() => value.as_f64().map_or_else(String::new, number),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            values.join(" to ")
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "buckets");
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name} {}", plain(value))).collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}
