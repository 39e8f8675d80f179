//! Resets that bring nothing are few, and far between.

mod common;

use common::{Rig, wire};
use minix_abi::Errno;
use minix_blockdriver::Options;

const PAUSE: u64 = 1000;

fn options() -> Options {
    Options {
        reset_pause: PAUSE,
        flush_after: 0,
        ..Options::default()
    }
}

#[test]
fn a_device_that_asks_for_a_reset_after_every_start_is_given_up() {
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
