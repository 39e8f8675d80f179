//! The main loop, from messages in to replies out.

use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, MessageType, Status};
use virtio_core::DeviceStatus;

use crate::journal::printed;
use crate::machine::{Rig, rig};

const ENXIO: i32 = -6;

/// A service with the disk opened once.
fn opened() -> Rig {
    let mut rig = rig();
    let id = rig.vfs(MessageType::BDEV_OPEN);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [0]);
    rig
}

#[test]
fn a_request_goes_through_the_device_and_its_interrupt() {
    let mut rig = opened();
    rig.state().model.write_disk(8, &[0x5A; 4096]);
    let before = rig.state().interrupts;
    let id = rig.reads(4096, 3);
    assert!(rig.goes_on());
    assert_eq!(rig.answers(id), [4096]);
    assert_eq!(rig.page(3), [0x5A; 4096]);
    assert!(rig.state().interrupts > before);
    // The next one can come.
    assert!(!rig.minix().open_lines.is_empty() && !rig.state().model.interrupt_line());
    let (to, how, _) = *rig.replies().last().expect("there was a reply");
    assert_eq!((to, how), (Endpoint::MFS, IpcCall::SENDNB));
}

#[test]
fn a_reply_to_an_asynchronous_request_is_asynchronous() {
    let rig = opened();
    let (to, how, _) = rig.replies()[0];
    assert_eq!((to, how), (Endpoint::VFS, IpcCall::SENDA));
}

#[test]
fn when_all_lists_are_full_clients_wait_and_nothing_is_lost() {
    let mut rig = opened();
    rig.is_lazy_for(3);
    let ids: Vec<i32> = (0..300)
        .map(|nth| rig.reads(nth % 16 * 4096, nth as i32 % 64))
        .collect();
    assert!(rig.goes_on());
    for id in ids {
        assert_eq!(rig.answers(id), [4096]);
    }
    // 64 are worked on, 128 wait in the service.
    assert_eq!(rig.state().clock_only.first(), Some(&(300 - 192)));
}

#[test]
fn an_interrupt_without_a_cause_leaves_the_line_open() {
    let mut rig = opened();
    rig.state().model.spurious_interrupt(1);
    assert!(rig.goes_on());
    assert!(!rig.minix().open_lines.is_empty() && !rig.state().model.interrupt_line());
}

#[test]
fn pings_are_answered() {
    let mut rig = rig();
    rig.pinged();
    assert!(rig.goes_on());
    assert_eq!(rig.minix().notified, [Endpoint::RS]);
}

#[test]
fn told_to_stop_with_nothing_open_it_leaves_the_device_reset() {
    let mut rig = rig();
    rig.told_to_stop();
    assert!(!rig.goes_on());
    rig.leaves();
    assert_eq!(rig.state().model.status(), DeviceStatus::RESET);
    assert_eq!(printed("replies_failed=0"), 1);
}

#[test]
fn told_to_stop_with_something_open_it_leaves_after_the_close() {
    let mut rig = opened();
    rig.told_to_stop();
    assert!(rig.goes_on());
    let (open, read) = (rig.vfs(MessageType::BDEV_OPEN), rig.reads(0, 0));
    assert!(rig.goes_on());
    assert_eq!((rig.answers(open), rig.answers(read)), (vec![ENXIO], vec![4096]));
    let close = rig.vfs(MessageType::BDEV_CLOSE);
    assert!(!rig.goes_on());
    assert_eq!(rig.answers(close), [0]);
}

#[test]
fn it_leaves_after_its_last_reply_was_fetched() {
    let mut rig = opened();
    rig.told_to_stop();
    let close = rig.vfs(MessageType::BDEV_CLOSE);
    let start = rig.minix().now;
    rig.minix().deaf_until = start + 20_000;
    // A client that calls meanwhile is told, and RS finds it alive.
    let late = rig.vfs(MessageType::BDEV_OPEN);
    rig.pinged();
    assert!(!rig.goes_on());
    assert_eq!((rig.answers(close), rig.answers(late)), (vec![0], vec![ENXIO]));
    assert_eq!(rig.minix().notified, [Endpoint::RS]);
    let waited = rig.minix().now - start;
    assert!((20_000..22_000).contains(&waited), "{waited}");
}

#[test]
fn a_receiver_that_never_fetches_does_not_keep_it() {
    let mut rig = opened();
    rig.told_to_stop();
    let close = rig.vfs(MessageType::BDEV_CLOSE);
    let start = rig.minix().now;
    rig.minix().deaf_until = u64::MAX;
    assert!(!rig.goes_on());
    rig.leaves();
    assert!(rig.answers(close).is_empty());
    let waited = rig.minix().now - start;
    assert!((100_000..=102_000).contains(&waited), "{waited}");
    assert_eq!(printed("replies_waiting=1"), 1);
}

#[test]
fn replies_are_flushed_when_nothing_can_be_received() {
    let mut rig = opened();
    rig.minix().deaf_until = u64::MAX;
    let close = rig.vfs(MessageType::BDEV_CLOSE);
    assert!(rig.goes_on());
    rig.state().no_messages = true;
    assert!(!rig.goes_on());
    let now = rig.minix().now;
    rig.minix().deaf_until = now + 5_000;
    assert!(rig.answers(close).is_empty());
    rig.leaves();
    assert_eq!(rig.answers(close), [0]);
    assert_eq!(rig.state().model.status(), DeviceStatus::RESET);
}

#[test]
fn a_client_that_may_not_be_answered_is_named_once() {
    let mut rig = rig();
    rig.minix().delivery = Status(-210);
    for _ in 0..3 {
        rig.vfs(MessageType::BDEV_CLOSE);
    }
    assert!(rig.goes_on());
    assert_eq!(printed("missing in the ipc list"), 1);
    rig.told_to_stop();
    assert!(!rig.goes_on());
    rig.leaves();
    assert_eq!(printed("replies_failed=3"), 1);
}
