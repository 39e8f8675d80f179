//! What must hold after everything else.

use image_blk::options::Completion;

use super::{Context, TestResult, fail};
use crate::image::report::text;
use crate::image::session::Session;

/// Completions came the way that was asked for.
pub(super) fn completions(context: &mut Context<'_>) -> TestResult {
    let waiting = context.session.waiting();
    let counters = context.session.counters();
    let claimed = waiting.interrupts.counts().claimed;
    if counters.queue.faults > 0 {
        fail!("the device broke the rules {} times", counters.queue.faults);
    }
    match waiting.mode() {
        Completion::Interrupts if counters.interrupts.taken == 0 => fail!("no interrupt was taken"),
        Completion::Polled if counters.interrupts.taken > 0 || claimed > 0 => {
            fail!(
                "{} interrupts were taken while polling",
                counters.interrupts.taken.max(claimed)
            )
        }
        _ => {}
    }
    Ok(text!(
        "{} device requests, {} notifies, {} interrupts ({} spurious)",
        counters.queue.device_requests,
        counters.queue.notifies,
        counters.interrupts.taken,
        counters.interrupts.spurious
    ))
}

/// Nothing is left with the device, and all memory comes back.
pub(super) fn shut_down(session: &mut Session, judge_memory: bool) -> TestResult {
    let (aborted, missing_bytes) = session.shut_down();
    if aborted > 0 {
        fail!("{aborted} requests were still out");
    }
    if judge_memory && missing_bytes > 0 {
        fail!("{missing_bytes} bytes of DMA memory did not come back");
    }
    Ok(if missing_bytes == 0 {
        text!("nothing in flight, all memory back")
    } else {
        text!("nothing in flight, {missing_bytes} bytes left behind by failed tests")
    })
}
