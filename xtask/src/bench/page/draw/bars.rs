//! Stacked bars.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::figure::Bars;
use super::{Area, Entry, GAP, LINE, MARGIN, Mark, Width, bold, drawing, font, label, number, palette, rounded_up};
use super::{TEXT, text_width};

/// The height of a bar.
const THICK: i32 = 18;
/// The axis with its numbers and its text.
const AXIS: i32 = 44;

pub(super) fn legend(chart: &Bars) -> Vec<Entry<'_>> {
    // One part needs no name beside that of the axis.
    if chart.parts.len() == 1 {
        return Vec::new();
    }
    let named = chart.parts.iter().enumerate();
    let entries = named.map(|(n, part)| Entry {
        label: part,
        color: palette::nth(n),
        mark: Mark::Square,
    });
    entries.collect()
}

pub(super) fn height(chart: &Bars, width: Width) -> i32 {
    body(chart, width) + AXIS
}

/// The height of groups and bars.
fn body(chart: &Bars, width: Width) -> i32 {
    let heights = chart
        .groups
        .iter()
        .map(|group| LINE + GAP + step(width) * i32::try_from(group.bars.len()).unwrap_or(0));
    heights.sum()
}

/// From bar to bar. On a narrow chart the label is above its bar.
fn step(width: Width) -> i32 {
    match width {
        Width::Wide => THICK + GAP,
        Width::Narrow => LINE + THICK + GAP,
    }
}

pub(super) fn draw(chart: &Bars, width: Width, area: &Area<'_>) -> Result<()> {
    let labels = chart.groups.iter().flat_map(|group| &group.bars);
    let column = match width {
        Width::Wide => labels.map(|bar| text_width(&bar.label)).max().unwrap_or(0) + 2 * MARGIN,
        Width::Narrow => MARGIN,
    };
    let total_width = text_width(&number(chart.longest())) + 2 * GAP;
    let (body, end) = (body(chart, width), rounded_up(chart.longest()));
    let mut canvas = ChartBuilder::on(area)
        .margin_left(column)
        .margin_right(total_width)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(0.0..end, 0..body)
        .map_err(drawing)?;
    canvas
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(if width == Width::Wide { 8 } else { 5 })
        .x_label_formatter(&|value| number(*value))
        .x_desc(chart.axis)
        .label_style(font(TEXT).color(&palette::INK))
        .axis_desc_style(font(TEXT).color(&palette::INK))
        .axis_style(palette::GRID)
        .bold_line_style(palette::GRID)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;

    let mut top = 0;
    for group in &chart.groups {
        area.draw_text(&group.title, &bold(TEXT), (MARGIN, top + GAP))
            .map_err(drawing)?;
        top += LINE + GAP;
        for bar in &group.bars {
            let bar_top = top + step(width) - THICK - GAP;
            let middle = bar_top + THICK / 2;
            let (side, place) = match width {
                Width::Wide => (HPos::Right, (column - GAP, middle)),
                Width::Narrow => (HPos::Left, (MARGIN, top + LINE / 2)),
            };
            area.draw_text(&bar.label, &label(side), place).map_err(drawing)?;
            let mut start = 0.0;
            for (n, value) in bar.values.iter().enumerate() {
                let Some(value) = value else { continue };
                let corners = [(start, body - bar_top), (start + value, body - bar_top - THICK)];
                let [from, to] = corners.map(|corner| canvas.backend_coord(&corner));
                canvas
                    .draw_series([Rectangle::new(corners, palette::nth(n).filled())])
                    .map_err(drawing)?;
                let text = number(*value);
                if chart.parts.len() > 1 && to.0 - from.0 > text_width(&text) + GAP {
                    let style = label(HPos::Center).color(&palette::ON_COLOR);
                    let place = (start + value / 2.0, body - middle);
                    canvas.draw_series([Text::new(text, place, style)]).map_err(drawing)?;
                }
                start += value;
            }
            let end_of_bar = canvas.backend_coord(&(start, 0)).0;
            area.draw_text(&number(start), &label(HPos::Left), (end_of_bar + GAP, middle))
                .map_err(drawing)?;
            top += step(width);
        }
    }
    Ok(())
}
