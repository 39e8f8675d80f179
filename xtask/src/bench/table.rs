//! The rows for a person at a terminal.

use super::goals::{Goal, Want, goals};
use super::row::Row;
use super::watching;

/// Columns of the name of a row, and of a figure.
const NAME: usize = 46;
const FIGURE: usize = 9;

/// The contender whose requests are sent by messages.
const SERVICE: &str = "minix-service";

/// The lines to print.
pub(crate) fn lines(rows: &[Row]) -> Vec<String> {
    let sections = [
        instructions(rows),
        segments(rows),
        rates(rows),
        larger(rows),
        latencies(rows),
        minix(rows),
        service(rows),
        watching(rows),
        paced(rows),
        sizes(rows),
        goal_lines(&goals(rows)),
    ];
    let sections = sections.into_iter().filter(|section| section.len() > 1);
    sections
        .flat_map(|section| section.into_iter().chain([String::new()]))
        .collect()
}

/// Instructions of a request on the bare image.
fn instructions(rows: &[Row]) -> Vec<String> {
    by_stage("Instructions of a 4 KiB request", rows, |row| {
        let depths = match row.contender.as_str() {
            "ours" | "raw" | "null" => &[1, 32][..],
            "virtio-drivers" => &[1, 5, 16],
            _ => &[],
        };
        let is_plain = row.operation == "read" && row.mode == "polled" && row.buffer.as_deref() == Some("handle");
        let is_typical = is_plain || row.chains.as_deref() == Some("either") && row.operation != "mixed";
        depths.contains(&row.depth)
            && (row.segments, row.bytes) == (1, 4096)
            && row.buffer.as_deref() != Some("list")
            && (row.contender != "ours" || is_typical)
    })
}

/// Instructions of a request on its way through the adapter of MINIX.
fn minix(rows: &[Row]) -> Vec<String> {
    by_stage("Instructions of the MINIX path", rows, |row| row.contender == "minix")
}

/// A line for each kind of request, and a column for each stage.
fn by_stage(heading: &str, rows: &[Row], is_shown: impl Fn(&Row) -> bool) -> Vec<String> {
    let counted = rows
        .iter()
        .filter(|row| row.instructions_per_request.is_some() && is_shown(row));
    let (whole, parts): (Vec<&Row>, Vec<&Row>) = counted.partition(|row| row.stage.is_none());
    let mut stages: Vec<&str> = Vec::new();
    for stage in parts.iter().filter_map(|row| row.stage.as_deref()) {
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    let headings = stages.iter().copied().chain(["whole", "notifies"]);
    let mut lines = vec![line(heading, headings.map(str::to_owned))];
    for row in whole {
        let stage = |name: &&str| {
            let stage = parts
                .iter()
                .find(|part| part.is_of(row) && part.stage.as_deref() == Some(name));
            number(stage.and_then(|stage| stage.instructions_per_request), 1)
        };
        let figures = stages.iter().map(stage).chain([
            number(row.instructions_per_request, 1),
            number(row.notifies_per_request, 3),
        ]);
        lines.push(line(&name(row, true), figures));
    }
    lines
}

/// Instructions over the number of segments.
fn segments(rows: &[Row]) -> Vec<String> {
    let is_list = |row: &&Row| row.buffer.as_deref() == Some("list") && row.instructions_per_request.is_some();
    let lists: Vec<&Row> = rows.iter().filter(is_list).filter(|row| row.stage.is_none()).collect();
    over(
        "Instructions of a request, by segments",
        &lists,
        (|row| row.segments, |segments| segments.to_string()),
        |row| number(row.instructions_per_request, 0),
    )
}

/// Rates over the depth, against the raw ring, and its own.
fn rates(rows: &[Row]) -> Vec<String> {
    let rated =
        rated(rows).filter(|row| (row.segments, row.bytes) == (1, 4096) && row.buffer.as_deref() != Some("list"));
    let (raw, others): (Vec<&Row>, Vec<&Row>) = rated.partition(|row| row.contender == "raw");
    let column: Column = (|row| row.depth, |depth| depth.to_string());
    let heading = "Rate against the raw ring, by depth";
    let mut lines = over(heading, &others, column, |row| number(row.ratio_to_raw, 2));
    let raw: Vec<&Row> = raw.into_iter().filter(|row| row.operation == "read").collect();
    let thousands = |row: &Row| row.rate.map_or_else(String::new, |rate| format!("{:.0}k", rate / 1e3));
    let mut depths: Vec<u32> = others.iter().map(|row| row.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let of_depth = |depth: &u32| {
        raw.iter()
            .find(|row| row.depth == *depth)
            .map_or_else(String::new, |row| thousands(row))
    };
    if !raw.is_empty() {
        lines.push(line("raw, requests per second", depths.iter().map(of_depth)));
    }
    lines
}

/// Rates of larger requests.
fn larger(rows: &[Row]) -> Vec<String> {
    let rated: Vec<&Row> = rated(rows)
        .filter(|row| row.contender != "raw" && row.operation == "read")
        .collect();
    let (lists, others): (Vec<&Row>, Vec<&Row>) =
        rated.into_iter().partition(|row| row.buffer.as_deref() == Some("list"));
    let others: Vec<&Row> = others
        .into_iter()
        .filter(|row| row.depth == 8 && row.contender == "ours" && row.mode == "polled")
        .collect();
    let is_swept = |row: &&Row| {
        others
            .iter()
            .any(|other| other.chains == row.chains && other.bytes != row.bytes)
    };
    let swept: Vec<&Row> = others.iter().copied().filter(is_swept).collect();
    let figure = |row: &Row| number(row.ratio_to_raw, 2);
    let by_bytes = over(
        "Rate against the raw ring at depth 8, by bytes",
        &swept,
        (|row| row.bytes, size),
        figure,
    );
    let by_segments = over(
        "Rate against it at depth 8, by segments of 4K",
        &lists,
        (|row| row.segments, |segments| segments.to_string()),
        figure,
    );
    let tables = [by_bytes, by_segments].into_iter().filter(|table| table.len() > 1);
    tables.flatten().collect()
}

/// What was rated against the raw ring.
fn rated(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.ratio_to_raw.is_some())
}

/// Latencies of single requests, and what waiting takes.
fn latencies(rows: &[Row]) -> Vec<String> {
    let columns = ["depth", "p50", "p90", "p99", "hart"];
    let mut lines = vec![line(
        "Latency of 4 KiB requests, microseconds",
        columns.map(str::to_owned),
    )];
    let is_shown = |row: &&Row| {
        let has_latency = row.latency_micros.is_some();
        let is_elsewhere = row.contender == watching::CONTENDER || row.contender == SERVICE && row.cpu_share.is_none();
        (row.segments, row.bytes) == (1, 4096) && !is_elsewhere && (has_latency || row.cpu_share.is_some())
    };
    for row in rows.iter().filter(is_shown) {
        let latency = row.latency_micros.as_ref();
        let figures = [
            row.depth.to_string(),
            number(latency.map(|latency| latency.p50), 1),
            number(latency.map(|latency| latency.p90), 1),
            number(latency.map(|latency| latency.p99), 1),
            row.cpu_share
                .map_or_else(String::new, |share| format!("{:.2}%", share * 100.0)),
        ];
        lines.push(line(&name(row, false), figures));
    }
    lines
}

/// The service in the test kernel: pages, and vectors of them.
fn service(rows: &[Row]) -> Vec<String> {
    let columns = ["instr.", "calls", "notifies", "interr.", "rate", "p50", "p99"];
    let mut lines = vec![line(
        "Requests to the MINIX service, microseconds",
        columns.map(str::to_owned),
    )];
    let is_shown = |row: &&Row| {
        row.contender == SERVICE
            && row.stage.is_none()
            && row.cpu_share.is_none()
            && row.bytes / row.segments.max(1) == 4096
    };
    for row in rows.iter().filter(is_shown) {
        let latency = row.latency_micros.as_ref();
        let figures = [
            number(row.instructions_per_request, 0),
            number(row.calls_per_request, 2),
            number(row.notifies_per_request, 3),
            number(row.interrupts_per_request, 3),
            number(row.rate, 0),
            number(latency.map(|latency| latency.p50), 0),
            number(latency.map(|latency| latency.p99), 0),
        ];
        lines.push(line(&name(row, true), figures));
    }
    lines
}

/// How long clients of the service wait, by how it watches its device.
fn watching(rows: &[Row]) -> Vec<String> {
    let columns = ["p50", "p90", "p99", "rate"];
    let mut lines = vec![line(
        "Requests with late interrupts, microseconds",
        columns.map(str::to_owned),
    )];
    let is_shown = |row: &&Row| row.contender == watching::CONTENDER && row.cpu_share.is_none();
    for row in rows.iter().filter(is_shown) {
        let latency = row.latency_micros.as_ref();
        let figures = [
            number(latency.map(|latency| latency.p50), 0),
            number(latency.map(|latency| latency.p90), 0),
            number(latency.map(|latency| latency.p99), 0),
            number(row.rate, 0),
        ];
        let name = format!("{} {}, {}", row.operation, size(row.bytes), row.mode);
        lines.push(line(&name, figures));
    }
    lines
}

/// What watching disks of some speeds takes.
fn paced(rows: &[Row]) -> Vec<String> {
    let columns = ["hits", "hart", "in vain", "p50"];
    let mut lines = vec![line("Watching a disk, one client", columns.map(str::to_owned))];
    let is_shown = |row: &&Row| row.contender == watching::CONTENDER && row.cpu_share.is_some();
    let percent = |share: Option<f64>| share.map_or_else(String::new, |share| format!("{:.1}%", share * 100.0));
    for row in rows.iter().filter(is_shown) {
        let figures = [
            percent(row.watch_hits),
            percent(row.cpu_share),
            percent(row.vain_share),
            number(row.latency_micros.as_ref().map(|latency| latency.p50), 0),
        ];
        lines.push(line(&row.operation, figures));
    }
    lines
}

/// Sizes of programs.
fn sizes(rows: &[Row]) -> Vec<String> {
    let columns = ["code", "constants", "RAM"];
    let mut lines = vec![line(
        "Bytes of the service, and what a driver adds",
        columns.map(str::to_owned),
    )];
    for row in rows.iter().filter(|row| row.text_bytes.is_some()) {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| bytes.to_string());
        let figures = [row.text_bytes, row.rodata_bytes, row.ram_bytes].map(bytes);
        lines.push(line(&row.contender, figures));
    }
    lines
}

fn goal_lines(goals: &[Goal]) -> Vec<String> {
    let mut lines = vec![format!("{:<62}{:>10}{:>11}", "Goals", "goal", "measured")];
    for goal in goals {
        let Some(figure) = goal.figure else { continue };
        let (sign, bound) = match goal.want {
            Want::AtMost(most) => ("<=", most),
            Want::AtLeast(least) => (">=", least),
        };
        let digits = |value: f64| {
            if bound < 10.0 {
                format!("{value:.2}")
            } else {
                format!("{value:.0}")
            }
        };
        let verdict = if goal.want.is_met(figure) { "met" } else { "MISSED" };
        let wanted = format!("{sign} {}", digits(bound));
        let counted = goal.counted.map_or_else(String::new, |counted| {
            format!(" ({} with the part of the benchmark, null)", digits(counted))
        });
        lines.push(format!(
            "  {:<60}{wanted:>10}{:>11}  {verdict}{counted}",
            goal.name,
            digits(figure)
        ));
    }
    lines
}

/// What the columns of a table are: the value of a row, and how it is written.
type Column = (fn(&Row) -> u32, fn(u32) -> String);

/// A line for each kind of request, and a column for each value.
fn over(heading: &str, rows: &[&Row], (column, label): Column, figure: impl Fn(&Row) -> String) -> Vec<String> {
    let mut columns: Vec<u32> = rows.iter().map(|row| column(row)).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut lines = vec![line(heading, columns.iter().map(|value| label(*value)))];
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let name = name(row, false);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for wanted in names {
        let of_name = |value: &u32| {
            let found = rows
                .iter()
                .find(|row| name(row, false) == wanted && column(row) == *value);
            found.map_or_else(String::new, |row| figure(row))
        };
        lines.push(line(&wanted, columns.iter().map(of_name)));
    }
    lines
}

/// Who did it and how.
fn name(row: &Row, with_depth: bool) -> String {
    let mut words = vec![row.contender.clone()];
    if row.operation != "read" {
        words.push(row.operation.clone());
    }
    if row.mode != "polled" {
        words.push(row.mode.clone());
    }
    words.extend(row.chains.clone());
    words.extend(row.buffer.clone());
    if with_depth {
        if row.segments > 1 {
            words.push(format!("of {}", row.segments));
        }
        words.push(format!("x{}", row.depth));
    }
    words.join(" ")
}

fn line(name: &str, figures: impl IntoIterator<Item = String>) -> String {
    let indent = if name.starts_with(char::is_lowercase) { "  " } else { "" };
    let figures: String = figures
        .into_iter()
        .map(|figure| format!(" {figure:>width$}", width = FIGURE - 1))
        .collect();
    format!("{:<NAME$}{figures}", format!("{indent}{name}"))
        .trim_end()
        .to_owned()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

/// A number of bytes, short.
fn size(bytes: u32) -> String {
    match bytes {
        0..1024 => bytes.to_string(),
        1024..1_048_576 => format!("{}K", bytes / 1024),
        _ => format!("{}M", bytes / 1_048_576),
    }
}
