//! The monitor: a person types commands, the disk answers.
//!
//! The language and the line editor need no machine and are tested on the host.

mod command;
mod hex;
mod line_editor;

#[cfg(target_arch = "riscv64")]
mod actions;
#[cfg(target_arch = "riscv64")]
pub(crate) mod monitor;
