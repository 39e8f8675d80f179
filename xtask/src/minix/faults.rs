//! The scenario `faults`: four clients that work, while the host does to QEMU and to the disk what hosts do.
//!
//! The script asks the host for everything, and goes on when the host says that it is done. After a reset of the machine, or when QEMU
//! was killed and started again, it begins from its start.

use guest_protocol::SectorRange;
use testkernel::scenario::Statement::{Ask, Down, LateInterrupts, Run, Shell, Start, Term, Vfs, Wait};
use testkernel::scenario::{Program, VfsRequest};

use super::programs::SERVICE;
use super::scenario::{LOADS, Statement};
use crate::disk::layout::OTHERS;

/// What the host is asked for, by words that the host knows.
pub(crate) mod ask {
    /// All that needs no more of the guest than that its clients work. It may reset the machine, or kill QEMU.
    pub(crate) const FAULTS: &str = "faults";
    /// That the disk becomes smaller, and has its size again.
    pub(crate) const SHRINK: &str = "shrink";
    pub(crate) const GROW: &str = "grow";
    /// That discards fail, and work again.
    pub(crate) const REFUSE_DISCARDS: &str = "refuse-discards";
    pub(crate) const TAKE_DISCARDS: &str = "take-discards";
}

/// Commands of `vblkctl` that the host looks at.
pub(crate) mod label {
    /// The disk while it is smaller, and when it has its size again.
    pub(crate) const SMALLER: &str = "smaller";
    pub(crate) const LARGER: &str = "larger";
    /// What was counted, when the clients have ended.
    pub(crate) const COUNTED: &str = "counted";
    /// The last events.
    pub(crate) const EVENTS: &str = "events";
}

/// A disk that is silent for longer is reset, in milliseconds.
const TIMEOUT_MS: u32 = 1000;
/// Sectors at the end of the disk that are away while it is smaller.
pub(crate) const AWAY: u64 = 2048;
/// Sectors before those of the clients, which the host has samples of.
const SAMPLED: u64 = 1024;
/// What is discarded: sectors of the second partition, from the first on.
const DISCARDED: u64 = 1024;

/// The clients, each with sectors of its own.
pub(crate) fn clients() -> impl Iterator<Item = (String, SectorRange)> {
    let count = (OTHERS.count - SAMPLED - AWAY) / LOADS / 8 * 8;
    (0..LOADS).map(move |number| {
        let first = OTHERS.first + SAMPLED + number * count;
        (format!("load{number}"), SectorRange { first, count })
    })
}

pub(super) fn script(seed: u64) -> Vec<Statement> {
    let mut script = vec![LateInterrupts(seed), Vfs(SERVICE.into(), VfsRequest::Open)];
    // What a smaller disk and a discard do to the content.
    let tail = OTHERS.count - AWAY;
    script.push(Run(client(
        "shell",
        "away",
        &format!("minor=3 open undefined={tail}:{AWAY} close"),
    )));
    script.push(Run(client(
        "shell",
        "given",
        &format!("minor=2 open undefined=0:{DISCARDED} close"),
    )));
    script.push(vblkctl("patience", &format!("timeout {TIMEOUT_MS}"), 0));
    script.extend(
        (1_u64..)
            .zip(clients())
            .map(|(number, (label, SectorRange { first, count }))| {
                let seed = number << 40;
                let words = format!("first={first} count={count} seed={seed:#x} depth=4 errors told");
                Start(client("load", &label, &words))
            }),
    );
    script.extend([
        Ask(ask::FAULTS.into()),
        Ask(ask::SHRINK.into()),
        vblkctl(label::SMALLER, "info -j", 0),
        Ask(ask::GROW.into()),
        vblkctl(label::LARGER, "info -j", 0),
        // What comes back can be written.
        Run(client(
            "shell",
            "tail",
            &format!("minor=3 open write={tail}:{AWAY}:0x7b000000000 verify={tail}:{AWAY}:0x7b000000000 close"),
        )),
        Ask(ask::REFUSE_DISCARDS.into()),
        vblkctl("no_discard", &format!("-d /dev/c0d0p1 discard -f 0 {DISCARDED}"), 1),
        Ask(ask::TAKE_DISCARDS.into()),
        vblkctl("discard", &format!("-d /dev/c0d0p1 discard -f 0 {DISCARDED}"), 0),
    ]);
    script.extend(clients().map(|(label, _)| Term(label)));
    script.extend([
        Wait,
        Vfs(SERVICE.into(), VfsRequest::Close),
        vblkctl(label::COUNTED, "stat -j", 0),
        vblkctl(label::EVENTS, "log", 0),
        Run(client("shell", "after", "minor=0 open read=0:8 flush close")),
        Down(SERVICE.into()),
    ]);
    script
}

fn client(program: &str, label: &str, words: &str) -> Program<String> {
    launch(program, label, format!("label={SERVICE} {words}"))
}

fn vblkctl(label: &str, words: &str, status: u8) -> Statement {
    Shell {
        program: launch("vblkctl", label, words.to_owned()),
        typed: None,
        status,
        end_after_us: None,
    }
}

fn launch(program: &str, label: &str, arguments: String) -> Program<String> {
    Program {
        program: program.to_owned(),
        label: label.to_owned(),
        arguments,
    }
}
