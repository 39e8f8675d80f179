//! The device is taken off the bus: every request is answered once, with an error from some moment on, and the service stays.

use minix_abi::{Errno, MessageType, Status};

use crate::journal::lines;
use crate::machine::rig;

/// Accesses to a device that is gone, until it is given up: three resets, with what leads to them.
const FEW: u64 = 60;

/// What a service answers whose device answers `accesses` accesses after the start. Returns whether that was cut short.
fn serves(accesses: u64) -> bool {
    let mut rig = rig();
    rig.state().model.go_away_after(accesses);
    let open = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    let opened = rig.answers(open);
    assert_eq!(opened.len(), 1);
    let mut answers = Vec::new();
    for nth in 0..3 {
        let read = rig.reads(4096 * nth, 3);
        assert!(rig.goes_on());
        answers.push(rig.answers(read));
    }
    let gone = rig.state().model.is_gone();
    for answer in &answers {
        assert!(
            matches!(answer[..], [4096]) || gone && answer[..] == [Status::from(Errno::EIO).0],
            "{answers:?} after {accesses} accesses"
        );
    }
    if opened[0] != 0 {
        assert!(gone, "{opened:?}");
    }
    rig.told_to_stop();
    if opened[0] == 0 {
        let close = rig.vfs(MessageType::BDEV_CLOSE);
        assert!(!rig.goes_on());
        assert_eq!(rig.answers(close).len(), 1);
    } else {
        assert!(!rig.goes_on());
    }
    rig.leaves();
    let state = rig.state();
    assert!(
        state.model.unanswered_accesses() <= FEW,
        "{} accesses to nothing",
        state.model.unanswered_accesses()
    );
    state.model.assert_clean();
    gone
}

#[test]
fn every_request_is_answered_once_whenever_the_device_goes_away() {
    let mut accesses = 0;
    while serves(accesses) {
        accesses += 1;
    }
    assert!(accesses > 8, "requests have more accesses than {accesses}");
}

#[test]
fn a_device_that_is_gone_is_given_up_and_not_asked_again() {
    let mut rig = rig();
    let open = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(open), [0]);
    rig.state().model.go_away_after(0);
    let read = rig.reads(4096, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(read), [Status::from(Errno::EIO).0]);
    let asked = rig.state().model.unanswered_accesses();
    assert!((1..=FEW).contains(&asked), "{asked}");
    for _ in 0..50 {
        let read = rig.reads(4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(read), [Status::from(Errno::EIO).0]);
    }
    assert_eq!(rig.state().model.unanswered_accesses(), asked);
    let told = lines();
    assert!(told.iter().any(|line| line.contains("the device is gone")), "{told:?}");
}
