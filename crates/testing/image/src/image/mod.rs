//! The image, from its first instruction to power-off.
//!
//! | module | what |
//! |---|---|
//! | `run` | the course of a run |
//! | `windows` | finds the disk |
//! | `memory` | the heap, and DMA memory |
//! | `buffer` | the data of all requests |
//! | `session` | uses the disk: submitting, waiting with a limit, starting over |
//! | `describe` | describes the disk |
//! | `selftest`, `scratch` | tests it, and reports the writes |
//! | `bench` | measures it |
//! | `shell` | takes commands from a person |
//! | `report` | text for people, records for the host |

mod bench;
mod buffer;
mod describe;
mod memory;
mod report;
mod run;
mod scratch;
mod selftest;
mod session;
mod shell;
mod windows;

pub(crate) use run::main;
