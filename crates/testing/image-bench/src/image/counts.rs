//! The pass that counts instructions: a bracket around each stage, and none around a wait.

use alloc::boxed::Box;

use bare_image::report::{record, stop};
use bare_image::windows::{Found, Transport};
use board_qemu_virt::{Interrupts, println};
use guest_protocol::Record;
use image_bench::choice::Choice;
use image_bench::disks;
use virtio_blk::Chains;
use virtio_core::DmaBuffer;
use virtio_drivers::transport::mmio::MmioTransport;

use super::bracket::{Bracket, counting_begins, settle};
use super::buffers::{Buffer, Gather, Handle};
use super::contender::{Contender, Line};
use super::minix::{IdlePolls, Minix};
use super::null::Null;
use super::ours::{Ours, holds};
use super::raw::Raw;
use super::rival::{self, Blocking, NonBlocking, Watched};
use super::workload::{DEPTHS, Operation, SEGMENTS, Workload};

/// The fewest batches that are not counted: the first ones meet cold paths.
const WARM_UP: u64 = 8;
/// Batches that are counted.
const BATCHES: u64 = 64;

/// Chains that can be asked for.
const CHAINS: [Chains; 3] = [Chains::Direct, Chains::Indirect, Chains::PerRequest];

/// Runs the pass.
pub(crate) fn run(found: Box<[Found; disks::COUNT]>, interrupts: Interrupts, choice: Option<Choice<'static>>) {
    let bracket = Bracket::new(choice);
    null(&bracket);
    for (number, disk) in IntoIterator::into_iter(*found).enumerate() {
        let line = disk.source.map(|source| Line { interrupts, source });
        match number {
            disks::OURS => ours(&bracket, disk.transport, line),
            disks::RAW => raw(&bracket, disk.transport),
            disks::RIVAL_DIRECT => rival(&bracket, disk.transport, "direct", rival::DEPTH_DIRECT),
            disks::RIVAL_INDIRECT => rival(&bracket, disk.transport, "indirect", rival::DEPTH_INDIRECT),
            disks::MINIX => minix(&bracket, disk.transport),
            // The others are for contenders that are measured side by side.
            _ => {}
        }
    }
}

/// The benchmark's own part in those counts of this driver that are compared with a goal.
fn null(bracket: &Bracket) {
    for depth in [1, 32] {
        count(bracket, &mut Null::<Handle>::new(), &Workload::reads(depth));
        count(bracket, &mut Null::<DmaBuffer>::new(), &Workload::reads(depth));
    }
}

/// This driver, with each kind of chains and of buffers in turn.
fn ours(bracket: &Bracket, mut transport: Transport, line: Option<Line>) {
    for chains in CHAINS {
        let mut contender = Ours::<Handle>::start(transport, chains);
        for depth in DEPTHS {
            fitting(bracket, &mut contender, chains, &Workload::reads(depth));
        }
        for depth in [1, 32] {
            for operation in [Operation::Write, Operation::Mixed] {
                let workload = Workload::reads(depth).of(operation);
                fitting(bracket, &mut contender, chains, &workload);
            }
        }
        contender.listen(line);
        for depth in [1, 32] {
            fitting(bracket, &mut contender, chains, &Workload::reads(depth));
        }
        transport = contender.end();
        transport = over::<DmaBuffer>(bracket, transport, chains, &[1, 32].map(Workload::reads));
        let workloads = SEGMENTS.map(|segments| Workload::reads(2).of_segments(segments));
        transport = over::<Gather>(bracket, transport, chains, &workloads);
    }
}

/// This driver with another kind of buffers.
fn over<B: Buffer>(bracket: &Bracket, transport: Transport, chains: Chains, workloads: &[Workload]) -> Transport {
    let mut contender = Ours::<B>::start(transport, chains);
    for workload in workloads {
        fitting(bracket, &mut contender, chains, workload);
    }
    contender.end()
}

/// Counts a workload if the queue holds a batch of it.
fn fitting<B: Buffer>(bracket: &Bracket, contender: &mut Ours<B>, chains: Chains, workload: &Workload) {
    if holds(chains, workload) {
        count(bracket, contender, workload);
    }
}

fn raw(bracket: &Bracket, transport: Transport) {
    let mut contender = Raw::start(transport);
    for depth in [1, 32, 128] {
        count(bracket, &mut contender, &Workload::reads(depth));
    }
}

/// The path of MINIX.
fn minix(bracket: &Bracket, transport: Transport) {
    let mut contender = Minix::start(transport);
    for depth in [1, 8, 32, 64] {
        for operation in [Operation::Read, Operation::Write] {
            count(bracket, &mut contender, &Workload::reads(depth).of(operation));
        }
    }
    for segments in [8, 64] {
        count(bracket, &mut contender, &Workload::reads(1).of_segments(segments));
    }
    let mut idle = IdlePolls(contender);
    count(bracket, &mut idle, &Workload::reads(1));
}

/// `virtio-drivers` with a device that offers these chains.
fn rival(bracket: &Bracket, transport: Transport, chains: &'static str, depth: usize) {
    let mut contender = Blocking::<Watched>::start(transport.into_access(), chains);
    for operation in [Operation::Read, Operation::Write] {
        count(bracket, &mut contender, &Workload::reads(1).of(operation));
    }
    let mut window = contender.end();
    for depth in [1, depth] {
        // Notifications are counted in batches of their own, since counting takes instructions.
        let workload = Workload::reads(depth);
        let mut watched = NonBlocking::<Watched>::start(window, chains);
        if !bracket.wants(&watched.case(&workload)) {
            window = watched.end();
            continue;
        }
        let notifies = measure(bracket, &mut watched, &workload).notifies;
        let mut contender = NonBlocking::<MmioTransport<'static>>::start(watched.end(), chains);
        let counted = measure(bracket, &mut contender, &workload);
        report(bracket, &contender, &workload, &Counted { notifies, ..counted });
        window = contender.end();
    }
}

/// What was counted in [`BATCHES`] batches.
struct Counted {
    stages: [u64; 3],
    notifies: u64,
    interrupts: u64,
}

/// Counts the stages of one workload and reports them.
fn count<C: Contender>(bracket: &Bracket, contender: &mut C, workload: &Workload) {
    if bracket.wants(&contender.case(workload)) {
        let counted = measure(bracket, contender, workload);
        report(bracket, contender, workload, &counted);
    }
}

fn report<C: Contender>(bracket: &Bracket, contender: &C, workload: &Workload, counted: &Counted) {
    let case = contender.case(workload);
    for (stage, instructions) in C::STAGES.into_iter().zip(counted.stages) {
        let Some(stage) = stage else { continue };
        record(Record::Counted {
            case,
            stage,
            requests: BATCHES * workload.depth as u64,
            instructions,
            notifies: counted.notifies,
            interrupts: counted.interrupts,
        });
    }
    println!("{} {} x{}", case.contender, case.operation, case.depth);
    bracket.reported();
}

fn measure<C: Contender>(bracket: &Bracket, contender: &mut C, workload: &Workload) -> Counted {
    contender.prepare(workload);
    let warm_up = contender.warm_up().div_ceil(workload.depth) as u64;
    for _ in 0..WARM_UP.max(warm_up) {
        one_batch(bracket, contender, workload.depth);
    }
    let mut counted = [0; 3];
    counting_begins();
    let before = contender.events();
    for _ in 0..BATCHES {
        for (sum, count) in counted.iter_mut().zip(one_batch(bracket, contender, workload.depth)) {
            *sum += count;
        }
    }
    let after = contender.events();
    Counted {
        stages: counted,
        notifies: after.notifies - before.notifies,
        interrupts: after.interrupts - before.interrupts,
    }
}

#[inline(never)]
fn one_batch<C: Contender>(bracket: &Bracket, contender: &mut C, depth: usize) -> [u64; 3] {
    contender.waited();
    let mut submit = bracket.around(|| contender.submit());
    submit -= contender.waited();
    // A bracket that is not reported would be a stage that a profile cannot name.
    let publish = match C::STAGES[1] {
        Some(_) => bracket.around(|| contender.publish()) - contender.waited(),
        None => {
            contender.publish();
            0
        }
    };
    while !contender.is_completed() {
        core::hint::spin_loop();
    }
    settle();
    contender.wait();
    let mut completed = 0;
    contender.waited();
    let mut pop = bracket.around(|| completed = contender.complete());
    pop -= contender.waited();
    if completed != depth {
        stop("run", "lost", &"a batch did not come back as a whole");
    }
    [submit, publish, pop]
}
