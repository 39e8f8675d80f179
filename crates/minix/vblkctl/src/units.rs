//! Numbers for people: sizes, spans, rates, and sectors as people write them. No floating point.

use core::fmt;

use minix_abi::disk_control::SECTOR_BYTES;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in the largest unit of which there is one, with a tenth where it is not a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut shift, mut unit) = (0, UNITS[0]);
        for (nth, &name) in UNITS.iter().enumerate() {
            if self.0 >> (10 * nth) > 0 {
                (shift, unit) = (10 * nth, name);
            }
        }
        let whole = self.0 >> shift;
        let rest = self.0 - (whole << shift);
        // Less than ten, however it is rounded.
        let tenth = ((u128::from(rest) * 10) >> shift) as u64;
        if rest == 0 {
            write!(f, "{whole} {unit}")
        } else {
            write!(f, "{whole}.{tenth} {unit}")
        }
    }
}

/// Sectors of 512 bytes.
pub(crate) const fn sectors(count: u64) -> Bytes {
    Bytes(count.saturating_mul(SECTOR_BYTES))
}

/// A number of tenths, printed with a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenths(pub(crate) u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padding is for the whole of it, so the digits are counted first.
        let (whole, tenth) = (self.0 / 10, self.0 % 10);
        let width = f.width().unwrap_or(0).saturating_sub(2);
        write!(f, "{whole:width$}.{tenth}")
    }
}

/// How many there are of `unit` in a second, if there are `count` in so many microseconds; rounded down.
pub(crate) fn rate(count: u64, unit: u64, micros: u64) -> Tenths {
    let divisor = u128::from(unit.max(1)) * u128::from(micros.max(1));
    Tenths(quotient(u128::from(count) * 10_000_000, divisor))
}

/// So many percent of `whole`, in tenths; zero of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Tenths {
    Tenths(quotient(u128::from(part) * 1000, whole.max(1).into()))
}

/// A quotient rounded down, of a dividend below 2^127; the largest number there is if it is larger. Bit by bit: the operator takes a
/// kilobyte and a half, for a speed that is of no use here.
fn quotient(mut dividend: u128, divisor: u128) -> u64 {
    let (mut rest, mut quotient) = (0_u128, 0_u128);
    for _ in 0..u128::BITS {
        rest = rest << 1 | dividend >> (u128::BITS - 1);
        dividend <<= 1;
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
    }
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// Microseconds as seconds with all their digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let width = f.width().unwrap_or(0).saturating_sub(7);
        write!(f, "{seconds:width$}.{micros:06}")
    }
}

/// A number of sectors as people write it: sectors of 512 bytes, or bytes with one of the suffixes K, M, G and T.
pub(crate) fn parse_sectors(text: &str) -> Option<u64> {
    let mut characters = text.chars();
    let bytes = match characters.next_back()? {
        'K' | 'k' => 1 << 10,
        'M' | 'm' => 1 << 20,
        'G' | 'g' => 1 << 30,
        'T' | 't' => 1 << 40,
        _ => return parse_number(text),
    };
    parse_number(characters.as_str())?.checked_mul(bytes / SECTOR_BYTES)
}

/// A number in decimal digits alone.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    // `parse` would take a sign.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn bytes_come_in_their_unit() {
        let cases = [
            (0, "0 B"),
            (512, "512 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1025, "1.0 KiB"),
            (64 << 20, "64 MiB"),
            ((1 << 40) - 1, "1023.9 GiB"),
            (140 << 30, "140 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(sectors(u64::MAX), Bytes(u64::MAX));
    }

    #[test]
    fn a_quotient_is_that_of_the_operator() {
        let numbers = [1, 2, 3, 7, 10, 999, 1 << 20, 1 << 63, u64::MAX, u64::MAX - 1];
        for dividend in numbers.into_iter().chain([0]) {
            for factor in [1, 1000, 10_000_000] {
                let dividend = u128::from(dividend) * factor;
                for divisor in numbers {
                    for more in [1, 1_000_000, u64::MAX] {
                        let divisor = u128::from(divisor) * u128::from(more);
                        let expected = u64::try_from(dividend / divisor).unwrap_or(u64::MAX);
                        assert_eq!(quotient(dividend, divisor), expected, "{dividend} / {divisor}");
                    }
                }
            }
        }
    }

    #[test]
    fn rates_are_counted_without_overflow() {
        assert_eq!(rate(1000, 1, 1_000_000), Tenths(10_000));
        assert_eq!(rate(3, 1, 2_000_000), Tenths(15));
        assert_eq!(rate(u64::MAX, 1 << 20, 1_000_000), Tenths(175_921_860_444_159));
        assert_eq!(rate(5, 1, 0), Tenths(50_000_000));
        assert_eq!(rate(u64::MAX, 1, 1), Tenths(u64::MAX));
        assert_eq!(share(1, 3), Tenths(333));
        assert_eq!(share(7, 7), Tenths(1000));
        assert_eq!(share(0, 0), Tenths(0));
        assert_eq!(share(u64::MAX, u64::MAX), Tenths(1000));
    }

    #[test]
    fn a_width_is_that_of_the_whole_number() {
        assert_eq!(format!("[{:7}]", Tenths(1234)), "[  123.4]");
        assert_eq!(format!("[{}]", Tenths(5)), "[0.5]");
        assert_eq!(format!("[{:12}]", Seconds(1_500_000)), "[    1.500000]");
    }

    #[test]
    fn sectors_are_numbers_or_sizes() {
        let cases = [
            ("0", Some(0)),
            ("2048", Some(2048)),
            ("1K", Some(2)),
            ("64M", Some(131_072)),
            ("3g", Some(3 << 21)),
            ("2T", Some(2 << 31)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615K", None),
            ("", None),
            ("K", None),
            ("+1", None),
            ("-1", None),
            ("0x10", None),
            ("1.5M", None),
            ("1 K", None),
            ("1KiB", None),
            ("1é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_sectors(text), expected, "{text:?}");
        }
    }
}
