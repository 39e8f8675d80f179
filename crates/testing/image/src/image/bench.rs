//! Short measurements: how fast, and at what price in notifies, interrupts and instructions per request.
//!
//! Nothing is judged here: a virtual disk on a busy host is as fast as it is.

use board_qemu_virt::{Ticks, counters, println};
use guest_protocol::Record;
use heapless::Vec;
use image_blk::options::{Completion as Mode, SectorRange};
use image_blk::{SECTOR_BYTES, pattern};
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;
use virtio_core::DmaSlice;

use super::buffer::Buffer;
use super::report::{record, text};
use super::scratch::{self, Scratch};
use super::session::{Failure, Request, Session, check};

/// How long each measurement takes. Five of them take about a second.
const MILLIS: u64 = 180;
/// The most requests in flight.
const MAX_DEPTH: usize = 32;
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;

/// One measurement.
struct Measurement {
    name: &'static str,
    write: bool,
    depth: usize,
    bytes: usize,
}

const MEASUREMENTS: [Measurement; 5] = [
    Measurement {
        name: "read-latency",
        write: false,
        depth: 1,
        bytes: SMALL,
    },
    Measurement {
        name: "read-batched",
        write: false,
        depth: MAX_DEPTH,
        bytes: SMALL,
    },
    Measurement {
        name: "read-sequential",
        write: false,
        depth: 4,
        bytes: LARGE,
    },
    Measurement {
        name: "write-latency",
        write: true,
        depth: 1,
        bytes: SMALL,
    },
    Measurement {
        name: "write-batched",
        write: true,
        depth: MAX_DEPTH,
        bytes: SMALL,
    },
];

/// What a measurement came to.
#[derive(Default)]
struct Result {
    ops: u64,
    /// The most requests that were in flight.
    depth: usize,
    micros: u64,
    notifies: u64,
    interrupts: u64,
    instructions: u64,
}

/// The region the write measurements use, if there is room for it.
pub(crate) fn area(session: &mut Session, scratch: &mut Scratch) -> Option<SectorRange> {
    let bytes = SMALL.next_multiple_of(session.block_bytes()) * MAX_DEPTH;
    let read_only = session.disk().limits().read_only;
    scratch.take((bytes / SECTOR_BYTES) as u64).filter(|_| !read_only)
}

/// Measures and tells. Writes go to `area`; without one they are left out.
pub(crate) fn run(session: &mut Session, area: Option<SectorRange>, seed: u64) -> core::result::Result<(), Failure> {
    let polled = session.waiting().mode() == Mode::Polled;
    let counted = counts_instructions();
    println!(
        "measurements ({}; {}):",
        if polled { "polling" } else { "interrupts" },
        match (counted, polled) {
            (true, true) => "instructions include those of waiting",
            (true, false) => "instructions include those of the firmware and of the trap handler",
            (false, _) => "this machine does not count instructions, QEMU does with -icount",
        }
    );
    for measurement in &MEASUREMENTS {
        let block = session.block_bytes();
        let bytes = measurement.bytes.next_multiple_of(block);
        let range = match (measurement.write, area) {
            (true, None) => continue,
            (true, Some(area)) => area,
            (false, _) => SectorRange {
                first: 0,
                count: session.capacity(),
            },
        };
        let result = measure(session, measurement, bytes, range, seed)?;
        tell(measurement, bytes, &result, counted);
    }
    Ok(())
}

fn measure(
    session: &mut Session,
    measurement: &Measurement,
    bytes: usize,
    range: SectorRange,
    seed: u64,
) -> core::result::Result<Result, Failure> {
    let sectors = (bytes / SECTOR_BYTES) as u64;
    let places = range.count / sectors;
    let mut result = Result::default();
    if places == 0 {
        return Ok(result);
    }
    let depth = measurement.depth.min(places as usize);
    let mut buffers = Vec::<Option<DmaSlice>, MAX_DEPTH>::new();
    for n in 0..depth {
        let mut slice = session.allocate(bytes)?;
        if measurement.write {
            // Each buffer goes to one place all the time, so that the content of the region is known.
            pattern::fill(seed, range.first + n as u64 * sectors, &mut slice);
        }
        let _ = buffers.push(Some(slice));
    }
    let timebase = session.waiting().timebase;
    let span = timebase.ticks_from_millis(MILLIS);
    let before = session.counters();
    let (start, instructions) = (counters::now(), counters::instructions_retired());
    let mut next = 0;
    let mut elapsed = Ticks(0);
    while elapsed < span {
        let mut batch = 0;
        while let Some(slice) = buffers.get_mut(batch).and_then(Option::take) {
            let place = if measurement.write { batch as u64 } else { next % places };
            let (first, buffer) = (Sector(range.first + place * sectors), Buffer::One(slice));
            let request = if measurement.write {
                Request::write(first, buffer, batch as u32)
            } else {
                Request::read(first, buffer, batch as u32)
            };
            match session.disk().submit(request) {
                Ok(()) => (batch, next) = (batch + 1, next + 1),
                Err(rejected) if rejected.error == SubmitError::QueueFull && batch > 0 => {
                    if let (Some(Buffer::One(slice)), _) = rejected.request.into_parts() {
                        buffers[batch] = Some(slice);
                    }
                    break;
                }
                Err(rejected) => return Err(session.rejected(rejected)),
            }
        }
        session.disk().notify();
        let (mut left, mut failed) = (batch, None);
        while left > 0 {
            session.wait(|completion| {
                left = left.saturating_sub(1);
                if let Err(failure) = check(&completion, bytes as u64) {
                    failed = Some(failure);
                }
                if let (Some(place), Some(Buffer::One(slice))) =
                    (buffers.get_mut(completion.token as usize), completion.buffer)
                {
                    *place = Some(slice);
                }
            })?;
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        result.ops += batch as u64;
        result.depth = result.depth.max(batch);
        elapsed = counters::now().since(start);
    }
    result.instructions = counters::instructions_retired().wrapping_sub(instructions);
    result.micros = timebase.micros(elapsed);
    let after = session.counters();
    result.notifies = after.queue.notifies - before.queue.notifies;
    result.interrupts = after.interrupts.taken - before.interrupts.taken;
    if measurement.write {
        scratch::wrote(range.first, result.depth as u64 * sectors, seed);
    }
    buffers.into_iter().flatten().for_each(|slice| session.release(slice));
    Ok(result)
}

fn tell(measurement: &Measurement, bytes: usize, result: &Result, counted: bool) {
    if result.ops == 0 || result.micros == 0 {
        println!("  {:<15} the disk is too small", measurement.name);
        return;
    }
    let ops = result.ops;
    let per_second = |amount: u64| (u128::from(amount) * 1_000_000 / u128::from(result.micros)) as u64;
    let instructions = if counted { result.instructions } else { 0 };
    println!(
        "  {:<15} {:>5} bytes x{:<2} {:>8} MB/s {:>7} IOPS {:>8} us, per request: {} notifies, {} interrupts{}",
        measurement.name,
        bytes,
        result.depth,
        Hundredths(per_second(ops * bytes as u64), 1_000_000),
        per_second(ops),
        Hundredths(result.micros, ops),
        Hundredths(result.notifies, ops),
        Hundredths(result.interrupts, ops),
        match instructions / ops {
            0 => text!(""),
            each => text!(", {each} instructions"),
        }
    );
    record(Record::Bench {
        name: measurement.name,
        depth: result.depth as u32,
        bytes: bytes as u64,
        ops,
        micros: result.micros,
        notifies: result.notifies,
        interrupts: result.interrupts,
        instructions,
    });
}

/// A fraction with two decimals, rounded down.
struct Hundredths(u64, u64);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let hundredths = u128::from(self.0) * 100 / u128::from(self.1.max(1));
        f.pad(&text!("{}.{:02}", hundredths / 100, hundredths % 100))
    }
}

/// Whether the instruction counter counts instructions.
///
/// QEMU without `-icount` answers with a clock of the host. The same piece of code then takes another number each time.
fn counts_instructions() -> bool {
    #[inline(never)]
    fn once() -> u64 {
        critical_section::with(|_| {
            let start = counters::instructions_retired();
            for n in 0..1000 {
                core::hint::black_box(n);
            }
            counters::instructions_retired().wrapping_sub(start)
        })
    }
    let samples: [u64; 5] = core::array::from_fn(|_| once());
    let (least, most) = samples.iter().fold((u64::MAX, 0), |(least, most), &sample| {
        (least.min(sample), most.max(sample))
    });
    // The code around the loop may take a few more or less.
    least > 1000 && most - least < 16
}
