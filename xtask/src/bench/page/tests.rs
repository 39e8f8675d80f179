use native_bench::Paired;

use super::choose::figures;
use super::figure::{Chart, Content, Figure};
use super::write;
use crate::bench::row::{Latency, Row};

/// A read of 4 KiB.
fn read(contender: &str, depth: u32) -> Row {
    Row {
        contender: contender.to_owned(),
        operation: "read".to_owned(),
        depth,
        segments: 1,
        bytes: 4096,
        mode: "polled".to_owned(),
        ..Row::default()
    }
}

fn staged(row: &Row, stages: &[(&str, f64)]) -> Vec<Row> {
    let rows = stages.iter().map(|(stage, count)| Row {
        stage: Some((*stage).to_owned()),
        instructions_per_request: Some(*count),
        ..row.clone()
    });
    rows.collect()
}

/// Rows as a whole run has them.
fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for depth in [1, 2, 4, 8, 16, 32, 64, 128] {
        let part = 1.0 / f64::from(depth);
        for (chains, buffer, more) in [
            ("direct", "handle", 0.0),
            ("indirect", "handle", 9.0),
            ("either", "handle", 2.0),
            ("either", "dma-buffer", 41.0),
        ] {
            let ours = Row {
                chains: Some(chains.to_owned()),
                buffer: Some(buffer.to_owned()),
                ..read("ours", depth)
            };
            rows.extend(staged(
                &ours,
                &[("submit", 48.0 + more), ("publish", 40.0 * part), ("pop", 37.0 + more)],
            ));
            if buffer == "handle" {
                rows.push(Row {
                    ratio_to_raw: Some(0.84 + 0.15 * part + more / 100.0),
                    ratio_spread: Some([0.81 + 0.15 * part, 0.97 + 0.05 * part]),
                    rate: Some(160_000.0),
                    ..ours.clone()
                });
            }
            for segments in [2, 4, 8, 16, 32, 64] {
                rows.push(Row {
                    segments,
                    bytes: 4096 * segments,
                    instructions_per_request: Some(93.0 + 2.0 * more + 22.0 * f64::from(segments)),
                    ..ours.clone()
                });
            }
        }
        rows.extend(staged(&read("raw", depth), &[("publish", 20.0 * part)]));
        rows.push(Row {
            ratio_to_raw: Some(1.0),
            ..read("raw", depth)
        });
    }
    for (depth, chains, count, ratio) in [(1, "direct", 439.0, 0.84), (16, "indirect", 502.0, 0.29)] {
        let theirs = Row {
            chains: Some(chains.to_owned()),
            ..read("virtio-drivers", depth)
        };
        rows.push(Row {
            instructions_per_request: Some(count),
            ratio_to_raw: Some(ratio),
            ratio_spread: Some([ratio - 0.02, ratio + 0.01]),
            ..theirs
        });
    }
    rows.push(Row {
        mode: "blocking".to_owned(),
        instructions_per_request: Some(380.0),
        ratio_to_raw: Some(0.8),
        ..read("virtio-drivers", 1)
    });
    for (contender, mode, times) in [
        ("raw", "polled", [5.9, 6.4, 9.0]),
        ("ours", "polled", [6.0, 6.6, 11.5]),
        ("ours", "interrupts", [9.3, 12.8, 31.0]),
        ("virtio-drivers", "blocking", [7.9, 8.8, 13.0]),
        ("minix-service", "interrupts", [34.0, 51.0, 220.0]),
    ] {
        rows.push(Row {
            mode: mode.to_owned(),
            latency_micros: Some(Latency {
                p50: times[0],
                p90: times[1],
                p99: times[2],
                ..Latency::default()
            }),
            ..read(contender, 1)
        });
    }
    for (operation, segments) in [("read", 1), ("write", 1), ("gather", 64)] {
        for depth in [1, 32, 64] {
            let row = Row {
                operation: operation.to_owned(),
                segments,
                ..read("minix", depth)
            };
            let stages = ["decode", "plan", "map", "submit", "publish", "complete", "reply"];
            let counts = [
                180.0,
                150.0,
                90.0 + 30.0 * f64::from(segments),
                140.0,
                20.0,
                210.0,
                110.0,
            ];
            rows.extend(staged(&row, &stages.into_iter().zip(counts).collect::<Vec<_>>()));
        }
    }
    for (mode, stages) in [
        ("polled", &[("receive to map", 400.0), ("map to send", 700.0)][..]),
        (
            "interrupts",
            &[("receive to map", 400.0), ("map to copy", 50.0), ("map to send", 900.0)],
        ),
    ] {
        for depth in [1, 64] {
            let row = Row {
                mode: mode.to_owned(),
                ..read("minix-service", depth)
            };
            rows.extend(staged(&row, stages));
        }
    }
    for depth in [8, 32, 128] {
        rows.push(Row {
            instructions_per_request: Some(190.0 + 100.0 / f64::from(depth)),
            rate_to_other: Some(Paired {
                median: 1.01,
                quartiles: [0.98, 1.03],
            }),
            busy_to_other: Some(Paired {
                median: 0.68,
                quartiles: [0.66, 0.71],
            }),
            ..read("ours-native", depth)
        });
        rows.push(Row {
            instructions_per_request: Some(316.0 + 200.0 / f64::from(depth)),
            ..read("virtio-driver", depth)
        });
    }
    for mode in ["polled", "interrupts"] {
        rows.push(Row {
            mode: mode.to_owned(),
            operation: "slow-read".to_owned(),
            cpu_share: Some(0.0013),
            ..read("minix-service", 1)
        });
    }
    rows.push(Row {
        contender: "service".to_owned(),
        operation: "size".to_owned(),
        text_bytes: Some(98_122),
        ram_bytes: Some(209_624),
        ..Row::default()
    });
    rows
}

fn figure(rows: &[Row], id: &str) -> Figure {
    let figures = figures(rows);
    figures.into_iter().find(|figure| figure.id == id).unwrap()
}

fn table(figure: &Figure) -> Vec<String> {
    let Content::Measured { table, .. } = &figure.content else {
        panic!("{}: nothing was measured", figure.id);
    };
    let rows = std::iter::once(&table.head).chain(&table.rows);
    rows.map(|row| row.join(" | ")).collect()
}

#[test]
fn a_whole_run_gives_every_chart_in_one_page_without_addresses() {
    let directory = tempfile::tempdir().unwrap();
    // A person who changes the look of the page says where to leave one.
    let kept = std::env::var_os("BENCH_PAGE").map(std::path::PathBuf::from);
    let directory = kept.as_deref().unwrap_or(directory.path());
    let mut rows = run();
    rows.push(Row {
        operation: "a <size>".to_owned(),
        ..Row::default()
    });
    let page = write(&rows, &["QEMU 10".to_owned()], directory).unwrap();
    let text = std::fs::read_to_string(&page).unwrap();
    for figure in figures(&run()) {
        assert!(matches!(figure.content, Content::Measured { .. }), "{}", figure.id);
        assert!(text.contains(&format!("<section id=\"{}\">", figure.id)));
        let chart = std::fs::read_to_string(directory.join(figure.id).with_extension("svg")).unwrap();
        assert!(chart.starts_with("<svg ") && chart.trim_end().ends_with("</svg>"));
        assert!(chart.contains(&figure.title.replace('\'', "&apos;")), "{}", figure.id);
    }
    assert!(text.contains("a &lt;size&gt;") && text.contains("QEMU 10"));
    // The one address is the name of the SVG vocabulary.
    assert!(!text.replace("http://www.w3.org/2000/svg", "").contains("http"));
    assert!(!text.contains("<script") && !text.contains("<link") && !text.contains("url("));
}

#[test]
fn bars_have_a_value_for_each_stage_and_a_sum() {
    let mut rows = staged(&read("ours", 1), &[("submit", 48.0), ("pop", 30.5)]);
    rows.push(Row {
        instructions_per_request: Some(90.5),
        ..read("ours", 1)
    });
    rows.push(Row {
        instructions_per_request: Some(439.0),
        ..read("virtio-drivers", 1)
    });
    // Another request is not compared with these.
    rows.extend(staged(
        &Row {
            bytes: 512,
            ..read("ours", 1)
        },
        &[("submit", 1.0)],
    ));
    assert_eq!(
        table(&figure(&rows, "stages")),
        [
            " | submit | pop | outside the stages | whole request | sum",
            "this driver | 48 | 30.5 | 12 |  | 90.5",
            "virtio-drivers |  |  |  | 439 | 439",
        ]
    );
}

#[test]
fn batches_show_each_contender_at_its_deepest_up_to_32() {
    let counted = |contender, depth, count| Row {
        instructions_per_request: Some(count),
        ..read(contender, depth)
    };
    let rows = [
        counted("ours", 16, 1.0),
        counted("ours", 32, 2.0),
        counted("ours", 64, 3.0),
        counted("virtio-drivers", 16, 4.0),
    ];
    assert_eq!(
        table(&figure(&rows, "stages")),
        [" | whole request", "this driver | 2", "virtio-drivers, depth 16 | 4",]
    );
}

#[test]
fn ratios_stand_by_depth_with_their_spread() {
    let rated = |contender, depth, ratio| Row {
        ratio_to_raw: Some(ratio),
        ratio_spread: Some([ratio - 0.01, ratio + 0.01]),
        ..read(contender, depth)
    };
    let rows = [
        rated("raw", 1, 1.0),
        rated("ours", 128, 0.9),
        rated("ours", 1, 0.98),
        rated("virtio-drivers", 1, 0.5),
    ];
    assert_eq!(
        table(&figure(&rows, "rate")),
        [
            "depth | this driver | virtio-drivers",
            "1 | 0.98 (0.97–0.99) | 0.5 (0.49–0.51)",
            "128 | 0.9 (0.89–0.91) | ",
        ]
    );
}

#[test]
fn the_last_row_of_segments_is_the_price_of_a_further_one() {
    let counted = |depth, segments, count| Row {
        segments,
        bytes: 4096 * segments,
        instructions_per_request: Some(count),
        ..read("ours", depth)
    };
    let rows = [
        counted(1, 1, 200.0),
        counted(1, 2, 300.0),
        counted(32, 1, 90.0),
        counted(32, 2, 110.0),
        counted(32, 64, 1350.0),
    ];
    assert_eq!(
        table(&figure(&rows, "segments")),
        [
            "segments | this driver",
            "1 | 90",
            "2 | 110",
            "64 | 1350",
            "each further | 20"
        ]
    );
}

#[test]
fn a_run_without_rows_says_so_instead_of_a_chart() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("rate.svg");
    std::fs::write(&old, "of an earlier run").unwrap();
    let text = std::fs::read_to_string(write(&[], &[], directory.path()).unwrap()).unwrap();
    assert!(text.contains("No rates were measured."));
    assert!(!text.contains("<svg"));
    assert!(!old.exists());
}

#[test]
fn of_the_service_single_requests_are_shown() {
    let mut rows = run();
    let latency = Some(Latency::default());
    for (depth, bytes) in [(64, 4096), (1, 65_536)] {
        rows.push(Row {
            bytes,
            latency_micros: latency.clone(),
            ..read("minix-service", depth)
        });
    }
    let Content::Measured {
        chart: Chart::Spans(spans),
        ..
    } = figure(&rows, "latency").content
    else {
        panic!("no latencies");
    };
    let of_service = spans
        .spans
        .iter()
        .filter(|span| span.label.starts_with("MINIX service"));
    let labels: Vec<&str> = of_service.map(|span| span.label.as_str()).collect();
    assert_eq!(labels, ["MINIX service, interrupts, read"]);
    let Content::Measured {
        chart: Chart::Bars(bars),
        ..
    } = figure(&rows, "service").content
    else {
        panic!("no stages of the service");
    };
    assert_eq!(bars.parts, ["receive to map", "map to copy", "map to send"]);
    assert!(bars.groups.iter().all(|group| group.bars.len() == 1), "depth 1 alone");
}
