//! Instructions of the driver's own work on requests: planning, splitting, writing chains, handing completions over.
//!
//! Each is measured on a disk that has had one request of the same kind before; the device is the model. See the README for what
//! it takes to run this.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::process::Command;

use common::{Rig, Scatter, TestRequest, options};
use gungraun::prelude::*;
use virtio_blk::Request;
use virtio_blk::proto::Sector;
use virtio_blk_model::ModelConfig;

/// A disk, and a request for it.
type Ready = (Box<Rig<256>>, Option<TestRequest>);

/// A disk that takes `at_once` segments in a device request, and a read into `segments` of them.
fn fresh(segments: usize, at_once: u16) -> Ready {
    let config = ModelConfig {
        seg_max: u32::from(at_once),
        ..ModelConfig::modern()
    };
    let mut rig = Box::new(Rig::with(config, &options(|options| options.max_segments = at_once)));
    let buffer = rig.buffer(&vec![512; segments]);
    let (rig, _) = taken(completed((rig, Some(request(buffer)))));
    let mut rig = rig;
    let buffer = rig.buffer(&vec![512; segments]);
    (rig, Some(request(buffer)))
}

fn request(buffer: Scatter) -> TestRequest {
    Request::read(Sector(8), buffer, 7)
}

/// A request of so many segments that the device takes as it is.
fn whole(segments: usize) -> Ready {
    fresh(segments, 64)
}

/// A request of so many segments for a device that takes 16 at once.
fn in_parts(segments: usize) -> Ready {
    fresh(segments, 16)
}

#[inline]
fn submitted((mut rig, request): Ready) -> Ready {
    if let Some(request) = request {
        assert!(rig.disk.submit(black_box(request)).is_ok());
    }
    (rig, None)
}

/// A request that the device is done with.
fn completed(ready: Ready) -> Ready {
    let (mut rig, _) = submitted(ready);
    rig.disk.notify();
    rig.model.process(usize::MAX);
    (rig, None)
}

#[inline]
fn taken((mut rig, request): Ready) -> Ready {
    let taken = rig.disk.poll(|completion| {
        assert!(completion.result.is_ok());
        // Freeing the list of segments is not the driver's work.
        std::mem::forget(black_box(completion));
    });
    assert_eq!(taken, Ok(1));
    (rig, request)
}

#[library_benchmark]
#[bench::whole_1(whole(1))]
#[bench::whole_8(whole(8))]
#[bench::whole_64(whole(64))]
#[bench::in_four_parts(in_parts(64))]
fn submit(ready: Ready) -> Ready {
    submitted(ready)
}

#[library_benchmark]
#[bench::whole_1(completed(whole(1)))]
#[bench::whole_64(completed(whole(64)))]
#[bench::in_four_parts(completed(in_parts(64)))]
fn complete(ready: Ready) -> Ready {
    taken(ready)
}

#[library_benchmark]
#[bench::idle(whole(1))]
fn poll_nothing((mut rig, request): Ready) -> Ready {
    assert_eq!(rig.disk.poll(|_| unreachable!()), Ok(0));
    (rig, request)
}

/// The benchmarks with their own `main`.
mod harness {
    use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark_group, main};

    use super::{complete, poll_nothing, submit};

    library_benchmark_group!(name = requests, benchmarks = [submit, complete, poll_nothing]);
    main!(
        // Instructions alone: what caches do depends on the machine.
        config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
        library_benchmark_groups = requests
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
