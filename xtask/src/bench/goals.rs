//! What the project wants of the driver, beside what was measured.

use super::minimal;
use super::native;
use super::row::{Latency, Row};
use super::watching::{self, ADAPTIVE, PAIR, SHARED, SPINNING};

/// What rows call this driver, and a driver that does nothing.
const OURS: &str = "ours";
const NULL: &str = "null";

/// The request that goals are about.
const BYTES: u32 = 4096;

/// Whether a figure must stay below its goal or reach it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want {
    AtMost(f64),
    AtLeast(f64),
}

impl Want {
    /// Whether a figure is good enough.
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            Want::AtMost(most) => figure <= most,
            Want::AtLeast(least) => figure >= least,
        }
    }
}

/// A goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) want: Want,
    /// `None` if the rows do not tell.
    pub(crate) figure: Option<f64>,
    /// The figure as it was counted, if the part of the benchmark was taken off.
    pub(crate) counted: Option<f64>,
}

/// All goals, with the figures that the rows have.
pub(crate) fn goals(rows: &[Row]) -> Vec<Goal> {
    let mut goals = submit_and_pop_goals(rows);
    let mut add = |name: &str, want, figure| {
        goals.push(Goal {
            name: name.to_owned(),
            want,
            figure,
            counted: None,
        });
    };
    add(
        "each further segment, instructions",
        Want::AtMost(25.0),
        largest(
            rows,
            |row| is_list(row) && row.segments == 1,
            |row| each_segment(rows, row),
        ),
    );
    for (depth, least) in [(1, 0.98), (32, 0.85), (128, 0.90)] {
        let name = format!("rate against the raw ring, depth {depth}");
        add(
            &name,
            Want::AtLeast(least),
            ours(rows, depth).and_then(|row| row.ratio_to_raw),
        );
    }
    let rival =
        |rows: &[Row], depth: u32| largest(rows, |row| is_rival(row) && row.depth == depth, |row| row.ratio_to_raw);
    for (depth, least) in [(1, 1.05), (16, 3.0)] {
        let own = ours(rows, depth).and_then(|row| row.ratio_to_raw);
        let name = format!("rate against the best of virtio-drivers, depth {depth}");
        add(&name, Want::AtLeast(least), quotient(own, rival(rows, depth)));
    }
    let own = ours(rows, 128).and_then(|row| row.rate);
    add(
        "rate at depth 128 against the best of all of virtio-drivers",
        Want::AtLeast(3.5),
        quotient(own, largest(rows, is_rival, |row| row.rate)),
    );
    for operation in ["read", "write"] {
        let of = |depth| minix(rows, operation, depth);
        let name = |depth| format!("MINIX path, {operation}, instructions, depth {depth}");
        add(&name(1), Want::AtMost(1200.0), of(1));
        let name = format!("MINIX path, {operation}, depth 64 against depth 1");
        add(&name, Want::AtMost(1.1), quotient(of(64), of(1)));
    }
    let gather = |row: &Row| row.contender == "minix" && row.operation == "gather" && row.segments == 64;
    add(
        "MINIX path, gather of 64, instructions",
        Want::AtMost(3000.0),
        largest(
            rows,
            |row| gather(row) && row.stage.is_none(),
            |row| row.instructions_per_request,
        ),
    );
    let idle = |row: &Row| row.contender == "minix" && row.operation == "idle-poll" && row.stage.is_none();
    add(
        "MINIX path, a poll that finds nothing, instructions",
        Want::AtMost(60.0),
        largest(rows, idle, |row| row.instructions_per_request),
    );
    let waits = [
        ("p50", worst_wait(rows, |latency| latency.p50)),
        ("p90", worst_wait(rows, |latency| latency.p90)),
        ("p99", worst_wait(rows, |latency| latency.p99)),
    ];
    for (percentile, worst) in waits {
        let name =
            format!("MINIX service with late interrupts, {percentile} against itself spinning, worst of all sizes");
        add(&name, Want::AtMost(1.1), worst);
    }
    add(
        "MINIX service with late interrupts, rate of two clients at a disk of 200 us against itself spinning at depth 1",
        Want::AtLeast(1.7),
        quotient(watched_rate(rows, ADAPTIVE), watched_rate(rows, SPINNING)),
    );
    let slow = |row: &Row| row.contender == watching::CONTENDER && row.operation == "read-100000us";
    add(
        "MINIX service, share of a hart that watches, one client at a disk of 100 ms",
        Want::AtMost(0.05),
        largest(rows, slow, |row| row.cpu_share),
    );
    let small = |row: &Row| row.contender == minimal::SMALL_ROW;
    add(
        "code of a user of reads and writes, bytes at opt-level z",
        Want::AtMost(8192.0),
        largest(rows, small, |row| row.text_bytes.map(|bytes| bytes as f64)),
    );
    let rate = |row: &Row| row.rate_to_other.map(|ratio| ratio.median);
    add(
        "natively against virtio-driver, rate, depth 8 to 128",
        Want::AtLeast(0.98),
        least(rows, is_native, rate),
    );
    let busy = |row: &Row| row.busy_to_other.map(|ratio| ratio.median);
    add(
        "natively against virtio-driver, time in the driver",
        Want::AtMost(0.7),
        largest(rows, is_native, busy),
    );
    add(
        "natively, the same without the doorbell",
        Want::AtMost(0.7),
        largest(rows, is_native_work, busy),
    );
    let instructions = |row: &Row| {
        let is_other =
            |other: &&Row| other.contender == "virtio-driver" && other.depth == row.depth && other.stage.is_none();
        let other = rows.iter().find(is_other)?;
        quotient(row.instructions_per_request, other.instructions_per_request)
    };
    add(
        "natively against virtio-driver, instructions",
        Want::AtMost(0.6),
        largest(rows, is_native, instructions),
    );
    goals
}

/// How long clients of the service wait, as a share of that with a service that spins: the worst of all sizes.
fn worst_wait(rows: &[Row], percentile: fn(&Latency) -> f64) -> Option<f64> {
    let of = |row: &Row| row.latency_micros.as_ref().map(percentile);
    let is_alone = |row: &Row| {
        row.contender == watching::CONTENDER
            && row.mode == ADAPTIVE
            && ![PAIR, SHARED].contains(&&*row.operation)
            && row.cpu_share.is_none()
    };
    largest(rows, is_alone, |row| {
        let spinning = Row {
            mode: SPINNING.to_owned(),
            ..row.clone()
        };
        let other = rows.iter().find(|other| other.is_of(&spinning))?;
        quotient(of(row), of(other))
    })
}

/// The rate of two clients that share a disk.
fn watched_rate(rows: &[Row], mode: &str) -> Option<f64> {
    let is_pair = |row: &&Row| row.contender == watching::CONTENDER && row.operation == SHARED && row.mode == mode;
    rows.iter().find(is_pair)?.rate
}

/// What submit and pop of a request take. The benchmark's own part in them is taken off: it is what [`NULL`] takes, with the same
/// buffers at the same depth.
fn submit_and_pop_goals(rows: &[Row]) -> Vec<Goal> {
    let goals = [
        (32, "handle", "handle", 95.0),
        (32, "dma-buffer", "DmaBuffer", 150.0),
        (1, "handle", "handle", 200.0),
    ];
    let goal = |(depth, buffer, shown, most)| {
        let counted = |contender| {
            largest(
                rows,
                |row| row.contender == contender && is_read(row, depth, buffer),
                |row| submit_and_pop(rows, row),
            )
        };
        let own = counted(OURS);
        Goal {
            name: format!("submit and pop, instructions, depth {depth}, {shown}"),
            want: Want::AtMost(most),
            figure: own.zip(counted(NULL)).map(|(own, null)| own - null),
            counted: own,
        }
    };
    goals.map(goal).into()
}

/// This driver natively, as it decides by itself, with enough in flight that the daemon does not sleep.
fn is_native(row: &Row) -> bool {
    is_default_native(row) && row.stage.is_none()
}

/// The same without the system call of the doorbell, which costs all drivers the same.
fn is_native_work(row: &Row) -> bool {
    is_default_native(row) && row.stage.as_deref() == Some(native::WORK)
}

fn is_default_native(row: &Row) -> bool {
    row.contender == "ours-native" && row.chains.as_deref() == Some("either") && row.depth >= 8
}

/// A polled 4 KiB read as a whole request.
fn is_read(row: &Row, depth: u32, buffer: &str) -> bool {
    row.operation == "read"
        && row.mode == "polled"
        && (row.depth, row.segments, row.bytes) == (depth, 1, BYTES)
        && row.buffer.as_deref() == Some(buffer)
        && row.stage.is_none()
}

/// A request of this driver with a list of segments as a whole.
fn is_list(row: &Row) -> bool {
    row.contender == "ours"
        && row.buffer.as_deref() == Some("list")
        && row.stage.is_none()
        && row.instructions_per_request.is_some()
}

fn is_rival(row: &Row) -> bool {
    row.contender == "virtio-drivers" && row.operation == "read" && row.bytes == BYTES
}

/// The rate of this driver as it decides by itself: direct or indirect chains for each request.
fn ours(rows: &[Row], depth: u32) -> Option<&Row> {
    let rated = rows
        .iter()
        .filter(|row| row.contender == OURS && is_read(row, depth, "handle") && row.rate.is_some());
    rated.min_by_key(|row| row.chains.as_deref() != Some("either"))
}

/// The instructions of the MINIX path for a request of 4 KiB.
fn minix(rows: &[Row], operation: &str, depth: u32) -> Option<f64> {
    let is_wanted = |row: &Row| {
        row.contender == "minix"
            && row.operation == operation
            && (row.depth, row.segments, row.bytes) == (depth, 1, BYTES)
            && row.stage.is_none()
    };
    largest(rows, is_wanted, |row| row.instructions_per_request)
}

/// The instructions of the stages of a request that goals are about.
fn submit_and_pop(rows: &[Row], whole: &Row) -> Option<f64> {
    let stage = |name: &str| {
        let found = rows
            .iter()
            .find(|row| row.is_of(whole) && row.stage.as_deref() == Some(name));
        found.and_then(|row| row.instructions_per_request)
    };
    Some(stage("submit")? + stage("pop")?)
}

/// What each segment takes beyond the first one, from a request with one of them to the longest.
fn each_segment(rows: &[Row], one: &Row) -> Option<f64> {
    let is_like = |row: &&Row| is_list(row) && row.chains == one.chains && row.depth == one.depth;
    let longest = rows.iter().filter(is_like).max_by_key(|row| row.segments)?;
    let further = longest.segments.checked_sub(1).filter(|further| *further > 0)?;
    Some((longest.instructions_per_request? - one.instructions_per_request?) / f64::from(further))
}

/// The largest figure among the rows.
fn largest(rows: &[Row], is_wanted: impl Fn(&Row) -> bool, figure: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
    let figures = rows.iter().filter(|row| is_wanted(row)).filter_map(figure);
    figures.max_by(f64::total_cmp)
}

/// The smallest.
fn least(rows: &[Row], is_wanted: impl Fn(&Row) -> bool, figure: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
    let figures = rows.iter().filter(|row| is_wanted(row)).filter_map(figure);
    figures.min_by(f64::total_cmp)
}

fn quotient(of: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(of? / by.filter(|by| *by > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(contender: &str, depth: u32) -> Row {
        Row {
            contender: contender.into(),
            operation: "read".into(),
            depth,
            segments: 1,
            bytes: BYTES,
            mode: "polled".into(),
            ..Row::default()
        }
    }

    fn figure(rows: &[Row], name: &str) -> Option<f64> {
        let goals = goals(rows);
        let mut found = goals.iter().filter(|goal| goal.name == name);
        let (goal, None) = (found.next().unwrap(), found.next()) else {
            panic!("{name} is there twice")
        };
        goal.figure
    }

    #[test]
    fn without_rows_no_goal_has_a_figure() {
        assert!(goals(&[]).iter().all(|goal| goal.figure.is_none()));
    }

    #[test]
    fn the_worst_kind_of_chains_counts_for_instructions_without_the_part_of_the_benchmark() {
        let mut rows = Vec::new();
        for (contender, chains, submit, pop) in [
            ("ours", "direct", 40.0, 20.0),
            ("ours", "indirect", 50.0, 30.0),
            ("null", "", 6.0, 8.0),
        ] {
            let whole = Row {
                chains: Some(chains.into()),
                buffer: Some("handle".into()),
                ..read(contender, 32)
            };
            for (stage, instructions) in [(None, 999.0), (Some("submit"), submit), (Some("pop"), pop)] {
                rows.push(Row {
                    stage: stage.map(str::to_owned),
                    instructions_per_request: Some(instructions),
                    ..whole.clone()
                });
            }
        }
        let name = "submit and pop, instructions, depth 32, handle";
        assert_eq!(figure(&rows, name), Some(66.0));
        let goal = |rows: &[Row]| goals(rows).into_iter().find(|goal| goal.name == name).unwrap();
        assert_eq!(goal(&rows).counted, Some(80.0));
        rows.retain(|row| row.contender == "ours");
        assert_eq!(goal(&rows).figure, None, "the part of the benchmark is not known");
    }

    #[test]
    fn a_segment_costs_what_the_longest_list_has_more() {
        let list = |segments: u32, instructions| Row {
            chains: Some("direct".into()),
            buffer: Some("list".into()),
            segments,
            bytes: BYTES * segments,
            instructions_per_request: Some(instructions),
            ..read("ours", 2)
        };
        let rows = [list(1, 100.0), list(2, 500.0), list(5, 180.0)];
        assert_eq!(figure(&rows, "each further segment, instructions"), Some(20.0));
    }

    #[test]
    fn the_size_with_the_longest_wait_counts() {
        let waits = |mode: &str, bytes, p50, rate| Row {
            mode: mode.into(),
            bytes,
            latency_micros: Some(Latency {
                p50,
                ..Latency::default()
            }),
            rate: Some(rate),
            ..read(watching::CONTENDER, 1)
        };
        let pair = |row: Row| Row {
            operation: SHARED.into(),
            ..row
        };
        let rows = [
            waits(ADAPTIVE, 4096, 100.0, 1.0),
            waits(ADAPTIVE, 65536, 150.0, 1.0),
            waits(SPINNING, 4096, 100.0, 1.0),
            waits(SPINNING, 65536, 100.0, 1.0),
            pair(waits(ADAPTIVE, 4096, 900.0, 30.0)),
            pair(waits(SPINNING, 4096, 100.0, 20.0)),
        ];
        let name = "MINIX service with late interrupts, p50 against itself spinning, worst of all sizes";
        assert_eq!(figure(&rows, name), Some(1.5));
        let name = "MINIX service with late interrupts, rate of two clients at a disk of 200 us against itself spinning at depth 1";
        assert_eq!(figure(&rows, name), Some(1.5));
    }

    #[test]
    fn the_rival_counts_with_its_best() {
        let rated = |contender: &str, depth, chains: Option<&str>, ratio, rate| Row {
            chains: chains.map(str::to_owned),
            buffer: (contender == "ours").then(|| "handle".to_owned()),
            ratio_to_raw: Some(ratio),
            rate: Some(rate),
            ..read(contender, depth)
        };
        let rows = [
            rated("ours", 1, Some("direct"), 0.5, 1.0),
            rated("ours", 1, Some("either"), 1.0, 1.0),
            rated("ours", 128, Some("either"), 1.0, 800.0),
            rated("virtio-drivers", 1, None, 0.8, 100.0),
            rated("virtio-drivers", 1, None, 0.5, 50.0),
            rated("virtio-drivers", 16, None, 0.3, 200.0),
        ];
        assert_eq!(
            figure(&rows, "rate against the best of virtio-drivers, depth 1"),
            Some(1.25)
        );
        let all = "rate at depth 128 against the best of all of virtio-drivers";
        assert_eq!(figure(&rows, all), Some(4.0));
    }
}
