//! Charts as SVG, in two widths, for a screen and for a phone: text in a chart that is only scaled would be too small.

mod bars;
mod lines;
mod logarithmic;
mod palette;
mod spans;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figure::Chart;

/// What is drawn on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The size of text.
const TEXT: i32 = 13;
const TITLE: i32 = 16;
/// The height of a line of text.
const LINE: i32 = 20;
/// From the edge.
const MARGIN: i32 = 8;
/// The square before an entry of the legend, and the space after it.
const KEY: i32 = 12;
const GAP: i32 = 6;

/// The width of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Wide,
    Narrow,
}

impl Width {
    fn pixels(self) -> i32 {
        match self {
            Width::Wide => 880,
            Width::Narrow => 380,
        }
    }
}

/// An entry of the legend.
struct Entry<'a> {
    label: &'a str,
    color: RGBColor,
    mark: Mark,
}

/// The look of a series beside its color, for readers who see no colors and for print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Square,
    Disc,
    Triangle,
    Cross,
    Ring,
}

impl Mark {
    /// The mark of the nth line.
    fn nth(n: usize) -> Mark {
        [Mark::Disc, Mark::Triangle, Mark::Square, Mark::Cross, Mark::Ring][n % 5]
    }
}

/// A chart for a page of its own: with its title, on a ground of its own, light or dark as the reader's screen is.
pub(super) fn standalone(chart: &Chart, title: &str) -> Result<String> {
    let svg = draw(chart, Width::Wide, Some(title))?;
    let (tag, content) = svg.split_once('>').unwrap_or((&svg, ""));
    Ok(format!("{tag}>\n<style>{}</style>{content}", theme()))
}

/// A chart for the page, which has the title and [`theme`].
pub(super) fn embedded(chart: &Chart, width: Width) -> Result<String> {
    draw(chart, width, None)
}

fn draw(chart: &Chart, width: Width, title: Option<&str>) -> Result<String> {
    let entries: Vec<Entry> = match chart {
        Chart::Bars(chart) => bars::legend(chart),
        Chart::Lines(chart) => lines::legend(chart),
        Chart::Spans(_) => spans::legend(),
    };
    let places = legend_places(&entries, width.pixels());
    let legend_lines = places.last().map_or(0, |(_, line)| line + 1);
    let head = title.map_or(0, |_| LINE + MARGIN) + legend_lines * LINE + MARGIN;
    let body = match chart {
        Chart::Bars(chart) => bars::height(chart, width),
        Chart::Lines(_) => lines::height(width),
        Chart::Spans(chart) => spans::height(chart, width),
    };
    let mut text = String::new();
    {
        let size = (width.pixels().cast_unsigned(), (head + body).cast_unsigned());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let mut top = MARGIN;
        if let Some(title) = title {
            area.fill(&palette::PAPER).map_err(drawing)?;
            area.draw_text(title, &bold(TITLE), (MARGIN, top)).map_err(drawing)?;
            top += LINE + MARGIN;
        }
        for (entry, (x, line)) in entries.iter().zip(&places) {
            let y = top + line * LINE;
            area.draw(&marker((*x + KEY / 2, y + KEY / 2), entry.mark, entry.color))
                .map_err(drawing)?;
            let place = (*x + KEY + GAP, y + KEY / 2);
            area.draw_text(entry.label, &label(HPos::Left), place)
                .map_err(drawing)?;
        }
        let (_, below) = area.split_vertically(head);
        match chart {
            Chart::Bars(chart) => bars::draw(chart, width, &below)?,
            Chart::Lines(chart) => lines::draw(chart, &below)?,
            Chart::Spans(chart) => spans::draw(chart, width, &below)?,
        }
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// The rules of a style sheet that make charts readable on a dark screen.
pub(super) fn theme() -> String {
    palette::theme()
}

/// Where the entries of a legend go: x, and number of the line.
fn legend_places(entries: &[Entry], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut line) = (MARGIN, 0);
    let mut places = Vec::new();
    for entry in entries {
        let needs = KEY + GAP + text_width(entry.label);
        if x > MARGIN && x + needs > width - MARGIN {
            (x, line) = (MARGIN, line + 1);
        }
        places.push((x, line));
        x += needs + 2 * GAP;
    }
    places
}

/// About as wide as a browser draws it. There is no font to measure.
fn text_width(text: &str) -> i32 {
    let characters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / TEXT);
    characters * TEXT * 56 / 100
}

/// plotters takes the height of a line, which is 1.24 of the size of the font.
fn font(pixels: i32) -> FontDesc<'static> {
    ("sans-serif", f64::from(pixels) * 1.24).into_font()
}

fn bold(pixels: i32) -> TextStyle<'static> {
    let style = font(pixels).style(FontStyle::Bold).color(&palette::INK);
    style.pos(Pos::new(HPos::Left, VPos::Top))
}

/// Text beside a place, in the middle of its height.
fn label(side: HPos) -> TextStyle<'static> {
    let style = font(TEXT).color(&palette::INK);
    style.pos(Pos::new(side, VPos::Center))
}

/// A marker of a series.
fn marker<'a>(place: (i32, i32), mark: Mark, color: RGBColor) -> DynElement<'a, SVGBackend<'a>, (i32, i32)> {
    let (x, y) = place;
    match mark {
        Mark::Square => Rectangle::new([(x - 5, y - 5), (x + 5, y + 5)], color.filled()).into_dyn(),
        Mark::Disc => Circle::new(place, 5, color.filled()).into_dyn(),
        Mark::Triangle => TriangleMarker::new(place, 7, color.filled()).into_dyn(),
        Mark::Cross => Cross::new(place, 5, color.stroke_width(2)).into_dyn(),
        Mark::Ring => Circle::new(place, 5, color.stroke_width(2)).into_dyn(),
    }
}

/// A round number of at least `value`, so that an axis ends at a tick.
fn rounded_up(value: f64) -> f64 {
    let magnitude = 10f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let enough = steps.iter().find(|step| **step * magnitude >= value);
    enough.unwrap_or(&10.0) * magnitude
}

/// A number for people: three digits or the whole.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 10_000.0 => grouped(value),
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.2}")),
    }
}

/// Digits in groups of three.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn trimmed(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The error of a chart that cannot be drawn.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw a chart: {error}")
}
