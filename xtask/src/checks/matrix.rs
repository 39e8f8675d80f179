//! Boots of the bare image in every combination that changes what the driver does.
//!
//! Each run is written as the flags a person would type after `cargo xtask qemu`, so that a failure can be repeated by hand.
//! On top of the run's own verdict, each run says what must be seen for it to have tested what it claims to test.

use std::process::Command;

use guest_protocol::{Device, Record};

use super::boot::{self, Disk, NbdServer, expect, foreign, made_by_others, succeeds};
use super::{Check, Context, Guest, Verdict};
use crate::report::{Report, records, total};
use crate::tools::{QEMU_IMG, find_program};

/// Feature bits whose negotiation the runs steer.
const FLUSH: u32 = 9;
const CONFIG_WCE: u32 = 11;
const INDIRECT_DESC: u32 = 28;
const EVENT_IDX: u32 = 29;

/// What must be seen in a report beyond its own verdict.
type Expectation = fn(&Report, &Device<'_>) -> Verdict;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = combinations();
    checks.extend(variants());
    checks.push(queue_too_small());
    checks.extend(queue_sizes_that_are_changed());
    checks.extend(foreign_images());
    checks.push(shell());
    checks
}

/// {modern, legacy} x {indirect, direct} x {event index, flags} x {interrupts, polled}.
fn combinations() -> Vec<Check> {
    let mut checks = Vec::new();
    for (layout, layout_flag) in [("modern", ""), ("legacy", "--legacy")] {
        for (table, table_flag) in [("indirect", ""), ("direct", "--no-indirect")] {
            for (events, events_flag) in [("event-idx", ""), ("flags", "--no-event-idx")] {
                for (wait, wait_flag) in [("irq", ""), ("poll", "--poll")] {
                    let name = format!("qemu/{layout}/{table}/{events}/{wait}");
                    let flags = format!("{layout_flag} {table_flag} {events_flag} {wait_flag}");
                    checks.push(Check::booting(Guest::Bare, name, move |context| {
                        let report = boot(context, &flags, &Disk::Prepared)?;
                        let device = &device(&report)?;
                        expect_feature(device, INDIRECT_DESC, table_flag.is_empty())?;
                        expect_feature(device, EVENT_IDX, events_flag.is_empty())?;
                        expect_interrupts(&report, wait_flag.is_empty())
                    }));
                }
            }
        }
    }
    checks
}

/// A run of the bare image that must pass.
fn boot(context: &Context, flags: &str, disk: &Disk) -> Result<Report, String> {
    boot::boot(context, &format!("--bare {flags}"), disk)
}

/// One thing at a time that is not in the combinations.
fn variants() -> Vec<Check> {
    const VARIANTS: [(&str, &str, Expectation); 12] = [
        ("read-only", "--read-only", |report, _| {
            expect(report.guest.changes(0).is_empty(), "a read-only disk was changed")
        }),
        ("legacy/read-only", "--read-only --legacy", |report, _| {
            expect(report.guest.changes(0).is_empty(), "a read-only disk was changed")
        }),
        ("block-4096", "--block-size 4096", |_, device| {
            expect(device.block_bytes == 4096, "no large blocks")
        }),
        ("write-through", "--no-flush", |_, device| {
            expect_offered(device, FLUSH, false)?;
            expect_offered(device, CONFIG_WCE, false)
        }),
        ("queue-4", "--queue-size 4", |_, device| expect_queue(device, 4)),
        ("queue-8", "--queue-size 8", |_, device| expect_queue(device, 8)),
        ("queue-256", "--queue-size 256", |_, device| expect_queue(device, 256)),
        ("queue-1024", "--queue-size 1024", |_, device| {
            expect_queue(device, 1024)
        }),
        ("queue-4/direct", "--queue-size 4 --no-indirect", |_, device| {
            expect_queue(device, 4)
        }),
        ("qcow2", "--format qcow2", |_, _| Ok(())),
        ("defmt", "--no-bench", |report, _| {
            expect(report.defmt.decoded > 0, "no defmt message came")
        }),
        ("smp-4", "--smp 4 --memory 256M", |_, _| Ok(())),
    ];
    let check = |(name, flags, expectation): (&str, &'static str, Expectation)| {
        Check::booting(Guest::Bare, format!("qemu/{name}"), move |context| {
            let report = boot(context, flags, &Disk::Prepared)?;
            expectation(&report, &device(&report)?)
        })
    };
    VARIANTS.into_iter().map(check).collect()
}

/// A queue that cannot hold one request is refused in good order, and nothing is written.
fn queue_too_small() -> Check {
    Check::booting(Guest::Bare, "qemu/queue-too-small", |context| {
        let (report, text) = boot::run_once(context, "--bare --queue-size 2 --no-indirect", &Disk::Prepared, None)?;
        let clean = records!(report.guest, Record::Error { stage: "init", kind: "queue-too-small", .. } => ());
        let clean = clean.count() > 0;
        let untouched = report
            .host
            .comparison
            .as_ref()
            .is_some_and(|it| it.agrees() && it.changed_as_reported == 0);
        expect(clean, "no clean `queue-too-small` error").map_err(|reason| format!("{reason}\n{text}"))?;
        expect(untouched, "the disk has changed")?;
        expect(!report.passed, "the run passed without a queue")
    })
}

/// A queue size that is not taken as it is asked for is told in one line.
fn queue_sizes_that_are_changed() -> Vec<Check> {
    let check = |(asked, used): (u32, u32)| {
        Check::booting(Guest::Bare, format!("qemu/queue-{asked}"), move |context| {
            let flags = format!("--bare --no-bench --queue-size {asked}");
            let (report, text) = boot::run_once(context, &flags, &Disk::Prepared, None)?;
            let with_text = |reason: String| format!("{reason}\n{text}");
            expect(report.passed, &report.reasons.join("\n")).map_err(with_text)?;
            expect_queue(&device(&report)?, used).map_err(with_text)?;
            let lines = text.lines().filter(|line| line.contains(&format!("queue={asked}: ")));
            expect(lines.count() == 1, "not one line about the queue").map_err(with_text)
        })
    };
    [(6, 4), (32768, 1024)].map(check).into()
}

/// Images made by other tools: read like the host reads them, and left as they were. The makers of file systems are not on
/// every machine, and not ours to install; what is not there is left out.
fn foreign_images() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, make) in made_by_others() {
        checks.push(Check::booting(
            Guest::Bare,
            format!("qemu/image/{name}"),
            move |context| {
                let disk = make()?;
                boot(context, "", &disk).map(drop)
            },
        ));
    }
    checks.push(Check::booting(Guest::Bare, "qemu/image/qcow2", |context| {
        let program = find_program(QEMU_IMG).ok_or("qemu-img is missing")?;
        let disk = foreign(|path| {
            succeeds(
                Command::new(program)
                    .args(["create", "-q", "-f", "qcow2"])
                    .arg(path)
                    .arg("300M"),
            )
        })?;
        boot(context, "", &disk).map(drop)?;
        boot(context, "--read-only", &disk).map(drop)?;
        boot(context, "--write", &disk).map(drop)
    }));
    checks.push(Check::booting(Guest::Bare, "qemu/image/nbd", |context| {
        let server = NbdServer::start()?;
        boot(context, "", &Disk::Url(server.url())).map(drop)
    }));
    checks
}

/// The monitor, driven by a script: every command, and two that are none.
fn shell() -> Check {
    const SCRIPT: [&str; 17] = [
        "help",
        "info",
        "regs",
        "queues",
        "stats",
        "parts",
        "read 0",
        "read 99999999",
        "bench",
        "write 65600 hello",
        "zero 65608 8",
        "trim 65616 8",
        "flush",
        "reset",
        "dance",
        "read 65600",
        "quit",
    ];
    Check::booting(Guest::Bare, "qemu/shell", |context| {
        let (report, text) = boot::run_once(context, "--bare --shell", &Disk::Prepared, Some(&SCRIPT))?;
        let with_text = |reason| format!("{reason}\n{text}");
        expect(report.passed, &report.reasons.join("\n")).map_err(with_text)?;
        let prompts = text.matches(image_blk::PROMPT).count();
        expect(prompts == SCRIPT.len(), "not one prompt per command").map_err(with_text)?;
        expect(text.contains("|hello"), "what was written is not read back").map_err(with_text)?;
        let changed = report
            .host
            .comparison
            .map_or(0, |comparison| comparison.changed_as_reported);
        expect(changed >= 17, "the changes were not reported").map_err(with_text)
    })
}

fn device(report: &Report) -> Result<Device<'static>, String> {
    report
        .guest
        .device()
        .ok_or_else(|| "the guest reported no device".to_owned())
}

/// The bit is offered and accepted, or neither.
fn expect_feature(device: &Device<'_>, bit: u32, on: bool) -> Verdict {
    expect_offered(device, bit, on)?;
    let accepted = device.accepted[0] >> bit & 1 == 1;
    expect(
        accepted == on,
        &format!("feature bit {bit} accepted: {accepted}, wanted: {on}"),
    )
}

fn expect_offered(device: &Device<'_>, bit: u32, on: bool) -> Verdict {
    let offered = device.offered[0] >> bit & 1 == 1;
    expect(
        offered == on,
        &format!("feature bit {bit} offered: {offered}, wanted: {on}"),
    )
}

fn expect_queue(device: &Device<'_>, size: u32) -> Verdict {
    expect(
        device.queue_size == size,
        &format!("queue size {}, wanted {size}", device.queue_size),
    )
}

/// The measurements took interrupts, or none.
fn expect_interrupts(report: &Report, some: bool) -> Verdict {
    let interrupts = records!(report.guest, Record::Bench { interrupts, .. } => interrupts);
    let interrupts: Vec<u64> = interrupts.collect();
    expect(!interrupts.is_empty(), "nothing was measured")?;
    let interrupts = total(interrupts);
    expect(
        (interrupts > 0) == some,
        &format!("{interrupts} interrupts, wanted {}", if some { "some" } else { "none" }),
    )
}
