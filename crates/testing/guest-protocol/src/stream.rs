//! The output of a guest, taken apart into text for people and records, for the host.
//!
//! Text passes at once, byte by byte, so that a prompt without a line end is seen. [`MARK`], which text has no use for, opens a
//! record wherever it comes; the end of line closes it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::MARK;

/// Longer "records" than this are damage and shown as text, in bytes.
pub const LONGEST: usize = 4096;

/// One piece of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text for people.
    Text(Vec<u8>),
    /// A whole line, mark included, without its end.
    Record(String),
}

/// What was heard of a guest and is no whole piece yet.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The record being collected, if one is.
    unfinished: Option<Vec<u8>>,
}

impl Stream {
    /// Takes in the next bytes and returns the pieces that they complete.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        for &byte in bytes {
            match &mut self.unfinished {
                None if char::from(byte) == MARK => {
                    flush(&mut text, &mut pieces);
                    self.unfinished = Some(alloc::vec![byte]);
                }
                None => text.push(byte),
                Some(line) if byte == b'\n' => {
                    let line = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
                    self.unfinished = None;
                    pieces.push(Piece::Record(line));
                }
                Some(line) => {
                    line.push(byte);
                    if line.len() > LONGEST {
                        text.append(line);
                        self.unfinished = None;
                    }
                }
            }
        }
        flush(&mut text, &mut pieces);
        pieces
    }

    /// The output has ended: what is left of a record.
    pub fn end(&mut self) -> Option<String> {
        let line = self.unfinished.take()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(mem::take(text)));
    }
}
