//! What the transport writes and reads, and what it makes of the answers.

mod common;

use common::{Plugged, QUEUE, enable, forms, negotiate};
use virtio_blk_model::{ModelConfig, PciForm, RingReset, feature};
use virtio_core::{
    DeviceStatus, Features, InterruptCauses, InterruptSource, PollLimit, QueueIndex, QueueNotifier, QueueSetupError,
    ResetError, Transport,
};

/// A live device with a queue.
fn live(plugged: &Plugged, wanted: Features) -> common::ModelTransport {
    let mut transport = plugged.negotiated(wanted);
    enable(&mut transport, &plugged.queue(256)).unwrap();
    let status = transport.status().unwrap() | DeviceStatus::DRIVER_OK;
    transport.write_status(status);
    transport
}

// Shows INIT-D-10.
#[test]
fn both_words_of_features_are_read_and_written() {
    let config = ModelConfig::modern().offer(1 << 63);
    let plugged = Plugged::new(PciForm::Modern, config.clone());
    let mut transport = plugged.transport();
    transport.reset(&mut PollLimit(1)).unwrap();
    transport.write_status(DeviceStatus::ACKNOWLEDGE);
    transport.write_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.offered_features(), Ok(config.offered));
    transport.write_accepted_features(Features::VERSION_1 | Features::EVENT_IDX);
    assert_eq!(plugged.model.accepted(), Features::VERSION_1 | Features::EVENT_IDX);
    plugged.model.assert_clean();
}

#[test]
fn a_legacy_device_has_one_word_of_features() {
    let plugged = Plugged::legacy();
    let mut transport = plugged.transport();
    transport.reset(&mut PollLimit(1)).unwrap();
    transport.write_status(DeviceStatus::ACKNOWLEDGE);
    transport.write_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.offered_features(), Ok(ModelConfig::legacy().offered));
    assert_eq!(transport.supported_features(), Features::empty());
    assert_eq!(transport.config_generation(), Ok(None));
    plugged.model.assert_clean();
}

// Shows FEAT-D-06.
#[test]
fn features_of_the_transport_go_by_its_registers() {
    // The length of the common configuration, and what it leaves.
    let supported = |length: u8| {
        let plugged = Plugged::modern();
        plugged.function.poke(0x4C, &[length, 0]);
        plugged.transport().supported_features()
    };
    let always = Features::ACCESS_PLATFORM | Features::ORDER_PLATFORM | Features::NOTIFICATION_DATA;
    assert_eq!(supported(0x38), always);
    assert_eq!(supported(0x3A), always | Features::NOTIF_CONFIG_DATA);
    assert_eq!(
        supported(0x3C),
        always | Features::NOTIF_CONFIG_DATA | Features::RING_RESET
    );
}

// Shows PCI-D-23.
#[test]
fn a_reset_is_over_when_the_status_reads_0() {
    for (form, config) in forms() {
        let config = ModelConfig {
            reset_reads: 3,
            ..config
        };
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.transport();
        assert_eq!(transport.reset(&mut PollLimit(2)), Err(ResetError::TimedOut));
        assert_eq!(transport.reset(&mut PollLimit(3)), Ok(()));
        let mut looks = 0;
        let mut until = || {
            looks += 1;
            true
        };
        assert_eq!(transport.reset(&mut until), Ok(()));
        assert_eq!(looks, 3, "the caller says how long");
        plugged.model.assert_clean();
    }
}

#[test]
fn a_device_masters_the_bus_from_its_first_queue_to_its_reset() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.negotiated(Features::empty());
        assert!(!plugged.function.masters_the_bus());
        enable(&mut transport, &plugged.queue(256)).unwrap();
        assert!(plugged.function.masters_the_bus());
        transport.reset(&mut PollLimit(1)).unwrap();
        assert!(!plugged.function.masters_the_bus());
        plugged.model.assert_clean();
    }
}

// Shows PCI-D-08.
#[test]
fn a_queue_is_set_up_as_the_device_wants_it() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.negotiated(Features::empty());
        assert_eq!(transport.max_queue_size(QUEUE), Ok(256));
        assert_eq!(transport.max_queue_size(QueueIndex(1)), Ok(0));
        let setup = plugged.queue(256);
        // SAFETY: there is no such queue.
        let none = unsafe { transport.enable_queue(QueueIndex(1), &setup) };
        assert_eq!(none, Err(QueueSetupError::NoSuchQueue));
        assert_eq!(
            enable(&mut transport, &plugged.queue(512)),
            Err(QueueSetupError::TooLarge)
        );
        assert_eq!(enable(&mut transport, &setup), Ok(()));
        assert_eq!(enable(&mut transport, &setup), Err(QueueSetupError::InUse));
        plugged.model.assert_clean();
    }
}

// Shows LEG-D-07.
#[test]
fn a_modern_queue_can_be_smaller_and_a_legacy_one_not() {
    let plugged = Plugged::modern();
    let mut transport = plugged.negotiated(Features::empty());
    assert_eq!(enable(&mut transport, &plugged.queue(16)), Ok(()));
    let plugged = Plugged::legacy();
    let mut transport = plugged.negotiated(Features::empty());
    assert_eq!(
        enable(&mut transport, &plugged.queue(16)),
        Err(QueueSetupError::SizeFixed)
    );
    assert!(!plugged.function.masters_the_bus());
}

#[test]
fn addresses_that_do_not_fit_are_refused() {
    let plugged = Plugged::modern();
    let mut transport = plugged.negotiated(Features::empty());
    let setup = plugged.queue(16);
    for (table, driver, device) in [(8, 0, 0), (0, 1, 0), (0, 0, 2)] {
        let mut moved = setup;
        moved.descriptor_table = moved.descriptor_table.checked_add(table).unwrap();
        moved.driver_area = moved.driver_area.checked_add(driver).unwrap();
        moved.device_area = moved.device_area.checked_add(device).unwrap();
        assert_eq!(enable(&mut transport, &moved), Err(QueueSetupError::BadAddress));
    }
    let plugged = Plugged::legacy();
    let mut transport = plugged.negotiated(Features::empty());
    let setup = plugged.queue(256);
    let mut moved = setup;
    moved.device_area = moved.device_area.checked_add(4096).unwrap();
    assert_eq!(enable(&mut transport, &moved), Err(QueueSetupError::BadAddress));
    let narrow = virtio_core::QueueSetup {
        legacy_align: 64,
        ..setup
    };
    assert_eq!(enable(&mut transport, &narrow), Err(QueueSetupError::BadAddress));
}

#[test]
fn a_doorbell_out_of_reach_is_refused() {
    let refused = |at: u8, bytes: &[u8], wanted| {
        let plugged = Plugged::new(PciForm::Modern, ModelConfig::modern().offer(feature::NOTIFICATION_DATA));
        plugged.function.poke(at, bytes);
        let mut transport = plugged.negotiated(wanted);
        let result = enable(&mut transport, &plugged.queue(16));
        transport.notifier(QUEUE, wanted).notify(1).unwrap();
        let rung = plugged.model.counters().notifies > 0;
        assert_eq!(rung, result.is_ok(), "one out of reach rings nothing");
        result
    };
    let with_data = Features::NOTIFICATION_DATA;
    // Two bytes are left in the structure; with data a doorbell has four.
    assert_eq!(refused(0x7C, &[2, 0], Features::empty()), Ok(()));
    assert_eq!(refused(0x7C, &[2, 0], with_data), Err(QueueSetupError::NoDoorbell));
}

#[test]
fn a_doorbell_is_aligned_to_its_own_width() {
    let enabled = |offset: u16, multiplier: u8, wanted| {
        let plugged = Plugged::new(PciForm::Modern, ModelConfig::modern().offer(feature::NOTIFICATION_DATA));
        plugged.function.poke(0x78, &offset.to_le_bytes());
        plugged.function.poke(0x80, &[multiplier]);
        enable(&mut plugged.negotiated(wanted), &plugged.queue(16))
    };
    assert_eq!(enabled(0x3002, 4, Features::empty()), Ok(()));
    // The structure starts two bytes after a place for four: a store there would reach nothing.
    let with_data = enabled(0x3002, 4, Features::NOTIFICATION_DATA);
    assert_eq!(with_data, Err(QueueSetupError::NoDoorbell));
}

#[test]
fn a_device_that_was_not_reset_is_not_let_at_memory() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.transport();
        assert_eq!(
            enable(&mut transport, &plugged.queue(256)),
            Err(QueueSetupError::NotReady)
        );
        assert!(!plugged.function.masters_the_bus(), "it may know queues of before");
    }
}

#[test]
fn a_doorbell_past_the_structure_is_refused_for_later_queues() {
    let config = ModelConfig {
        queues: 2,
        ..ModelConfig::modern().offer(feature::MQ)
    };
    for (multiplier, result) in [
        (4, Ok(())),
        (0x1000, Err(QueueSetupError::NoDoorbell)),
        (1, Err(QueueSetupError::NoDoorbell)),
    ] {
        let plugged = Plugged::new(PciForm::Modern, config.clone());
        plugged.function.poke(0x80, &u32::to_le_bytes(multiplier));
        let mut transport = plugged.negotiated(Features::empty());
        // SAFETY: the memory belongs to the model and stays allocated.
        let second = unsafe { transport.enable_queue(QueueIndex(1), &plugged.queue(16)) };
        assert_eq!(second, result, "{multiplier}");
    }
}

#[test]
fn a_multiplier_of_0_is_one_doorbell_for_all() {
    let plugged = Plugged::modern();
    plugged.function.poke(0x80, &[0]);
    let transport = &mut live(&plugged, Features::empty());
    transport.notifier(QUEUE, Features::empty()).notify(0).unwrap();
    assert_eq!(plugged.model.counters().notifies, 1);
    plugged.model.assert_clean();
}

// Shows PCI-D-36, PCI-D-37, PCI-D-38, PCI-D-39, PCI-D-40, PCI-D-41.
#[test]
fn notifications_have_the_format_that_was_agreed_on() {
    let (data, config) = (Features::NOTIFICATION_DATA, Features::NOTIF_CONFIG_DATA);
    for wanted in [Features::empty(), data, config, data | config] {
        let device = ModelConfig::modern().offer((data | config).low());
        let plugged = Plugged::new(PciForm::Modern, device);
        let mut transport = live(&plugged, wanted);
        let accepted = plugged.model.accepted();
        assert_eq!(accepted & (data | config), wanted);
        transport.notifier(QUEUE, accepted).notify(0).unwrap();
        assert_eq!(plugged.model.counters().notifies, 1);
        plugged.model.assert_clean();
    }
}

#[test]
fn a_legacy_doorbell_takes_the_queue() {
    let plugged = Plugged::legacy();
    let mut transport = live(&plugged, Features::empty());
    transport.notifier(QUEUE, Features::empty()).notify(0).unwrap();
    assert_eq!(plugged.model.counters().notifies, 1);
    plugged.model.assert_clean();
}

// Shows PCI-D-42.
#[test]
fn the_line_tells_its_causes_once() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = live(&plugged, Features::empty());
        plugged.model.spurious_interrupt(3);
        assert!(plugged.function.line());
        let causes = transport.interrupt_causes(InterruptSource::Line);
        assert_eq!(causes, InterruptCauses::all());
        assert!(!plugged.function.line(), "reading takes the line down");
        assert!(!transport.acknowledge_interrupt(InterruptSource::Line, causes));
        // What comes now is the interrupt of another device.
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::empty()
        );
        plugged.model.assert_clean();
    }
}

#[test]
fn bits_without_a_meaning_are_no_causes() {
    let config = ModelConfig {
        interrupt_noise: 0xF0,
        ..ModelConfig::modern()
    };
    let plugged = Plugged::new(PciForm::Modern, config);
    let mut transport = plugged.transport();
    assert_eq!(
        transport.interrupt_causes(InterruptSource::Line),
        InterruptCauses::empty()
    );
}

#[test]
fn the_line_can_be_kept_down() {
    let plugged = Plugged::modern();
    let mut transport = live(&plugged, Features::empty());
    transport.set_line_enabled(false);
    plugged.model.spurious_interrupt(1);
    assert!(!plugged.function.line());
    transport.set_line_enabled(true);
    assert!(plugged.function.line());
}

#[test]
fn a_probe_gives_the_line_back() {
    let plugged = Plugged::modern();
    let mut transport = plugged.transport();
    transport.set_line_enabled(false);
    let function = transport.into_function();
    let mut again = virtio_pci::probe(function, &mut plugged.function.clone()).unwrap();
    negotiate(&mut again, Features::empty());
    again.write_status(again.status().unwrap() | DeviceStatus::DRIVER_OK);
    plugged.model.spurious_interrupt(1);
    assert!(plugged.function.line(), "firmware may have left it like that, too");
}

// Shows VQR-D-03, PCI-D-25, PCI-D-26, PCI-D-27.
#[test]
fn a_queue_is_reset_alone_and_set_up_anew() {
    let config = ModelConfig {
        ring_reset: RingReset::After(2),
        ..ModelConfig::modern()
    };
    let plugged = Plugged::new(PciForm::Modern, config);
    let mut transport = live(&plugged, Features::RING_RESET);
    assert_eq!(transport.disable_queue(QUEUE, &mut PollLimit(2)), Ok(()));
    assert_eq!(plugged.model.counters().queue_resets, 1);
    assert_eq!(enable(&mut transport, &plugged.queue(16)), Ok(()));
    plugged.model.assert_clean();
}

// Shows VQR-D-01, PCI-D-25.
#[test]
fn a_queue_reset_that_does_not_end_is_given_up() {
    let config = ModelConfig {
        ring_reset: RingReset::Stuck,
        ..ModelConfig::modern()
    };
    let plugged = Plugged::new(PciForm::Modern, config);
    let mut transport = live(&plugged, Features::RING_RESET);
    assert_eq!(
        transport.disable_queue(QUEUE, &mut PollLimit(5)),
        Err(QueueSetupError::NotReady)
    );
}

#[test]
fn without_ring_reset_a_queue_cannot_be_disabled() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = live(&plugged, Features::empty());
        let accesses = plugged.function.accesses();
        assert_eq!(
            transport.disable_queue(QUEUE, &mut PollLimit(5)),
            Err(QueueSetupError::NotReady)
        );
        assert!(
            plugged.function.accesses() <= accesses + 1,
            "nothing but a look whether it is there"
        );
    }
}

#[test]
fn a_dump_changes_nothing() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = live(&plugged, Features::empty());
        plugged.model.spurious_interrupt(1);
        let mut names = Vec::new();
        transport.visit_registers(&mut |name, _| names.push(name));
        assert!(names.contains(&"PCI command") && names.len() >= 5, "{names:?}");
        assert_eq!(
            transport.interrupt_causes(InterruptSource::Line),
            InterruptCauses::USED_BUFFER
        );
        plugged.model.assert_clean();
    }
}

#[test]
fn a_later_transport_starts_where_the_function_is() {
    let plugged = Plugged::modern();
    let mut transport = live(&plugged, Features::empty());
    transport.reset(&mut PollLimit(1)).unwrap();
    let function = transport.into_function();
    let mut again = virtio_pci::probe(function, &mut plugged.function.clone()).unwrap();
    negotiate(&mut again, Features::empty());
    assert_eq!(enable(&mut again, &plugged.queue(16)), Ok(()));
    plugged.model.assert_clean();
}
