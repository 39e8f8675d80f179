//! Which rows a figure shows, and in which order.

mod driver;
mod minix;
mod native;

use super::content::of_bars;
use super::draw::number;
use super::figure::{Bar, Bars, Content, Figure, Group, Table};
use super::measurement::Measurement;
use crate::bench::goals::{self, Want};
use crate::bench::row::Row;

/// The figures of the page, in its order.
pub(super) fn figures(rows: &[Row]) -> Vec<Figure> {
    let all = &Measurement::all(rows);
    vec![
        driver::stages(all),
        driver::rate(all),
        driver::segments(all),
        driver::latency(all),
        minix::path(all),
        minix::service_stages(all),
        minix::service_depths(all),
        minix::waiting(all),
        native::instructions(all),
        native::rate(all),
        native::busy(all),
        sizes(rows),
    ]
}

/// The goals of the project that these rows tell of.
pub(super) fn goals(rows: &[Row]) -> Table {
    let goals = goals::goals(rows).into_iter().filter_map(|goal| {
        let figure = goal.figure?;
        let (bound, wanted) = match goal.want {
            Want::AtMost(most) => (most, "at most"),
            Want::AtLeast(least) => (least, "at least"),
        };
        let verdict = if goal.want.is_met(figure) { "met" } else { "missed" };
        let counted = goal.counted.map_or_else(String::new, |counted| {
            format!(", {} with the benchmark's own part", number(counted))
        });
        Some(vec![
            goal.name,
            format!("{wanted} {}", number(bound)),
            number(figure),
            format!("{verdict}{counted}"),
        ])
    });
    Table {
        head: ["", "goal", "measured", ""].map(str::to_owned).to_vec(),
        rows: goals.collect(),
    }
}

fn sizes(rows: &[Row]) -> Figure {
    let group = |title: &str, bytes: fn(&Row) -> Option<u64>| {
        let bars = rows.iter().filter_map(|row| {
            Some(Bar {
                label: row.contender.clone(),
                values: vec![Some(bytes(row)? as f64)],
            })
        });
        Group {
            title: title.to_owned(),
            bars: bars.collect(),
        }
    };
    let mut groups = vec![
        group("Code", |row| row.text_bytes),
        group("Memory for data", |row| row.ram_bytes),
    ];
    groups.retain(|group| !group.bars.is_empty());
    Figure {
        id: "sizes",
        title: "Sizes of programs",
        caption: "Bytes of code, and of memory that is there for good: of the service as a whole, and what each driver adds to a \
                  program that only reads and writes. Shorter is better.",
        content: if groups.is_empty() {
            Content::Absent("No sizes were measured.")
        } else {
            of_bars(Bars {
                axis: "bytes",
                parts: vec!["bytes".to_owned()],
                groups,
            })
        },
    }
}
