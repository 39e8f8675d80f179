//! Child processes that end with xtask, however it ends.
//!
//! As long as xtask can act, dropping a [`Child`] stops the process. An xtask that is killed outright cannot, so each child is
//! started by way of xtask itself (`xtask --child PARENT PROGRAM ...`), which asks Linux for a signal at the death of its
//! parent and then becomes the program. Either way the program may end in good order: QEMU leaves an image whole.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use crate::console::complain;

/// The first word of xtask's command line where it becomes another program.
const CHILD: &str = "--child";

/// How long a process may take to end in good order.
const LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const TICK: Duration = Duration::from_millis(10);

/// The same command, so that the process ends if xtask dies. Standard streams are not taken over.
pub(crate) fn bound(command: &Command) -> Command {
    let mut bound = if cfg!(test) {
        // The program that runs is the one with the tests.
        Command::new(command.get_program())
    } else {
        let mut bound = Command::new("/proc/self/exe");
        let parent = std::process::id().to_string();
        bound.args([CHILD, &parent]).arg(command.get_program());
        bound
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

/// Becomes the program of a [`bound`] command. Returns if the command is not a bound one, or the program does not start.
pub(crate) fn become_program(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    let (parent, program) = (arguments.next()?, arguments.next()?);
    // The signal does not come for a parent that died before.
    if set_parent_process_death_signal(Some(Signal::TERM)).is_err() || parent != *parent_id().to_string() {
        return Some(ExitCode::FAILURE);
    }
    let error = Command::new(&program).args(arguments).exec();
    complain(&format!("cannot start {}: {error}", program.display()));
    Some(ExitCode::FAILURE)
}

/// A child process, stopped when this value goes.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) process: std::process::Child,
    /// Whether its own children are stopped with it.
    with_group: bool,
}

impl Child {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Result<Child> {
        let process = command.spawn();
        Ok(Child {
            process: process.with_context(|| format!("cannot start {}", command.get_program().display()))?,
            with_group: false,
        })
    }

    /// Starts a command that starts others, and has no use for the terminal.
    pub(crate) fn start_group(command: &mut Command) -> Result<Child> {
        let mut child = Child::start(command.process_group(0))?;
        child.with_group = true;
        Ok(child)
    }

    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait().context("cannot wait for a process")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Whether it ends within this time.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let started = Instant::now();
        while !self.has_ended() {
            if started.elapsed() > limit {
                return false;
            }
            thread::sleep(TICK);
        }
        true
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let send = if self.with_group {
            kill_process_group
        } else {
            kill_process
        };
        for signal in [Signal::TERM, Signal::KILL] {
            if let Some(process) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
                // It may end at this moment.
                let _ = send(process, signal);
            }
            if self.ends_within(LIMIT) {
                return;
            }
        }
    }
}
