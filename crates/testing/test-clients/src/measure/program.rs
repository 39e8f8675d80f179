//! The program `measure`.

use guest_protocol::SECTOR_BYTES;
use heapless::Vec;
use minix_abi::{Errno, Instant};
use minix_rt::{Args, Ipc};

use super::plan::Measurement;
use super::run::{MEMORY_BYTES, Meter, Samples};
use crate::args::{self, Target};
use crate::bdev::{Direction, READ_WRITE, Session, Trouble};
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// Measurements of a run: the words that a command line has room for.
const MEASUREMENTS: usize = 8;
/// Seed of the ids.
const SEED: u64 = 1;

/// The program with the clock of the hart. It begins with a calibration of the kernel's counter.
///
/// # Errors
///
/// As [`program`].
#[cfg(target_arch = "riscv64")]
pub fn main(client: &mut Client<minix_rt::Minix>, args: Args) -> Result<(), Errno> {
    super::calibrate::calibrate(client)?;
    program(client, args, minix_rt::clock::now)
}

/// The program `measure`, with the words `label= minor=` and one for each measurement: `read=DEPTH:SEGMENTS:BYTES:OPS`, or the
/// same with `write`, which overwrites the disk.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if a request fails.
pub fn program<I: Ipc>(client: &mut Client<I>, args: Args, clock: impl Fn() -> Instant) -> Result<(), Errno> {
    let mut plan = Vec::<Measurement, MEASUREMENTS>::new();
    let target = args::parse(client, args, |word| {
        let direction = match word.key {
            "read" => Direction::Read,
            "write" => Direction::Write,
            _ => return Ok(false),
        };
        let measurement = Measurement::parse(direction, word)?;
        plan.push(measurement).map_err(|_| word.bad("is one too many"))?;
        Ok(true)
    })?;
    if plan.is_empty() {
        return Err(args::report(client, args::missing("read")));
    }
    let result = measure_all(client, target, &plan, clock);
    if let Err(trouble) = &result {
        client.error("measure", "driver", trouble);
    }
    let detail = format_args!("{} measurements", plan.len());
    client.test("measure", Outcome::of(result.is_ok()), &detail);
    result.map_err(Errno::from)
}

fn measure_all<I: Ipc>(
    client: &mut Client<I>,
    target: Target,
    plan: &[Measurement],
    clock: impl Fn() -> Instant,
) -> Result<(), Trouble> {
    let samples: &mut Samples = client.zeroed()?;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, MEMORY_BYTES)?;
    let Target { label, minor } = target;
    let mut session = Session::connect(client, label, SEED, minor, READ_WRITE)?;
    let (status, place) = session.partition(minor)?;
    status.result()?;
    if plan.iter().any(|measurement| measurement.direction == Direction::Write) {
        let [first, count] = [place.base, place.bytes].map(|bytes| bytes / SECTOR_BYTES as u64);
        session.client.touched(first, count);
    }
    let mut meter = Meter {
        session,
        memory,
        samples,
        clock,
        minor,
        disk_bytes: place.bytes,
    };
    plan.iter().try_for_each(|measurement| meter.measure(*measurement))?;
    Trouble::unless_moved(meter.session.close(minor)?, 0)
}
