//! A reader of MINIX file systems (MFS, version 3) that only reads, and trusts nothing it reads.
//!
//! It is what a file system server asks of a disk driver, made small: blocks by number, contiguous blocks of a file in
//! one go, every byte of it checked against digests that the host made. Where the blocks come from is a [`Volume`];
//! the reader itself runs on the host as well.
//!
//! A damaged file system is an error. Every number on the disk is checked before it is used, the depth of directories is
//! bounded, and no directory block is looked at more often than there are blocks, so that a loop ends.

mod error;
mod geometry;
pub mod layout;
mod program;
mod reader;
mod tree;

pub use error::{Damage, MfsError};
pub use program::main;
pub use reader::{Buffers, Mfs, Volume};
pub use tree::{Found, MAX_DEPTH};
