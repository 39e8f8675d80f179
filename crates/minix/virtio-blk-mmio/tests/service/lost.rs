//! Interrupts that do not come.

use minix_abi::MessageType;

use crate::journal::printed;
use crate::machine::{Rig, rig};

/// Microseconds of a tick.
const TICK: u64 = 1000;
/// Microseconds between two looks at a device that has requests.
const LOOK_EVERY: u64 = minix_blockdriver::LOOK_EVERY.as_micros() as u64;

/// A service with the disk open, on a line that the hook of a dead process keeps masked from the first interrupt on.
fn masked() -> Rig {
    let mut rig = rig();
    rig.state().dead_hook = true;
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    rig
}

/// Microseconds that a read takes.
fn read(rig: &mut Rig) -> u64 {
    let before = rig.minix().now;
    let id = rig.reads(4096, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
    rig.minix().now - before
}

#[test]
fn a_masked_line_costs_one_look_then_a_tick_per_request() {
    let mut rig = masked();
    // One interrupt came, which the dead process did not enable the line after.
    assert_eq!(rig.state().interrupts, 1);
    let first = read(&mut rig);
    assert!(first <= LOOK_EVERY + 4 * TICK, "{first}");
    for _ in 0..20 {
        let next = read(&mut rig);
        assert!(next <= TICK, "{next}");
    }
    assert_eq!(rig.state().interrupts, 1);
    assert_eq!(printed("an interrupt of the device is lost"), 1);
}

#[test]
fn a_disk_that_grows_while_the_line_is_masked_is_used() {
    let mut rig = masked();
    read(&mut rig);
    let end = 16384 * 512;
    rig.state().model.resize(2 * 16384);
    let beyond = rig.reads(end, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(beyond), [0], "it is not known yet");
    read(&mut rig);
    let inside = rig.reads(end, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(inside), [4096]);
    assert_eq!(printed("capacity is now 32768 sectors, was 16384"), 1);
}

#[test]
fn a_line_that_opens_again_is_trusted_again() {
    let mut rig = masked();
    for _ in 0..5 {
        read(&mut rig);
    }
    rig.state().bury_the_dead();
    // The interrupt of this one comes.
    read(&mut rig);
    assert_eq!(printed("interrupts come again, "), 1);
    let interrupts = rig.state().interrupts;
    for _ in 0..5 {
        read(&mut rig);
    }
    // Each by its interrupt.
    assert_eq!(rig.state().interrupts, interrupts + 5);
    assert_eq!(printed("lost"), 1);
}

#[test]
fn a_line_that_stays_masked_without_a_reason_is_enabled_again() {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    // The kernel has masked the line for an interrupt, and the service has not heard of that.
    rig.minix().open_lines.clear();
    let first = read(&mut rig);
    assert!(first <= LOOK_EVERY + 4 * TICK, "{first}");
    assert_eq!(printed("an interrupt of the device is lost"), 1);
    let interrupts = rig.state().interrupts;
    for _ in 0..5 {
        read(&mut rig);
    }
    assert_eq!(rig.state().interrupts, interrupts + 5);
    assert_eq!((printed("interrupts come again, "), printed("lost")), (1, 1));
}

#[test]
fn a_slow_disk_whose_interrupts_come_loses_none() {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    for _ in 0..20 {
        rig.is_lazy_for(3);
        let took = read(&mut rig);
        assert!(took >= 3 * LOOK_EVERY, "{took}");
    }
    assert_eq!(printed("lost"), 0);
}

#[test]
fn on_leaving_the_hook_is_removed() {
    let mut rig = rig();
    rig.told_to_stop();
    assert!(!rig.goes_on());
    assert!(!rig.minix().hooked.is_empty());
    rig.leaves();
    assert!(rig.minix().hooked.is_empty());
}
