//! Bytes as people read them.

use core::fmt::{self, Write};

const PER_LINE: usize = 16;

/// Writes sixteen bytes to a line, with their offset from `start`, in hexadecimal and as text. Lines that repeat the one
/// before are summed up in a `*`.
pub(crate) fn dump(out: &mut impl Write, start: u64, bytes: &[u8]) -> fmt::Result {
    let mut before: Option<&[u8]> = None;
    let mut repeating = false;
    for (offset, line) in (start..).step_by(PER_LINE).zip(bytes.chunks(PER_LINE)) {
        if before == Some(line) {
            if !repeating {
                out.write_str("*\n")?;
            }
            repeating = true;
            continue;
        }
        (before, repeating) = (Some(line), false);
        write!(out, "{offset:08x} ")?;
        for n in 0..PER_LINE {
            if n % 8 == 0 {
                out.write_char(' ')?;
            }
            match line.get(n) {
                Some(byte) => write!(out, "{byte:02x} ")?,
                None => out.write_str("   ")?,
            }
        }
        out.write_str(" |")?;
        for &byte in line {
            let printable = byte.is_ascii_graphic() || byte == b' ';
            out.write_char(if printable { char::from(byte) } else { '.' })?;
        }
        out.write_str("|\n")?;
    }
    writeln!(out, "{:08x}", start + bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_offset_bytes_and_text() {
        let mut out = String::new();
        dump(&mut out, 0x200, b"VirtIO block\x00\xff\x7f~!").unwrap();
        assert_eq!(
            out,
            "00000200  56 69 72 74 49 4f 20 62  6c 6f 63 6b 00 ff 7f 7e  |VirtIO block...~|\n\
             00000210  21                                                |!|\n\
             00000211\n"
        );
    }

    #[test]
    fn repeated_lines_are_summed_up() {
        let mut out = String::new();
        dump(&mut out, 0, &[0; 64]).unwrap();
        assert_eq!(out.lines().count(), 3);
        assert!(out.ends_with("|\n*\n00000040\n"));
    }
}
