//! The image, from its first instruction to power-off.
//!
//! | module | what |
//! |---|---|
//! | `run` | the course of a run |
//! | `workload` | what is measured: operation, depth, segments, size |
//! | `buffers` | the data of the requests |
//! | `contender` | what every contender can do |
//! | `batch` | the requests of a batch and their buffers |
//! | `ours`, `rival`, `raw`, `null` | this driver, `virtio-drivers`, the raw ring, no driver at all |
//! | `counts`, `bracket` | the pass that counts instructions |
//! | `rates` | the pass that measures rates |

mod batch;
mod bracket;
mod buffers;
mod contender;
mod counts;
mod minix;
mod null;
mod ours;
mod rates;
mod raw;
mod rival;
mod run;
mod workload;

pub(crate) use run::main;
