//! A function that goes away, and one whose registers do not answer.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{Plugged, QUEUE, enable, forms};
use virtio_blk_model::ModelFunction;
use virtio_core::{
    DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, QueueSetupError, ResetError,
    Transport,
};
use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};
use virtio_pci::{PciFunction, probe};

fn never() -> impl FnMut() -> bool {
    || panic!("there is nothing to wait for")
}

#[test]
fn everything_that_reads_says_so() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.negotiated(Features::empty());
        plugged.model.go_away();
        assert_eq!(transport.status(), Err(DeviceGone));
        assert_eq!(transport.offered_features(), Err(DeviceGone));
        assert_eq!(transport.max_queue_size(QUEUE), Err(DeviceGone));
        assert_eq!(transport.read_config_u8(0), Err(DeviceGone));
        assert_eq!(transport.read_config_u16(0), Err(DeviceGone));
        assert_eq!(transport.read_config_u32(0), Err(DeviceGone));
        assert_eq!(enable(&mut transport, &plugged.queue(256)), Err(QueueSetupError::Gone));
        assert_eq!(transport.disable_queue(QUEUE, &mut never()), Err(QueueSetupError::Gone));
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::all()
        );
        assert_eq!(transport.reset(&mut never()), Err(ResetError::Gone));
        let generation = transport.config_generation();
        assert!(matches!(generation, Err(DeviceGone) | Ok(None)));
        plugged.model.assert_clean();
    }
}

#[test]
fn a_configuration_of_ones_is_no_sign_of_it() {
    let plugged = Plugged::modern();
    plugged.model.resize(u64::MAX);
    assert_eq!(plugged.transport().read_config_u32(4), Ok(u32::MAX));
    assert_eq!(plugged.transport().status(), Ok(DeviceStatus::empty()));
}

#[test]
fn registers_that_do_not_answer_are_no_device_gone() {
    let plugged = Plugged::modern();
    let mut transport = plugged.negotiated(Features::empty());
    enable(&mut transport, &plugged.queue(16)).unwrap();
    plugged.function.set_deaf(true);
    assert_eq!(transport.status(), Ok(DeviceStatus::all()));
    assert!(plugged.function.masters_the_bus(), "looking changes nothing");
}

#[test]
fn a_device_that_does_not_answer_is_cut_off_from_memory() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.negotiated(Features::empty());
        let setup = plugged.queue(256);
        enable(&mut transport, &setup).unwrap();
        plugged.function.set_deaf(true);
        assert_eq!(transport.reset(&mut never()), Err(ResetError::Gone));
        assert!(!plugged.function.masters_the_bus());

        // It is back, with the queue it knew. It is not let at memory before it was reset.
        plugged.function.set_deaf(false);
        assert_eq!(enable(&mut transport, &setup), Err(QueueSetupError::NotReady));
        assert!(!plugged.function.masters_the_bus());
        common::negotiate(&mut transport, Features::empty());
        assert_eq!(enable(&mut transport, &plugged.queue(256)), Ok(()));
        assert!(plugged.function.masters_the_bus());
    }
}

/// Sets DRIVER_OK, without which a device does not interrupt.
fn go_live(transport: &mut common::ModelTransport) {
    let status = transport.status().unwrap() | DeviceStatus::DRIVER_OK;
    transport.write_status(status);
}

#[test]
fn a_device_that_is_cut_off_lets_go_of_the_line() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.negotiated(Features::empty());
        enable(&mut transport, &plugged.queue(256)).unwrap();
        go_live(&mut transport);
        plugged.model.spurious_interrupt(1);
        assert!(plugged.function.line());
        plugged.function.set_deaf(true);
        assert_eq!(transport.reset(&mut never()), Err(ResetError::Gone));
        assert!(!plugged.function.line(), "no register takes it down");

        plugged.function.set_deaf(false);
        common::negotiate(&mut transport, Features::empty());
        go_live(&mut transport);
        plugged.model.spurious_interrupt(1);
        assert!(plugged.function.line(), "it has its line back");
    }
}

#[test]
fn a_line_that_was_kept_down_stays_down_after_a_reset() {
    let plugged = Plugged::modern();
    let mut transport = plugged.negotiated(Features::empty());
    transport.set_line_enabled(false);
    plugged.function.set_deaf(true);
    assert_eq!(transport.reset(&mut never()), Err(ResetError::Gone));
    plugged.function.set_deaf(false);
    common::negotiate(&mut transport, Features::empty());
    go_live(&mut transport);
    plugged.model.spurious_interrupt(1);
    assert!(!plugged.function.line());
}

#[test]
fn a_queue_that_is_not_taken_cuts_the_device_off() {
    let plugged = Plugged::modern();
    let mut transport = plugged.negotiated(Features::empty());
    // From the write of queue_enable on nothing is answered: that is the last but two of the accesses.
    let before = plugged.function.accesses();
    enable(&mut transport, &plugged.queue(16)).unwrap();
    let accesses = plugged.function.accesses() - before;
    for left in (0..accesses).step_by(if cfg!(miri) { 10 } else { 1 }) {
        let plugged = Plugged::modern();
        let mut transport = plugged.negotiated(Features::empty());
        plugged.model.go_away_after(left);
        assert_eq!(
            enable(&mut transport, &plugged.queue(16)),
            Err(QueueSetupError::Gone),
            "{left}"
        );
        plugged.model.assert_clean();
    }
}

#[test]
fn a_function_can_go_at_every_access() {
    let run = |plugged: &Plugged| {
        let Ok(mut transport) = plugged.probe() else {
            return false;
        };
        let table = transport.open_msix(&mut plugged.function.clone());
        if transport.reset(&mut PollLimit(9)).is_err() {
            return false;
        }
        transport.write_status(DeviceStatus::ACKNOWLEDGE);
        transport.write_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let Ok(offered) = transport.offered_features() else {
            return false;
        };
        transport.write_accepted_features(offered & Features::VERSION_1);
        let begun = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        transport.write_status(begun);
        if transport.status() != Ok(begun) {
            return false;
        }
        let vector = table.is_ok().then_some(virtio_core::InterruptVector(1));
        let config = transport.set_config_vector(vector).is_ok();
        let mut setup = plugged.queue(256);
        setup.vector = vector;
        let enabled = enable(&mut transport, &setup).is_ok();
        transport.write_status(begun | DeviceStatus::DRIVER_OK);
        let live = transport.status() == Ok(begun | DeviceStatus::DRIVER_OK);
        let reset = transport.reset(&mut PollLimit(9));
        assert!(reset != Err(ResetError::TimedOut));
        config && enabled && live && reset.is_ok()
    };
    let (form, config) = forms()[1].clone();
    let whole = Plugged::new(form, config.clone());
    assert!(run(&whole));
    whole.model.assert_clean();
    // Each run has a model of its own, which takes Miri long.
    let step = if cfg!(miri) { 60 } else { 1 };
    for accesses in (0..whole.function.accesses()).step_by(step) {
        let plugged = Plugged::new(form, config.clone());
        plugged.model.go_away_after(accesses);
        let ended = run(&plugged);
        assert!(!plugged.function.masters_the_bus());
        // At last bus mastering is switched off, after all was said.
        assert!(!ended || accesses + 5 > whole.function.accesses(), "{accesses}");
        plugged.model.assert_clean();
    }
}

/// A function that is gone whenever it is read, and is back whenever it is written.
#[derive(Clone)]
struct Flickering {
    function: ModelFunction,
    gone: Rc<Cell<bool>>,
}

impl ConfigRegionAccess for Flickering {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if self.gone.get() {
            return u32::MAX;
        }
        // SAFETY: the caller keeps the contract, here and below.
        unsafe { self.function.read(address, offset) }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: as above.
        unsafe { self.function.write(address, offset, value) }
    }
}

#[test]
fn a_command_register_of_ones_is_not_written_back() {
    let plugged = Plugged::modern();
    let gone = Rc::new(Cell::new(false));
    let access = Flickering {
        function: plugged.function.clone(),
        gone: Rc::clone(&gone),
    };
    // SAFETY: a model; it uses no memory but its own.
    let function = unsafe { PciFunction::new(access, plugged.function.address()) };
    let mut transport = probe(function, &mut plugged.function.clone()).unwrap();
    gone.set(true);
    transport.set_line_enabled(true);
    assert!(!plugged.function.masters_the_bus());
    plugged.function.set_deaf(true);
    assert_eq!(transport.reset(&mut never()), Err(ResetError::Gone));
    gone.set(false);
    assert!(
        transport.function().command().is_empty(),
        "all is off, should it be back"
    );
}
