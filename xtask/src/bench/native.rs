//! The driver on this machine: over vhost-user to `qemu-storage-daemon`, beside the crate `virtio-driver`.
//!
//! The program `native-bench` does the work. Here the devices are started for it ([`Daemon`]), its rounds become rows, and
//! Valgrind counts instructions ([`callgrind`]).

mod callgrind;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use native_bench::{Choice, Paired, REQUEST_BYTES, Round, Sample, median, paired};

use self::callgrind::Stages;
use super::daemon::Daemon;
use super::row::Row;
use crate::build;
use crate::console::say;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Package and program are called the same.
const NAME: &str = "native-bench";

/// Requests in flight.
const DEPTHS: [usize; 4] = [1, 8, 32, 128];

/// The stage of a row about the time of submitting and taking completions: the doorbell, a system call that costs every driver the
/// same, is not in it.
pub(super) const WORK: &str = "submit-and-pop";

/// Measures rates, the time within the drivers, and instructions.
pub(crate) fn measure(workspace: &Workspace, progress: Progress) -> Result<Vec<Row>> {
    let daemon = Daemon::start(Choice::ALL.len(), Duration::ZERO)?;
    let heading = "building the native benchmark";
    build::programs(workspace, heading, &[NAME], &["--release"], progress)?;
    let program = workspace.target.join("release").join(NAME);
    let samples = rates(&program, &daemon, progress)?;
    let mut rows = rows(&samples);
    if callgrind::is_there() {
        for depth in DEPTHS {
            for choice in Choice::ALL {
                let stages = callgrind::count(&program, &daemon, choice, depth, progress)?;
                add_counts(&mut rows, choice, depth, &stages);
            }
        }
    } else {
        say("native instructions are not counted: Valgrind is missing (package valgrind)");
    }
    Ok(rows)
}

/// Runs the program to its end, and returns what it printed.
fn output(command: &Command, heading: &str, progress: Progress) -> Result<String> {
    let finished = progress.step(heading, |step| step.command(command))?;
    if !finished.status.success() {
        let reason = finished.output.lines().last().unwrap_or("it said nothing");
        bail!("the native benchmark stopped: {reason}");
    }
    Ok(finished.output)
}

/// The rounds of all drivers at all depths.
fn rates(program: &Path, daemon: &Daemon, progress: Progress) -> Result<Vec<Sample>> {
    let mut command = Command::new(program);
    command.arg("rates").args(daemon.sockets());
    for depth in DEPTHS {
        command.args(["--depth", &depth.to_string()]);
    }
    let output = output(&command, "measuring natively", progress)?;
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).context("the native benchmark printed a broken line"))
        .collect()
}

/// A row with nothing measured.
fn row(choice: Choice, depth: usize) -> Row {
    Row {
        contender: choice.driver().to_owned(),
        operation: "read".to_owned(),
        depth: depth as u32,
        segments: 1,
        bytes: REQUEST_BYTES as u32,
        mode: "polled".to_owned(),
        chains: Some(choice.chains().to_owned()),
        buffer: Some("handle".to_owned()),
        ..Row::default()
    }
}

/// One row for each driver and depth, and one for its work without the doorbell.
fn rows(samples: &[Sample]) -> Vec<Row> {
    let make = |sample: &Sample| {
        let other = samples
            .iter()
            .find(|other| other.choice == Choice::VirtioDriver && other.depth == sample.depth);
        let figures = |of: fn(&Round) -> f64| sample.rounds.iter().map(of);
        let ratio = |of: fn(&Round) -> f64| paired(figures(of), other?.rounds.iter().map(of));
        let empty = row(sample.choice, sample.depth);
        let work = Row {
            stage: Some(WORK.to_owned()),
            busy_nanos: median(figures(Round::work)),
            busy_to_other: ratio(Round::work),
            ..empty.clone()
        };
        let whole = Row {
            rate: median(figures(Round::rate)),
            rate_to_other: ratio(Round::rate),
            busy_nanos: median(figures(Round::busy)),
            busy_to_other: ratio(Round::busy),
            notifies_per_request: median(figures(Round::notifies)),
            ..empty
        };
        [whole, work]
    };
    samples.iter().flat_map(make).collect()
}

/// Adds the instructions of a driver at a depth: to its row, and as a row for each stage.
fn add_counts(rows: &mut Vec<Row>, choice: Choice, depth: usize, stages: &Stages) {
    let empty = row(choice, depth);
    if let Some(row) = rows.iter_mut().find(|row| row.stage.is_none() && row.is_of(&empty)) {
        row.instructions_per_request = Some(stages.values().sum());
    }
    rows.extend(stages.iter().map(|(stage, instructions)| Row {
        stage: Some((*stage).to_owned()),
        instructions_per_request: Some(*instructions),
        ..empty.clone()
    }));
}

/// The rows as a person reads them.
pub(crate) fn table(rows: &[Row]) -> String {
    let whole: Vec<_> = rows.iter().filter(|row| row.stage.is_none()).collect();
    let mut text = format!(
        "natively, 4 KiB reads, polled, as a share of virtio-driver (median and quartiles of paired rounds)\n\
         {:>5}  {:<14} {:<9} {:>8}  {:<17} {:>6}  {:<17} {:>6}  {:<17} {:>6}  {:<5}",
        "depth",
        "driver",
        "chains",
        "per s",
        "rate",
        "ns",
        "time in driver",
        "ns",
        "without doorbell",
        "instr.",
        "share"
    );
    for row in &whole {
        let other = whole
            .iter()
            .find(|other| other.contender == Choice::VirtioDriver.driver() && other.depth == row.depth);
        let work = rows
            .iter()
            .find(|work| work.is_of(row) && work.stage.as_deref() == Some(WORK));
        let instructions = other
            .and_then(|other| Some(row.instructions_per_request? / other.instructions_per_request?))
            .map_or_else(String::new, |share| format!("{share:.2}"));
        text += &format!(
            "\n{:>5}  {:<14} {:<9} {:>8}  {:<17} {:>6}  {:<17} {:>6}  {:<17} {:>6}  {:<5}",
            row.depth,
            row.contender,
            row.chains.as_deref().unwrap_or_default(),
            number(row.rate),
            ratio(row.rate_to_other),
            number(row.busy_nanos),
            ratio(row.busy_to_other),
            number(work.and_then(|work| work.busy_nanos)),
            ratio(work.and_then(|work| work.busy_to_other)),
            number(row.instructions_per_request),
            instructions,
        );
    }
    text
}

fn number(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.0}"))
}

fn ratio(ratio: Option<Paired>) -> String {
    ratio.map_or_else(String::new, |ratio| {
        let [low, high] = ratio.quartiles;
        format!("{:.2} ({low:.2}-{high:.2})", ratio.median)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(choice: Choice, nanos: [u64; 3]) -> Sample {
        let round = |nanos| Round {
            requests: 100,
            nanos,
            notifies: 25,
            busy_requests: 100,
            work_nanos: nanos / 10,
            doorbell_nanos: nanos / 10,
        };
        Sample {
            choice,
            depth: 8,
            rounds: nanos.map(round).to_vec(),
        }
    }

    #[test]
    fn rounds_become_rows_with_paired_ratios() {
        let samples = [
            sample(Choice::OursDirect, [1000, 4000, 1000]),
            sample(Choice::VirtioDriver, [2000, 8000, 2000]),
        ];
        let rows = rows(&samples);
        assert_eq!(rows.len(), 4);
        let ours = &rows[0];
        assert_eq!(
            (ours.contender.as_str(), ours.chains.as_deref(), ours.depth),
            ("ours-native", Some("direct"), 8)
        );
        assert_eq!((ours.rate, ours.busy_nanos), (Some(1e8), Some(2.0)));
        assert_eq!((rows[1].stage.as_deref(), rows[1].busy_nanos), (Some(WORK), Some(1.0)));
        assert_eq!(ours.notifies_per_request, Some(0.25));
        assert_eq!(ours.rate_to_other.unwrap().median, 2.0);
        assert_eq!(ours.busy_to_other.unwrap().quartiles, [0.5, 0.5]);
        assert_eq!(rows[2].rate_to_other.unwrap().median, 1.0);
    }

    #[test]
    fn counts_join_the_row_of_their_driver_and_depth() {
        let samples = [
            sample(Choice::OursDirect, [1000; 3]),
            sample(Choice::VirtioDriver, [1000; 3]),
        ];
        let mut rows = rows(&samples);
        for (choice, each) in [(Choice::OursDirect, 50.0), (Choice::VirtioDriver, 100.0)] {
            let stages = Stages::from([("submit", each), ("pop", each)]);
            add_counts(&mut rows, choice, 8, &stages);
        }
        assert_eq!(rows[0].instructions_per_request, Some(100.0));
        assert_eq!(rows[2].instructions_per_request, Some(200.0));
        assert_eq!(rows.len(), 8);
        let text = table(&rows);
        let ours = text.lines().find(|line| line.contains("ours-native")).unwrap();
        assert!(
            ours.contains("1.00 (1.00-1.00)") && ours.ends_with("100  0.50 "),
            "{text}"
        );
        // Stages are for the page.
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}
