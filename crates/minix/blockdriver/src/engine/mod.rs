//! From a request of a client to its answer.
//!
//! The parts, each with its own state: [`intake`] (requests and the [`barrier`]), [`scheduler`] (with the
//! [`regions`] of the disk), [`in_flight`], [`health`] (with
//! the [`pace`]), [`write_back`]. The driver owns them and passes between them: [`admission`], [`barrier_run`], [`submit`],
//! [`complete`], [`flush`], [`recovery`].

pub(crate) mod admission;
pub(crate) mod barrier;
pub(crate) mod barrier_run;
pub(crate) mod complete;

pub(crate) mod flush;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod intake;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod pace;
pub(crate) mod recovery;
pub(crate) mod regions;
pub(crate) mod scheduler;
pub(crate) mod submit;
pub(crate) mod write_back;
