//! A reader of MINIX file systems (MFS, version 3) that only reads, and trusts nothing it reads.
//!
//! It is what a file system server asks of a disk driver, made small: blocks by number, contiguous blocks of a file in one
//! go, every byte of it checked against digests that the host made.
//!
//! A damaged file system is an error. Every number on the disk is checked before it is used, the depth of directories is
//! bounded, and no directory block is looked at more often than there are blocks, so that a loop ends.

mod disk;
mod geometry;
mod layout;
mod program;
mod reader;
mod tree;

pub use program::main;
