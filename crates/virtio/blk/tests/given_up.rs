//! What cannot be brought up, or not be shut down: a clean error, the device told, nothing kept, and another try.

mod common;

use common::{Access, Rig, Stingy, TestDisk, every_ring, pattern, register};
use virtio_blk::{DiskOptions, InitError, Request};
use virtio_blk_model::{AtDriverOk, Model, ModelConfig, feature};
use virtio_core::{
    ConfigUnstable, DeviceStatus, DeviceType, DmaError, Features, HandshakeError, PollLimit, QueueSetupError, QueueSize,
};

/// A device that does not come up: the error. No memory is kept, no rule broken, and the device is told, if it can be.
fn fails<const N: usize>(config: ModelConfig, options: &DiskOptions) -> InitError {
    let model = Model::new(config);
    let transport = Rig::<N>::probe(&model);
    let failed = match Rig::<N>::on(model.clone(), transport, options) {
        Ok(_) => panic!("the device comes up"),
        Err(failed) => failed,
    };
    assert_eq!(model.allocations(), 0, "{}", failed.error);
    assert_eq!(model.counters().notifies, 0);
    assert!(!model.status().contains(DeviceStatus::DRIVER_OK));
    model.assert_clean();
    let quiet = matches!(
        failed.error,
        InitError::NotBlock(_) | InitError::Handshake(HandshakeError::ResetTimeout)
    );
    assert_eq!(
        model.status().contains(DeviceStatus::FAILED),
        !quiet,
        "{}",
        failed.error
    );
    failed.error
}

#[test]
fn a_capacity_beyond_all_bytes_is_no_capacity() {
    // What a window that ends before its configuration reads as, too.
    for sectors in [u64::MAX, 1 << 55] {
        let boundless = ModelConfig {
            capacity: sectors,
            ..ModelConfig::modern()
        };
        let error = fails::<16>(boundless, &DiskOptions::default());
        assert_eq!(error, InitError::BadCapacity { sectors });
    }
}

#[test]
fn devices_that_cannot_be_driven_are_given_up_cleanly() {
    let options = DiskOptions::default();
    let refuses = ModelConfig {
        refuse_features: true,
        ..ModelConfig::modern()
    };
    let accepted = Features::from_low(ModelConfig::modern().withdraw(feature::RING_RESET).offered.low());
    assert_eq!(
        fails::<16>(refuses, &options),
        InitError::Handshake(HandshakeError::FeaturesRefused(accepted))
    );

    let demanding = ModelConfig {
        demanded: Features::ORDER_PLATFORM,
        ..ModelConfig::modern()
    };
    let error = fails::<16>(demanding, &options);
    assert!(matches!(
        error,
        InitError::Handshake(HandshakeError::FeaturesRefused(_))
    ));

    let old = ModelConfig::modern().withdraw(feature::VERSION_1);
    assert_eq!(
        fails::<16>(old, &options),
        InitError::Handshake(HandshakeError::NotVersion1)
    );

    let dead = ModelConfig {
        stuck_reset: true,
        ..ModelConfig::modern()
    };
    let patient = DiskOptions {
        poll_limit: PollLimit(50),
        ..options
    };
    let timeout = InitError::Handshake(HandshakeError::ResetTimeout);
    assert_eq!(fails::<16>(dead, &patient), timeout);

    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let queueless = ModelConfig {
            queues: 0,
            ..config.clone()
        };
        assert_eq!(fails::<16>(queueless, &options), InitError::NoQueue);
        let sizeless = ModelConfig {
            queue_size_max: 0,
            ..config.clone()
        };
        assert_eq!(fails::<16>(sizeless, &options), InitError::NoQueue);
        let other = ModelConfig {
            device_id: 1,
            ..config.clone()
        };
        assert_eq!(fails::<16>(other, &options), InitError::NotBlock(DeviceType(1)));
    }
}

#[test]
fn a_reset_may_take_as_long_as_the_limit_says() {
    let slow = ModelConfig {
        reset_reads: 9,
        ..ModelConfig::modern()
    };
    let options = |limit| DiskOptions {
        poll_limit: PollLimit(limit),
        ..DiskOptions::default()
    };
    Rig::<16>::with(slow.clone(), &options(10)).finish();
    assert_eq!(
        fails::<16>(slow, &options(9)),
        InitError::Handshake(HandshakeError::ResetTimeout)
    );
}

#[test]
fn a_queue_needs_room_for_one_request() {
    every_ring(|config| {
        for (offered, size) in [(1, 1), (2, 2), (3, 2)] {
            let config = ModelConfig {
                queue_size_max: offered,
                ..config.clone()
            };
            let error = fails::<16>(config, &DiskOptions::default());
            assert_eq!(error, InitError::QueueTooSmall { size });
        }
        // What else makes it too small: the driver's own capacity, or the caller's wish.
        assert_eq!(
            fails::<2>(config.clone(), &DiskOptions::default()),
            InitError::QueueTooSmall { size: 2 }
        );
        let stingy = DiskOptions {
            max_queue_size: QueueSize::new(1).unwrap(),
            ..DiskOptions::default()
        };
        assert_eq!(
            fails::<16>(config.clone(), &stingy),
            InitError::QueueTooSmall { size: 1 }
        );

        for (offered, size) in [(4, 4), (5, 4), (7, 4), (8, 8), (1024, 16), (32768, 16)] {
            let config = ModelConfig {
                queue_size_max: offered,
                ..config.clone()
            };
            let mut rig = Rig::<16>::new(config);
            assert_eq!(rig.disk.queue().ring_state().size, size);
            rig.works();
            rig.finish();
        }
    });
}

#[test]
fn memory_comes_back_whichever_piece_is_missing() {
    every_ring(|config| {
        for left in 0..2 {
            let model = Model::new(config.clone());
            let mut dma = Stingy { dma: model.dma(), left };
            let transport = Rig::<16>::probe(&model);
            let failed = TestDisk::<16>::start(transport, &mut dma, &DiskOptions::default()).unwrap_err();
            assert_eq!(failed.error, InitError::Dma(DmaError::OutOfMemory));
            assert_eq!(model.allocations(), 0);
            assert!(model.status().contains(DeviceStatus::FAILED));
            // With memory it would have come up, and still does.
            let mut rig = Rig::<16>::on(model, failed.transport, &DiskOptions::default()).unwrap();
            rig.works();
            rig.finish();
        }
    });
}

#[test]
fn a_queue_that_is_not_taken_is_an_error_and_its_memory_comes_back() {
    for (config, register) in [
        (ModelConfig::modern(), register::QUEUE_READY),
        (ModelConfig::legacy(), register::QUEUE_PFN),
    ] {
        let model = Model::new(config);
        let transport = Rig::<16>::probe(&model);
        transport
            .access()
            .hook(move |access| (access == Access::Read(register)).then_some(0));
        let failed = Rig::<16>::on(model.clone(), transport, &DiskOptions::default())
            .err()
            .expect("the queue is not taken");
        assert_eq!(failed.error, InitError::Queue(QueueSetupError::NotReady));
        assert_eq!(model.allocations(), 0);
        assert_eq!(
            model.status() & (DeviceStatus::FAILED | DeviceStatus::DRIVER_OK),
            DeviceStatus::FAILED
        );
        failed.transport.access().unhook();
        let mut rig = Rig::<16>::on(model.clone(), failed.transport, &DiskOptions::default()).unwrap();
        rig.works();
        rig.finish();
    }
}

#[test]
fn a_configuration_that_never_stands_still_is_an_error() {
    let options = DiskOptions {
        poll_limit: PollLimit(20),
        ..DiskOptions::default()
    };
    for (config, restless) in [
        (ModelConfig::modern(), register::CONFIG_GENERATION),
        (ModelConfig::legacy(), register::CONFIG),
    ] {
        let model = Model::new(config);
        let transport = Rig::<16>::probe(&model);
        let mut reads = 0;
        transport.access().hook(move |access| {
            (access == Access::Read(restless)).then(|| {
                reads += 1;
                reads
            })
        });
        let failed = Rig::<16>::on(model.clone(), transport, &options)
            .err()
            .expect("no bring-up");
        assert_eq!(failed.error, InitError::ConfigUnstable(ConfigUnstable));
        assert_eq!(model.allocations(), 0);
        assert!(model.status().contains(DeviceStatus::FAILED));
        model.assert_clean();
    }
}

#[test]
fn a_transport_can_be_used_again_and_again() {
    every_ring(|config| {
        let model = Model::new(config);
        let mut transport = Rig::<16>::probe(&model);
        let too_small = DiskOptions {
            max_queue_size: QueueSize::new(2).unwrap(),
            ..DiskOptions::default()
        };
        for round in 0..3 {
            let failed = Rig::<16>::on(model.clone(), transport, &too_small)
                .err()
                .expect("no bring-up");
            assert!(model.status().contains(DeviceStatus::FAILED));
            assert_eq!(failed.error, InitError::QueueTooSmall { size: 2 });
            let mut rig = Rig::<16>::on(model.clone(), failed.transport, &DiskOptions::default()).unwrap();
            rig.write(round, &pattern(round, 512));
            rig.works();
            let aborted;
            rig.submit(Request::identify);
            rig.disk.notify();
            (transport, _, aborted) = rig.abandon();
            assert_eq!(aborted.len(), 1);
        }
        assert_eq!(model.read_disk(2, 1), pattern(2, 512));
        model.assert_clean();
    });
}

#[test]
fn a_shutdown_the_device_does_not_finish_keeps_everything() {
    let options = DiskOptions {
        poll_limit: PollLimit(10),
        ..DiskOptions::default()
    };
    let mut rig = Rig::<16>::with(ModelConfig::modern(), &options);
    let token = rig.submit(Request::flush);
    rig.disk.notify();
    let held = rig.model.allocations();
    rig.registers
        .hook(|access| (access == Access::Read(register::STATUS)).then_some(4));
    let Rig {
        model, registers, disk, ..
    } = rig;
    let mut dma = model.dma();
    let (_, disk) = disk
        .shut_down(&mut dma, |_| panic!("the device may still be at it"))
        .err()
        .expect("the reset is not seen to end");
    assert_eq!(model.allocations(), held);
    registers.unhook();
    let mut aborted = Vec::new();
    disk.shut_down(&mut dma, |completion| aborted.push(completion.token))
        .expect("now it is");
    assert_eq!(aborted, [token]);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_device_that_fails_at_driver_ok_is_an_error_and_its_memory_comes_back() {
    every_ring(|config| {
        let live = if config.offered.contains(Features::VERSION_1) {
            0x0F
        } else {
            0x07
        };
        for (at_driver_ok, status) in [
            (AtDriverOk::NeedsReset, live | 64),
            (AtDriverOk::Failed, live | 128),
            (AtDriverOk::Refused, live & !4),
        ] {
            let config = ModelConfig {
                at_driver_ok,
                ..config.clone()
            };
            let status = DeviceStatus::from_bits_retain(status);
            let error = fails::<16>(config, &DiskOptions::default());
            assert_eq!(error, InitError::NotLive { status }, "{at_driver_ok:?}");
        }
    });
}

#[test]
fn a_device_that_fails_at_driver_ok_and_does_not_reset_keeps_the_memory() {
    let options = DiskOptions {
        poll_limit: PollLimit(10),
        ..DiskOptions::default()
    };
    let model = Model::new(ModelConfig::modern());
    let transport = Rig::<16>::probe(&model);
    let mut started = false;
    transport.access().hook(move |access| match access {
        Access::Write(register::STATUS, status) => {
            started |= status & 4 != 0;
            None
        }
        Access::Read(register::STATUS) if started => Some(0x4F),
        _ => None,
    });
    let failed = Rig::<16>::on(model.clone(), transport, &options)
        .err()
        .expect("no bring-up");
    let status = DeviceStatus::from_bits_retain(0x4F);
    assert_eq!(failed.error, InitError::Stuck { status });
    let lost = model.allocations();
    assert_eq!(lost, 2, "rings and slots");
    // Later it resets after all.
    failed.transport.access().unhook();
    let mut dma = model.dma();
    let mut disk = TestDisk::<16>::start(failed.transport, &mut dma, &options).expect("it comes up");
    disk.submit(Request::flush(1)).unwrap();
    disk.notify();
    model.process(usize::MAX);
    assert_eq!(disk.poll(|completion| assert!(completion.result.is_ok())), Ok(1));
    disk.shut_down(&mut dma, |_| unreachable!()).expect("it resets");
    assert_eq!(model.allocations(), lost);
}
