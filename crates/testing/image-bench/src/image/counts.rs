//! The pass that counts instructions: a bracket around each stage, and none around a wait.

use core::sync::atomic::{Ordering, compiler_fence};

use bare_image::report::{record, stop};
use bare_image::windows::Found;
use board_qemu_virt::{console, counters, println};
use guest_protocol::Record;
use image_bench::disks;

use super::buffers::{Gather, Handle};
use super::contender::Contender;
use super::ours::{Chains, Ours};
use super::workload::{Operation, Workload};

/// Batches that are not counted: the first ones meet cold paths.
const WARM_UP: u64 = 8;
/// Batches that are counted.
const BATCHES: u64 = 64;

/// Runs the pass.
pub(crate) fn run(found: [Found; disks::COUNT]) {
    let bracket = Bracket::new();
    let [ours] = found;
    let mut transport = ours.transport;
    for chains in [Chains::Indirect, Chains::Direct] {
        let mut contender = Ours::<Handle>::start(transport, chains);
        for depth in [1, 32] {
            count(&bracket, &mut contender, &Workload::reads(depth));
        }
        for operation in [Operation::Write, Operation::Mixed] {
            let workload = Workload {
                operation,
                ..Workload::reads(32)
            };
            count(&bracket, &mut contender, &workload);
        }
        transport = contender.end();
        let mut contender = Ours::<Gather>::start(transport, chains);
        count(&bracket, &mut contender, &Workload::reads(8).in_segments(8));
        transport = contender.end();
    }
}

/// Counts instructions and leaves out its own.
pub(crate) struct Bracket {
    own: u64,
}

impl Bracket {
    /// Measures the bracket itself. Ends the run if the machine does not count instructions.
    pub(crate) fn new() -> Self {
        let bare = Self { own: 0 };
        let samples: [u64; 8] = core::array::from_fn(|_| bare.around(|| ()));
        if samples.iter().any(|sample| *sample != samples[0]) || samples[0] == 0 || samples[0] > 16 {
            stop(
                "boot",
                "not-counting",
                &"this machine does not count instructions, QEMU does with -icount",
            );
        }
        Self { own: samples[0] }
    }

    /// The instructions that `work` takes.
    #[inline(always)]
    pub(crate) fn around(&self, work: impl FnOnce()) -> u64 {
        compiler_fence(Ordering::SeqCst);
        let start = counters::instructions_retired();
        compiler_fence(Ordering::SeqCst);
        work();
        compiler_fence(Ordering::SeqCst);
        let end = counters::instructions_retired();
        compiler_fence(Ordering::SeqCst);
        end - start - self.own
    }
}

/// Counts the stages of one workload and reports them.
fn count<C: Contender>(bracket: &Bracket, contender: &mut C, workload: &Workload) {
    contender.prepare(workload);
    let mut stages = [0; 3];
    let mut before = contender.events();
    for batch in 0..WARM_UP + BATCHES {
        if batch == WARM_UP {
            stages = [0; 3];
            before = contender.events();
        }
        let counted = one_batch(bracket, contender, workload.depth);
        for (sum, count) in stages.iter_mut().zip(counted) {
            *sum += count;
        }
    }
    let after = contender.events();
    let case = contender.case(workload);
    println!("{}: {} x{}", case.contender, case.operation, case.depth);
    let requests = BATCHES * workload.depth as u64;
    for (stage, instructions) in ["submit", "publish", "pop"].into_iter().zip(stages) {
        record(Record::Counted {
            case,
            stage,
            requests,
            instructions,
            notifies: after.notifies - before.notifies,
            interrupts: after.interrupts - before.interrupts,
        });
    }
}

#[inline(never)]
fn one_batch<C: Contender>(bracket: &Bracket, contender: &mut C, depth: usize) -> [u64; 3] {
    let submit = bracket.around(|| contender.submit());
    let publish = bracket.around(|| contender.publish());
    wait(contender);
    let mut completed = 0;
    let pop = bracket.around(|| completed = contender.complete());
    if completed != depth {
        stop("run", "lost", &"a batch did not come back as a whole");
    }
    [submit, publish, pop]
}

/// Waits until the device has done everything and rests. Reading a register takes QEMU's lock, so that the part of the device that
/// runs in another thread is at its end afterwards.
fn wait(contender: &impl Contender) {
    while !contender.is_completed() {
        core::hint::spin_loop();
    }
    let _ = console::read_byte();
}
