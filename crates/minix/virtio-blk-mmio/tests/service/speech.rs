//! What happens to the device is on the console, as far as `log=` lets it.

use log::LevelFilter;
use minix_abi::bdev::BdevRequest;
use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, MessageType};
use virtio_blk_model::faults::{FaultKind, FaultScript};

use crate::journal::{self, lines, printed};
use crate::machine::rig;

/// A read that the device loses once, and what the service said about it and when it left.
fn lost_request(level: LevelFilter) -> Vec<String> {
    let mut rig = rig();
    journal::set_level(level);
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    let number = rig.state().model.counters().chains;
    rig.state()
        .model
        .set_fault(FaultScript::new().at(number, FaultKind::Lost));
    let id = rig.reads(4096, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
    rig.told_to_stop();
    let close = rig.vfs(MessageType::BDEV_CLOSE);
    assert!(!rig.goes_on());
    rig.leaves();
    assert_eq!(rig.answers(close), [0]);
    lines()
}

#[test]
fn a_time_out_and_the_reset_after_it_are_told_as_warnings() {
    let warnings = lost_request(LevelFilter::Warn);
    assert!(warnings.iter().any(|line| line.contains("reset")), "{warnings:?}");
    assert_eq!(printed("counters:"), 0);
}

#[test]
fn a_lie_in_the_ring_is_told_in_one_line_that_says_which() {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    let number = rig.state().model.counters().chains;
    rig.state()
        .model
        .set_fault(FaultScript::new().at(number, FaultKind::UsedId(7777)));
    journal::set_level(LevelFilter::Error);
    let id = rig.reads(4096, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
    assert_eq!(
        lines(),
        ["the device broke the rules of the ring: used id 7777 is not a descriptor of the queue"]
    );
}

#[test]
fn requests_that_go_well_print_nothing_at_any_level() {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    journal::set_level(LevelFilter::Trace);
    for _ in 0..20 {
        let id = rig.reads(4096, 3);
        assert!(rig.goes_on());
        assert_eq!(rig.answers(id), [4096]);
    }
    assert_eq!(lines(), Vec::<String>::new());
}

#[test]
fn errors_only_are_no_warnings() {
    assert_eq!(lost_request(LevelFilter::Error), Vec::<String>::new());
}

#[test]
fn off_is_silent() {
    assert_eq!(lost_request(LevelFilter::Off), Vec::<String>::new());
}

#[test]
fn info_tells_the_counters_too() {
    lost_request(LevelFilter::Info);
    // Of the driver, of the watches and of the device.
    assert_eq!(printed("counters:"), 3);
}

#[test]
fn repeats_are_told_although_nothing_else_happens() {
    let mut rig = rig();
    journal::set_level(LevelFilter::Debug);
    for _ in 0..3 {
        rig.request(
            Endpoint::VFS,
            IpcCall::SENDA,
            MessageType(0x1234),
            BdevRequest::default(),
        );
    }
    assert!(rig.goes_on());
    let lines = lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("is no request"));
    assert_eq!(lines[1], "the last line came 2 more times");
}
