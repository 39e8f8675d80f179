//! Runs checks and prints how they went, in the order of the list.
//!
//! Checks that ask cargo run one by one, as cargo uses all cores by itself. Checks that boot run two at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::check::{Check, Context, Verdict};
use crate::console::say;
use crate::interrupt;
use crate::progress::Progress;

/// How many QEMUs run at once.
const AT_ONCE: usize = 2;
/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(50);

/// Which checks went which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    /// The names of those that failed.
    pub(super) failed: Vec<String>,
}

/// How a check went.
struct CheckOutcome {
    verdict: Verdict,
    seconds: f64,
}

pub(super) fn run(checks: &[Check], context: &Context) -> Tally {
    let (boots, others): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.boots.is_some());
    let mut tally = Tally::default();
    for (number, check) in (1..).zip(others) {
        let heading = format!("[{number}/{}] {}", checks.len(), check.name);
        let outcome = waiting(&heading, || one(check, context));
        if interrupt::asked() {
            return tally;
        }
        print(check, &outcome, &mut tally);
    }
    side_by_side(&boots, context, &mut tally);
    tally
}

fn side_by_side(checks: &[&Check], context: &Context, tally: &mut Tally) {
    let next = AtomicUsize::new(0);
    let (senders, outcomes): (Vec<_>, Vec<_>) = checks.iter().map(|_| mpsc::channel()).unzip();
    let work = || {
        while !interrupt::asked() {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let (Some(check), Some(sender)) = (checks.get(place), senders.get(place)) else {
                return;
            };
            if sender.send(one(check, context)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
        for (number, (check, outcome)) in (1..).zip(checks.iter().zip(outcomes)) {
            let heading = format!("[{number}/{}] {}", checks.len(), check.name);
            let outcome = waiting(&heading, || {
                loop {
                    match outcome.recv_timeout(TICK) {
                        Err(RecvTimeoutError::Timeout) if !interrupt::asked() => {}
                        outcome => return outcome,
                    }
                }
            });
            match outcome {
                Ok(outcome) if !interrupt::asked() => print(check, &outcome, tally),
                _ => return,
            }
        }
    });
}

fn one(check: &Check, context: &Context) -> CheckOutcome {
    let started = Instant::now();
    let verdict = (check.work)(context);
    CheckOutcome {
        verdict,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Shows what is being waited for. Where there is no terminal, the line of the result will do.
fn waiting<T>(name: &str, work: impl FnOnce() -> T) -> T {
    match Progress::for_this_terminal() {
        Progress::Spinner => Progress::Spinner.step(name, |_| work()),
        Progress::Lines | Progress::Silent => work(),
    }
}

fn print(check: &Check, outcome: &CheckOutcome, tally: &mut Tally) {
    let CheckOutcome { verdict, seconds } = outcome;
    let Err(text) = verdict else {
        tally.passed += 1;
        return say(&format!("ok   {} ({seconds:.1}s)", check.name));
    };
    tally.failed.push(check.name.clone());
    say(&format!("FAIL {} ({seconds:.1}s)", check.name));
    for line in text.lines() {
        say(&format!("     | {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Guest;
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn passed_and_failed_are_told_wherever_they_run() {
        let context = Context {
            workspace: Workspace::load().unwrap(),
            setup: None,
            may_install: false,
        };
        let broken = || Err("broken".to_owned());
        let mut checks = vec![Check::new("a", |_| Ok(())), Check::new("b", move |_| broken())];
        for number in 0..7_u64 {
            let work = move |_: &Context| {
                thread::sleep(Duration::from_millis(7 - number));
                if number == 3 { broken() } else { Ok(()) }
            };
            checks.push(Check {
                boots: Some(Guest::Bare),
                ..Check::new(format!("c{number}"), work)
            });
        }
        let tally = run(&checks, &context);
        assert_eq!((tally.passed, tally.failed), (7, vec!["b".to_owned(), "c3".to_owned()]));
    }
}
