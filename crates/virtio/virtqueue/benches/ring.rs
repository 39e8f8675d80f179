//! Instructions of the ring: writing chains, showing them, taking them back.
//!
//! Each is measured on a ring that has had one chain of the same kind before. See the README for what it takes to run this.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::process::Command;

use common::{Rig, direct, indirect, segment, with_events};
use gungraun::prelude::*;
use virtio_core::Segment;
use virtqueue::{Chains, QueueOptions};

/// The ring, and the segments of a request of a block device: a header to read, and data and a status to write.
type Ready = (Box<Rig<u32, 256>>, [Segment; 1], Vec<Segment>);

/// A ring that had one chain with `data` segments of data.
fn fresh(options: QueueOptions, data: u64) -> Ready {
    let rig = Box::new(Rig::new(with_events(options)));
    let writable = (0..data).map(|number| segment(0x10_0000 + 0x1000 * number, 4096));
    let writable = writable.chain([segment(0x8010, 1)]).collect();
    let ready = completed((rig, [segment(0x8000, 16)], writable));
    taken(ready)
}

fn in_descriptors(data: u64) -> Ready {
    fresh(direct(256), data)
}

fn in_a_table(data: u64) -> Ready {
    fresh(indirect(256, 66), data)
}

fn as_it_decides(data: u64) -> Ready {
    let options = QueueOptions {
        chains: Chains::PerRequest,
        ..indirect(256, 66)
    };
    fresh(options, data)
}

#[inline]
fn submitted((mut rig, readable, writable): Ready) -> Ready {
    let submitted = rig.queue.submit(black_box(&readable), black_box(&writable), 7);
    assert!(submitted.is_ok());
    (rig, readable, writable)
}

/// A chain that the device is done with.
fn completed(ready: Ready) -> Ready {
    let (mut rig, readable, writable) = submitted(ready);
    for chain in rig.show() {
        rig.device.complete(chain.head, chain.writable_bytes());
    }
    (rig, readable, writable)
}

#[inline]
fn taken((mut rig, readable, writable): Ready) -> Ready {
    let used = rig.queue.pop_used();
    assert!(used.is_ok_and(|used| black_box(used).is_some_and(|used| used.token == 7)));
    (rig, readable, writable)
}

#[library_benchmark]
#[bench::direct_1(in_descriptors(1))]
#[bench::direct_8(in_descriptors(8))]
#[bench::direct_64(in_descriptors(64))]
#[bench::indirect_1(in_a_table(1))]
#[bench::indirect_8(in_a_table(8))]
#[bench::indirect_64(in_a_table(64))]
#[bench::decided_1(as_it_decides(1))]
#[bench::decided_8(as_it_decides(8))]
fn submit(ready: Ready) -> Ready {
    submitted(ready)
}

#[library_benchmark]
#[bench::one(submitted(in_descriptors(1)))]
fn publish((mut rig, readable, writable): Ready) -> Ready {
    let _ = black_box(rig.queue.publish());
    (rig, readable, writable)
}

#[library_benchmark]
#[bench::direct_1(completed(in_descriptors(1)))]
#[bench::direct_64(completed(in_descriptors(64)))]
#[bench::indirect_64(completed(in_a_table(64)))]
fn pop(ready: Ready) -> Ready {
    taken(ready)
}

#[library_benchmark]
#[bench::idle(in_descriptors(1))]
fn pop_nothing((mut rig, readable, writable): Ready) -> Ready {
    assert!(matches!(rig.queue.pop_used(), Ok(None)));
    (rig, readable, writable)
}

/// The benchmarks with their own `main`.
mod harness {
    use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark_group, main};

    use super::{pop, pop_nothing, publish, submit};

    library_benchmark_group!(name = ring, benchmarks = [submit, publish, pop, pop_nothing]);
    main!(
        // Instructions alone: what caches do depends on the machine.
        config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
        library_benchmark_groups = ring
    );

    pub(super) fn run() {
        main();
    }
}

fn main() {
    // The runner starts this program again with a word of its own; cargo says whether it is a benchmark or a test.
    let is = |word: &str| std::env::args().any(|argument| argument == word);
    let missing = || {
        let mut programs = ["valgrind", "gungraun-runner"].into_iter();
        programs.find(|program| Command::new(program).arg("--version").output().is_err())
    };
    if is("--gungraun-run") {
        harness::run();
    } else if !is("--bench") {
        println!("skipped: instructions are counted by `cargo bench` only");
    } else if let Some(program) = missing() {
        println!("skipped: {program} is missing; see the README of the crate");
    } else {
        harness::run();
    }
}
