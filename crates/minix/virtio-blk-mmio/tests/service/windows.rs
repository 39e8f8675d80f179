//! Finding the device.

use fake_minix::host::pages;
use fake_minix::{Process, System};
use minix_abi::{Endpoint, Errno};
use minix_virtio_blk::windows::{self, FindError, Found};
use minix_virtio_blk::{args, start};
use virtio_core::{Interface, Transport as _};
use virtio_mmio::MmioWindow;

const EMPTY: u32 = 0;
const NETWORK: u32 = 1;
const BLOCK: u32 = 2;

/// A machine with these devices in its windows, in the order of addresses.
fn machine(devices: [u32; 8]) -> Process {
    let process = System::default().process(Endpoint(40), "disk");
    for (nth, device) in devices.into_iter().enumerate() {
        let page = pages(4096);
        let registers: *mut u32 = std::ptr::with_exposed_provenance_mut(page);
        for (word, value) in [0x7472_6976, 1 + nth as u32 % 2, device].into_iter().enumerate() {
            // SAFETY: a page was allocated for it.
            unsafe { registers.add(word).write(value) };
        }
        let address = 0x1000_1000 + 0x1000 * nth as u64;
        process.state().device_pages.insert(address, page);
    }
    process
}

fn find(process: &mut Process, instance: u32) -> Result<Found<MmioWindow>, FindError> {
    // SAFETY: the windows are pages of the test's own; what is found is only looked at.
    unsafe { windows::find(process, instance) }
}

fn reset_stale_device(process: &mut Process, arguments: &args::Arguments) {
    // SAFETY: the windows are pages of the test's own, and nothing else has been found in them.
    unsafe { start::reset_stale_device::<MmioWindow>(process, arguments) };
}

#[test]
fn instances_are_counted_by_address() {
    let devices = [EMPTY, NETWORK, BLOCK, EMPTY, NETWORK, BLOCK, EMPTY, BLOCK];
    for (instance, address, irq, interface) in [
        (0, 0x1000_3000, 3, Interface::Legacy),
        (1, 0x1000_6000, 6, Interface::Modern),
        (2, 0x1000_8000, 8, Interface::Modern),
    ] {
        let mut process = machine(devices);
        let found = find(&mut process, instance).expect("it is there");
        assert_eq!((found.address, found.irq), (address, irq));
        assert_eq!(found.transport.interface(), interface);
        // Nothing else stays mapped.
        let state = process.state();
        let registers = found.registers.as_ptr().addr().get();
        assert_eq!(state.mapped_devices, [registers]);
        assert_eq!(state.device_pages[&address], registers);
    }
}

#[test]
fn one_too_many_is_no_device() {
    let mut process = machine([BLOCK, EMPTY, EMPTY, NETWORK, EMPTY, EMPTY, EMPTY, BLOCK]);
    let error = find(&mut process, 2).expect_err("there are two");
    let expected = FindError::NoSuchInstance { instance: 2, disks: 2 };
    assert_eq!((error, error.errno()), (expected, Errno::ENODEV));
    assert!(process.state().mapped_devices.is_empty());
    assert_eq!(error.to_string(), "no block device number 2, counted from 0: 2 found");
    let error = find(&mut machine([EMPTY; 8]), 0).expect_err("there is none");
    assert_eq!(
        (error.to_string().as_str(), error.errno()),
        ("no block device", Errno::ENODEV)
    );
}

#[test]
fn a_window_that_is_none_is_passed_over() {
    let mut process = machine([BLOCK; 8]);
    for (nth, (word, value)) in [(0, 0), (1, 3), (1, 0)].into_iter().enumerate() {
        let page = process.state().device_pages[&(0x1000_1000 + 0x1000 * nth as u64)];
        let registers: *mut u32 = std::ptr::with_exposed_provenance_mut(page);
        // SAFETY: a page was allocated for it.
        unsafe { registers.add(word).write(value) };
    }
    let found = find(&mut process, 0).expect("the fourth is one");
    assert_eq!(found.irq, 4);
}

#[test]
fn without_the_right_to_look_there_is_a_reason() {
    let mut process = machine([BLOCK; 8]);
    process.state().closed = true;
    let refused = find(&mut process, 0).expect_err("the kernel says no");
    assert_eq!(refused.errno(), Errno::ECALLDENIED);
    let mut process = machine([BLOCK; 8]);
    process.state().device_pages.clear();
    let refused = find(&mut process, 0).expect_err("VM says no");
    assert_eq!(refused, FindError::Refused(Errno::EPERM));
}

#[test]
fn the_device_of_a_dead_instance_is_stopped_and_no_other() {
    let status = |process: &Process, nth: u64| -> *mut u32 {
        let page = process.state().device_pages[&(0x1000_1000 + 0x1000 * nth)];
        std::ptr::with_exposed_provenance_mut::<u32>(page).wrapping_byte_add(0x070)
    };
    let mut process = machine([BLOCK, NETWORK, BLOCK, EMPTY, EMPTY, EMPTY, EMPTY, BLOCK]);
    for nth in 0..8 {
        // SAFETY: a page was allocated for it.
        unsafe { status(&process, nth).write(0xF) };
    }
    let arguments = args::parse(["instance=1"]).expect("it is a word");
    // The hook of the dead instance.
    process.state().hooked = vec![3];
    reset_stale_device(&mut process, &arguments);
    assert!(process.state().hooked.is_empty());
    for nth in 0..8 {
        // SAFETY: as above.
        let now = unsafe { status(&process, nth).read() };
        assert_eq!(now, if nth == 2 { 0 } else { 0xF }, "{nth}");
    }
    // Where there is none, or the kernel says no, nothing comes of it.
    reset_stale_device(&mut machine([EMPTY; 8]), &arguments);
    process.state().closed = true;
    reset_stale_device(&mut process, &arguments);
}
