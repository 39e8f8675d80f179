//! Which rows a figure shows, and in which order.

use native_bench::Paired;

use super::draw::number;
use super::figure::{Bar, Bars, Chart, Content, Figure, Group, Lines, Point, Scale, Series, Span, Spans, Table};
use super::measurement::{Configuration, Measurement, NATIVE};
use crate::bench::goals::{self, Want};
use crate::bench::row::Row;

/// The request that contenders are compared by.
const BYTES: u32 = 4096;
/// The depth of a batch that contenders are compared at. One that cannot have as many in flight is shown at its deepest.
const BATCH: u32 = 32;
const COMPARED: [&str; 3] = ["ours", "virtio-drivers", "raw"];
const SERVICE: &str = "minix-service";
/// The part of a bar without stages.
const WHOLE: &str = "whole request";
/// The part of a whole request that no stage has.
const REST: &str = "outside the stages";

/// The figures of the page, in its order.
pub(super) fn figures(rows: &[Row]) -> Vec<Figure> {
    let all = &Measurement::all(rows);
    vec![
        stages(all),
        rate(all),
        segments(all),
        latency(all),
        minix(all),
        service_stages(all),
        service_depths(all),
        waiting(all),
        native_instructions(all),
        native_rate(all),
        native_busy(all),
        sizes(rows),
    ]
}

fn stages(all: &[Measurement]) -> Figure {
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
                  to publish it and to hand its result over. Waiting is not counted. Shorter is better.",
        content: bars(
            &groups,
            "guest instructions per request",
            "No instructions were counted of single 4 KiB reads.",
        ),
    }
}

fn rate(all: &[Measurement]) -> Figure {
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

fn segments(all: &[Measurement]) -> Figure {
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
            let further = further(&series);
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

/// The price of each further segment, from the fewest to the most.
fn further(series: &[Series]) -> Vec<String> {
    let prices = series
        .iter()
        .map(|series| match (series.points.first(), series.points.last()) {
            (Some(first), Some(last)) if last.x > first.x => number((last.y - first.y) / f64::from(last.x - first.x)),
            _ => String::new(),
        });
    std::iter::once("each further".to_owned()).chain(prices).collect()
}

fn latency(all: &[Measurement]) -> Figure {
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

fn minix(all: &[Measurement]) -> Figure {
    let mut groups: Vec<(String, Vec<(String, &Measurement)>)> = Vec::new();
    let chosen = all
        .iter()
        .filter(|one| one.configuration.contender == "minix" && one.instructions.is_some());
    for one in chosen {
        let configuration = &one.configuration;
        let title = match configuration.segments {
            0 | 1 => configuration.operation.clone(),
            segments => format!("{}, {segments} segments", configuration.operation),
        };
        let bar = (format!("depth {}", configuration.depth), one);
        match groups.iter_mut().find(|(known, _)| *known == title) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((title, vec![bar])),
        }
    }
    Figure {
        id: "minix",
        title: "The path of a request through the MINIX adapter, by stage",
        caption: "Exact counts from the message of a client to the reply, without kernel and message passing. Shorter is better, \
                  and bars of the same length mean that a request costs the same at every depth.",
        content: bars(
            &groups,
            "guest instructions per request",
            "The path of the MINIX adapter was not measured.",
        ),
    }
}

fn service_stages(all: &[Measurement]) -> Figure {
    let bars_of = |mode: &str| {
        let chosen = all.iter().filter(|one| {
            let configuration = &one.configuration;
            configuration.contender == SERVICE
                && configuration.mode == mode
                && configuration.depth == 1
                && configuration.bytes / configuration.segments.max(1) == BYTES
                && one.instructions.is_some()
        });
        let label = |configuration: &Configuration| match configuration.segments {
            0 | 1 => configuration.operation.clone(),
            segments => format!("{}, {segments} segments", configuration.operation),
        };
        chosen.map(|one| (label(&one.configuration), one)).collect()
    };
    let groups = [
        (
            "The device answers while the service watches".to_owned(),
            bars_of("polled"),
        ),
        ("The service waits for the interrupt".to_owned(), bars_of("interrupts")),
    ];
    Figure {
        id: "service",
        title: "A request in the MINIX service, from one call of the kernel to the next",
        caption: "Exact counts of the service that ships, in user mode of the test kernel, with one request at a time. A part is what lies \
                  between two calls: to receive a message or an interrupt, to map the memory of the client, to copy a vector, to enable \
                  interrupts, to send the reply. Shorter is better.",
        content: bars(
            &groups,
            "guest instructions per request",
            "The instructions of the service were not counted.",
        ),
    }
}

/// Of the service in the test kernel.
fn is_service(one: &&Measurement) -> bool {
    one.configuration.contender == SERVICE
}

fn service_depths(all: &[Measurement]) -> Figure {
    let mut groups: Vec<Group> = Vec::new();
    for one in all.iter().filter(is_service) {
        let configuration = &one.configuration;
        let is_shown = configuration.bytes == BYTES * configuration.segments;
        let Some(instructions) = one.instructions.filter(|_| is_shown) else {
            continue;
        };
        let bar = Bar {
            label: match configuration.segments {
                1 => format!("{}, depth {}", configuration.operation, configuration.depth),
                segments => format!("{} of {segments}", configuration.operation),
            },
            values: vec![Some(instructions)],
        };
        let title = match configuration.mode.as_str() {
            "polled" => "Watches before it waits",
            _ => "Waits for interrupts",
        };
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group {
                title: title.to_owned(),
                bars: vec![bar],
            }),
        }
    }
    Figure {
        id: "service-depth",
        title: "A request in the MINIX service, over depth",
        caption: "Exact counts of what the service executes in user mode for a request of 4 KiB; the kernel's work is not in them. \
                  A gather and a scatter have a vector of pages. Shorter is better.",
        content: if groups.is_empty() {
            Content::Absent("The service was not measured.")
        } else {
            of_bars(Bars {
                axis: "instructions in user mode per request",
                parts: vec!["user mode".to_owned()],
                groups,
            })
        },
    }
}

fn waiting(all: &[Measurement]) -> Figure {
    let chosen = all.iter().filter(|one| is_service(one) && one.cpu_share.is_some());
    let bars = chosen.map(|one| Bar {
        label: format!("{}, depth {}", one.configuration.mode, one.configuration.depth),
        values: vec![one.cpu_share.map(|share| share * 100.0)],
    });
    let group = Group {
        title: "A disk of a few requests a second".to_owned(),
        bars: bars.collect(),
    };
    Figure {
        id: "waiting",
        title: "Processor time of the service while it waits",
        caption: "The share of one hart that the service uses while clients wait for a slow disk. Shorter is better.",
        content: if group.bars.is_empty() {
            Content::Absent("The service was not watched while it waits.")
        } else {
            of_bars(Bars {
                axis: "percent of one hart",
                parts: vec!["user mode".to_owned()],
                groups: vec![group],
            })
        },
    }
}

/// The lines of the native measurement, by one of its figures.
fn native(
    all: &[Measurement],
    y_axis: &'static str,
    reference: Option<f64>,
    y: impl Fn(&Measurement) -> Option<(f64, Option<[f64; 2]>)>,
) -> Content {
    let chosen = all
        .iter()
        .filter(|one| NATIVE.contains(&one.configuration.contender.as_str()) && is_usual(&one.configuration));
    let points = chosen.filter_map(|one| {
        let (y, spread) = y(one)?;
        let x = one.configuration.depth;
        Some((&one.configuration, Point { x, y, spread }))
    });
    let series = series(points);
    if series.is_empty() {
        return Content::Absent("The native measurement was not part of this run; --native adds it.");
    }
    let lines = Lines {
        x_axis: "requests in flight",
        scale: Scale::Doubling,
        y_axis,
        series,
        reference,
    };
    of_lines(lines, "depth")
}

fn native_instructions(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-instructions",
        title: "On the host, beside libblkio's virtio-driver: instructions",
        caption: "The same driver as a program on the host, over vhost-user to qemu-storage-daemon: instructions of the host's \
                  processor per request. Lower is better.",
        content: native(all, "host instructions per request", None, |one| {
            Some((one.instructions?, None))
        }),
    }
}

fn native_rate(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-rate",
        title: "On the host, beside libblkio's virtio-driver: rate",
        caption: "Requests per second, divided by those of virtio-driver in the same round: the median, with the span from the first \
                  to the third quartile. The line at 1 is virtio-driver. Higher is better.",
        content: native(all, "rate, as a fraction of virtio-driver's", Some(1.0), |one| {
            paired(one, one.rate_to_other)
        }),
    }
}

fn native_busy(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-busy",
        title: "On the host, beside libblkio's virtio-driver: time in the driver",
        caption: "The time within the driver per request, without polls that find nothing, divided by that of virtio-driver in the \
                  same round. The line at 1 is virtio-driver. Lower is better.",
        content: native(all, "time, as a fraction of virtio-driver's", Some(1.0), |one| {
            paired(one, one.busy_to_other)
        }),
    }
}

/// A ratio of this driver to the other one, which is 1 for the other one itself.
fn paired(one: &Measurement, ratio: Option<Paired>) -> Option<(f64, Option<[f64; 2]>)> {
    let ratio = ratio.filter(|_| one.configuration.contender.starts_with("ours"))?;
    Some((ratio.median, Some(ratio.quartiles)))
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
        caption: "Bytes of code, and of memory that a program has for good. Shorter is better.",
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

/// The goals of the project that these rows tell of.
pub(super) fn goals(rows: &[Row]) -> Table {
    let goals = goals::goals(rows).into_iter().filter_map(|goal| {
        let figure = goal.figure?;
        let (bound, wanted) = match goal.want {
            Want::AtMost(most) => (most, "at most"),
            Want::AtLeast(least) => (least, "at least"),
        };
        let verdict = if goal.want.is_met(figure) { "met" } else { "missed" };
        Some(vec![
            goal.name,
            format!("{wanted} {}", number(bound)),
            number(figure),
            verdict.to_owned(),
        ])
    });
    Table {
        head: ["", "goal", "measured", ""].map(str::to_owned).to_vec(),
        rows: goals.collect(),
    }
}

/// Whether contenders are compared by it: a read of 4 KiB in one piece that is known beforehand.
fn is_compared(one: &Measurement) -> bool {
    let configuration = &one.configuration;
    COMPARED.contains(&configuration.contender.as_str())
        && is_usual(configuration)
        && configuration.buffer.as_deref() != Some("list")
}

/// Whether it is a read of 4 KiB in one piece.
fn is_usual(configuration: &Configuration) -> bool {
    configuration.operation == "read" && configuration.segments == 1 && configuration.bytes == BYTES
}

/// Points by their variants, each from the left to the right.
fn series<'a>(points: impl Iterator<Item = (&'a Configuration, Point)>) -> Vec<Series> {
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

/// Bars of measurements with their labels, in groups. Groups without bars are left out.
fn bars(groups: &[(String, Vec<(String, &Measurement)>)], axis: &'static str, absent: &'static str) -> Content {
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

fn of_bars(chart: Bars) -> Content {
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

fn of_lines(chart: Lines, place: &str) -> Content {
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
