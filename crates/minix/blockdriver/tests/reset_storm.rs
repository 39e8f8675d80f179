//! Resets that bring nothing are few, and far between.

mod common;

use std::time::Duration;

use common::{Rig, micros, wire};
use minix_abi::Errno;
use minix_blockdriver::DriverOptions;

const PAUSE: Duration = micros(1000);

fn options() -> DriverOptions {
    DriverOptions {
        reset_pause: PAUSE,
        flush_after: Duration::ZERO,
        ..DriverOptions::default()
    }
}

#[test]
fn a_device_needing_a_reset_after_every_start_is_given_up() {
    let mut rig = Rig::opened_with(options(), |_| {});
    rig.disk().breaks_at_start = true;
    rig.disk().broken = true;
    let mut last = None;
    for _ in 0..1000 {
        // An idle interrupt, after which the service looks at the device.
        let before = rig.disk().reset_count;
        rig.poll();
        rig.sleep(PAUSE / 10);
        let resets = rig.disk().reset_count - before;
        if resets > 0 {
            assert_eq!(resets, 1);
            // Known to a tenth of the pause.
            let pause = last.map_or(PAUSE, |last| rig.now.since(last) + PAUSE / 10);
            assert!(pause >= PAUSE, "too soon after the one before");
            last = Some(rig.now);
        }
    }
    assert!(rig.driver.is_broken());
    assert!(rig.disk().reset_count <= 10, "{} resets", rig.disk().reset_count);
    assert_eq!(rig.read(0, 0, 512).0, wire(Errno::EIO));
}

#[test]
fn requests_do_not_keep_a_device_alive_that_completes_none() {
    let mut rig = Rig::opened_with(options(), |_| {});
    rig.disk().breaks_at_start = true;
    rig.disk().broken = true;
    let mut asked = Vec::new();
    for nth in 0..200 {
        if rig.driver.has_room() && asked.len() < 40 {
            asked.push(rig.send_read(nth, 1));
        }
        rig.poll();
        rig.sleep(PAUSE / 2);
    }
    assert!(rig.driver.is_broken());
    assert!(rig.disk().reset_count <= 10, "{} resets", rig.disk().reset_count);
    assert!(asked.iter().all(|&id| rig.answer(id) == Some(wire(Errno::EIO))));
}

#[test]
fn one_request_that_no_device_survives_is_not_the_end() {
    let mut rig = Rig::opened_with(
        DriverOptions {
            fruitless_resets: 0,
            ..options()
        },
        |_| {},
    );
    rig.disk().refusals = vec![Some(minix_blockdriver::Refusal::Broken); 4].into();
    assert_eq!(rig.read(0, 0, 512).0, wire(Errno::EIO));
    assert_eq!(rig.disk().reset_count, 4);
    assert_eq!(rig.read(0, 0, 512).0, 512);
}
