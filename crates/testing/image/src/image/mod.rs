//! What the image does, from the first instruction of its own to power-off.
//!
//! | module | what |
//! |---|---|
//! | `windows` | finds the disk |
//! | `session` | uses it: submitting, waiting with a limit, starting over |
//! | `buffer` | the data of all requests |
//! | `describe`, `mbr` | tells what kind of disk it is |
//! | `selftest`, `scratch` | tests it, and reports what was written |
//! | `bench` | measures it |
//! | `shell` | lets a person at it |
//! | `report`, `ending` | text for people, records for the host |

mod mbr;
mod shell;

#[cfg(target_arch = "riscv64")]
mod bench;
#[cfg(target_arch = "riscv64")]
mod buffer;
#[cfg(target_arch = "riscv64")]
mod describe;
#[cfg(target_arch = "riscv64")]
mod ending;
#[cfg(target_arch = "riscv64")]
mod report;
#[cfg(target_arch = "riscv64")]
mod run;
#[cfg(target_arch = "riscv64")]
mod scratch;
#[cfg(target_arch = "riscv64")]
mod selftest;
#[cfg(target_arch = "riscv64")]
mod session;
#[cfg(target_arch = "riscv64")]
mod windows;

#[cfg(target_arch = "riscv64")]
pub(crate) use run::main;
