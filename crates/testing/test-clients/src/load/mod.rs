//! A load of mixed reads and writes that knows at any time what every sector has to hold, across restarts of the driver.
//!
//! What it can show, and how:
//!
//! * **An acknowledged write stays.** The [`Ledger`] knows, sector by sector, the pattern of the last acknowledged write.
//!   Every read during the run is held against it; whatever had been acknowledged last when a driver died is read again
//!   as soon as its successor is there; at the end everything is read back, and the ledger leaves as `wrote` records,
//!   which the host compares with the disk itself.
//! * **A write that was not acknowledged is old or new, until its retry is acknowledged.** While a write is outstanding,
//!   each of its sectors may hold either, and nothing else.
//! * **Each request is answered once.** Every time a request is sent, its id is one that was never used before. A reply with
//!   any other id is a failure, and told apart: answered twice, or never asked.
//!
//! Content in between that a later write has replaced cannot be seen on the disk afterwards; that it was right is shown
//! by the reads alone.
//!
//! [`Load`] decides and remembers, and neither sends nor receives: it runs on the host as well.

mod choice;
mod engine;
mod ledger;
mod program;

pub use choice::{Kind, MAX_ELEMENTS_PER_REQUEST, MAX_REQUEST_SECTORS, Operation};
pub use engine::{Answered, Counters, Failure, Load, MAX_DEPTH, Order};
pub use ledger::{Ledger, Mismatch, Run, SectorState};
pub use program::{MAX_SECTORS, Settings, Summary, main, run};
