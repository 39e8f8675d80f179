//! A logarithmic axis with given ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::number;

/// An axis whose equal distances are equal factors. All values are above zero.
pub(super) struct Logarithmic {
    pub(super) range: Range<f64>,
    /// From the smallest to the largest.
    pub(super) ticks: Vec<f64>,
}

impl Ranged for Logarithmic {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let place = (value / self.range.start).ln() / (self.range.end / self.range.start).ln();
        start + (place * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Logarithmic {
    fn format_ext(&self, value: &f64) -> String {
        number(*value)
    }
}
