//! Boots of the MINIX service in the test kernel, in every scenario and on every kind of disk.

use guest_protocol::Record;

use super::boot::{Run, Variant, expect, large_blocks, made_by_others, nbd, passes, same};
use super::check::{Check, Verdict};
use crate::report::{records, total};

/// One thing at a time that is not in the combinations.
const VARIANTS: &[Variant] = &[
    ("read-only", "--read-only", |run| run.changed_disks(0)),
    ("block-1024", "--block-size 1024", files),
    ("block-4096", "--block-size 4096", files),
    ("write-through", "--no-flush", files),
    ("direct", "--no-indirect", files),
    ("flags", "--no-event-idx", files),
    ("queue-8", "--queue-size 8", files),
    ("throttled", "--scenario throttled", |_| Ok(())),
    ("overlap", "--scenario overlap", |_| Ok(())),
    ("flushes", "--scenario flushes", |_| Ok(())),
    ("slow-kills", "--scenario slow-kills", |run| {
        // Otherwise the look at the memory of the dead would show nothing.
        let poison = total(records!(run.report.guest, Record::Poison { before, .. } => before));
        expect(poison > 0, "the device was never at work for a dead instance")
    }),
    // Every disk that a power cut can leave, of a short run; `cargo xtask power-cut` makes a long one.
    ("power-cut", "--scenario power-cut --rounds 4 --seed 3", |run| {
        expect(run.report.host.power_cut.is_some(), "no power cut was judged")
    }),
    ("abuse", "--scenario abuse --timeout 300", |_| Ok(())),
    ("life", "--scenario life", |run| {
        same(
            "restarts",
            records!(run.report.guest, Record::Restarted { .. } => ()).count(),
            1,
        )
    }),
    ("two-disks", "--scenario two-disks", |run| run.changed_disks(2)),
    // One service for each disk: another one is refused, and says why unless it is to say nothing. So is a word that is not
    // taken as it stands.
    ("twins", "--scenario twins", |run| {
        // Of three services that were refused one may say nothing.
        run.says(": it is served by virtio_blk_mmio, endpoint ", 2)?;
        run.says("argument 'queue=3': expected a power of two, 4 to 256", 1)?;
        // At the start and at the restart.
        run.says("queue=256: there is room for 128", 2)
    }),
    // At one priority a client dies with its driver, at another it lives on.
    ("starved", "--scenario starved", |run| {
        same(
            "restarts",
            records!(run.report.guest, Record::Restarted { .. } => ()).count(),
            2,
        )
    }),
    ("programs", "--scenario programs", |run| {
        same(
            "outputs of a program",
            run.report.guest.output("user1", 1).lines().count(),
            18,
        )?;
        same(
            "complaints of a program",
            run.report.guest.output("user1", 2),
            String::new(),
        )?;
        same(
            "complaints of a program",
            run.report.guest.output("user2", 2),
            String::new(),
        )
    }),
    ("faults", "--scenario faults", |_| Ok(())),
    ("vblkctl", "--scenario vblkctl", |_| Ok(())),
    ("vblkctl/legacy", "--scenario vblkctl --legacy", |_| Ok(())),
    ("vblkctl/read-only", "--scenario vblkctl --read-only", |run| {
        run.changed_disks(0)
    }),
    // A masked interrupt line is found and told of once, as is its end. Of two services one says nothing at all.
    ("masked", "--scenario masked", |run| {
        run.says("virtio-blk-mmio: an interrupt of the device is lost", 1)?;
        run.says("virtio-blk-mmio: interrupts come again", 1)?;
        run.says(" lost=1 found_without=", 1)?;
        run.says("virtio-blk-mmio: initialized", 1)
    }),
];

/// Nothing that was acknowledged is lost, however often the service dies: name, flags, kills.
const KILLS: [(&str, &str, usize); 3] = [
    ("kills", "--seed 7", 200),
    ("kills/legacy", "--legacy --seed 8", 20),
    ("kills/qcow2", "--format qcow2 --seed 9", 20),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (layout, layout_flag) in [("modern", ""), ("legacy", "--legacy")] {
        for (format, format_flag) in [("raw", ""), ("qcow2", "--format qcow2")] {
            // The block test, with contiguous and with scattered memory.
            for (name, scenario, runs) in [("small", "tour", 2), ("large", "large", 4)] {
                let flags = format!("--scenario {scenario} {layout_flag} {format_flag} --timeout 300");
                let name = format!("{name}/{layout}/{format}");
                checks.push(passes(&name, flags, move |run| run.block_tests(runs)));
            }
        }
    }
    checks.extend(
        VARIANTS
            .iter()
            .map(|&(name, flags, expectation)| passes(name, flags, expectation)),
    );
    checks.extend(KILLS.map(|(name, flags, rounds)| {
        let flags = format!("--kill-during-io --rounds {rounds} {flags} --timeout 600");
        passes(name, flags, move |run| {
            same(
                "kills",
                records!(run.report.guest, Record::Killed { .. } => ()).count(),
                rounds,
            )
        })
    }));
    // Disks of a user: looked at, and left as they were.
    checks.push(large_blocks(""));
    checks.extend(made_by_others(&["", "--read-only", "--write"], |run, name| {
        let readers = records!(run.report.guest, Record::Started { program: "mfs", .. } => ()).count();
        same("readers of file systems", readers, usize::from(name == "minix"))?;
        run.changed_disks(0)
    }));
    checks.push(nbd(""));
    checks
}

/// Every file of the MINIX file system was read.
fn files(run: &Run) -> Verdict {
    expect(run.report.host.files.of > 0, "no file was read")
}
