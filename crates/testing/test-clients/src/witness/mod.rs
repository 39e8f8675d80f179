//! A client that tells the host what it asks for and what it is told, before and after each request, so that the host can judge
//! what has to be on the disk after a power cut.
//!
//! The host reads what reached the disk from a log of the device's writes. Each sector that a witness writes tells by which of its
//! requests it was written ([`guest_protocol::witness`]). A request is reported before it is sent, and its answer after it came. So a
//! write in the log was asked for at that point, and so was all that is reported before it.
//!
//! `choice` draws requests, `engine` sends them and reports.

mod choice;
mod engine;

use guest_protocol::{SectorRange, witness};
use minix_abi::Errno;
use minix_rt::{Args, Ipc};

use self::choice::{Choice, Mix};
use self::engine::{MAX_DEPTH, SLOT_BYTES, Witness, connecting};
use crate::args;
use crate::bdev::{READ_WRITE, Session};
use crate::buffer::{Kind, Memory};
use crate::client::Client;
use crate::report::Outcome;

/// The program `witness`, with the words `label= minor= client= first= count= depth= ops= timeout= closes`. Sectors are counted from the
/// start of the disk, which has to be the minor; `timeout` is in milliseconds. With `closes` it also closes the disk and opens it
/// again. Without `ops` it goes on until a signal comes.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if a request fails, or a reply is not what it should be.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let (mut range, mut number, mut depth, mut requests) = (SectorRange::default(), 0, 1, u64::MAX);
    let (mut timeout, mut mix) = (0, Mix::Open);
    let target = args::parse(client, args, |word| {
        match word.key {
            "client" => number = word.number_up_to(witness::MAX_CLIENT.into())? as u32,
            "first" => range.first = word.number()?,
            "count" => range.count = word.number_up_to(1 << 20)?,
            "depth" => depth = word.number_up_to(MAX_DEPTH as u64)? as usize,
            "ops" => requests = word.number()?,
            "timeout" => timeout = word.number_up_to(60_000)?,
            "closes" => {
                word.switch()?;
                mix = Mix::Closing;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    args::requests_in(range, depth).map_err(|bad| args::report(client, bad))?;
    // What was written last is not known before the log is read.
    client.touched(range.first, range.count);
    let memory = Memory::new(&mut client.ipc, Kind::Scattered, depth * SLOT_BYTES)?;
    connecting(client, number);
    let session = Session::connect(client, target.label, number.into(), target.minor, READ_WRITE)?;
    let choice = Choice::new(u64::from(number) << 40 | 0x317e, range, mix);
    let mut witness = Witness::new(session, target.minor, memory, choice, number, depth, timeout);
    let outcome = witness.run(requests);
    let counters = witness.counters;
    if let Err(trouble) = outcome {
        client.error("witness", "driver", &trouble);
        return Err(trouble.into());
    }
    let is_fine = counters.failed == 0;
    client.test(
        "witness",
        Outcome::of(is_fine),
        &format_args!(
            "{} requests, {} failed, {} lost, {} restarts",
            counters.done, counters.failed, counters.lost, counters.restarts
        ),
    );
    if is_fine { Ok(()) } else { Err(Errno::EIO) }
}
