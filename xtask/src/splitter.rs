//! Takes the UART's bytes apart into text for people and records for the host.
//!
//! Text passes at once, byte by byte, so that a prompt without a line end is seen. The record separator, which text has no
//! use for, opens a record wherever it comes; the end of line closes it.

use guest_protocol::MARK;

/// Longer "records" than this are damage; they are passed as text so that somebody sees them.
const LONGEST: usize = 4096;

/// One piece of the UART's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    /// A whole record line, mark included, without its end.
    Record(String),
}

/// Where in the output the next byte belongs.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The record being collected, if one is.
    record: Option<Vec<u8>>,
}

impl Splitter {
    /// Takes the next bytes in, gives the pieces they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        for &byte in bytes {
            match &mut self.record {
                None if char::from(byte) == MARK => {
                    flush(&mut text, &mut pieces);
                    self.record = Some(vec![byte]);
                }
                None => text.push(byte),
                Some(record) if byte == b'\n' => {
                    let line = String::from_utf8_lossy(record).trim_end_matches('\r').to_owned();
                    pieces.push(Piece::Record(line));
                    self.record = None;
                }
                Some(record) => {
                    record.push(byte);
                    if record.len() > LONGEST {
                        text.append(record);
                        self.record = None;
                    }
                }
            }
        }
        flush(&mut text, &mut pieces);
        pieces
    }

    /// What was left of an unfinished record when the output ended.
    pub(crate) fn finish(self) -> Option<String> {
        self.record.map(|record| String::from_utf8_lossy(&record).into_owned())
    }
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"OpenSBI v1.6\r\n\x1ewindow addr=0x1 irq=1 bad=1\nblk> \x1etest name=a result=pass detail=\r\nbye \xc3\xa9\n";

    fn split(chunk: usize) -> (Vec<u8>, Vec<String>) {
        let mut splitter = Splitter::default();
        let (mut text, mut records) = (Vec::new(), Vec::new());
        for bytes in STREAM.chunks(chunk) {
            for piece in splitter.feed(bytes) {
                match piece {
                    Piece::Text(bytes) => text.extend(bytes),
                    Piece::Record(line) => records.push(line),
                }
            }
        }
        assert_eq!(splitter.finish(), None);
        (text, records)
    }

    #[test]
    fn any_division_into_reads_gives_the_same() {
        let whole = split(STREAM.len());
        assert_eq!(whole.0, "OpenSBI v1.6\r\nblk> bye \u{e9}\n".as_bytes());
        assert_eq!(
            whole.1,
            ["\x1ewindow addr=0x1 irq=1 bad=1", "\x1etest name=a result=pass detail="]
        );
        for chunk in 1..STREAM.len() {
            assert_eq!(split(chunk), whole);
        }
    }

    #[test]
    fn text_does_not_wait_for_the_end_of_line() {
        assert_eq!(Splitter::default().feed(b"blk> "), [Piece::Text(b"blk> ".to_vec())]);
    }

    #[test]
    fn an_unfinished_record_is_given_at_the_end() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.feed(b"\x1edone pass"), []);
        assert_eq!(splitter.finish().as_deref(), Some("\x1edone pass"));
    }

    #[test]
    fn a_record_without_end_becomes_text() {
        let mut splitter = Splitter::default();
        let mut endless = vec![b'x'; 2 * LONGEST];
        endless[0] = MARK as u8;
        let pieces = splitter.feed(&endless);
        assert_eq!(pieces, [Piece::Text(endless)]);
        assert_eq!(splitter.finish(), None);
    }
}
