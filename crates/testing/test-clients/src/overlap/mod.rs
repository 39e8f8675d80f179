//! Several requests at a time, of which each has to be answered with its own id, while other clients do the same.
//!
//! It is the [mixed load](crate::load) with an end and a driver that stays: what it adds is the proof that the requests
//! did overlap.

use minix_abi::Errno;
use minix_rt::{Args, Ipc};

use crate::client::Client;
use crate::load::{Settings, run};
use crate::report::Outcome;

/// Requests, unless told otherwise.
const REQUESTS: u64 = 500;

/// The program `overlap`.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense, [`EIO`](Errno::EIO) if anything is not as it should be.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let mut settings = Settings::parse(args).map_err(|bad| {
        client.error("args", "bad-word", &bad);
        Errno::EINVAL
    })?;
    settings.requests.get_or_insert(REQUESTS);
    let summary = run(client, &settings)?;
    let (most, depth) = (summary.max_outstanding, settings.depth);
    let is_fine = summary.failures == 0 && summary.counters.reopened == 0 && most == depth;
    let requests = summary.counters.acknowledged;
    client.test(
        "overlap",
        Outcome::of(is_fine),
        &format_args!("{requests} requests, {most} at a time"),
    );
    if is_fine { Ok(()) } else { Err(Errno::EIO) }
}
