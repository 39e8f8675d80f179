//! A figure: a chart with the table of its numbers, before anything is drawn.

/// One figure of the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// The name of its file and its anchor.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// How to read it.
    pub(super) caption: &'static str,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Measured {
        chart: Chart,
        table: Table,
    },
    /// One sentence says what was not measured, and how it would be.
    Absent(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Chart {
    Bars(Bars),
    Lines(Lines),
    Spans(Spans),
}

/// Stacked bars from the left to the right, in groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    /// What is counted, with its unit.
    pub(super) axis: &'static str,
    /// The names of the parts: the legend.
    pub(super) parts: Vec<String>,
    pub(super) groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) label: String,
    /// One value for each of [`Bars::parts`]; none where the bar has no such part.
    pub(super) values: Vec<Option<f64>>,
}

/// Lines over a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lines {
    pub(super) x_axis: &'static str,
    pub(super) scale: Scale,
    pub(super) y_axis: &'static str,
    pub(super) series: Vec<Series>,
    /// A value to compare with, drawn as a line of its own.
    pub(super) reference: Option<f64>,
}

/// The axis below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal distances are equal factors; a tick at each place that has a point.
    Doubling,
    /// Equal distances are equal differences, so that a price for each is a straight line.
    Even,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) label: String,
    /// Whether the driver itself is measured; its lines are drawn stronger.
    pub(super) is_ours: bool,
    pub(super) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: u32,
    pub(super) y: f64,
    /// From the first to the third quartile.
    pub(super) spread: Option<[f64; 2]>,
}

/// Percentiles of a time: a span for each row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spans {
    pub(super) axis: &'static str,
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) label: String,
    /// The 50th, 90th and 99th percentile.
    pub(super) percentiles: [f64; 3],
}

/// The numbers of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    /// The first cell of a row names it. A row of one cell is the title of those after it.
    pub(super) rows: Vec<Vec<String>>,
}

impl Bars {
    /// The sum of the longest bar.
    pub(super) fn longest(&self) -> f64 {
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        bars.map(Bar::total).fold(0.0, f64::max)
    }
}

impl Bar {
    pub(super) fn total(&self) -> f64 {
        self.values.iter().flatten().sum()
    }
}
