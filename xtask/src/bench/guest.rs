//! The benchmark image on QEMU, and its records as rows.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_protocol::{Case, Record, histogram};
use image_bench::disks;
use image_bench::options::Pass;

use super::row::{Bucket, Latency, Row};
use crate::build;
use crate::console::Console;
use crate::progress::Progress;
use crate::report::{Frames, Guest, Strings, records};
use crate::run::{self, Input, Next, Outputs};
use crate::workspace::Workspace;

/// Boots the image for one pass and returns what it measured.
pub(crate) fn measure(
    workspace: &Workspace,
    qemu: &Path,
    pass: Pass<'_>,
    limit: Duration,
    progress: Progress,
) -> Result<Vec<Row>> {
    let (heading, counts) = match pass {
        Pass::Counts => ("counting instructions", true),
        Pass::Rates { .. } => ("measuring rates", false),
        Pass::Profile(_) => ("counting one case", true),
    };
    let command = command(workspace, qemu, pass, counts);
    let strings = Strings::none();
    let mut frames = Frames::follow(&workspace.scratch(), &strings);
    let mut console = Console::default();
    let ended = progress.step(heading, |step| {
        let outputs = Outputs {
            frames: &mut frames,
            console: &mut console,
            step,
            show_records: false,
        };
        run::run(&command, Input::None, Some(limit), |_| Next::GoOn, outputs)
    })?;
    let error = records!(ended.guest, Record::Error { text, .. } => text).next();
    if let Some(text) = error {
        bail!("the benchmark image stopped: {text}");
    }
    if let Some(line) = ended.complaints.first() {
        bail!("{line}");
    }
    match ended.status {
        None => bail!("{heading} took longer than {} s", limit.as_secs()),
        Some(status) if !status.success() => bail!("the benchmark image ended with {status}"),
        Some(_) => rows(&ended.guest),
    }
}

/// The command line: one disk that does nothing for each contender.
pub(crate) fn command(workspace: &Workspace, qemu: &Path, pass: Pass<'_>, counts: bool) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-machine", "virt", "-m", "256M", "-bios", "default", "-kernel"]);
    command.arg(build::bench_image_path(workspace));
    command.arg("-append").arg(pass.to_string());
    command.args([
        "-display",
        "none",
        "-serial",
        "stdio",
        "-monitor",
        "none",
        "-nodefaults",
        "-no-reboot",
    ]);
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
    for number in 0..disks::COUNT {
        command.arg("-drive");
        command.arg(format!("if=none,id=d{number},driver=null-co,size=1G,read-zeroes=off"));
        command.arg("-device");
        let more = match number {
            disks::RAW => format!(",queue-size={}", disks::RAW_QUEUE),
            disks::RIVAL_BLOCKING | disks::RIVAL_DIRECT => ",indirect_desc=off".to_owned(),
            _ => String::new(),
        };
        command.arg(format!(
            "virtio-blk-device,drive=d{number},bus=virtio-mmio-bus.{number}{more}"
        ));
    }
    if counts {
        command.args(["-icount", "shift=0"]);
    }
    command
}

/// The measurements that a guest reported.
fn rows(guest: &Guest) -> Result<Vec<Row>> {
    guest.done().context("the benchmark image did not come to its end")?;
    if let Some(damaged) = guest.damaged.first() {
        bail!("the benchmark image sent a broken record: {damaged}");
    }
    let mut rows: Vec<Row> = Vec::new();
    for reported in &guest.records {
        match reported.record {
            Record::Counted {
                case,
                stage,
                requests,
                instructions,
                notifies,
                interrupts,
            } => {
                let each = |count: u64| Some(count as f64 / requests as f64);
                let request = row(&case);
                let place = rows
                    .iter()
                    .position(|known| known.is_whole_of(&request))
                    .unwrap_or_else(|| {
                        rows.push(Row {
                            instructions_per_request: Some(0.0),
                            notifies_per_request: each(notifies),
                            interrupts_per_request: each(interrupts),
                            ..request.clone()
                        });
                        rows.len() - 1
                    });
                // The whole is the sum of its stages, unless it was counted as one.
                if let Some(whole) = &mut rows[place].instructions_per_request {
                    *whole += instructions as f64 / requests as f64;
                }
                if !stage.is_empty() {
                    rows.push(Row {
                        stage: Some(stage.to_owned()),
                        instructions_per_request: each(instructions),
                        ..request
                    });
                }
            }
            Record::Rated {
                case,
                per_second,
                against_raw: [low, median, high],
                ..
            } => {
                let share = |millionths: u64| millionths as f64 / 1e6;
                rows.push(Row {
                    ratio_to_raw: Some(share(median)),
                    ratio_spread: Some([share(low), share(high)]),
                    rate: Some(per_second as f64),
                    ..row(&case)
                });
            }
            Record::Timed { case, nanos, buckets } => rows.push(Row {
                latency_micros: Some(latency(nanos, &buckets)),
                ..row(&case)
            }),
            _ => {}
        }
    }
    Ok(rows)
}

/// Latencies as a guest reports them.
pub(super) fn latency(nanos: [u64; 3], buckets: &[u32]) -> Latency {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    let [p50, p90, p99] = nanos.map(micros);
    let last = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let buckets = buckets[..last].iter().enumerate();
    Latency {
        p50,
        p90,
        p99,
        buckets: buckets
            .map(|(number, count)| Bucket {
                below: micros(histogram::end(number)),
                count: u64::from(*count),
            })
            .collect(),
    }
}

/// The row of a case, with nothing measured.
fn row(case: &Case<'_>) -> Row {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Row {
        contender: case.contender.to_owned(),
        operation: case.operation.to_owned(),
        depth: case.depth,
        segments: case.segments,
        bytes: case.bytes,
        mode: case.mode.to_owned(),
        chains: known(case.chains),
        buffer: known(case.buffer),
        ..Row::default()
    }
}
