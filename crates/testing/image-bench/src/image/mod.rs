//! The image, from its first instruction to power-off.
//!
//! | module | what |
//! |---|---|
//! | `run` | the course of a run |
//! | `workload` | what is measured: operation, depth, segments, size |
//! | `buffers` | the data of the requests |
//! | `contender` | what every contender can do |
//! | `ours` | this driver |
//! | `counts` | the pass that counts instructions |

mod buffers;
mod contender;
mod counts;
mod ours;
mod run;
mod workload;

pub(crate) use run::main;
