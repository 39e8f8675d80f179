#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod calls;
mod commands;
mod counted;
mod disk;
mod failure;
mod features;
mod histogram;
mod json;
mod output;
mod units;
mod word;

pub use calls::{Calls, System};

use minix_abi::disk_control::VERSION;
use minix_abi::vfs::Descriptor;

use arguments::Request;
use failure::Failure;

/// Exit status of a command that went well.
pub const DONE: u8 = 0;
/// Exit status of a command that failed. A line on standard error output says why.
pub const FAILED: u8 = 1;
/// Exit status of a command line that makes no sense. A line on standard error output says why.
pub const MISUSED: u8 = 2;

/// Carries out a command line, given without the name of the program, and returns the exit status.
pub fn run<'a, C: Calls>(calls: &mut C, words: impl Iterator<Item = &'a str>) -> u8 {
    let failure = match arguments::parse(words) {
        Err(misuse) => {
            return complain(calls, &misuse, MISUSED);
        }
        Ok(Request::Help) => output::print(calls, format_args!("{}", arguments::HELP)),
        Ok(Request::Version) => output::print(
            calls,
            format_args!(
                "vblkctl {}, version {VERSION} of the requests\n",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        Ok(Request::Command { device, command }) => {
            return match commands::run(calls, device, &command) {
                Ok(()) => DONE,
                Err(failure) => complain(calls, &In { device, failure }, FAILED),
            };
        }
    };
    match failure {
        Ok(()) => DONE,
        Err(failure) => complain(calls, &failure, FAILED),
    }
}

/// A failure with the disk that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{device}: {failure}")]
struct In<'a> {
    device: &'a str,
    failure: Failure,
}

/// One line on standard error output. If that cannot be written, the exit status still tells.
fn complain<C: Calls>(calls: &mut C, why: &dyn core::fmt::Display, status: u8) -> u8 {
    let _ = output::write(calls, Descriptor::STDERR, format_args!("vblkctl: {why}\n"));
    status
}
