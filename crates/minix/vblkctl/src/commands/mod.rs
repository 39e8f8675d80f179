//! The commands, a file each.

mod cache;
mod info;
mod log;
mod queue;
mod range;
mod regs;
mod stat;
mod trace;

use crate::arguments::Command;
use crate::calls::Calls;
use crate::failure::Failure;

/// Carries out a command on the disk of this name.
///
/// # Errors
///
/// Why it failed. What was printed before stays.
pub(crate) fn run<C: Calls>(calls: &mut C, device: &str, command: &Command) -> Result<(), Failure> {
    match *command {
        Command::Info { json } => info::run(calls, device, json),
        Command::Stat { json, every } => stat::run(calls, device, json, every),
        Command::Regs => regs::run(calls, device),
        Command::Queue => queue::run(calls, device),
        Command::Log => log::run(calls, device),
        Command::Flush => cache::flush(calls, device),
        Command::Cache { switch } => cache::run(calls, device, switch),
        Command::Timeout { millis } => cache::set_timeout(calls, device, millis),
        Command::Range(ref range) => range::run(calls, device, range),
        Command::Trace { span, entries } => trace::run(calls, device, span, entries),
        Command::TraceReset => trace::reset(calls, device),
    }
}
