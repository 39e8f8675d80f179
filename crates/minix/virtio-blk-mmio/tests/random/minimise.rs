//! From a plan that fails to one that fails in the same way with fewer steps.

use crate::plan::{PlanStep, World};
use crate::run::{Failure, run};

/// Runs that a search may take.
const RUNS: u32 = 2000;

/// Places of the steps that are left, none of which can go, and how the run fails with them.
pub(crate) fn minimise(world: &World, steps: &[PlanStep], seed: u64, failure: Failure) -> (Vec<usize>, Failure) {
    let mut kept: Vec<usize> = (0..steps.len()).collect();
    let mut last = failure;
    let mut runs = 0;
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let mut shorter = false;
        while start < kept.len() && runs < RUNS {
            let end = (start + chunk).min(kept.len());
            let fewer: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
            let chosen: Vec<PlanStep> = fewer.iter().map(|&place| steps[place].clone()).collect();
            runs += 1;
            match run(world, &chosen, seed) {
                Err(failure) if failure.kind == last.kind => {
                    (kept, last) = (fewer, failure);
                    shorter = true;
                }
                _ => start = end,
            }
        }
        if runs >= RUNS || chunk == 1 && !shorter {
            return (kept, last);
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        }
    }
}
