//! The statements of a run. The host writes one JSON value a line, the kernel reads the same type back.
//!
//! `S` is `String` on the host and `&str` in the kernel, which takes strings out of the line as they are: they must not need
//! escapes.

use serde::{Deserialize, Serialize};

/// A program to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program<S> {
    /// Its file in the archive.
    pub program: S,
    pub label: S,
    /// Separated by white space.
    pub arguments: S,
}

/// A request of VFS to the driver, for minor 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VfsRequest {
    /// Open the disk, and keep it open over restarts.
    Open,
    Close,
    /// Ask how often the disk is open (`DIOCOPENCT`).
    OpenCount,
}

/// When the device of a service gets its notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// When the service sends them. The kernel takes no part.
    #[default]
    Free,
    /// When the service sends them, and the service goes on once the device has completed everything.
    AtOnce,
    /// When every process waits, and everything goes on once the device has completed everything.
    WhenAllWait,
}

/// A statement of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement<S> {
    /// Start a service for a major number, and wait until it is initialised.
    Service(Program<S>, u32),
    /// The same, but the statement passes as well if the initialisation fails.
    ServiceMayFail(Program<S>, u32),
    /// Start a client and wait for its verdict.
    Run(Program<S>),
    /// Start a client in the background.
    Start(Program<S>),
    /// Start a program as a shell does, and wait for its end.
    Shell {
        program: Program<S>,
        /// The line that is typed at its terminal. `None`: it has no terminal.
        typed: Option<S>,
        /// The exit status it must have.
        status: u8,
        /// It does not end by itself, and is killed after so many microseconds.
        end_after_us: Option<u64>,
    },
    /// Wait for all clients in the background.
    Wait,
    /// The same, and report the time and the user instructions of a service meanwhile.
    WaitMeasured(S),
    /// Send SIGTERM by message.
    Term(S),
    /// Send SIGTERM and wait until the service has left. After two seconds it is killed, and the statement fails.
    Down(S),
    /// Wait until a service that got SIGTERM has left, for at most two seconds.
    Gone(S),
    /// Ask the host for something, by a word that both know, and wait until it types a line at the console. Meanwhile the hart does
    /// not sleep, so that the host may move the machine.
    Ask(S),
    /// Let so many microseconds pass.
    Sleep(u64),
    /// Windows of devices that are mapped from now on get their notifications like this.
    Pace(Pace),
    /// From now on no more than so many free pages are contiguous.
    Fragment(u64),
    /// From now on the message of an interrupt is as late as on the real system. The number is a seed.
    LateInterrupts(u64),
    /// From now on no process is charged for its time, so that one that spins keeps the hart from its own queue and from all
    /// that are lower. That of the servers is 7.
    NeverCharge,
    /// Put the hook of a dead process on the interrupt line of a service, until RS collects dead slots.
    DeadHook(S),
    Vfs(S, VfsRequest),
    /// Kill and restart a service at random times after its start, then stop the clients in the background.
    Kill {
        label: S,
        rounds: u64,
        seed: u64,
        min_us: u64,
        max_us: u64,
    },
    /// Ping a service, and once more while it is awake.
    Ping(S),
    /// Ask for a live update, which the service must refuse.
    Prepare(S),
    /// Kill a service once and wait until its restart is complete.
    Restart(S),
}
