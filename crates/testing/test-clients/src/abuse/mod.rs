//! Messages that no sane client sends to a block driver, and the right answers.
//!
//! First single requests, picked by hand, each with the exact answer: sizes and positions at the edges of the numbers,
//! grants that do not fit, minors that do not exist. Then random messages, thousands of them, of which each has to be
//! answered exactly once or not at all, while ordinary reads go on working. Where the rules give a random transfer one answer,
//! it has to be that one, and a fair share of reads and writes has to succeed.
//!
//! Random writes must not destroy anything: those whose memory is good go to the scratch range and nowhere else, those to
//! anywhere else have memory that the driver cannot read.

mod account;
mod bench;
mod book;
mod grants;
mod noise;
mod program;
mod protocol;
mod sizes;
mod storm;

pub use program::main;
