//! One service for each disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::kernel_call::SetGrant;
use minix_abi::{Endpoint, Errno, Message, MessageType};
use minix_rt::Ipc;
use minix_rt::ds::Label;
use minix_virtio_blk::registration::{ClaimError, GrantTable, Registration};

use crate::store::Store;

const WINDOW: u64 = 0x1000_8000;
const KEY: &str = "virtio_blk@0x10008000";

/// A process that talks to DS.
struct Process {
    store: Rc<RefCell<Store>>,
    grants: Cell<u64>,
}

// SAFETY: nothing is mapped or looked up here, and the store keeps to what the grants name.
unsafe impl Ipc for Process {
    fn send(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn receive(&mut self, _: Endpoint, _: &mut Message) -> Result<IpcStatus, Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        assert_eq!(to, Endpoint::DS);
        self.store.borrow_mut().ask(self.grants.get(), message);
        Ok(())
    }

    fn notify(&mut self, _: Endpoint) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn sendnb(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    unsafe fn senda(&mut self, _: *mut AsyncMessage, _: usize) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        assert_eq!(message.kind, MessageType::SYS_SETGRANT);
        self.grants.set(message.payload::<SetGrant>().table);
        Ok(0)
    }
}

/// RS, as far as it gives and takes labels.
#[derive(Default)]
struct System(Rc<RefCell<Store>>);

impl System {
    /// A new instance with a label takes the disk.
    fn starts(&self, label: &str, endpoint: i32) -> Result<(), ClaimError> {
        self.0.borrow_mut().labels.insert(endpoint, label.to_owned());
        let mut process = Process {
            store: Rc::clone(&self.0),
            grants: Cell::new(0),
        };
        let table: &mut GrantTable = Box::leak(Box::new(GrantTable::new()));
        let mut registration = Registration::new(&mut process, table, Endpoint(endpoint)).expect("a table");
        registration.claim(&mut process, WINDOW)
    }

    /// RS takes the label of an instance away.
    fn is_unpublished(&self, endpoint: i32) {
        self.0.borrow_mut().labels.remove(&endpoint);
    }

    fn holder(&self) -> Option<i32> {
        self.0.borrow().numbers.get(KEY).map(|number| number.cast_signed())
    }
}

fn taken(label: &str, endpoint: i32) -> Result<(), ClaimError> {
    Err(ClaimError::Taken {
        label: Label::new(label).expect("a label"),
        endpoint: Endpoint(endpoint),
    })
}

#[test]
fn a_second_service_on_one_disk_is_refused_and_told_whose_it_is() {
    let system = System::default();
    assert_eq!(system.starts("disk", 100), Ok(()));
    let refused = system.starts("twin", 200);
    assert_eq!(refused, taken("disk", 100));
    assert_eq!(system.holder(), Some(100));
    let error = refused.expect_err("seen above");
    assert_eq!(
        (error.to_string().as_str(), error.errno()),
        ("it is served by disk, endpoint 100", Errno::EBUSY)
    );
}

#[test]
fn the_next_instance_after_a_crash_gets_the_disk() {
    let system = System::default();
    assert_eq!(system.starts("disk", 100), Ok(()));
    for endpoint in 101..120 {
        // The dead one has cleaned nothing up.
        system.is_unpublished(endpoint - 1);
        assert_eq!(system.starts("disk", endpoint), Ok(()));
        assert_eq!(system.holder(), Some(endpoint));
    }
}

#[test]
fn a_service_of_another_label_gets_the_disk_of_a_dead_one() {
    let system = System::default();
    assert_eq!(system.starts("disk", 100), Ok(()));
    system.is_unpublished(100);
    assert_eq!(system.starts("other", 200), Ok(()));
    assert_eq!(system.holder(), Some(200));
}

#[test]
fn a_service_that_waits_for_its_restart_keeps_the_disk() {
    // Dead, but RS is going to start it again, so it has its label.
    let system = System::default();
    assert_eq!(system.starts("disk", 100), Ok(()));
    assert_eq!(system.starts("other", 200), taken("disk", 100));
}

#[test]
fn of_two_that_take_the_disk_of_a_dead_one_at_once_one_gets_it() {
    let system = System::default();
    assert_eq!(system.starts("disk", 100), Ok(()));
    system.is_unpublished(100);
    {
        let mut store = system.0.borrow_mut();
        store.labels.insert(300, "rival".to_owned());
        store.rival = Some((KEY.to_owned(), 300));
    }
    assert_eq!(system.starts("other", 200), taken("rival", 300));
    assert_eq!(system.holder(), Some(300));
}
