//! The block test against a driver by the book, which it has to pass, and against drivers with one mistake each, which it
//! has to find, under the right number.

#[path = "../system/mod.rs"]
mod system;

mod bugs;
mod right;

use std::collections::BTreeSet;

use guest_protocol::Record;
use minix_abi::Errno;
use minix_abi::partition::{PartitionEntry, SystemId, write_table};
use minix_rt::Args;
use minix_rt::grant::Table;
use test_clients::blocktest;
use test_clients::client::Client;

use system::Trap;
use system::bug::Bug;

/// 64 MiB.
const SMALL: u64 = 131_072;
/// More than 140 GiB.
const LARGE: u64 = (1 << 28) + (1 << 26);

struct Check {
    number: u32,
    name: String,
    result: String,
    detail: String,
}

struct Run {
    result: Result<(), Errno>,
    checks: Vec<Check>,
    trap: Trap,
}

impl Run {
    /// Numbers of checks with a result.
    fn numbers(&self, result: &str) -> BTreeSet<u32> {
        self.named(result).map(|check| check.number).collect()
    }

    fn named(&self, result: &str) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.result == result)
    }

    /// Number and name of the checks that failed, for a message.
    fn failures(&self) -> Vec<String> {
        self.named("fail")
            .map(|check| format!("{} {}: {}", check.number, check.name, check.detail))
            .collect()
    }

    fn lines(&self) -> Vec<String> {
        self.trap.0.borrow().console.clone()
    }
}

fn run(trap: Trap, words: &'static [&'static str]) -> Run {
    let grants = Box::leak(Box::new(Table::new()));
    let mut client = Client::new(trap.clone(), grants).unwrap();
    let result = blocktest::main(&mut client, Args::new("blocktest", words));
    let checks = trap
        .0
        .borrow()
        .console
        .iter()
        .filter_map(|line| match Record::parse(line)?.unwrap() {
            Record::Test {
                number,
                name,
                outcome,
                detail,
                ..
            } => Some(Check {
                number,
                name: name.to_owned(),
                result: outcome.to_string(),
                detail: detail.to_owned(),
            }),
            _ => None,
        })
        .collect();
    Run { result, checks, trap }
}

/// The usual run: a whole disk that may be written.
fn run_on(sectors: u64, bug: Bug) -> Run {
    run(Trap::new(sectors, bug), &["label=disk", "minor=0", "rw", "silent"])
}

/// A disk with a MINIX partition that starts at sector 64.
fn partitioned(sectors: u64, size: u32, bug: Bug) -> Trap {
    let trap = Trap::new(sectors, bug);
    let mut sector = [0; 512];
    let mut table = [PartitionEntry::new(SystemId::NONE, 0, 0); 4];
    table[0] = PartitionEntry::new(SystemId::MINIX, 64, size);
    write_table(&mut sector, &table);
    trap.0.borrow_mut().driver.disk.write(0, &sector);
    trap
}
