//! The scenario `power-cut`: clients that tell the host what they ask for and what they are told.

use testkernel::scenario::Program;
use testkernel::scenario::Statement::{Kill, Run, Start, Wait};

use super::programs::SERVICE;
use super::scenario::Statement;
use crate::cli::QemuArgs;
use crate::disk::layout::OTHERS;

/// The program.
const WITNESS: &str = "witness";

/// What each witness of the crowd has of the disk: its first sector, counted from the first one for clients, and how many. They meet, so
/// that a write of one may be on its way while another's to the same place is promised. There are few, so that most writes
/// are soon replaced.
const CROWD: [(u64, u64); 3] = [(0, 96), (64, 96), (128, 96)];
/// What the one has that is alone and closes the disk.
const ALONE: (u64, u64) = (256, 64);
/// What the last one asks for, and how much more for each kill.
const REQUESTS: u32 = 300;
const REQUESTS_PER_KILL: u32 = 20;
/// Kills of the crowd's service for one under the client that is alone.
const KILLS_PER_KILL: u32 = 4;

/// The time-out of the device in milliseconds. The host makes the disk slower than that now and then.
const TIMEOUT: u32 = 200;
/// Time between a start of the service and its end by a kill, in microseconds.
const KILL_AFTER: (u64, u64) = (20_000, 900_000);
/// First several at once, while the service is killed and its device is reset; then one alone, for the last close.
pub(super) fn script(args: &QemuArgs) -> Vec<Statement> {
    let mut script: Vec<Statement> = (1..)
        .zip(CROWD)
        .map(|(number, place)| Start(witness(number, place, "depth=4")))
        .collect();
    script.extend([kill(args.rounds(), args.seed()), Wait]);
    let alone = (CROWD.len() + 1) as u32;
    script.push(Start(witness(alone, ALONE, "depth=2 closes")));
    let rounds = args.rounds().div_ceil(KILLS_PER_KILL) + 1;
    script.extend([kill(rounds, args.seed().wrapping_add(1)), Wait]);
    // One request at a time, and nothing else at work: the log cannot hide behind others' flushes that one is missing.
    let requests = REQUESTS + REQUESTS_PER_KILL * args.rounds();
    let last = witness(alone + 1, ALONE, &format!("depth=1 closes ops={requests}"));
    script.push(Run(last));
    script
}

fn kill(rounds: u32, seed: u64) -> Statement {
    let (min_us, max_us) = KILL_AFTER;
    Kill {
        label: SERVICE.into(),
        rounds: rounds.into(),
        seed,
        min_us,
        max_us,
    }
}

fn witness(number: u32, (first, count): (u64, u64), words: &str) -> Program<String> {
    let first = OTHERS.first + first;
    Program {
        program: WITNESS.to_owned(),
        label: format!("{WITNESS}{number}"),
        arguments: format!("label={SERVICE} client={number} first={first} count={count} timeout={TIMEOUT} {words}"),
    }
}
