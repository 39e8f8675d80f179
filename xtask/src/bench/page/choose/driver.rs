//! The driver in the benchmark image, beside `virtio-drivers` and the raw ring.

use super::super::content::{bars, each_further, of_lines, series};
use super::super::draw::number;
use super::super::figure::{Chart, Content, Figure, Lines, Point, Scale, Span, Spans, Table};
use super::super::measurement::{BYTES, Configuration, Measurement};

/// The depth of a batch that contenders are compared at. One that cannot have as many in flight is shown at its deepest.
const BATCH: u32 = 32;
const COMPARED: [&str; 4] = ["ours", "virtio-drivers", "raw", "null"];

pub(super) fn stages(all: &[Measurement]) -> Figure {
    let mut chosen: Vec<&Measurement> = all
        .iter()
        .filter(|one| is_compared(one) && one.instructions.is_some() && one.configuration.mode != "interrupts")
        .collect();
    chosen.sort_by_key(|one| {
        COMPARED
            .iter()
            .position(|contender| *contender == one.configuration.contender)
    });
    let single = chosen.iter().filter(|one| one.configuration.depth == 1);
    let single = single.map(|one| (one.configuration.variant(), *one)).collect();
    let mut batches: Vec<(String, &Measurement)> = Vec::new();
    for one in chosen
        .iter()
        .filter(|one| (2..=BATCH).contains(&one.configuration.depth))
    {
        let variant = one.configuration.variant();
        match batches.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, known)) if known.configuration.depth < one.configuration.depth => *known = one,
            Some(_) => {}
            None => batches.push((variant, one)),
        }
    }
    for (label, one) in &mut batches {
        if one.configuration.depth != BATCH {
            *label = format!("{label}, depth {}", one.configuration.depth);
        }
    }
    let groups = [
        ("One request at a time".to_owned(), single),
        (format!("Batches of {BATCH}"), batches),
    ];
    Figure {
        id: "stages",
        title: "Instructions of a 4 KiB read, by stage",
        caption: "Exact counts under QEMU's icount: what the guest's processor executes to make a request, \
                  to publish it and to hand its result over. Waiting is not counted. Shorter is better. The benchmark's own part is in all \
                  bars, and alone in the last ones.",
        content: bars(
            &groups,
            "guest instructions per request",
            "No instructions were counted of single 4 KiB reads.",
        ),
    }
}

pub(super) fn rate(all: &[Measurement]) -> Figure {
    let chosen = all
        .iter()
        .filter(|one| is_compared(one) && one.configuration.contender != "raw");
    let points = chosen.filter_map(|one| {
        let point = Point {
            x: one.configuration.depth,
            y: one.ratio?,
            spread: one.ratio_spread,
        };
        Some((&one.configuration, point))
    });
    let series = series(points);
    Figure {
        id: "rate",
        title: "Rate over depth, against the raw ring",
        caption: "Requests per second, divided by those of a ring that was prepared once, on the same device and in the same \
                  round: the median of paired rounds, with the span from the first to the third quartile. \
                  The line at 1 is the raw ring. Higher is better.",
        content: if series.is_empty() {
            Content::Absent("No rates were measured.")
        } else {
            let lines = Lines {
                x_axis: "requests in flight",
                scale: Scale::Doubling,
                y_axis: "rate, as a fraction of the raw ring's",
                series,
                reference: Some(1.0),
            };
            of_lines(lines, "depth")
        },
    }
}

pub(super) fn segments(all: &[Measurement]) -> Figure {
    let chosen = all.iter().filter(|one| {
        let configuration = &one.configuration;
        COMPARED.contains(&configuration.contender.as_str())
            && configuration.operation == "read"
            && configuration.mode != "interrupts"
    });
    // A variant is shown at the depth that has the most numbers of segments, the deepest of these.
    let mut lists: Vec<(&Configuration, u32, Vec<Point>)> = Vec::new();
    for one in chosen {
        let (configuration, Some(y)) = (&one.configuration, one.instructions) else {
            continue;
        };
        let point = Point {
            x: configuration.segments,
            y,
            spread: None,
        };
        let known = lists
            .iter_mut()
            .find(|(other, depth, _)| other.variant() == configuration.variant() && *depth == configuration.depth);
        match known {
            // Requests of other sizes with as many segments cost the same.
            Some((_, _, points)) if points.iter().any(|known| known.x == point.x) => {}
            Some((_, _, points)) => points.push(point),
            None => lists.push((configuration, configuration.depth, vec![point])),
        }
    }
    lists.retain(|(_, _, points)| points.len() > 1);
    lists.sort_by_key(|(_, depth, points)| std::cmp::Reverse((points.len(), *depth)));
    let mut best: Vec<(&Configuration, Point)> = Vec::new();
    for (configuration, depth, points) in lists {
        let taken = best
            .iter()
            .any(|(known, _)| known.variant() == configuration.variant() && known.depth != depth);
        if !taken {
            best.extend(points.into_iter().map(|point| (configuration, point)));
        }
    }
    let series = series(best.into_iter());
    Figure {
        id: "segments",
        title: "Cost over segments",
        caption: "Instructions of a read whose buffer is in several pieces. The last row of the table is the price of each \
                  further piece. Flatter is better.",
        content: if series.is_empty() {
            Content::Absent("No reads of more than one segment were measured.")
        } else {
            let further = each_further(&series);
            let lines = Lines {
                x_axis: "segments of a request",
                scale: Scale::Even,
                y_axis: "guest instructions per request",
                series,
                reference: None,
            };
            let mut content = of_lines(lines, "segments");
            if let Content::Measured { table, .. } = &mut content {
                table.rows.push(further);
            }
            content
        },
    }
}

pub(super) fn latency(all: &[Measurement]) -> Figure {
    let single = all
        .iter()
        .filter(|one| one.configuration.depth == 1 && one.configuration.bytes == BYTES);
    let spans = single.filter_map(|one| {
        let latency = one.latency.as_ref()?;
        Some(Span {
            label: format!("{}, {}", one.configuration.variant(), one.configuration.operation),
            percentiles: [latency.p50, latency.p90, latency.p99],
        })
    });
    let spans: Vec<Span> = spans.collect();
    let rows = spans.iter().map(|span| {
        let cells = span.percentiles.iter().map(|value| number(*value));
        std::iter::once(span.label.clone()).chain(cells).collect()
    });
    Figure {
        id: "latency",
        title: "Latency of a 4 KiB request alone",
        caption: "From the call that submits a request to the one that hands its result over. The axis is logarithmic. \
                  Times depend on the host; compare the spans with each other. Further to the left is better.",
        content: if spans.is_empty() {
            Content::Absent("No latency was measured.")
        } else {
            Content::Measured {
                table: Table {
                    head: ["µs", "median", "90 %", "99 %"].map(str::to_owned).to_vec(),
                    rows: rows.collect(),
                },
                chart: Chart::Spans(Spans {
                    axis: "microseconds, logarithmic",
                    spans,
                }),
            }
        },
    }
}

/// Whether contenders are compared by it: a read of 4 KiB in one piece that is known beforehand.
fn is_compared(one: &Measurement) -> bool {
    let configuration = &one.configuration;
    COMPARED.contains(&configuration.contender.as_str())
        && configuration.is_usual()
        && configuration.buffer.as_deref() != Some("list")
}
