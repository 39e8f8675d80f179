//! The output of a guest: text with records in it, whole, damaged or made up.

use guest_protocol::stream::{Piece, Stream};
use guest_protocol::{LINE_BYTES, MARK, Record};
use serde::Deserialize;

/// Hears `input` as the output of a guest.
///
/// # Panics
///
/// If the division of the output into reads changes what is heard, if a byte of text is lost, or if a record does not survive
/// being written and read again.
pub fn guest_records(input: &[u8]) {
    let (at_once, rest) = heard(input, input.len().max(1));
    let chunk = usize::from(input.first().copied().unwrap_or(0)) % 7 + 1;
    assert_eq!((&at_once, &rest), (&heard(input, chunk).0, &heard(input, chunk).1));
    for piece in &at_once {
        match piece {
            Piece::Text(text) => assert!(!text.is_empty()),
            Piece::Record(line) => read(line),
        }
    }
    if let Some(line) = rest {
        read(&line);
    }
}

/// What is heard of `input` if it comes in pieces of so many bytes. Text that is next to text is one piece.
fn heard(input: &[u8], chunk: usize) -> (Vec<Piece>, Option<String>) {
    let (mut stream, mut pieces) = (Stream::default(), Vec::new());
    for piece in input.chunks(chunk).flat_map(|bytes| stream.hear(bytes)) {
        match (pieces.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.extend(text),
            (_, piece) => pieces.push(piece),
        }
    }
    (pieces, stream.end())
}

/// Reads a line. A record that fits into a line is written and read again.
fn read(line: &str) {
    let json = line.trim_start_matches(MARK);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else {
        return;
    };
    let Ok(record) = Record::deserialize(&value) else {
        return;
    };
    let mut buffer = [0; LINE_BYTES];
    let line = record.line(&mut buffer);
    let text = std::str::from_utf8(line).expect("a line is text");
    let json = text.strip_prefix(MARK).and_then(|text| text.strip_suffix('\n'));
    let again: serde_json::Value = serde_json::from_str(json.expect("a line has both ends")).expect("a line is JSON");
    let again = Record::deserialize(&again).expect("a line is a record");
    let is_too_long = matches!(again, Record::Error { kind: "too-long", .. });
    assert!(again == record || is_too_long, "{record:?} became {again:?}");
}
