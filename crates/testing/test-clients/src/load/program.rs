//! The programs `load` and `overlap`.

use guest_protocol::SectorRange;
use minix_abi::{Errno, Status};
use minix_rt::ds::Label;
use minix_rt::{Args, Ipc};

use super::engine::{Habits, Load, LoadCounters, MAX_DEPTH, MINOR, SLOT_BYTES};
use super::ledger::{SectorLedger, SectorState};
use crate::args;
use crate::bdev::{READ_WRITE, Search, Session, Trouble};
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// Most sectors that a load can keep account of.
const MAX_SECTORS: usize = 1 << 15;
/// Requests of an overlap, unless told otherwise.
const OVERLAP_REQUESTS: u64 = 500;

/// The program `load`, with the words `label= first= count= seed= depth= ops= spin errors told`. Without `ops` it goes on until a
/// signal comes. With `spin` it waits for the successor of a dead driver as file systems do. With `errors` the disk may fail now and
/// then, with `told` each write is recorded when it is sent and when it is answered.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if anything is not as it should be.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let (counters, _) = run(client, args, u64::MAX)?;
    let LoadCounters {
        reads,
        writes,
        flushes,
        zeroed,
        failed,
        retried,
        reopened,
        failures,
        ..
    } = counters;
    client.test(
        "load",
        Outcome::of(failures == 0),
        &format_args!("{reads} reads, {writes} writes, {flushes} flushes, {zeroed} zeroed, {failed} failed, {retried} sent again, {reopened} restarts"),
    );
    if failures == 0 { Ok(()) } else { Err(Errno::EIO) }
}

/// The program `overlap`: a load with an end and a driver that stays, which shows that its requests did overlap while other
/// clients did the same.
///
/// # Errors
///
/// As [`main`].
pub fn overlap<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let (counters, depth) = run(client, args, OVERLAP_REQUESTS)?;
    let most = counters.max_in_flight;
    let is_fine = counters.failures == 0 && counters.reopened == 0 && most == depth;
    let requests = counters.acknowledged();
    let detail = format_args!("{requests} requests, {most} at a time");
    client.test("overlap", Outcome::of(is_fine), &detail);
    if is_fine { Ok(()) } else { Err(Errno::EIO) }
}

/// Runs a load to its end, and records the content of the disk. Returns the depth, too.
fn run<I: Ipc>(client: &mut Client<I>, args: Args, mut requests: u64) -> Result<(LoadCounters, usize), Errno> {
    let (mut range, mut seed, mut depth) = (SectorRange::default(), 1, 2);
    let mut habits = Habits::default();
    let mut search = Search::default();
    let target = args::parse(client, args, |word| {
        match word.key {
            "first" => range.first = word.number()?,
            "count" => range.count = word.number_up_to(MAX_SECTORS as u64)?,
            "seed" => seed = word.number()?,
            "depth" => depth = word.number_up_to(MAX_DEPTH as u64)? as usize,
            "ops" => requests = word.number()?,
            "errors" => {
                word.switch()?;
                habits.allows_errors = true;
            }
            "told" => {
                word.switch()?;
                habits.tells_writes = true;
            }
            "spin" => {
                word.switch()?;
                search = Search::Spinning;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    args::requests_in(range, depth).map_err(|bad| args::report(client, bad))?;
    client.say(format_args!("load: {depth} requests at a time on sectors {range}"));
    let states: &mut [SectorState; MAX_SECTORS] = client.zeroed()?;
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, depth * SLOT_BYTES)?;
    let mut session = match Session::connect(client, target.label, seed, MINOR, READ_WRITE) {
        Ok(session) => session,
        Err(trouble) => {
            client.error("open", "driver", &trouble);
            return Err(trouble.into());
        }
    };
    session.search(search);
    let ledger = SectorLedger::new(range.first, &mut states[..range.count as usize], seed);
    let mut load = Load::new(session, memory, ledger, seed, depth, habits);
    let result = load.run(requests);
    load.record_progress();
    load.record_content();
    result.map_err(|trouble| {
        let client = &mut *load.session.client;
        let label = client.own_label();
        let label = label.as_ref().map_or("load", Label::as_str);
        // There may be other loads.
        client.error("load", "driver", &format_args!("{label}: {trouble}"));
        Errno::from(trouble)
    })?;
    let closed = load.session.close(MINOR);
    // With the driver, everything that was open has gone.
    if closed != Ok(Status::OK) && closed != Err(Trouble::Died) {
        load.fail(&format_args!("close: {closed:?}"));
    }
    Ok((load.counters, depth))
}
