//! Commands for a disk, as words: what somebody does who wants to see that there is one.

mod command;
mod program;

pub use command::{Command, MAX_COMMANDS};
pub use program::main;
