//! The log of QEMU's `-d exec` with one instruction in each translation block, as executions for each address within brackets.
//!
//! A bracket begins and ends with an instruction that reads the counter of instructions. The one that begins it names it: a bracket
//! around another stage is at another address. Both reads are the bracket's own; what is between them is what it counts. A
//! pair of other reads within a bracket is around something that the guest takes off, as a wait.

use std::collections::{BTreeMap, HashSet};

/// What an image has at which address.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Instructions that read the counter, of brackets.
    pub(super) reads: HashSet<u64>,
    /// The others.
    pub(super) inner_reads: HashSet<u64>,
    /// The function that is called when counting begins. What came before was a warm-up.
    pub(super) begins: u64,
}

/// The brackets of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bracket {
    /// The address.
    pub(super) start: u64,
    /// How often each address was executed in them.
    pub(super) executed: BTreeMap<u64, u64>,
    /// How often each read ended what is taken off. It depends on the guest whether that read itself is taken off.
    pub(super) ends: BTreeMap<u64, u64>,
}

impl Bracket {
    /// All instructions in them.
    pub(super) fn total(&self) -> u64 {
        self.executed.values().sum()
    }
}

/// Reads a log line by line.
#[derive(Debug)]
pub(super) struct Trace {
    marks: Marks,
    /// The last address. The next line may say that the instruction there was not executed.
    last: Option<u64>,
    /// Where the bracket began that is open.
    open: Option<u64>,
    /// Whether what is executed is taken off.
    is_off: bool,
    /// In the order of the first of each.
    brackets: Vec<Bracket>,
    /// Lines about instructions.
    lines: u64,
}

impl Trace {
    pub(super) fn new(marks: Marks) -> Trace {
        Trace {
            marks,
            last: None,
            open: None,
            is_off: false,
            brackets: Vec::new(),
            lines: 0,
        }
    }

    /// Takes a line; false if it is not one of the log.
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        if line.starts_with(b"Trace ") {
            let Some(address) = address(line) else { return false };
            self.lines += 1;
            if let Some(last) = self.last.replace(address) {
                self.executed(last);
            }
            return true;
        }
        // The block before was left before its instruction, and comes again.
        let is_taken_back = line.starts_with(b"Stopped execution of TB chain before ");
        if is_taken_back {
            self.last = None;
        }
        is_taken_back
    }

    /// The brackets since counting began, in the order in which the first of each began.
    pub(super) fn end(mut self) -> Vec<Bracket> {
        if let Some(last) = self.last.take() {
            self.executed(last);
        }
        self.brackets
    }

    /// Whether QEMU wrote a log at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    fn executed(&mut self, address: u64) {
        if address == self.marks.begins {
            self.brackets.clear();
        }
        if self.marks.reads.contains(&address) {
            self.is_off = false;
            self.open = match self.open {
                Some(_) => None,
                None => Some(address),
            };
            return;
        }
        let Some(start) = self.open else { return };
        let bracket = bracket(&mut self.brackets, start);
        if self.marks.inner_reads.contains(&address) {
            if self.is_off {
                *bracket.ends.entry(address).or_default() += 1;
            }
            self.is_off = !self.is_off;
        } else if !self.is_off {
            *bracket.executed.entry(address).or_default() += 1;
        }
    }
}

/// The bracket that begins at an address. There are a handful of them.
fn bracket(brackets: &mut Vec<Bracket>, start: u64) -> &mut Bracket {
    let known = brackets.iter().position(|bracket| bracket.start == start);
    let place = known.unwrap_or_else(|| {
        brackets.push(Bracket {
            start,
            ..Bracket::default()
        });
        brackets.len() - 1
    });
    &mut brackets[place]
}

/// The address of `Trace 0: 0x7f86ac0041c0 [00000000/0000000080208220/02424019/ff022201] name`.
fn address(line: &[u8]) -> Option<u64> {
    let field = line.split(|byte| *byte == b'/').nth(1)?;
    u64::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}
