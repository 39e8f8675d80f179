//! The device is watched before its interrupt is waited for.

use std::time::Duration;

use minix_abi::MessageType;
use minix_blockdriver::WatchOptions;
use minix_blockdriver::statistics::Guesses;

use crate::machine::{Rig, rig_that_watches};

/// A service with the disk opened once, whose device does a request every so many microseconds.
fn opened(each: u64) -> Rig {
    let watch = WatchOptions {
        limit: Duration::from_micros(200),
        share: 20,
    };
    opened_with(watch, each)
}

fn opened_with(watch: WatchOptions, each: u64) -> Rig {
    let mut rig = rig_that_watches(watch);
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
    // Fewer than it takes until the service looks for another client.
    for nth in 0..12 {
        let id = rig.reads(nth * 4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    }
    let watches = rig.watches();
    assert_eq!(rig.state().interrupts, interrupts);
    assert_eq!((watches.hit - before.hit, watches.missed - before.missed), (12, 0));
    assert!(watches.hit_micros - before.hit_micros >= 12 * 50);
}

#[test]
fn a_request_whose_memory_takes_long_to_look_up_is_watched() {
    let mut rig = opened(20);
    let read = |rig: &mut Rig, nth: u64| {
        let id = rig.reads(nth * 4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    };
    // After a thousand reads the service knows that the device is quick.
    (0..1000).for_each(|nth| read(&mut rig, nth % 16));
    let before = rig.watches();
    rig.state().map_takes = 150;
    (0..50).for_each(|nth| read(&mut rig, nth % 16));
    let watches = rig.watches();
    assert_eq!((watches.hit - before.hit, watches.missed - before.missed), (50, 0));
}

/// Two requests that are there at once, and are answered.
fn reads_two(rig: &mut Rig) {
    let ids = [0, 1].map(|nth| rig.reads(nth * 3 * 4096, nth as i32));
    assert!(rig.goes_on());
    ids.into_iter().for_each(|id| assert_eq!(rig.answers(id), [4096]));
}

#[test]
fn a_reply_goes_out_before_the_next_look() {
    let mut rig = opened(100);
    rig.state().works_when_idle = true;
    // Until it is known that there are two requests at once.
    (0..32).for_each(|_| reads_two(&mut rig));
    let mut in_flight_at_once = 0;
    for _ in 0..16 {
        rig.state().replies_before.clear();
        let before = rig.replies().len();
        reads_two(&mut rig);
        let sent = rig.state().replies_before.clone();
        if sent.len() == 2 {
            assert_eq!(sent, [before, before + 1]);
            in_flight_at_once += 1;
        }
    }
    assert!(in_flight_at_once > 8, "{in_flight_at_once}");
    assert_eq!(rig.most_at_once(), 2);
}

#[test]
fn a_client_that_is_alone_is_left_to_an_interrupt_at_long_intervals() {
    let mut rig = opened(100);
    rig.state().works_when_idle = true;
    let before = rig.guesses();
    for nth in 0..1500 {
        let id = rig.reads(nth % 16 * 4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    }
    let guesses = rig.guesses();
    // After 31 requests or fewer, 31 more, 127 and 511; not yet after 1009.
    assert_eq!((guesses.right - before.right, guesses.wrong - before.wrong), (0, 4));
}

#[test]
fn a_request_that_is_there_is_taken_before_the_device_is_watched() {
    let mut rig = opened(100);
    rig.state().works_when_idle = true;
    (0..32).for_each(|_| reads_two(&mut rig));
    let (before, missed) = (rig.guesses(), rig.watches().missed);
    (0..50).for_each(|_| reads_two(&mut rig));
    let guesses = rig.guesses();
    let (right, wrong) = (guesses.right - before.right, guesses.wrong - before.wrong);
    // Some requests are completed before the service waits.
    assert!(right >= 40 && wrong <= 2, "{right} {wrong}");
    assert_eq!((rig.most_at_once(), rig.watches().missed), (2, missed));
}

#[test]
fn a_service_that_spins_has_one_request_at_a_time() {
    let mut rig = opened_with(
        WatchOptions {
            limit: Duration::from_millis(10),
            share: 100,
        },
        100,
    );
    for _ in 0..100 {
        let ids = [0, 1, 2].map(|nth| rig.reads(nth * 3 * 4096, nth as i32));
        assert!(rig.goes_on());
        ids.into_iter().for_each(|id| assert_eq!(rig.answers(id), [4096]));
    }
    assert_eq!((rig.most_at_once(), rig.guesses()), (1, Guesses::default()));
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
