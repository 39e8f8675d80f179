//! The path of a request on MINIX: in the adapter alone, and in the service.

use super::super::content::{bars, of_bars};
use super::super::figure::{Bar, Bars, Content, Figure, Group};
use super::super::measurement::{BYTES, Configuration, Measurement};

const SERVICE: &str = "minix-service";

pub(super) fn path(all: &[Measurement]) -> Figure {
    let mut groups: Vec<(String, Vec<(String, &Measurement)>)> = Vec::new();
    let chosen = all
        .iter()
        .filter(|one| one.configuration.contender == "minix" && one.instructions.is_some());
    for one in chosen {
        let configuration = &one.configuration;
        let title = match configuration.segments {
            0 | 1 => configuration.operation.clone(),
            segments => format!("{}, {segments} segments", configuration.operation),
        };
        let bar = (format!("depth {}", configuration.depth), one);
        match groups.iter_mut().find(|(known, _)| *known == title) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((title, vec![bar])),
        }
    }
    Figure {
        id: "minix",
        title: "The path of a request through the MINIX adapter, by stage",
        caption: "Exact counts from the message of a client to the reply, without kernel and message passing. Shorter is better, \
                  and bars of the same length mean that a request costs the same at every depth.",
        content: bars(
            &groups,
            "guest instructions per request",
            "The path of the MINIX adapter was not measured.",
        ),
    }
}

pub(super) fn service_stages(all: &[Measurement]) -> Figure {
    let bars_of = |mode: &str| {
        let chosen = all.iter().filter(|one| {
            let configuration = &one.configuration;
            configuration.contender == SERVICE
                && configuration.mode == mode
                && configuration.depth == 1
                && configuration.bytes / configuration.segments.max(1) == BYTES
                && one.instructions.is_some()
        });
        let label = |configuration: &Configuration| match configuration.segments {
            0 | 1 => configuration.operation.clone(),
            segments => format!("{}, {segments} segments", configuration.operation),
        };
        chosen.map(|one| (label(&one.configuration), one)).collect()
    };
    let groups = [
        (
            "The device answers while the service watches".to_owned(),
            bars_of("polled"),
        ),
        ("The service waits for the interrupt".to_owned(), bars_of("interrupts")),
    ];
    Figure {
        id: "service",
        title: "A request in the MINIX service, from one call of the kernel to the next",
        caption: "Exact counts of the service that ships, in user mode of the test kernel, with one request at a time. A part is what lies \
                  between two calls: to receive a message or an interrupt, to map the memory of the client, to copy a vector, to enable \
                  interrupts, to send the reply. Shorter is better.",
        content: bars(
            &groups,
            "guest instructions per request",
            "The instructions of the service were not counted.",
        ),
    }
}

pub(super) fn service_depths(all: &[Measurement]) -> Figure {
    let mut groups: Vec<Group> = Vec::new();
    for one in all.iter().filter(is_service) {
        let configuration = &one.configuration;
        let is_shown = configuration.bytes == BYTES * configuration.segments;
        let Some(instructions) = one.instructions.filter(|_| is_shown) else {
            continue;
        };
        let bar = Bar {
            label: match configuration.segments {
                1 => format!("{}, depth {}", configuration.operation, configuration.depth),
                segments => format!("{} of {segments}", configuration.operation),
            },
            values: vec![Some(instructions)],
        };
        let title = match configuration.mode.as_str() {
            "polled" => "Watches before it waits",
            _ => "Waits for interrupts",
        };
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group {
                title: title.to_owned(),
                bars: vec![bar],
            }),
        }
    }
    Figure {
        id: "service-depth",
        title: "A request in the MINIX service, over depth",
        caption: "Exact counts of what the service executes in user mode for a request of 4 KiB; the kernel's work is not in them. \
                  A gather and a scatter have a vector of pages. Shorter is better.",
        content: if groups.is_empty() {
            Content::Absent("The service was not measured.")
        } else {
            of_bars(Bars {
                axis: "instructions in user mode per request",
                parts: vec!["user mode".to_owned()],
                groups,
            })
        },
    }
}

pub(super) fn waiting(all: &[Measurement]) -> Figure {
    let chosen = all.iter().filter(|one| is_service(one) && one.cpu_share.is_some());
    let bars = chosen.map(|one| Bar {
        label: format!("{}, depth {}", one.configuration.mode, one.configuration.depth),
        values: vec![one.cpu_share.map(|share| share * 100.0)],
    });
    let group = Group {
        title: "A disk of a few requests a second".to_owned(),
        bars: bars.collect(),
    };
    Figure {
        id: "waiting",
        title: "Processor time of the service while it waits",
        caption: "The share of one hart that the service uses while clients wait for a slow disk. Shorter is better.",
        content: if group.bars.is_empty() {
            Content::Absent("The service was not watched while it waits.")
        } else {
            of_bars(Bars {
                axis: "percent of one hart",
                parts: vec!["user mode".to_owned()],
                groups: vec![group],
            })
        },
    }
}

/// Of the service in the test kernel.
fn is_service(one: &&Measurement) -> bool {
    one.configuration.contender == SERVICE
}
