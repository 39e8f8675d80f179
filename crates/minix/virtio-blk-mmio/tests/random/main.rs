//! Random runs of the whole stack: the adapter on the VirtIO driver on the registers of a device in software, under a kernel
//! and a clock in software.
//!
//! Each run follows from a seed: a device, clients that ask for things, and a device that misbehaves for a while and then keeps
//! to the rules. Every request is answered once, in time, with a permitted answer; data follows from the serial order of
//! the requests; a power cut after any answer leaves what was promised; and the device is lent memory only while it
//! may use it.
//!
//! * `RANDOM_RUNS` is how many seeds are tried, `RANDOM_RUNS_FIRST` the first of them.
//! * `RANDOM_RUNS_SEED` tries a single seed, `RANDOM_RUNS_STEPS` only those steps of it, such as `3,7,9`.
//! * `RANDOM_RUNS_WITHOUT` leaves themes out, such as `Restless,Storm`.

mod clients;
mod dma;
mod ending;
mod generate;
mod history;
mod kernel;
mod memory;
mod minimise;
mod plan;
mod reports;
mod rng;
mod run;
mod service;
mod totals;
mod weather;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::panic;
use std::str::FromStr;

use generate::RandomPlan;
use minimise::minimise;
use plan::{PlanStep, Theme};
use run::{Failure, run};
use totals::Totals;

/// Seeds that are tried by default.
const RUNS: u64 = 160;
/// So many seeds reach everything that there is to reach.
const ENOUGH: u64 = 150;
/// Failures of one kind that are told in full.
const TOLD: usize = 2;

thread_local! {
    /// Panics of this thread are expected: they are part of the failure that is told.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn allowed() -> Vec<Theme> {
    let without = env::var("RANDOM_RUNS_WITHOUT").unwrap_or_default();
    let without: Vec<&str> = without.split(',').collect();
    let name = |theme: &Theme| format!("{theme:?}");
    Theme::ALL
        .into_iter()
        .filter(|theme| !without.contains(&name(theme).as_str()))
        .collect()
}

/// Tells a failure: with as few steps as it takes, and how to see it again.
fn report(seed: u64, plan: &RandomPlan, kept: &[usize], failure: &Failure) -> String {
    let mut text = format!("seed {seed}, {}: {}\n", failure.kind, failure.what);
    let _ = writeln!(text, "  themes {:?}, {:?}", plan.themes, plan.world);
    for &place in kept {
        let _ = writeln!(text, "  {place}: {:?}", plan.steps[place]);
    }
    let places: Vec<String> = kept.iter().map(ToString::to_string).collect();
    let without =
        env::var("RANDOM_RUNS_WITHOUT").map_or(String::new(), |without| format!("RANDOM_RUNS_WITHOUT={without} "));
    let _ = writeln!(
        text,
        "  again: {without}RANDOM_RUNS_SEED={seed} RANDOM_RUNS_STEPS={} cargo test -p minix-virtio-blk --test random",
        places.join(",")
    );
    text
}

#[test]
fn no_seed_loses_hangs_or_answers_twice() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            hook(info);
        }
    }));
    let allowed = allowed();
    let (first, count) = match number("RANDOM_RUNS_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("RANDOM_RUNS_FIRST").unwrap_or(1),
            number("RANDOM_RUNS").unwrap_or(RUNS),
        ),
    };
    let only: Option<Vec<usize>> = env::var("RANDOM_RUNS_STEPS").ok().map(|text| {
        let places = text.split(',').filter(|place| !place.is_empty());
        places.map(|place| place.parse().expect("numbers of steps")).collect()
    });

    let mut failed: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let mut reports = String::new();
    let mut totals = Totals::default();
    QUIET.set(true);
    for seed in first..first + count {
        let plan = RandomPlan::new(seed, &allowed);
        let places: Vec<usize> = only.clone().unwrap_or_else(|| (0..plan.steps.len()).collect());
        let steps: Vec<PlanStep> = places.iter().map(|&place| plan.steps[place].clone()).collect();
        let failure = match run(&plan.world, &steps, seed) {
            Ok(of_run) => {
                totals.add(&of_run);
                continue;
            }
            Err(failure) => failure,
        };
        let seeds = failed.entry(failure.kind).or_default();
        seeds.push(seed);
        if seeds.len() <= TOLD {
            let (kept, failure) = minimise(&plan.world, &steps, seed, failure);
            let kept: Vec<usize> = kept.iter().map(|&place| places[place]).collect();
            reports.push_str(&report(seed, &plan, &kept, &failure));
        }
    }
    QUIET.set(false);
    println!("{}", totals.line());
    let total: usize = failed.values().map(Vec::len).sum();
    let mut summary = String::new();
    for (kind, seeds) in &failed {
        let few: Vec<String> = seeds.iter().take(12).map(ToString::to_string).collect();
        let _ = writeln!(summary, "{kind}: {} seeds: {} ...", seeds.len(), few.join(" "));
    }
    assert!(total == 0, "{total} of {count} seeds failed\n{summary}{reports}");
    if count >= ENOUGH && allowed.len() == Theme::ALL.len() {
        assert_eq!(totals.missing(), [""; 0], "the runs do not reach this");
    }
}
