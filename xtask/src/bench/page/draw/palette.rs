//! Colors. Each is drawn as its light one; a style sheet replaces it where the reader's screen is dark.

use std::fmt::Write;

use plotters::style::RGBColor;

pub(super) const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
pub(super) const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
/// Under a chart that stands alone.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Text on a bar.
pub(super) const ON_COLOR: RGBColor = RGBColor(0xff, 0xff, 0xfe);

/// Light and dark.
const COLORS: [(RGBColor, RGBColor); 16] = [
    (INK, RGBColor(0xe6, 0xed, 0xf3)),
    (GRID, RGBColor(0x3d, 0x44, 0x4d)),
    (PAPER, RGBColor(0x0d, 0x11, 0x17)),
    (ON_COLOR, RGBColor(0x0d, 0x11, 0x17)),
    (RGBColor(0x0b, 0x6b, 0xcb), RGBColor(0x58, 0xa6, 0xff)),
    (RGBColor(0xc2, 0x57, 0x0c), RGBColor(0xf0, 0x88, 0x3e)),
    (RGBColor(0x1a, 0x7f, 0x37), RGBColor(0x3f, 0xb9, 0x50)),
    (RGBColor(0x82, 0x50, 0xdf), RGBColor(0xbc, 0x8c, 0xff)),
    (RGBColor(0x1b, 0x7c, 0x83), RGBColor(0x39, 0xc5, 0xcf)),
    (RGBColor(0xcf, 0x22, 0x2e), RGBColor(0xff, 0x7b, 0x72)),
    (RGBColor(0x7d, 0x6a, 0x00), RGBColor(0xd2, 0xa9, 0x22)),
    (RGBColor(0xbf, 0x39, 0x89), RGBColor(0xf7, 0x78, 0xba)),
    (RGBColor(0x4c, 0x5d, 0x8a), RGBColor(0x8f, 0xa4, 0xda)),
    (RGBColor(0x8c, 0x4a, 0x2f), RGBColor(0xd2, 0x90, 0x6a)),
    (RGBColor(0x4f, 0x7a, 0x00), RGBColor(0xa3, 0xd3, 0x4f)),
    (RGBColor(0x6e, 0x77, 0x81), RGBColor(0x8b, 0x94, 0x9e)),
];
/// The first color of a series; those before it have a use of their own.
const FIRST: usize = 4;

/// The color of the nth series.
pub(super) fn nth(n: usize) -> RGBColor {
    COLORS[FIRST + n % (COLORS.len() - FIRST)].0
}

/// The rules that replace the light colors where the screen is dark.
pub(super) fn theme() -> String {
    let mut rules = String::new();
    for (light, dark) in COLORS {
        let (light, dark) = (hex(light), hex(dark));
        // The two attributes as `plotters` writes them. A rule is stronger than an attribute.
        let _ = write!(
            rules,
            "svg [fill=\"{light}\"]{{fill:{dark}}}svg [stroke=\"{light}\"]{{stroke:{dark}}}"
        );
    }
    format!("@media screen and (prefers-color-scheme:dark){{{rules}}}")
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
