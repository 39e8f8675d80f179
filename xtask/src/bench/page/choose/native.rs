//! The driver on the host, beside libblkio's.

use native_bench::Paired;

use super::super::content::{of_lines, series};
use super::super::figure::{Content, Figure, Lines, Point, Scale};
use super::super::measurement::{Measurement, NATIVE};

pub(super) fn instructions(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-instructions",
        title: "On the host, beside libblkio's virtio-driver: instructions",
        caption: "The same driver as a program on the host, over vhost-user to qemu-storage-daemon: instructions of the host's \
                  processor per request. Lower is better.",
        content: lines(all, "host instructions per request", None, |one| {
            Some((one.instructions?, None))
        }),
    }
}

pub(super) fn rate(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-rate",
        title: "On the host, beside libblkio's virtio-driver: rate",
        caption: "Requests per second, divided by those of virtio-driver in the same round: the median, with the span from the first \
                  to the third quartile. The line at 1 is virtio-driver. Higher is better.",
        content: lines(all, "rate, as a fraction of virtio-driver's", Some(1.0), |one| {
            paired(one, one.rate_to_other)
        }),
    }
}

pub(super) fn busy(all: &[Measurement]) -> Figure {
    Figure {
        id: "native-busy",
        title: "On the host, beside libblkio's virtio-driver: time in the driver",
        caption: "The time within the driver per request, without polls that find nothing, divided by that of virtio-driver in the \
                  same round. The line at 1 is virtio-driver. Lower is better.",
        content: lines(all, "time, as a fraction of virtio-driver's", Some(1.0), |one| {
            paired(one, one.busy_to_other)
        }),
    }
}

/// The lines of the native measurement, by one of its figures.
fn lines(
    all: &[Measurement],
    y_axis: &'static str,
    reference: Option<f64>,
    y: impl Fn(&Measurement) -> Option<(f64, Option<[f64; 2]>)>,
) -> Content {
    let chosen = all
        .iter()
        .filter(|one| NATIVE.contains(&one.configuration.contender.as_str()) && one.configuration.is_usual());
    let points = chosen.filter_map(|one| {
        let (y, spread) = y(one)?;
        let x = one.configuration.depth;
        Some((&one.configuration, Point { x, y, spread }))
    });
    let series = series(points);
    if series.is_empty() {
        return Content::Absent("The native measurement was not part of this run; --native adds it.");
    }
    let chart = Lines {
        x_axis: "requests in flight",
        scale: Scale::Doubling,
        y_axis,
        series,
        reference,
    };
    of_lines(chart, "depth")
}

/// A ratio of this driver to the other one, which is 1 for the other one itself.
fn paired(one: &Measurement, ratio: Option<Paired>) -> Option<(f64, Option<[f64; 2]>)> {
    let ratio = ratio.filter(|_| one.configuration.contender.starts_with("ours"))?;
    Some((ratio.median, Some(ratio.quartiles)))
}
