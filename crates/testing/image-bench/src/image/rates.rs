//! The pass that measures rates: slices of time, contender after contender, round after round.
//!
//! A host is never quiet for long. What a contender does in a slice is therefore compared with what the raw ring does in the same
//! round, a few slices away, and the median of that over all rounds is the result.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::report::record;
use bare_image::windows::{Found, Transport};
use board_qemu_virt::{Interrupts, Ticks, Timebase, counters, println};
use guest_protocol::{Case, Record, histogram};
use image_bench::disks;
use virtio_blk::Chains;
use virtio_drivers::transport::mmio::MmioTransport;

use super::buffers::{Gather, Handle};
use super::contender::{Contender, Line, TURN_REQUESTS};
use super::ours::{Ours, holds};
use super::raw::Raw;
use super::rival::{Blocking, DEPTH_DIRECT, DEPTH_INDIRECT, NonBlocking};
use super::workload::{DEPTHS, Operation, SEGMENTS, Workload};

/// Single requests that are timed in each round.
const TIMED: usize = 64;

/// How long slices are and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) slice_micros: u64,
}

/// Who does what in a slice.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The number of its disk.
    disk: usize,
    workload: Workload,
    /// Whether it waits for interrupts.
    interrupts: bool,
}

/// What a slice came to.
#[derive(Clone, Copy, Debug)]
struct Slice {
    requests: u64,
    ticks: u64,
}

/// Runs the pass.
pub(crate) fn run(found: Box<[Found; disks::COUNT]>, interrupts: Interrupts, timebase: Timebase, effort: Effort) {
    let lines = found
        .each_ref()
        .map(|disk| disk.source.map(|source| Line { interrupts, source }));
    let mut contenders: Vec<Box<dyn Turns>> = Vec::new();
    for (number, disk) in IntoIterator::into_iter(*found).enumerate() {
        contenders.push(contender(number, disk.transport));
    }
    let entries = entries();
    let mut slices: Vec<Vec<Slice>> = entries.iter().map(|_| Vec::new()).collect();
    let timed = timed();
    let mut latencies: Vec<Vec<Ticks>> = timed.iter().map(|_| Vec::new()).collect();
    let span = timebase.ticks_from_micros(effort.slice_micros);
    for round in 0..effort.rounds {
        println!("round {} of {}", round + 1, effort.rounds);
        let mut order: Vec<usize> = (0..entries.len()).collect();
        // Every other round goes backwards: what drifts meets all alike.
        if round % 2 == 1 {
            order.reverse();
        }
        for number in order {
            let entry = &entries[number];
            let line = lines[entry.disk].filter(|_| entry.interrupts);
            slices[number].push(contenders[entry.disk].turn(&entry.workload, line, span));
        }
        for (entry, latencies) in timed.iter().zip(&mut latencies) {
            let line = lines[entry.disk].filter(|_| entry.interrupts);
            contenders[entry.disk].time(&entry.workload, line, latencies);
        }
    }
    for (entry, own) in entries.iter().zip(&slices) {
        let line = lines[entry.disk].filter(|_| entry.interrupts);
        let case = contenders[entry.disk].case_with(&entry.workload, line);
        let raw = entries.iter().position(|other| is_measure_of(other, entry));
        if let Some(raw) = raw {
            rated(case, own, &slices[raw], timebase);
        }
    }
    for (entry, mut latencies) in timed.iter().zip(latencies) {
        let line = lines[entry.disk].filter(|_| entry.interrupts);
        let case = contenders[entry.disk].case_with(&entry.workload, line);
        report_latencies(case, &mut latencies, timebase);
    }
}

/// The contender that has this disk.
fn contender(disk: usize, transport: Transport) -> Box<dyn Turns> {
    type Registers = MmioTransport<'static>;
    match disk {
        disks::OURS_DIRECT => Box::new(Ours::<Handle>::start(transport, Chains::Direct)),
        disks::OURS_INDIRECT => Box::new(Ours::<Handle>::start(transport, Chains::Indirect)),
        disks::OURS_LISTS => Box::new(Ours::<Gather>::start(transport, Chains::PerRequest)),
        disks::RIVAL_BLOCKING => Box::new(Blocking::<Registers>::start(transport.into_access(), "direct")),
        disks::RIVAL_DIRECT => Box::new(NonBlocking::<Registers>::start(transport.into_access(), "direct")),
        disks::RIVAL_INDIRECT => Box::new(NonBlocking::<Registers>::start(transport.into_access(), "indirect")),
        disks::RAW => Box::new(Raw::start(transport)),
        _ => Box::new(Ours::<Handle>::start(transport, Chains::PerRequest)),
    }
}

/// Everything that is rated. What is compared stands together.
fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |disk, workload| {
        entries.push(Entry {
            disk,
            workload,
            interrupts: false,
        });
    };
    for depth in DEPTHS {
        let workload = Workload::reads(depth);
        for disk in [disks::RAW, disks::OURS, disks::OURS_INDIRECT] {
            add(disk, workload);
        }
        if holds(Chains::Direct, &workload) {
            add(disks::OURS_DIRECT, workload);
        }
        match depth {
            1 => [disks::RIVAL_BLOCKING, disks::RIVAL_DIRECT, disks::RIVAL_INDIRECT]
                .into_iter()
                .for_each(|disk| add(disk, workload)),
            4 => add(disks::RIVAL_DIRECT, Workload::reads(DEPTH_DIRECT)),
            DEPTH_INDIRECT => add(disks::RIVAL_INDIRECT, workload),
            _ => {}
        }
    }
    for depth in [1, 32] {
        for operation in [Operation::Write, Operation::Mixed] {
            let workload = Workload::reads(depth).of(operation);
            add(disks::RAW, workload);
            add(disks::OURS, workload);
        }
    }
    for bytes in [512, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        let workload = Workload::reads(8).of_bytes(bytes);
        add(disks::RAW, workload);
        add(disks::OURS, workload);
    }
    for segments in SEGMENTS {
        let workload = Workload::reads(8).of_segments(segments);
        if segments > 1 {
            add(disks::RAW, workload);
        }
        add(disks::OURS_LISTS, workload);
    }
    entries.extend([1, 8, 32, 128].map(|depth| Entry {
        disk: disks::OURS,
        workload: Workload::reads(depth),
        interrupts: true,
    }));
    entries
}

/// Whose single requests are timed.
fn timed() -> [Entry; 4] {
    let entry = |disk, interrupts| Entry {
        disk,
        workload: Workload::reads(1),
        interrupts,
    };
    [
        entry(disks::RAW, false),
        entry(disks::OURS, false),
        entry(disks::OURS, true),
        entry(disks::RIVAL_BLOCKING, false),
    ]
}

/// Whether an entry is the raw ring with the workload of another one, or what comes next to it: the raw ring has depths that are
/// powers of two.
fn is_measure_of(raw: &Entry, entry: &Entry) -> bool {
    let depth = entry.workload.depth;
    let depth = if depth.is_power_of_two() {
        depth
    } else {
        depth.next_power_of_two() / 2
    };
    raw.disk == disks::RAW
        && raw.workload
            == Workload {
                depth,
                ..entry.workload
            }
}

/// A contender of any type.
trait Turns {
    /// Does batches for so long.
    fn turn(&mut self, workload: &Workload, line: Option<Line>, span: Ticks) -> Slice;

    /// Times single requests.
    fn time(&mut self, workload: &Workload, line: Option<Line>, latencies: &mut Vec<Ticks>);

    /// What the report calls it.
    fn case_with(&mut self, workload: &Workload, line: Option<Line>) -> Case<'static>;
}

impl<C: Contender> Turns for C {
    fn turn(&mut self, workload: &Workload, line: Option<Line>, span: Ticks) -> Slice {
        self.listen(line);
        self.prepare(workload);
        // Host and guest have this contender's code and data at hand then.
        for _ in 0..self.warm_up().div_ceil(workload.depth) {
            batch(self, workload.depth);
        }
        let start = counters::now();
        let mut requests = 0;
        loop {
            batch(self, workload.depth);
            requests += workload.depth;
            let elapsed = counters::now().since(start);
            if elapsed >= span || requests + workload.depth >= TURN_REQUESTS {
                return Slice {
                    requests: requests as u64,
                    ticks: elapsed.0,
                };
            }
        }
    }

    fn time(&mut self, workload: &Workload, line: Option<Line>, latencies: &mut Vec<Ticks>) {
        self.listen(line);
        self.prepare(workload);
        for _ in 0..TIMED {
            let start = counters::now();
            batch(self, workload.depth);
            latencies.push(counters::now().since(start));
        }
    }

    fn case_with(&mut self, workload: &Workload, line: Option<Line>) -> Case<'static> {
        self.listen(line);
        self.case(workload)
    }
}

/// Does one batch.
#[inline(always)]
fn batch(contender: &mut impl Contender, depth: usize) {
    contender.start();
    let mut left = depth;
    while left > 0 {
        contender.wait();
        left = left.saturating_sub(contender.complete());
    }
}

/// Reports the slices of a contender, against those of the raw ring in the same rounds.
fn rated(case: Case<'_>, own: &[Slice], raw: &[Slice], timebase: Timebase) {
    let rate = |slice: &Slice| slice.requests * timebase.hz() / slice.ticks.max(1);
    let mut rates: Vec<u64> = own.iter().map(rate).collect();
    let against = |(own, raw): (&Slice, &Slice)| {
        let work = u128::from(own.requests) * u128::from(raw.ticks) * 1_000_000;
        (work / (u128::from(raw.requests) * u128::from(own.ticks)).max(1)) as u64
    };
    let mut ratios: Vec<u64> = own.iter().zip(raw).map(against).collect();
    rates.sort_unstable();
    ratios.sort_unstable();
    record(Record::Rated {
        case,
        rounds: own.len() as u32,
        per_second: part(&rates, 50),
        against_raw: [25, 50, 75].map(|percent| part(&ratios, percent)),
    });
}

/// Reports latencies.
fn report_latencies(case: Case<'_>, latencies: &mut [Ticks], timebase: Timebase) {
    let nanos = |ticks: &Ticks| ticks.0 * 1_000_000_000 / timebase.hz();
    let mut nanos: Vec<u64> = latencies.iter().map(nanos).collect();
    nanos.sort_unstable();
    let mut buckets = [0; histogram::BUCKETS];
    for time in &nanos {
        buckets[histogram::bucket(*time)] += 1;
    }
    record(Record::Timed {
        case,
        nanos: [50, 90, 99].map(|percent| part(&nanos, percent)),
        buckets,
    });
}

/// The value below which so many in a hundred of a sorted list are.
fn part(sorted: &[u64], percent: usize) -> u64 {
    let place = sorted.len() * percent / 100;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}
