//! The benchmark: its counts keep to the budget, and its image measures every contender.

use std::time::Duration;

use image_bench::options::Pass;

use super::check::{Check, Context, Guest, Verdict};
use crate::bench::{Budget, Row, guest};
use crate::progress::Progress;

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Contenders, and how many ways to wait each has.
const RATED: [(&str, &[&str]); 3] = [
    ("ours", &["polled", "interrupts"]),
    ("virtio-drivers", &["polled", "blocking"]),
    ("raw", &["polled"]),
];

pub(super) fn checks() -> Vec<Check> {
    let boots = |name: &str, work: fn(&Context) -> Verdict| Check {
        boots: Some(Guest::Bench),
        ..Check::new(format!("bench/{name}"), work)
    };
    vec![boots("budget", budget), boots("rates", rates)]
}

/// No stage takes more instructions than it may.
fn budget(context: &Context) -> Verdict {
    let counted = Budget::of(&measure(context, Pass::Counts)?);
    let budget = Budget::load(&context.workspace).map_err(|error| format!("{error:#}"))?;
    budget.compare(&counted).verdict()
}

/// Every contender does its requests, however fast.
fn rates(context: &Context) -> Verdict {
    let rows = measure(
        context,
        Pass::Rates {
            rounds: 2,
            slice_micros: 100,
        },
    )?;
    for (contender, modes) in RATED {
        for mode in modes {
            let is_of = |row: &&Row| row.contender == contender && row.mode == *mode;
            if !rows
                .iter()
                .filter(is_of)
                .any(|row| row.rate.is_some_and(|rate| rate > 0.0))
            {
                return Err(format!("{contender} ({mode}) was not rated"));
            }
        }
        let is_timed = |row: &Row| row.contender == contender && row.latency_micros.is_some();
        if !rows.iter().any(is_timed) {
            return Err(format!("{contender} was not timed"));
        }
    }
    Ok(())
}

fn measure(context: &Context, pass: Pass) -> Result<Vec<Row>, String> {
    let qemu = &context.setup()?.qemu.program;
    guest::measure(&context.workspace, qemu, pass, LIMIT, Progress::Silent).map_err(|error| format!("{error:#}"))
}
