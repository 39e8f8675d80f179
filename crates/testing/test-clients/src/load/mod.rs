//! A load of mixed reads, writes and zeroed ranges that knows at any time what every sector has to hold, across restarts of the driver.
//!
//! It shows:
//!
//! * **An acknowledged write stays.** The ledger knows, sector by sector, the pattern of the last acknowledged write.
//!   Every read during the run is held against it; the writes that were acknowledged last when a driver died are read
//!   again as soon as its successor is there; at the end everything is read back, and the ledger leaves as `wrote` records,
//!   which the host compares with the disk itself, as it does the `zeroed` ones.
//! * **A write that was not acknowledged is old or new, until its retry is acknowledged.** While a write is outstanding,
//!   each of its sectors may hold either, and nothing else.
//! * **Each request is answered once.** Every time a request is sent, its id is one that was never used before. A reply with
//!   any other id is a failure, and told apart: answered twice, or never asked.
//!
//! Content that a later write has replaced is checked by reads during the run, and cannot be checked on the disk.

mod choice;
mod engine;
mod ledger;
mod program;

pub use program::{main, overlap};
