//! Small pieces of text that both sides read and write: sector ranges and numbers.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run of 512-byte sectors. Written `FIRST:COUNT`, both decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectorRange {
    /// Number of the first sector.
    pub first: u64,
    /// How many sectors.
    pub count: u64,
}

impl SectorRange {
    /// The first sector after the range, or `u64::MAX` if that does not fit (a range read from text may say anything).
    pub const fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// Whether `inner` lies wholly inside this range. An empty range inside the bounds counts as contained.
    pub const fn contains(self, inner: SectorRange) -> bool {
        match inner.first.checked_add(inner.count) {
            Some(end) => self.first <= inner.first && end <= self.end(),
            None => false,
        }
    }
}

impl fmt::Display for SectorRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.first, self.count)
    }
}

impl FromStr for SectorRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let (first, count) = text.split_once(':').ok_or(BadRange)?;
        let first: u64 = first.parse().map_err(|_| BadRange)?;
        let count: u64 = count.parse().map_err(|_| BadRange)?;
        first.checked_add(count).ok_or(BadRange)?;
        Ok(SectorRange { first, count })
    }
}

/// The text is not `FIRST:COUNT`, or its end does not fit in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRange;

impl fmt::Display for BadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sector range of the form FIRST:COUNT")
    }
}

impl core::error::Error for BadRange {}

/// A decimal number, or a hexadecimal one after `0x`.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        // `from_str_radix` would take a second sign.
        Some(hex) if !hex.starts_with(['+', '-']) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}
