//! The image, from its first instruction to power-off.
//!
//! | module | what |
//! |---|---|
//! | `run` | the course of a run |
//! | `workload` | what is measured: operation, depth, segments, size |
//! | `buffers` | the data of the requests |
//! | `contender` | what every contender can do |
//! | `ours`, `rival`, `raw` | this driver, `virtio-drivers`, the raw ring |
//! | `counts`, `bracket` | the pass that counts instructions |
//! | `rates` | the pass that measures rates |

mod bracket;
mod buffers;
mod contender;
mod counts;
mod minix;
mod ours;
mod rates;
mod raw;
mod rival;
mod run;
mod workload;

pub(crate) use run::main;
