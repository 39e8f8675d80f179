use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use guest_protocol::Case;

use super::program::Frame;
use super::trace::{Bracket, Marks, Trace};
use super::{Counted, choice, stages, table};

/// A log as QEMU writes it: two warm-up batches and two that are counted. Each has a bracket around `submit` (read at 0x10, `0x14` twice,
/// read at 0x1c), one around nothing (0x20, 0x24), and one around `pop` (0x30), which has a wait in it (0x38 to 0x40). The second batch has
/// an instruction that was left and came again.
fn log() -> Vec<String> {
    let trace =
        |address: u64| format!("Trace 0: 0x7f5f48554340 [00000000/{address:016x}/02424019/ff022201] some::name");
    let batch = [
        0x8, 0x10, 0x14, 0x14, 0x18, 0x1c, 0x8, 0x20, 0x24, 0x30, 0x34, 0x38, 0x3c, 0x3c, 0x40, 0x44, 0x48, 0x8,
    ];
    let mut lines = Vec::new();
    for number in 0..4 {
        if number == 2 {
            lines.push(trace(BEGINS));
        }
        for address in batch {
            if number == 3 && address == 0x18 {
                lines.push(trace(address));
                lines.push("Stopped execution of TB chain before 0x7f5f48554340 [0000000000000018] some::name".into());
            }
            lines.push(trace(address));
        }
    }
    lines
}

const BEGINS: u64 = 0x100;

fn brackets() -> Vec<Bracket> {
    let marks = Marks {
        reads: HashSet::from([0x10, 0x1c, 0x20, 0x24, 0x30, 0x48]),
        inner_reads: HashSet::from([0x38, 0x40]),
        begins: BEGINS,
    };
    let mut trace = Trace::new(marks);
    assert!(!trace.line(b"qemu-system-riscv64: warning: something\n"));
    assert!(trace.is_empty());
    for line in log() {
        assert!(trace.line(line.as_bytes()), "{line}");
    }
    assert!(!trace.is_empty());
    trace.end()
}

fn counted(stage: &'static str, instructions: u64) -> Counted {
    Counted {
        case: Case {
            contender: "ours",
            operation: "read",
            mode: "polled",
            chains: "",
            buffer: "",
            depth: 4,
            segments: 1,
            bytes: 4096,
        },
        stage,
        requests: 4,
        instructions,
    }
}

/// `0x14` is in a function that is inlined into the one of all others.
fn frames(address: u64) -> Result<Vec<Frame>> {
    let frame = |function: &str, line| Frame {
        function: function.into(),
        file: "ring.rs".into(),
        line,
        is_library: false,
    };
    let outer = frame("submit", 7);
    Ok(match address {
        0x14 => vec![outer, frame("push", 9)],
        _ => vec![outer],
    })
}

#[test]
fn the_log_has_what_is_between_the_reads_after_the_warm_up() {
    let brackets = brackets();
    let totals: Vec<_> = brackets.iter().map(|one| (one.start, one.total())).collect();
    assert_eq!(totals, [(0x10, 6), (0x30, 4)]);
    assert_eq!(brackets[0].executed, BTreeMap::from([(0x14, 4), (0x18, 2)]));
    assert_eq!(brackets[1].ends, BTreeMap::from([(0x40, 2)]));
}

#[test]
fn stages_are_what_the_guest_counted_to_the_instruction() {
    let stages_of = |counted: &[Counted]| stages(counted, &brackets(), frames);
    // The read at the end of the wait is taken off or is not.
    for pop in [4, 6] {
        let found = stages_of(&[counted("submit", 6), counted("publish", 0), counted("pop", pop)]).unwrap();
        let sums = found
            .iter()
            .map(|stage| stage.executed.iter().map(|(_, count)| count).sum::<f64>());
        assert_eq!(sums.collect::<Vec<_>>(), [6.0 / 4.0, pop as f64 / 4.0]);
    }
    for (wrong, message) in [
        (
            vec![counted("submit", 5)],
            "submit: the guest counted 5 instructions, and the log of QEMU has 6",
        ),
        (
            vec![counted("submit", 6), counted("pop", 5)],
            "pop: the guest counted 5 instructions, and the log of QEMU has 4",
        ),
        (
            vec![counted("submit", 6), counted("pop", 4), counted("more", 1)],
            "more: the guest counted 1 instructions, and the log of QEMU has 0",
        ),
        (
            vec![counted("submit", 6)],
            "the log of QEMU has stages that the guest did not count",
        ),
    ] {
        assert_eq!(stages_of(&wrong).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_tables_show_inlined_functions_and_lines_of_source() {
    let stages = stages(&[counted("submit", 6), counted("pop", 6)], &brackets(), frames).unwrap();
    assert_eq!(
        table::functions(&stages[0]),
        [
            "submit: 1.5 instructions per request",
            "        all      self  function, and what is inlined into it",
            "        1.5       0.5  submit",
            "        1.0       1.0    push",
        ]
    );
    assert_eq!(
        table::lines(&stages, |file, line| format!("{file} has {line}")),
        [
            "by source line: 3.0 instructions per request",
            "        1.5  pop     ring.rs:7  ring.rs has 7",
            "        1.0  submit  ring.rs:9  ring.rs has 9",
            "        0.5  submit  ring.rs:7  ring.rs has 7",
        ]
    );
}

#[test]
fn small_functions_are_counted_where_they_are_inlined() {
    let frame = |function: &str| Frame {
        function: function.into(),
        file: String::new(),
        line: 0,
        is_library: false,
    };
    let stage = table::Stage {
        name: "pop".into(),
        executed: vec![
            (vec![frame("a")], 99.8),
            (vec![frame("a"), frame("b")], 0.1),
            (vec![frame("c")], 0.1),
        ],
    };
    assert_eq!(
        table::functions(&stage)[2..],
        ["       99.9      99.9  a", "        0.1       0.1  others"]
    );
}

#[test]
fn a_choice_is_a_batch_of_our_reads_unless_the_words_say_otherwise() {
    for (words, meant) in [
        (
            "",
            "contender=ours operation=read mode=polled buffer=handle depth=32 segments=1 bytes=4096",
        ),
        (
            "depth=1,operation=write",
            "contender=ours operation=write mode=polled buffer=handle depth=1 segments=1 bytes=4096",
        ),
        ("segments=8", "contender=ours operation=read mode=polled segments=8"),
        ("contender=minix,depth=64", "contender=minix operation=read depth=64"),
    ] {
        assert_eq!(choice(words).unwrap().to_string(), meant);
    }
    let error = choice("fast").unwrap_err().to_string();
    assert!(error.starts_with("--profile: `fast` makes no sense"), "{error}");
}
