//! The page of figures.

use super::figure::Figure;

/// Place of the page, from the root of the workspace.
pub(super) const PAGE: &str = "docs/evidence.md";

/// A part of the page: how the sources of its figures begin, its heading, and what its figures mean.
struct Section {
    source: &'static str,
    heading: &'static str,
    text: &'static str,
}

const HEAD: &str = "\
<!-- `cargo xtask evidence` makes this page. Its words are in xtask/src/evidence/page.rs, its figures in xtask/evidence.jsonl. -->

# Evidence

What was run on the driver, and what it showed. Beside each figure stands the command that makes it, so that you can make it
yourself, and the commit whose code was run. A command adds its figures to this page when `cargo xtask evidence` is called after it.
Most of these runs take an hour or more and are no part of `cargo xtask test`, which has a short form of each.

No run shows that there are no faults. Each part says what it would not see.
";

const SECTIONS: [Section; 9] = [
    Section {
        source: "requirements",
        heading: "Requirements",
        text: "\
[Driver requirements](requirements.md) lists each demand of the specification on a driver, with the tests that fail without it. A
*breakage* is a small change of the driver that breaks one demand. Each is made in a copy of the sources, and then the tests
run that the row of the demand names, and no others: one has to fail. A row is as good as its breakage: another way to break
the same demand may go unnoticed.",
    },
    Section {
        source: "mutants",
        heading: "Mutants",
        text: "\
`cargo mutants` knows thousands of small changes of the code: an operator, a constant, a function without its body. Some were
drawn at random from the crates that are published. A mutant is *caught* if a test of its own crate fails, *unviable* if it does not
compile. A survivor is either found by a new test since then, or stands in `xtask/mutants.toml` with the reason why no test can see it.",
    },
    Section {
        source: "faults",
        heading: "Faults",
        text: "\
QEMU injects faults below the service, which runs on the test kernel under clients that check every byte and every answer.",
    },
    Section {
        source: "power-cut",
        heading: "Power cuts",
        text: "\
The writes of a run are logged. At points of the log the power is cut: any of the writes that were not flushed yet may be missing,
and the disk has to hold what the clients were promised.",
    },
    Section {
        source: "foreign",
        heading: "Foreign devices",
        text: "\
The driver runs as a program of the host on devices that others wrote: QEMU's disk over its test socket, and `qemu-storage-daemon` over
vhost-user. Requests are random, each sector that is read is compared, and each answer is expected once.",
    },
    Section {
        source: "harness",
        heading: "Bugs put in on purpose",
        text: "\
What looks for bugs is looked at itself: a bug is put into the driver for each of the three above, in a copy of the sources, and the test
that is its short form has to fail, which passes without the bug. `xtask/harness-bugs.toml` lists them. Each run of
`cargo xtask power-cut` besides takes flushes out of its own log, and fails if that would not be noticed.",
    },
    Section {
        source: "fuzz",
        heading: "Fuzzing",
        text: "\
libFuzzer looks for input that breaks what takes input from strangers. Hours are those of one fuzzer on one CPU, which other programs used
as well.",
    },
    Section {
        source: "miri",
        heading: "Miri",
        text: "\
Miri interprets the tests of the crates that have `unsafe` code, and finds undefined behaviour and data races. It does not see what
a device does to memory, which the tests stand in for.

`cargo xtask test` has the short runs. They are all tests of a crate, except of `virtio-blk`, `virtio-blk-blocking` and `virtio-blk-async`, whose
tests have a whole device beside them: of these they are the test programs that are named. `--long` adds all tests of these
three crates, and those of the service on the software device. Tests that are left out take too many steps: an index that goes around
its 65,536 values, arithmetic with all numbers there are, much memory.",
    },
    Section {
        source: "coverage",
        heading: "Coverage",
        text: "\
How much of each crate its tests run, measured by LLVM. Tests that stand in the same file are not counted. A line that runs is
not a line that is checked: breakages and mutants are for that. Generic code that no test instantiates does not appear at all.

`cargo xtask coverage --missing` lists the lines that no test runs. Of the service, of `vblkctl` and of the crates above `virtio-blk` each
was looked at. They stay for these reasons:

| lines | why no test runs them |
|---|---|
| `device_state.rs`, `disk.rs` and `lists.rs` of `minix-virtio-blk`: a device that is neither live nor stopped, or is live where it was just stopped; a place that was looked up before | Callers exclude it, and the types do not say so. The answer is an error, since a driver must not panic. |
| `disk.rs` of `minix-virtio-blk`: a transfer or a flush among the requests without data | They are dealt with before. The match has no wildcard arm, so the compiler names the place for a new request. |
| `disk.rs` of `minix-virtio-blk`, `arguments.rs` of `vblkctl`: a kind of fault or error that is none of those that are known | A later version of the crate that has the type may add one. |
| `vblkctl`: `?` after a piece of a text or of an object | Text is gathered before it is written, so only the piece at which the room ends can fail. A test breaks the output off at each write. |
| `vblkctl`: an object that is larger than the room for it | A test has the largest numbers, and they fit. |
| `platform.rs` of `virtio-blk-capi`: writing a register of one byte | The trait of registers asks for it. The functions for C have no use for it: only the switch of the write cache is such a register. |
| all crates: functions that run when the crate is compiled | LLVM counts what runs later. |",
    },
];

/// The place of a figure's section, after all others for one that no section expects.
fn place(figure: &Figure) -> usize {
    let found = SECTIONS
        .iter()
        .position(|section| figure.source.starts_with(section.source));
    found.unwrap_or(SECTIONS.len())
}

/// Brings figures in the order of the page.
pub(super) fn sort(figures: &mut [Figure]) {
    figures.sort_by_key(place);
}

/// The page. `counted` are the figures that need no run.
pub(super) fn text(counted: &[Figure], figures: &[Figure]) -> String {
    let mut text = HEAD.to_owned();
    for (number, section) in SECTIONS.iter().enumerate() {
        let of_section: Vec<&Figure> = counted.iter().chain(figures).filter(|it| place(it) == number).collect();
        text += &format!("\n## {}\n\n{}\n\n", section.heading, section.text);
        text += &table(&of_section);
    }
    let others: Vec<&Figure> = figures.iter().filter(|it| place(it) == SECTIONS.len()).collect();
    if !others.is_empty() {
        text += &format!("\n## Others\n\n{}", table(&others));
    }
    text
}

fn table(figures: &[&Figure]) -> String {
    if figures.is_empty() {
        return "No run was recorded yet.\n".to_owned();
    }
    let mut text = "| figure | value | command | code |\n|---|--:|---|---|\n".to_owned();
    for figure in figures {
        text += &format!(
            "| {} | {} | `{}` | {} |\n",
            figure.figure, figure.value, figure.command, figure.code
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Value;

    fn figure(source: &str, name: &str) -> Figure {
        Figure {
            source: source.to_owned(),
            ..Figure::new(name, Value::Count(7), "cargo x")
        }
    }

    #[test]
    fn each_figure_stands_in_its_section() {
        let mut figures = vec![
            figure("tea", "cups"),
            figure("fuzz", "inputs"),
            figure("faults-long", "hangs"),
        ];
        sort(&mut figures);
        let page = text(&[figure("requirements", "rows")], &figures);
        let at = |what: &str| page.find(what).unwrap();
        assert!(at("## Requirements") < at("| rows | 7 | `cargo x` |  |"));
        assert!(at("| rows |") < at("## Faults") && at("## Faults") < at("| hangs |"));
        assert!(at("| hangs |") < at("## Fuzzing") && at("## Fuzzing") < at("| inputs |"));
        assert!(at("## Others") < at("| cups |"));
        assert!(page.contains("## Power cuts\n\n") && page.contains("No run was recorded yet."));
    }
}
