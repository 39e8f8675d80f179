//! The memory that the README states is what a disk and its operations take.

mod common;

use std::mem::size_of_val;

use common::{BLOCKS, TestDisk, TestTransport, finish, rig, small};
use mutex::raw_impls::cs::CriticalSectionRawMutex;
use virtio_blk_async::{AsyncBlockIo, AsyncDisk, BounceDisk, Sector, mutex};

/// A disk with room for `N` requests, without the disk below.
const fn above<const N: usize, const LIMIT: usize>() -> usize {
    size_of::<AsyncDisk<CriticalSectionRawMutex, TestTransport, N, LIMIT>>() - size_of::<BounceDisk<TestTransport, N>>()
}

/// The README with single spaces, wherever its lines end.
fn readme() -> String {
    let words: Vec<&str> = include_str!("../README.md").split_whitespace().collect();
    words.join(" ")
}

#[test]
fn the_readme_states_what_a_slot_and_a_bounce_buffer_take() {
    let readme = readme();
    let slot = (above::<1056, 4>() - above::<32, 4>()) / 1024;
    let bounce = (above::<32, 1028>() - above::<32, 4>()) / 1024;
    assert!(readme.contains(&format!("{slot} bytes for each slot")), "{slot}");
    assert!(
        readme.contains(&format!("{bounce} bytes for each bounce buffer")),
        "{bounce}"
    );
}

#[test]
fn the_readme_states_what_an_operation_takes() {
    let readme = readme();
    let (model, disk) = rig(small());
    let mut memory = [0; 512];
    let flush = size_of_val(&disk.flush());
    let change = size_of_val(&disk.write_bytes(0, &[]));
    let read = size_of_val(&disk.read(Sector(0), &mut memory));
    // What a future takes is up to the compiler, so within a bound.
    for (name, bytes, most) in [("flush", flush, 400), ("change", change, 1000), ("read", read, 900)] {
        assert!(bytes <= most, "{name}: {bytes} bytes");
        assert!(
            readme.contains(&format!("{most} bytes for a {name}")),
            "{name}: {bytes}"
        );
    }
    assert_eq!(BLOCKS, 4);
    finish::<_, 4>(&model, disk as TestDisk);
}
