//! Runs checks and prints how they went, in the order of the list.
//!
//! Checks that ask cargo run one by one, as cargo uses all cores by itself. Checks that boot run two at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Check, Context, Verdict};
use crate::console::say;
use crate::interrupt;
use crate::progress::Progress;

/// How many QEMUs run at once.
const AT_ONCE: usize = 2;

/// How many checks went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

/// A check that is over: its place in the list, and how it went.
struct Over {
    place: usize,
    verdict: Verdict,
    took: Duration,
}

pub(super) fn run(checks: &[Check], context: &Context) -> Tally {
    let mut tally = Tally::default();
    let (boots, others): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.boots.is_some());
    for check in others {
        let over = waiting(&check.name, || one(check, 0, context));
        print(check, &over, &mut tally);
    }
    side_by_side(&boots, context, &mut tally);
    tally
}

fn side_by_side(checks: &[&Check], context: &Context, tally: &mut Tally) {
    let next = AtomicUsize::new(0);
    let (sender, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed))
                    && !interrupt::asked()
                {
                    let place = checks
                        .iter()
                        .position(|other| std::ptr::eq(*other, *check))
                        .unwrap_or_default();
                    if sender.send(one(check, place, context)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // What is over too early waits for its turn.
        let mut early: Vec<Over> = Vec::new();
        for (place, check) in checks.iter().enumerate() {
            let over = waiting(&check.name, || {
                loop {
                    if let Some(index) = early.iter().position(|over| over.place == place) {
                        return early.swap_remove(index);
                    }
                    match finished.recv() {
                        Ok(over) => early.push(over),
                        Err(_) => {
                            return Over {
                                place,
                                verdict: Err("the check never ran".into()),
                                took: Duration::ZERO,
                            };
                        }
                    }
                }
            });
            if interrupt::asked() {
                return;
            }
            print(check, &over, tally);
        }
    });
}

fn one(check: &Check, place: usize, context: &Context) -> Over {
    let started = Instant::now();
    let verdict = (check.work)(context);
    Over {
        place,
        verdict,
        took: started.elapsed(),
    }
}

/// Shows what is being waited for; nothing where nobody looks, since the result line comes anyway.
fn waiting<T>(name: &str, work: impl FnOnce() -> T) -> T {
    match Progress::for_this_terminal() {
        Progress::Spinner => Progress::Spinner.step(name, |_| work()),
        Progress::Lines | Progress::Silent => work(),
    }
}

fn print(check: &Check, over: &Over, tally: &mut Tally) {
    let seconds = over.took.as_secs_f64();
    match &over.verdict {
        Ok(()) => {
            tally.passed += 1;
            say(&format!("ok   {} ({seconds:.1}s)", check.name));
        }
        Err(text) => {
            tally.failed += 1;
            say(&format!("FAIL {} ({seconds:.1}s)", check.name));
            for line in text.lines() {
                say(&format!("     | {line}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Guest;
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn passed_and_failed_are_counted_wherever_they_run() {
        let context = Context {
            workspace: Workspace::load().unwrap(),
            setup: None,
        };
        let mut checks = vec![Check::new("a", |_| Ok(())), Check::new("b", |_| Err("broken".into()))];
        for number in 0..7_u64 {
            checks.push(Check::booting(Guest::Bare, format!("c{number}"), move |_| {
                thread::sleep(Duration::from_millis(7 - number));
                if number == 3 { Err("broken".into()) } else { Ok(()) }
            }));
        }
        assert_eq!(run(&checks, &context), Tally { passed: 7, failed: 2 });
    }
}
