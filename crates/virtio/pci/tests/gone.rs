//! A function that goes away, and one whose registers do not answer.

mod common;

use common::{Plugged, QUEUE, enable, forms};
use virtio_core::{
    DeviceGone, DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, QueueSetupError, ResetError,
    Transport,
};

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
