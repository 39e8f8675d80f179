//! The MINIX service in the test kernel, in every scenario and on every kind of disk.

use guest_protocol::Record;

use super::boot::{self, Disk, NbdServer, boot, expect, made_by_others};
use super::{Check, Guest, Verdict};
use crate::report::{Report, records, total};

/// What must be seen in a report beyond its own verdict.
type Expectation = fn(&Report) -> Verdict;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = disks();
    checks.extend(variants());
    checks.push(twins());
    checks.push(masked());
    checks.extend(foreign_disks());
    checks.extend(kills());
    checks
}

/// The block test with contiguous and with scattered memory, on every kind of disk, modern and legacy.
fn disks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (layout, layout_flag) in [("modern", ""), ("legacy", "--legacy")] {
        for (format, format_flag) in [("raw", ""), ("qcow2", "--format qcow2")] {
            for (name, scenario, runs) in [("small", "tour", 2), ("large", "large", 4)] {
                let flags = format!("--scenario {scenario} {layout_flag} {format_flag} --timeout 300");
                checks.push(check(&format!("{name}/{layout}/{format}"), flags, move |report| {
                    let made = report.guest.block_tests().len();
                    expect(made == runs, &format!("{made} runs of the block test, wanted {runs}"))
                }));
            }
        }
    }
    checks
}

/// One thing at a time that is not in the combinations.
fn variants() -> Vec<Check> {
    const VARIANTS: [(&str, &str, Expectation); 14] = [
        ("read-only", "--read-only", |report| {
            expect(report.guest.changes(0).is_empty(), "a read-only disk was changed")
        }),
        ("block-1024", "--block-size 1024", files),
        ("block-4096", "--block-size 4096", files),
        ("write-through", "--no-flush", files),
        ("direct", "--no-indirect", files),
        ("flags", "--no-event-idx", files),
        ("queue-8", "--queue-size 8", files),
        ("throttled", "--scenario throttled", |_| Ok(())),
        ("overlap", "--scenario overlap", |_| Ok(())),
        ("flushes", "--scenario flushes", |_| Ok(())),
        ("slow-kills", "--scenario slow-kills", |report| {
            // If it had not worked for the dead, the look at their memory would show nothing.
            expect(
                total(records!(report.guest, Record::Poison { before, .. } => before)) > 0,
                "the device was never at work for a dead instance",
            )
        }),
        ("abuse", "--scenario abuse --timeout 300", |_| Ok(())),
        ("life", "--scenario life", |report| {
            let restarts = records!(report.guest, Record::Restarted { .. } => ()).count();
            expect(restarts == 1, &format!("{restarts} restarts, wanted 1"))
        }),
        ("two-disks", "--scenario two-disks", |report| {
            let changed = (0..2).filter(|disk| !report.guest.changes(*disk).is_empty());
            expect(changed.count() == 2, "not both disks were written")
        }),
    ];
    let check = |(name, flags, expectation): (&str, &str, Expectation)| check(name, flags.to_owned(), expectation);
    VARIANTS.into_iter().map(check).collect()
}

/// One service for each disk: another one is refused, and says why, unless it is to say nothing. Words that are not taken as they
/// stand are said so.
fn twins() -> Check {
    Check::booting(Guest::Minix, "minix/twins", |context| {
        let (report, text) = boot::run_once(context, "--scenario twins", &Disk::Prepared, None)?;
        let with_text = |reason| format!("{reason}\n{text}");
        expect(report.passed, &report.reasons.join("\n")).map_err(with_text)?;
        for (line, times) in [
            // Of three services that were refused one may say nothing.
            (": it is served by virtio_blk_mmio, endpoint ", 2),
            ("argument 'queue=3': expected a power of two, 4 to 256", 1),
            // At the start and at the restart.
            ("queue=256: there is room for 128", 2),
        ] {
            let seen = text.matches(line).count();
            expect(
                seen == times,
                &format!("`{line}` is there {seen} times, wanted {times}"),
            )
            .map_err(with_text)?;
        }
        Ok(())
    })
}

/// A masked interrupt line is found and told of once, as is its end; a service that is to say nothing finds it in silence.
fn masked() -> Check {
    Check::booting(Guest::Minix, "minix/masked", |context| {
        let (report, text) = boot::run_once(context, "--scenario masked", &Disk::Prepared, None)?;
        let with_text = |reason| format!("{reason}\n{text}");
        expect(report.passed, &report.reasons.join("\n")).map_err(with_text)?;
        for line in [
            "virtio-blk-mmio: an interrupt of the device is lost",
            "virtio-blk-mmio: interrupts come again",
            " lost=1 found_without=",
            // Of two services one says nothing at all.
            "virtio-blk-mmio: initialized",
        ] {
            let seen = text.matches(line).count();
            expect(seen == 1, &format!("`{line}` is there {seen} times, wanted 1")).map_err(with_text)?;
        }
        Ok(())
    })
}

/// Every file of the MINIX file system was read.
fn files(report: &Report) -> Verdict {
    expect(report.host.files.of > 0, "no file was read")
}

/// Nothing that was acknowledged is lost, however often the service dies.
fn kills() -> impl Iterator<Item = Check> {
    const KINDS: [(&str, &str, usize); 3] = [
        ("kills", "--seed 7", 200),
        ("kills/legacy", "--legacy --seed 8", 20),
        ("kills/qcow2", "--format qcow2 --seed 9", 20),
    ];
    KINDS.into_iter().map(|(name, flags, rounds)| {
        let flags = format!("--kill-during-io --rounds {rounds} {flags} --timeout 600");
        check(name, flags, move |report| {
            let kills = records!(report.guest, Record::Killed { .. } => ()).count();
            expect(kills == rounds, &format!("{kills} kills, wanted {rounds}"))
        })
    })
}

/// Disks of a user: looked at, and left as they were.
fn foreign_disks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, make) in made_by_others() {
        checks.push(Check::booting(
            Guest::Minix,
            format!("minix/image/{name}"),
            move |context| {
                let disk = make()?;
                for flags in ["", "--read-only", "--write"] {
                    let report = boot(context, flags, &disk)?;
                    let readers = records!(report.guest, Record::Started { program: "mfs", .. } => ()).count();
                    expect(
                        readers == usize::from(name == "minix"),
                        &format!("{readers} readers of file systems"),
                    )?;
                    expect(report.guest.changes(0).is_empty(), "a disk of the user was written")?;
                }
                Ok(())
            },
        ));
    }
    checks.push(Check::booting(Guest::Minix, "minix/image/nbd", |context| {
        let server = NbdServer::start()?;
        boot(context, "", &Disk::Url(server.url())).map(drop)
    }));
    checks
}

/// A run of the disk that is made, as its flags say.
fn check(name: &str, flags: String, expectation: impl Fn(&Report) -> Verdict + Send + Sync + 'static) -> Check {
    Check::booting(Guest::Minix, format!("minix/{name}"), move |context| {
        let report = boot(context, &flags, &Disk::Prepared)?;
        expectation(&report)
    })
}
