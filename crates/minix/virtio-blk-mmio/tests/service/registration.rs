//! One service for each disk.

use fake_minix::{System, Trap};
use minix_abi::ds::{DsFlags, DsRequest};
use minix_abi::{Endpoint, Errno, MessageType, Status};
use minix_rt::ds::Label;
use minix_virtio_blk::registration::{ClaimError, GrantTable, Registration};

const WINDOW: u64 = 0x1000_8000;
const KEY: &str = "virtio_blk@0x10008000";

/// RS, as far as it gives and takes labels.
#[derive(Default)]
struct Services(System);

impl Services {
    /// A new instance with a label takes the disk.
    fn start(&self, label: &str, endpoint: i32) -> Result<(), ClaimError> {
        let mut process = self.0.process(Endpoint(endpoint), label);
        let table: &mut GrantTable = Box::leak(Box::new(GrantTable::new()));
        let mut registration = Registration::new(&mut process, table, Endpoint(endpoint)).expect("a table");
        registration.claim(&mut process, WINDOW)
    }

    /// RS takes the label of an instance away.
    fn unpublish(&self, endpoint: i32) {
        self.0.state().store.labels.remove(&endpoint);
    }

    fn holder(&self) -> Option<i32> {
        self.0.state().store.numbers.get(KEY).map(|number| number.cast_signed())
    }
}

fn taken(label: &str, endpoint: i32) -> Result<(), ClaimError> {
    Err(ClaimError::Taken {
        label: Label::new(label).expect("a label"),
        endpoint: Endpoint(endpoint),
    })
}

#[test]
fn a_second_service_on_one_disk_is_told_the_holder() {
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    let refused = services.start("twin", 200);
    assert_eq!(refused, taken("disk", 100));
    assert_eq!(services.holder(), Some(100));
    let error = refused.expect_err("seen above");
    assert_eq!(
        (error.to_string().as_str(), error.errno()),
        ("it is served by disk, endpoint 100", Errno::EBUSY)
    );
}

#[test]
fn the_next_instance_after_a_crash_gets_the_disk() {
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    for endpoint in 101..120 {
        // The dead one has cleaned nothing up.
        services.unpublish(endpoint - 1);
        assert_eq!(services.start("disk", endpoint), Ok(()));
        assert_eq!(services.holder(), Some(endpoint));
    }
}

#[test]
fn a_service_of_another_label_gets_the_disk_of_a_dead_one() {
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    services.unpublish(100);
    assert_eq!(services.start("other", 200), Ok(()));
    assert_eq!(services.holder(), Some(200));
}

#[test]
fn a_service_that_waits_for_its_restart_keeps_the_disk() {
    // Dead, but RS is going to start it again, so it has its label.
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    assert_eq!(services.start("other", 200), taken("disk", 100));
}

#[test]
fn of_two_takers_of_a_dead_services_disk_one_gets_it() {
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    services.unpublish(100);
    services.0.process(Endpoint(300), "rival");
    services.0.state().store.rival = Some((KEY.to_owned(), 300));
    assert_eq!(services.start("other", 200), taken("rival", 300));
    assert_eq!(services.holder(), Some(300));
}

/// Whether a trap asks the data store for the number of the disk.
fn asks_for_the_holder(trap: &Trap<'_>) -> bool {
    matches!(trap, Trap::SendRec(Endpoint::DS, message) if message.kind == MessageType::DS_RETRIEVE
        && message.payload::<DsRequest>().flags & DsFlags::TYPE_MASK != DsFlags::LABEL)
}

#[test]
fn a_holder_that_leaves_while_it_is_asked_for_is_followed() {
    let services = Services::default();
    assert_eq!(services.start("disk", 100), Ok(()));
    // SAFETY: it answers nothing.
    unsafe {
        services.0.hook(|state, trap| {
            let holder = state.store.numbers.get(KEY).copied();
            if asks_for_the_holder(trap) && holder == Some(100) {
                state.store.numbers.remove(KEY);
            }
            None
        });
    }
    assert_eq!(services.start("other", 200), Ok(()));
    assert_eq!(services.holder(), Some(200));
}

#[test]
fn a_store_that_does_not_tell_the_holder_leaves_the_disk_alone() {
    let asks_for_the_label = |trap: &Trap<'_>| matches!(trap, Trap::SendRec(Endpoint::DS, message) if message.kind == MessageType::DS_RETRIEVE_LABEL);
    let publishes = |trap: &Trap<'_>| matches!(trap, Trap::SendRec(Endpoint::DS, message) if message.kind == MessageType::DS_PUBLISH);
    let questions: [fn(&Trap<'_>) -> bool; 3] = [asks_for_the_holder, asks_for_the_label, publishes];
    for is_refused in questions {
        let services = Services::default();
        assert_eq!(services.start("disk", 100), Ok(()));
        // SAFETY: it looks at no memory.
        unsafe {
            services.0.hook(move |_, trap| {
                if !is_refused(trap) {
                    return None;
                }
                if let Trap::SendRec(_, message) = trap {
                    message.kind = Status::from(Errno::EPERM).into();
                }
                Some(Ok(0))
            });
        }
        let refused = services.start("other", 200).expect_err("it is not told");
        assert_eq!(refused, ClaimError::Refused(Errno::EPERM));
        assert_eq!(refused.errno(), Errno::EPERM);
        let told = refused.to_string();
        assert!(told.starts_with("the data store does not say whose it is: "), "{told}");
        assert_eq!(services.holder(), Some(100));
    }
}
