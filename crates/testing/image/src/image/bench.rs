//! Short measurements: how fast, and at what price in notifies, interrupts and instructions.
//!
//! Nothing is judged here: a virtual disk on a busy host is as fast as it is.

use alloc::vec::Vec;

use board_qemu_virt::{Ticks, counters, print, println};
use guest_protocol::Record;
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;

use super::buffer::Buffer;
use super::scratch::{self, Scratch};
use super::session::{Failure, Request, Session, taken_back};
use bare_image::report::record;

/// How long each measurement takes. Five of them take about a second.
const MILLIS: u64 = 180;
const SMALL: usize = 4 << 10;
/// The most requests in flight.
const MAX_DEPTH: usize = 32;

/// Name, whether it writes, requests in flight, bytes per request.
const MEASUREMENTS: [(&str, bool, usize, usize); 5] = [
    ("read-latency", false, 1, SMALL),
    ("read-batched", false, MAX_DEPTH, SMALL),
    ("read-sequential", false, 4, 64 << 10),
    ("write-latency", true, 1, SMALL),
    ("write-batched", true, MAX_DEPTH, SMALL),
];

/// The region that the write measurements use, if there is room for it.
pub(crate) fn area(session: &mut Session, scratch: &mut Scratch) -> Option<SectorRange> {
    let bytes = SMALL.next_multiple_of(session.block_bytes()) * MAX_DEPTH;
    scratch.take((bytes / SECTOR_BYTES) as u64)
}

/// Measures and reports. Writes go to `area`; without one they are left out.
pub(crate) fn run(session: &mut Session, area: Option<SectorRange>, seed: u64) -> Result<(), Failure> {
    let counted = counts_instructions();
    println!(
        "measurements ({}; {}):",
        if session.waiting.source.is_some() {
            "interrupts"
        } else {
            "polling"
        },
        if counted {
            "instructions include those of waiting and of the firmware"
        } else {
            "this machine does not count instructions, QEMU does with -icount"
        }
    );
    let whole = SectorRange {
        first: 0,
        count: session.limits().capacity.get(),
    };
    for measurement in MEASUREMENTS {
        let range = if measurement.1 { area } else { Some(whole) };
        if let Some(range) = range {
            measure(session, measurement, range, seed, counted)?;
        }
    }
    Ok(())
}

fn measure(
    session: &mut Session,
    (name, write, depth, bytes): (&str, bool, usize, usize),
    range: SectorRange,
    seed: u64,
    counted: bool,
) -> Result<(), Failure> {
    let bytes = bytes.next_multiple_of(session.block_bytes());
    let sectors = (bytes / SECTOR_BYTES) as u64;
    let places = range.count / sectors;
    let mut buffers = Vec::new();
    // Each buffer is written to one place all the time, so that the content of the region is known.
    for n in 0..places.min(depth as u64) {
        let mut buffer = Buffer::allocate(bytes)?;
        buffer.fill_with_pattern(seed, range.first + n * sectors);
        buffers.push(Some(buffer));
    }
    if buffers.is_empty() {
        println!("  {name:<15} the disk is too small");
        return Ok(());
    }
    let timebase = session.waiting.timebase;
    let span = timebase.ticks_from_millis(MILLIS);
    let before = session.counters();
    let (start, instructions) = (counters::now(), counters::instructions_retired());
    let (mut ops, mut most, mut elapsed) = (0, 0, Ticks(0));
    while elapsed < span {
        let batch = submit_batch(session, &mut buffers, |n, buffer| {
            let place = if write { n as u64 } else { (ops + n as u64) % places };
            let first = Sector(range.first + place * sectors);
            if write {
                Request::write(first, buffer, n)
            } else {
                Request::read(first, buffer, n)
            }
        })?;
        session.disk().notify();
        let (mut left, mut failed) = (batch, None);
        while left > 0 {
            session.wait(|completion| {
                left = left.saturating_sub(1);
                let n = completion.token;
                match (buffers.get_mut(n), taken_back(completion, bytes as u64)) {
                    (Some(place), Ok(buffer)) => *place = Some(buffer),
                    (_, result) => failed = result.err().or(Some("a completion without a request".into())),
                }
            })?;
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        ops += batch as u64;
        most = batch.max(most);
        elapsed = counters::now().since(start);
    }
    let instructions = if counted {
        counters::instructions_retired().wrapping_sub(instructions)
    } else {
        0
    };
    let micros = timebase.micros(elapsed).max(1);
    let after = session.counters();
    let (notifies, interrupts) = (
        after.queue.notifies - before.queue.notifies,
        after.interrupts.taken - before.interrupts.taken,
    );
    print!(
        "  {name:<15} {bytes:>5} bytes x{most:<2} {:>5} MB/s {:>7} IOPS: {ops} requests, {notifies} notifies, {interrupts} interrupts",
        ops * bytes as u64 / micros,
        ops * 1_000_000 / micros,
    );
    match instructions / ops {
        0 => println!(),
        each => println!(", {each} instructions each"),
    }
    record(Record::Bench {
        name,
        depth: most as u32,
        bytes: bytes as u64,
        ops,
        micros,
        notifies,
        interrupts,
        instructions,
    });
    if write {
        let count = most as u64 * sectors;
        scratch::wrote(SectorRange { count, ..range }, seed);
    }
    Ok(())
}

/// Submits one request per buffer until the queue is full. Returns how many.
fn submit_batch(
    session: &mut Session,
    buffers: &mut [Option<Buffer>],
    mut request: impl FnMut(usize, Buffer) -> Request,
) -> Result<usize, Failure> {
    let all = buffers.len();
    for (n, place) in buffers.iter_mut().enumerate() {
        let Some(buffer) = place.take() else {
            return Err("a request came back without its buffer".into());
        };
        match session.disk().submit(request(n, buffer)) {
            Ok(()) => {}
            Err(rejected) if rejected.error == SubmitError::QueueFull && n > 0 => {
                *place = rejected.request.into_parts().0;
                return Ok(n);
            }
            Err(rejected) => return Err(rejected.error.into()),
        }
    }
    Ok(all)
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
    let mut samples: [u64; 5] = core::array::from_fn(|_| once());
    samples.sort_unstable();
    // The code around the loop may take a few more or less.
    samples[0] > 1000 && samples[4] - samples[0] < 16
}
