//! The benchmark: its counts keep to the budget, its image measures every contender, and its profile adds up.

use std::time::Duration;

use image_bench::options::Pass;

use super::check::{Check, Context, Guest, Verdict};
use crate::bench::watching::{self, Effort};
use crate::bench::{Budget, Row, guest, profile, service};
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
    let boots = |guest, name: &str, work: fn(&Context) -> Verdict| Check {
        boots: Some(guest),
        ..Check::new(format!("bench/{name}"), work)
    };
    vec![
        boots(Guest::Bench, "budget", budget),
        boots(Guest::Bench, "rates", rates),
        boots(Guest::Bench, "profile", profile),
        boots(Guest::Minix, "service-budget", service_budget),
        boots(Guest::Minix, "service-rates", service_rates),
        boots(Guest::Minix, "watching", watching),
    ]
}

/// No stage takes more instructions than it may.
fn budget(context: &Context) -> Verdict {
    let counted = Budget::of(&measure(context, Pass::Counts)?);
    let budget = Budget::load(&context.workspace).map_err(|error| format!("{error:#}"))?;
    budget.compare(&counted).verdict()
}

/// The service takes no more instructions than it may, on its way through the test kernel.
fn service_budget(context: &Context) -> Verdict {
    let counted = Budget::of(&measure_service(context, service::Pass::Counts)?);
    let budget = Budget::load(&context.workspace).map_err(|error| format!("{error:#}"))?;
    budget.compare(&counted).verdict()
}

/// The service does its requests, however fast, and waits for a slow disk.
fn service_rates(context: &Context) -> Verdict {
    let rows = measure_service(context, service::Pass::Rates { ops: 16 })?;
    let is_rated = |row: &Row| row.rate.is_some_and(|rate| rate > 0.0) && row.latency_micros.is_some();
    if let Some(row) = rows.iter().find(|row| !is_rated(row)) {
        return Err(format!("{row:?} was not rated"));
    }
    let rows = measure_service(context, service::Pass::Wait)?;
    match rows.iter().find(|row| row.cpu_share.is_none()) {
        Some(row) => Err(format!("{row:?} has no share of a hart")),
        None => Ok(()),
    }
}

/// The service is measured with each way to watch its device, and on disks of several speeds.
fn watching(context: &Context) -> Verdict {
    let setup = context.setup()?;
    let programs = setup.programs.as_ref().ok_or("the service was not built")?;
    let effort = Effort {
        rounds: 1,
        ops: 16,
        paced_part: 20,
    };
    let (scratch, qemu) = (&setup.scratch, &setup.qemu.program);
    let measured = watching::measure(scratch, qemu, programs, effort, LIMIT, Progress::Silent);
    let rows = measured.map_err(|error| format!("{error:#}"))?;
    match rows.iter().find(|row| row.latency_micros.is_none()) {
        Some(row) => Err(format!("{row:?} was not timed")),
        None => Ok(()),
    }
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

/// A profile has every instruction that the guest counts: it fails if a stage does not add up.
fn profile(context: &Context) -> Verdict {
    let profiled = profile::choice("depth=1").and_then(|choice| {
        let setup = context.setup().map_err(anyhow::Error::msg)?;
        profile::profile(&context.workspace, &setup.qemu.program, choice, Progress::Silent)
    });
    let lines = profiled.map_err(|error| format!("{error:#}"))?;
    let headings = ["submit: ", "publish: ", "pop: ", "by source line: "];
    match headings
        .iter()
        .find(|heading| !lines.iter().any(|line| line.starts_with(*heading)))
    {
        Some(heading) => Err(format!("the profile has no part {heading:?}")),
        None => Ok(()),
    }
}

fn measure(context: &Context, pass: Pass) -> Result<Vec<Row>, String> {
    let qemu = &context.setup()?.qemu.program;
    guest::measure(&context.workspace, qemu, pass, LIMIT, Progress::Silent).map_err(|error| format!("{error:#}"))
}

fn measure_service(context: &Context, pass: service::Pass) -> Result<Vec<Row>, String> {
    let setup = context.setup()?;
    let programs = setup.programs.as_ref().ok_or("the service was not built")?;
    let measured = service::measure(
        &setup.scratch,
        &setup.qemu.program,
        programs,
        &[pass],
        LIMIT,
        Progress::Silent,
    );
    measured.map_err(|error| format!("{error:#}"))
}
