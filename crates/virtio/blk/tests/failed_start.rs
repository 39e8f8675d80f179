//! What cannot be brought up, or not be shut down: a clean error, the device told, nothing kept, and another try.

mod common;

use common::{Access, Rig, Stingy, TestDisk, TestTransport, every_ring, options, pattern, register};
use virtio_blk::{DiskOptions, InitError, Request, StartError};
use virtio_blk_model::{AtDriverOk, Model, ModelConfig, feature};
use virtio_core::{
    DeviceStatus, DeviceType, DmaError, Features, HandshakeError, PollLimit, QueueSetupError, QueueSize,
};

/// A device that does not come up: the error and its transport. No memory is kept, and no rule broken.
fn fails_on<const N: usize>(
    model: &Model,
    transport: TestTransport,
    options: &DiskOptions,
) -> StartError<TestTransport> {
    // As patient as a test can be with a device that never gets there.
    let failed = Rig::<N>::on_within(model.clone(), transport, options, PollLimit(50)).err();
    let failed = failed.expect("the device does not come up");
    assert_eq!(model.allocations(), 0, "{}", failed.error);
    assert!(!model.status().contains(DeviceStatus::DRIVER_OK));
    let left_alone = matches!(
        failed.error,
        InitError::NotBlock(_) | InitError::Handshake(HandshakeError::ResetTimedOut)
    );
    let told = model.status().contains(DeviceStatus::FAILED);
    assert_eq!(told, !left_alone, "{}", failed.error);
    failed
}

fn fails<const N: usize>(config: ModelConfig, options: &DiskOptions) -> InitError {
    let model = Model::new(config);
    let error = fails_on::<N>(&model, Rig::<N>::probe(&model), options).error;
    assert_eq!(model.counters().notifies, 0);
    model.assert_clean();
    error
}

// Shows FEAT-D-09, FEAT-D-12.
#[test]
fn devices_that_cannot_be_driven_are_given_up_cleanly() {
    let options = DiskOptions::default();
    let modern = ModelConfig::modern;
    let accepted = Features::from_low(modern().withdraw(feature::RING_RESET).offered.low());
    let handshake = InitError::Handshake;
    for (config, error) in [
        (
            ModelConfig {
                refuse_features: true,
                ..modern()
            },
            handshake(HandshakeError::FeaturesRefused(accepted)),
        ),
        (
            ModelConfig {
                demanded: Features::ORDER_PLATFORM,
                ..modern()
            },
            handshake(HandshakeError::FeaturesRefused(accepted)),
        ),
        (
            modern().withdraw(feature::VERSION_1),
            handshake(HandshakeError::NotVersion1),
        ),
        (
            ModelConfig {
                stuck_reset: true,
                ..modern()
            },
            handshake(HandshakeError::ResetTimedOut),
        ),
    ] {
        assert_eq!(fails::<16>(config, &options), error);
    }
    // What a window that ends before its configuration reads as, too.
    for sectors in [u64::MAX, 1 << 55] {
        let boundless = ModelConfig {
            capacity: sectors,
            ..modern()
        };
        assert_eq!(fails::<16>(boundless, &options), InitError::BadCapacity { sectors });
    }
    for config in [modern(), ModelConfig::legacy()] {
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
    for (waits, error) in [
        (9, None),
        (8, Some(InitError::Handshake(HandshakeError::ResetTimedOut))),
    ] {
        let model = Model::new(slow.clone());
        let started = Rig::<16>::on_within(
            model.clone(),
            Rig::<16>::probe(&model),
            &DiskOptions::default(),
            PollLimit(waits),
        );
        assert_eq!(started.as_ref().err().map(|failed| failed.error), error);
        if let Ok(rig) = started {
            rig.finish();
        }
        model.assert_clean();
    }
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
        // The driver's own capacity and the options make it too small as well.
        let error = fails::<2>(config.clone(), &DiskOptions::default());
        assert_eq!(error, InitError::QueueTooSmall { size: 2 });
        let stingy = options(|it| it.max_queue_size = QueueSize::new(1).unwrap());
        let error = fails::<16>(config.clone(), &stingy);
        assert_eq!(error, InitError::QueueTooSmall { size: 1 });

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
            let failed = TestDisk::<16>::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default())
                .unwrap_err();
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
fn a_queue_that_is_not_taken_is_an_error_and_releases_memory() {
    for (config, register) in [
        (ModelConfig::modern(), register::QUEUE_READY),
        (ModelConfig::legacy(), register::QUEUE_PFN),
    ] {
        let model = Model::new(config);
        let transport = Rig::<16>::probe(&model);
        transport
            .access()
            .hook(move |access| (access == Access::Read(register)).then_some(0));
        let failed = fails_on::<16>(&model, transport, &DiskOptions::default());
        assert_eq!(failed.error, InitError::Queue(QueueSetupError::NotReady));
        failed.transport.access().unhook();
        let mut rig = Rig::<16>::on(model.clone(), failed.transport, &DiskOptions::default()).unwrap();
        rig.works();
        rig.finish();
    }
}

#[test]
fn a_configuration_that_never_stands_still_is_an_error() {
    let options = DiskOptions::default();
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
        let failed = fails_on::<16>(&model, transport, &options);
        assert_eq!(failed.error, InitError::ConfigUnstable);
        model.assert_clean();
    }
}

#[test]
fn a_transport_can_be_used_again_and_again() {
    every_ring(|config| {
        let model = Model::new(config);
        let mut transport = Rig::<16>::probe(&model);
        let too_small = options(|it| it.max_queue_size = QueueSize::new(2).unwrap());
        for round in 0..3 {
            let failed = fails_on::<16>(&model, transport, &too_small);
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

// Shows INIT-D-22.
#[test]
fn a_shutdown_the_device_does_not_finish_keeps_everything() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
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
        .shut_down(&mut dma, &mut PollLimit(10), |_| {
            panic!("the device may still be at it")
        })
        .err()
        .expect("the reset is not seen to end");
    assert_eq!(model.allocations(), held);
    registers.unhook();
    let mut aborted = Vec::new();
    disk.shut_down(&mut dma, &mut PollLimit::default(), |completion| {
        aborted.push(completion.token);
    })
    .expect("now it is");
    assert_eq!(aborted, [token]);
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_failure_at_driver_ok_is_an_error_and_releases_memory() {
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

// Shows INIT-D-22.
#[test]
fn a_failed_start_without_a_reset_keeps_the_memory() {
    let options = DiskOptions::default();
    // At DRIVER_OK, and when the queue is not taken.
    for (at, bit, status) in [(register::STATUS, 4, 0x4F), (register::QUEUE_READY, 1, 0x0B)] {
        let model = Model::new(ModelConfig::modern());
        let transport = Rig::<16>::probe(&model);
        let mut stuck = false;
        transport.access().hook(move |access| match access {
            Access::Write(to, value) => {
                stuck |= to == at && value & bit != 0;
                None
            }
            Access::Read(register::STATUS) if stuck => Some(status),
            Access::Read(register::QUEUE_READY) if stuck => Some(0),
            Access::Read(_) => None,
        });
        let failed = Rig::<16>::on_within(model.clone(), transport, &options, PollLimit(10))
            .err()
            .expect("no start");
        let status = DeviceStatus::from_bits_retain(status as u8);
        assert_eq!(failed.error, InitError::Stuck { status });
        let lost = model.allocations();
        assert_eq!(lost, 2, "rings and slots");
        // Later it resets after all.
        failed.transport.access().unhook();
        let mut dma = model.dma();
        let mut disk = TestDisk::<16>::start(failed.transport, &mut dma, &options, &mut PollLimit::default())
            .expect("it comes up");
        disk.submit(Request::flush(1)).unwrap();
        disk.notify();
        model.process(usize::MAX);
        assert_eq!(disk.poll(|completion| assert!(completion.result.is_ok())), Ok(1));
        disk.shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!())
            .expect("it resets");
        assert_eq!(model.allocations(), lost);
    }
}
