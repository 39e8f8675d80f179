//! Boots of the bare image in every combination that changes what the driver does.

use std::process::Command;

use super::boot::{Disk, Run, Variant, boots, expect, file, large_blocks, made_by_others, nbd, passes, same, succeeds};
use super::check::Check;
use crate::report::disk::Comparison;
use crate::run::Input;
use crate::tools::{QEMU_IMG, find_program};

/// Feature bits whose negotiation the runs steer.
const FLUSH: u32 = 9;
const CONFIG_WCE: u32 = 11;
const INDIRECT_DESC: u32 = 28;
const EVENT_IDX: u32 = 29;

/// One thing at a time that is not in the combinations.
const VARIANTS: &[Variant] = &[
    ("read-only", "--read-only", |run| run.changed_disks(0)),
    ("legacy/read-only", "--read-only --legacy", |run| run.changed_disks(0)),
    ("block-4096", "--block-size 4096", |run| {
        same("bytes in a block", run.device()?.block_bytes, 4096)
    }),
    ("write-through", "--no-flush", |run| {
        run.offered(FLUSH, false)?;
        run.offered(CONFIG_WCE, false)
    }),
    ("queue-4", "--queue-size 4", |run| run.queue(4)),
    ("queue-8", "--queue-size 8", |run| run.queue(8)),
    ("queue-256", "--queue-size 256", |run| run.queue(256)),
    ("queue-1024", "--queue-size 1024", |run| run.queue(1024)),
    ("queue-4/direct", "--queue-size 4 --no-indirect", |run| run.queue(4)),
    // A size that is not taken as it is asked for is told in one line.
    ("queue-6", "--queue-size 6", |run| {
        run.queue(4)?;
        run.says("queue=6: ", 1)
    }),
    ("queue-32768", "--queue-size 32768", |run| {
        run.queue(1024)?;
        run.says("queue=32768: ", 1)
    }),
    ("qcow2", "--format qcow2", |_| Ok(())),
    ("defmt", "", |run| {
        expect(run.report.defmt.decoded > 0, "no defmt message came")
    }),
    ("smp-4", "--smp 4 --memory 256M", |_| Ok(())),
];

/// A script for the shell: every command, and two that are refused.
const SHELL: [&str; 14] = [
    "help",
    "info",
    "dump",
    "stats",
    "read 0",
    "read 99999999",
    "write 65600 hello",
    "zero 65608 8",
    "trim 65616 8",
    "flush",
    "reset",
    "dance",
    "read 65600",
    "quit",
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = combinations();
    let variant = |&(name, flags, expectation): &Variant| passes(name, format!("--bare {flags}"), expectation);
    checks.extend(VARIANTS.iter().map(variant));
    // A queue that cannot hold one request is refused in good order, and nothing is written.
    let flags = "--bare --queue-size 2 --no-indirect";
    checks.push(boots("queue-too-small", flags, |context, flags| {
        Run::of(context, flags, &Disk::Prepared)?.judge(|run| {
            run.refused("queue-too-small", "")?;
            let comparison = run.report.host.comparison.as_ref();
            let untouched = comparison.is_some_and(Comparison::agrees) && run.changed_sectors() == 0;
            expect(untouched, "the disk has changed")
        })
    }));
    // Read as the host reads them, and left as they were.
    checks.extend(made_by_others(&["--bare"], |_, _| Ok(())));
    checks.push(large_blocks("--bare"));
    checks.push(boots("image/qcow2", "--bare", |context, flags| {
        let program = find_program(QEMU_IMG).ok_or("qemu-img is missing")?;
        let disk = file(|path| {
            let mut command = Command::new(program);
            succeeds(command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg("300M"))
        })?;
        for more in ["", "--read-only", "--write"] {
            Run::of(context, &format!("{flags} {more}"), &disk)?.judge(Run::passed)?;
        }
        Ok(())
    }));
    checks.push(nbd("--bare"));
    checks.push(boots("shell", "--bare --shell", |context, flags| {
        let script = Input::Script(SHELL.map(str::to_owned).into());
        Run::with_input(context, flags, &Disk::Prepared, script)?.judge(|run| {
            run.passed()?;
            // One for each command.
            run.says(image_blk::PROMPT, SHELL.len())?;
            expect(run.text.contains("|hello"), "what was written is not read back")?;
            expect(run.changed_sectors() >= 17, "the changes were not reported")
        })
    }));
    checks
}

/// {modern, legacy} x {indirect, direct} x {event index, flags} x {interrupts, polled}.
fn combinations() -> Vec<Check> {
    let mut checks = Vec::new();
    for (layout, layout_flag) in [("modern", ""), ("legacy", "--legacy")] {
        for (table, table_flag) in [("indirect", ""), ("direct", "--no-indirect")] {
            for (events, events_flag) in [("event-idx", ""), ("flags", "--no-event-idx")] {
                for (wait, wait_flag) in [("irq", ""), ("poll", "--poll")] {
                    let name = format!("{layout}/{table}/{events}/{wait}");
                    let flags = format!("--bare {layout_flag} {table_flag} {events_flag} {wait_flag}");
                    checks.push(passes(&name, flags, move |run| {
                        run.feature(INDIRECT_DESC, table_flag.is_empty())?;
                        run.feature(EVENT_IDX, events_flag.is_empty())?;
                        run.interrupts(wait_flag.is_empty())
                    }));
                }
            }
        }
    }
    checks
}
