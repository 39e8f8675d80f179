//! Feature bits in words.

use core::fmt;

use virtio_blk_proto::BlkFeatures;
use virtio_core::Features;

/// Bits that belong to the type of the device.
const OF_BLOCK_DEVICES: u64 = (1 << 24) - 1;

/// The number of a feature bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bit(u32);

impl Bit {
    fn name(self) -> Option<&'static str> {
        let bit = 1 << self.0;
        if bit & OF_BLOCK_DEVICES != 0 {
            let mut names = BlkFeatures::from_bits_retain(bit).iter_names();
            names.next().map(|(name, _)| name)
        } else {
            let mut names = Features::from_bits_retain(bit).iter_names();
            names.next().map(|(name, _)| name)
        }
    }
}

/// Writes the names in lines that have `margin` spaces in front of them, but for the first line.
pub(crate) fn write(out: &mut dyn fmt::Write, bits: u64, margin: usize) -> fmt::Result {
    const LINE: usize = 79;
    if bits == 0 {
        return out.write_str("none");
    }
    let mut column = margin;
    let mut separator = "";
    for bit in (0..u64::BITS).filter(|&nth| bits >> nth & 1 != 0).map(Bit) {
        let name = bit.name();
        let length = name.map_or("bit 63".len(), str::len);
        if column > margin && column + 1 + length > LINE {
            write!(out, "\n{:margin$}", "")?;
            (column, separator) = (margin, "");
        }
        match name {
            Some(name) => write!(out, "{separator}{name}")?,
            None => write!(out, "{separator}bit {}", u64::from(bit.0))?,
        }
        column += separator.len() + length;
        separator = " ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;

    use super::*;

    fn words(bits: u64, margin: usize) -> String {
        let mut text = String::new();
        write(&mut text, bits, margin).unwrap();
        text
    }

    #[test]
    fn bits_have_their_names_in_order() {
        let bits = 1 << 1 | 1 << 9 | 1 << 13 | 1 << 28 | 1 << 29 | 1 << 32;
        assert_eq!(
            words(bits, 0),
            "SIZE_MAX FLUSH DISCARD INDIRECT_DESC EVENT_IDX VERSION_1"
        );
        assert_eq!(words(0, 5), "none");
    }

    #[test]
    fn a_bit_without_a_name_is_a_number() {
        assert_eq!(words(1 << 3 | 1 << 30 | 1 << 63, 0), "bit 3 bit 30 bit 63");
    }

    #[test]
    fn long_lists_are_broken_at_the_margin() {
        let text = words(u64::MAX, 16);
        assert!(text.lines().count() > 1, "{text}");
        for (nth, line) in text.lines().enumerate() {
            let start = if nth == 0 { 16 } else { 0 };
            assert!(start + line.len() <= 79, "{line}");
            assert_eq!(nth > 0, line.starts_with("                "), "{line}");
            assert!(!line.ends_with(' '), "{line}");
        }
        let expected: usize = text
            .split_whitespace()
            .filter(|word| word.parse::<u32>().is_err())
            .count();
        assert_eq!(expected, 64);
    }
}
