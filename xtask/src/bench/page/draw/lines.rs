//! Lines over a number.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::ranged1d::{NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::super::figure::{Lines, Point, Scale, Series};
use super::logarithmic::Logarithmic;
use super::{Area, Entry, LINE, MARGIN, Mark, TEXT, Width, bold, drawing, font, marker, number, palette, rounded_up};

const AXIS: u32 = 44;
const LEFT: u32 = 50;
const RIGHT: i32 = 20;
/// The factor by which an axis of factors is longer at either end.
const ROOM: f64 = 1.15;
/// The same at the end of an even axis.
const END: f64 = 1.05;
/// The factor between points of different series at the same place, so that their spreads do not cover each other.
const APART: f64 = 1.05;

pub(super) fn legend(chart: &Lines) -> Vec<Entry<'_>> {
    let series = chart.series.iter().enumerate();
    let entries = series.map(|(n, series)| Entry {
        label: &series.label,
        color: palette::nth(n),
        mark: Mark::nth(n),
    });
    entries.collect()
}

pub(super) fn height(width: Width) -> i32 {
    match width {
        Width::Wide => 400,
        Width::Narrow => 340,
    }
}

pub(super) fn draw(chart: &Lines, area: &Area<'_>) -> Result<()> {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let mut places: Vec<f64> = points().map(|point| f64::from(point.x)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let (first, last) = match (places.first(), places.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (1.0, 1.0),
    };
    match chart.scale {
        Scale::Doubling => {
            let range = first / ROOM..last * ROOM;
            let axis = Logarithmic {
                range: range.clone(),
                ticks: places,
            };
            on_axis(chart, area, axis, &range)
        }
        Scale::Even => {
            let range = 0.0..last * END;
            on_axis(chart, area, Even(range.clone().into()), &range)
        }
    }
}

fn on_axis<X>(chart: &Lines, area: &Area<'_>, axis: X, range: &Range<f64>) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.draw_text(chart.y_axis, &bold(TEXT), (MARGIN, 0))
        .map_err(drawing)?;
    let (_, below) = area.split_vertically(LINE + MARGIN);
    let points = chart.series.iter().flat_map(|series| &series.points);
    let heights = points.map(|point| point.spread.map_or(point.y, |[_, high]| high.max(point.y)));
    let highest = heights.chain(chart.reference).fold(0.0, f64::max);
    let mut canvas = ChartBuilder::on(&below)
        .margin_top(MARGIN)
        .margin_right(RIGHT)
        .x_label_area_size(AXIS)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(axis, 0.0..rounded_up(highest * 1.02))
        .map_err(drawing)?;
    canvas
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(10)
        .y_labels(10)
        .y_label_formatter(&|value| number(*value))
        .x_desc(chart.x_axis)
        .label_style(font(TEXT).color(&palette::INK))
        .axis_desc_style(font(TEXT).color(&palette::INK))
        .axis_style(palette::GRID)
        .bold_line_style(palette::GRID)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;
    if let Some(reference) = chart.reference {
        let ends = [(range.start, reference), (range.end, reference)];
        canvas
            .draw_series([PathElement::new(ends, palette::INK.stroke_width(1))])
            .map_err(drawing)?;
    }
    for (n, series) in chart.series.iter().enumerate() {
        let color = palette::nth(n);
        let shift = match chart.scale {
            Scale::Doubling => APART.powf(n as f64 - (chart.series.len() - 1) as f64 / 2.0),
            Scale::Even => 1.0,
        };
        let place = |point: &Point| f64::from(point.x) * shift;
        let spreads = series.points.iter().filter_map(|point| {
            let ends = point.spread?.map(|end| (place(point), end));
            Some(PathElement::new(ends, color.mix(0.4).stroke_width(5)))
        });
        canvas.draw_series(spreads).map_err(drawing)?;
        let line: Vec<(f64, f64)> = series.points.iter().map(|point| (place(point), point.y)).collect();
        let stroke = color.stroke_width(thickness(series));
        canvas
            .draw_series([PathElement::new(line.clone(), stroke)])
            .map_err(drawing)?;
        let corner = area.get_base_pixel();
        for point in &line {
            let place = canvas.backend_coord(point);
            let mark = marker((place.0 - corner.0, place.1 - corner.1), Mark::nth(n), color);
            area.draw(&mark).map_err(drawing)?;
        }
    }
    Ok(())
}

fn thickness(series: &Series) -> u32 {
    if series.is_ours { 3 } else { 2 }
}

/// An axis of differences whose ticks are written as the other axes' are.
struct Even(RangedCoordf64);

impl Ranged for Even {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.0.map(value, limit)
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.0.key_points(hint)
    }

    fn range(&self) -> Range<f64> {
        self.0.range()
    }
}

impl ValueFormatter<f64> for Even {
    fn format_ext(&self, value: &f64) -> String {
        number(*value)
    }
}
