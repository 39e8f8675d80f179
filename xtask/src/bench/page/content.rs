//! What figures have in common: bars, lines and tables of measurements.

use super::draw::number;
use super::figure::{Bar, Bars, Chart, Content, Group, Lines, Point, Series, Table};
use super::measurement::{Configuration, Measurement};

/// The part of a bar without stages.
const WHOLE: &str = "whole request";
/// The part of a whole request that no stage has.
const REST: &str = "outside the stages";

/// Bars of measurements with their labels, in groups. Groups without bars are left out.
pub(super) fn bars(
    groups: &[(String, Vec<(String, &Measurement)>)],
    axis: &'static str,
    absent: &'static str,
) -> Content {
    let mut parts: Vec<String> = Vec::new();
    for (_, one) in groups.iter().flat_map(|(_, bars)| bars) {
        let split: Vec<String> = split(one).into_iter().map(|(part, _)| part).collect();
        for (place, part) in split.iter().enumerate() {
            if !parts.contains(part) {
                // In the order of this bar: before the next part that others have as well.
                let next = split[place..]
                    .iter()
                    .find_map(|next| parts.iter().position(|known| known == next));
                parts.insert(next.unwrap_or(parts.len()), part.clone());
            }
        }
    }
    // What is no stage comes last.
    parts.sort_by_key(|part| {
        [REST, WHOLE]
            .iter()
            .position(|last| last == part)
            .map_or(0, |place| place + 1)
    });
    let groups: Vec<Group> = groups
        .iter()
        .filter(|(_, bars)| !bars.is_empty())
        .map(|(title, bars)| {
            let bars = bars.iter().map(|(label, one)| {
                let split = split(one);
                let value = |part: &String| split.iter().find(|(name, _)| name == part).map(|(_, count)| *count);
                Bar {
                    label: label.clone(),
                    values: parts.iter().map(value).collect(),
                }
            });
            Group {
                title: title.clone(),
                bars: bars.collect(),
            }
        })
        .collect();
    if groups.is_empty() {
        return Content::Absent(absent);
    }
    of_bars(Bars { axis, parts, groups })
}

/// The instructions of a request by stage. What a whole request has more than its stages is a part of its own.
fn split(one: &Measurement) -> Vec<(String, f64)> {
    let mut parts = one.stages.clone();
    let staged: f64 = parts.iter().map(|(_, count)| count).sum();
    let whole = one.instructions.unwrap_or(staged);
    if parts.is_empty() {
        parts.push((WHOLE.to_owned(), whole));
    } else if whole - staged >= 0.5 {
        parts.push((REST.to_owned(), whole - staged));
    }
    parts
}

pub(super) fn of_bars(chart: Bars) -> Content {
    let parts = chart.parts.iter().map(String::as_str);
    let sum = (chart.parts.len() > 1).then_some("sum");
    let head = [""].into_iter().chain(parts).chain(sum);
    let head = head.map(str::to_owned).collect();
    let mut rows = Vec::new();
    for group in &chart.groups {
        if chart.groups.len() > 1 {
            rows.push(vec![group.title.clone()]);
        }
        for bar in &group.bars {
            let values = bar.values.iter().map(|value| value.map_or_else(String::new, number));
            let cells = std::iter::once(bar.label.clone()).chain(values);
            rows.push(cells.chain(sum.map(|_| number(bar.total()))).collect());
        }
    }
    Content::Measured {
        chart: Chart::Bars(chart),
        table: Table { head, rows },
    }
}

/// Points by their variants, each from the left to the right.
pub(super) fn series<'a>(points: impl Iterator<Item = (&'a Configuration, Point)>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (configuration, point) in points {
        let label = configuration.variant();
        match all.iter_mut().find(|series| series.label == label) {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                label,
                is_ours: configuration.contender.starts_with("ours"),
                points: vec![point],
            }),
        }
    }
    for series in &mut all {
        series.points.sort_by_key(|point| point.x);
    }
    all
}

pub(super) fn of_lines(chart: Lines, place: &str) -> Content {
    let mut places: Vec<u32> = chart
        .series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.x)
        .collect();
    places.sort_unstable();
    places.dedup();
    let labels = chart.series.iter().map(|series| series.label.clone());
    let head = std::iter::once(place.to_owned()).chain(labels).collect();
    let rows = places.iter().map(|place| {
        let cells = chart.series.iter().map(|series| {
            let point = series.points.iter().find(|point| point.x == *place);
            point.map_or_else(String::new, |point| match point.spread {
                Some([low, high]) => format!("{} ({}–{})", number(point.y), number(low), number(high)),
                None => number(point.y),
            })
        });
        std::iter::once(place.to_string()).chain(cells).collect()
    });
    Content::Measured {
        table: Table {
            head,
            rows: rows.collect(),
        },
        chart: Chart::Lines(chart),
    }
}

/// The price of each further segment, from the fewest to the most.
pub(super) fn each_further(series: &[Series]) -> Vec<String> {
    let prices = series
        .iter()
        .map(|series| match (series.points.first(), series.points.last()) {
            (Some(first), Some(last)) if last.x > first.x => number((last.y - first.y) / f64::from(last.x - first.x)),
            _ => String::new(),
        });
    std::iter::once("each further".to_owned()).chain(prices).collect()
}
