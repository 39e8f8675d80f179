//! The image, from its first instruction to power-off.
//!
//! | module | what |
//! |---|---|
//! | `run` | the course of a run |
//! | `buffer` | the data of all requests |
//! | `routes` | where the interrupts of a disk go |
//! | `session` | uses the disk: submitting, waiting with a limit, starting over |
//! | `describe` | describes the disk |
//! | `selftest`, `scratch` | tests it, and reports the writes |
//! | `load` | uses all queues of the disk on all harts at once |
//! | `removal` | uses it until it is gone |
//! | `shell` | takes commands from a person |
//!
//! What it shares with other images is in `bare-image`.

mod buffer;
mod describe;
mod load;
mod removal;
mod routes;
mod run;
mod scratch;
mod selftest;
mod session;
mod shell;

pub(crate) use run::main;
