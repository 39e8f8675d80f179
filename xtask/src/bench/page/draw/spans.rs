//! Percentiles of times, a span each, on a logarithmic axis.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::figure::{Span, Spans};
use super::logarithmic::Logarithmic;
use super::text_width;
use super::{Area, Entry, GAP, LINE, MARGIN, Mark, TEXT, Width, drawing, font, label, marker, palette};

/// The height of a span.
const THICK: i32 = 18;
const AXIS: i32 = 44;
/// The percentiles and how they are marked.
const MARKS: [(&str, Mark); 3] = [
    ("median", Mark::Disc),
    ("90 of 100 are faster", Mark::Ring),
    ("99 of 100 are faster", Mark::Cross),
];

pub(super) fn legend() -> Vec<Entry<'static>> {
    let marks = MARKS.iter();
    let entries = marks.map(|(label, mark)| Entry {
        label,
        color: palette::nth(0),
        mark: *mark,
    });
    entries.collect()
}

pub(super) fn height(chart: &Spans, width: Width) -> i32 {
    step(width) * i32::try_from(chart.spans.len()).unwrap_or(0) + GAP + AXIS
}

fn step(width: Width) -> i32 {
    match width {
        Width::Wide => THICK + GAP,
        Width::Narrow => LINE + THICK + GAP,
    }
}

/// Ticks that a reader can tell apart on a logarithmic axis, from below the smallest value to above the largest.
fn ticks(spans: &[Span]) -> Vec<f64> {
    let values = || {
        spans
            .iter()
            .flat_map(|span| span.percentiles)
            .filter(|value| *value > 0.0)
    };
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if most == 0.0 {
        return vec![1.0, 10.0];
    }
    let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let steps: Vec<f64> = decades
        .flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)))
        .collect();
    let first = steps.iter().rposition(|step| *step <= least).unwrap_or(0);
    let last = steps.iter().position(|step| *step >= most).unwrap_or(steps.len() - 1);
    let end = last.max(first + 1).min(steps.len() - 1);
    steps[first..=end].to_vec()
}

pub(super) fn draw(chart: &Spans, width: Width, area: &Area<'_>) -> Result<()> {
    let column = match width {
        Width::Wide => {
            chart
                .spans
                .iter()
                .map(|span| text_width(&span.label))
                .max()
                .unwrap_or(0)
                + 2 * MARGIN
        }
        Width::Narrow => MARGIN,
    };
    let body = height(chart, width) - AXIS;
    let ticks = ticks(&chart.spans);
    let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
    let axis = Logarithmic {
        range: first..last,
        ticks,
    };
    let mut canvas = ChartBuilder::on(area)
        .margin_left(column)
        .margin_right(3 * MARGIN)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(axis, 0..body)
        .map_err(drawing)?;
    canvas
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(chart.axis)
        .label_style(font(TEXT).color(&palette::INK))
        .axis_desc_style(font(TEXT).color(&palette::INK))
        .axis_style(palette::GRID)
        .bold_line_style(palette::GRID)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;
    let color = palette::nth(0);
    let mut top = GAP;
    for span in &chart.spans {
        let middle = top + step(width) - GAP - THICK / 2;
        let (side, place) = match width {
            Width::Wide => (HPos::Right, (column - GAP, middle)),
            Width::Narrow => (HPos::Left, (MARGIN, top + LINE / 2)),
        };
        area.draw_text(&span.label, &label(side), place).map_err(drawing)?;
        let ends = span.percentiles.map(|value| value.max(first));
        let line = [(ends[0], body - middle), (ends[2], body - middle)];
        canvas
            .draw_series([PathElement::new(line, color.mix(0.4).stroke_width(5))])
            .map_err(drawing)?;
        for (end, (_, mark)) in ends.iter().zip(MARKS) {
            let place = (canvas.backend_coord(&(*end, 0)).0, middle);
            area.draw(&marker(place, mark, color)).map_err(drawing)?;
        }
        top += step(width);
    }
    Ok(())
}
