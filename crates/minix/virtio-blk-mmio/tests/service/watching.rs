//! The device is watched before its interrupt is waited for.

use std::time::Duration;

use minix_abi::MessageType;
use minix_blockdriver::WatchOptions;

use crate::machine::{Rig, rig_that_watches};

/// A service with the disk opened once, whose device does a request every so many microseconds.
fn opened(each: u64) -> Rig {
    let mut rig = rig_that_watches(WatchOptions {
        limit: Duration::from_micros(200),
        share: 20,
    });
    // A clock that stands still would never end a watch.
    rig.state().works_each = Some(each);
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    rig.state().replies_before.clear();
    // From now on it does not work while the service waits.
    rig.is_lazy_for(1000);
    rig
}

#[test]
fn a_request_that_is_found_by_watching_takes_no_interrupt() {
    let mut rig = opened(100);
    let (interrupts, before) = (rig.state().interrupts, rig.watches());
    for nth in 0..50 {
        let id = rig.reads(nth * 4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    }
    let watches = rig.watches();
    assert_eq!(rig.state().interrupts, interrupts);
    assert_eq!((watches.hit - before.hit, watches.missed - before.missed), (50, 0));
    assert!(watches.hit_micros - before.hit_micros >= 50 * 50);
}

#[test]
fn a_request_whose_memory_takes_long_to_look_up_is_watched() {
    let mut rig = opened(20);
    let read = |rig: &mut Rig, nth: u64| {
        let id = rig.reads(nth * 4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    };
    // So many that it is known how little time the device takes.
    (0..1000).for_each(|nth| read(&mut rig, nth % 16));
    let before = rig.watches();
    rig.state().map_takes = 150;
    (0..50).for_each(|nth| read(&mut rig, nth % 16));
    let watches = rig.watches();
    assert_eq!((watches.hit - before.hit, watches.missed - before.missed), (50, 0));
}

#[test]
fn a_reply_goes_out_before_the_next_look() {
    // Longer than a watch, so that the second request comes while the device has the first one.
    let mut rig = opened(300);
    let (before, watches) = (rig.replies().len(), rig.watches());
    let ids: Vec<i32> = (0..4).map(|nth| rig.reads(nth * 3 * 4096, nth as i32)).collect();
    assert!(rig.goes_on());
    for id in ids {
        assert_eq!(rig.answers(id), [4096]);
    }
    let sent = rig.state().replies_before.clone();
    assert_eq!(sent, [before, before + 1, before + 2, before + 3]);
    assert!(rig.watches().missed > watches.missed && rig.watches().hit > watches.hit);
}

#[test]
fn a_slow_device_is_watched_no_longer_than_allowed() {
    let mut rig = opened(5000);
    let before = rig.watches();
    rig.reads(0, 3);
    // It waits for the alarm that looks for lost interrupts, and for nothing else.
    rig.state().works_each = Some(1_000_000_000);
    rig.is_lazy_for(2);
    assert!(rig.goes_on());
    let watches = rig.watches();
    assert_eq!((watches.hit - before.hit, watches.missed - before.missed), (0, 1));
    assert!((150..=210).contains(&(watches.missed_micros - before.missed_micros)));
}
