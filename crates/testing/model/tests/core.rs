//! The transport and the initialisation sequence of the crates under test keep every rule this device knows.

use virtio_blk_model::{Model, ModelConfig, feature};
use virtio_core::{
    DeviceAddr, DeviceType, Dma, FeatureChoice, Features, HandshakeError, Init, InterruptCauses, PollLimit, QueueIndex,
    QueueNotifier, QueueSetup, QueueSize, Transport, read_consistent,
};
use virtio_mmio::{Probe, probe};

fn configs() -> [ModelConfig; 3] {
    let low = ModelConfig {
        memory_base: ModelConfig::LOW_MEMORY,
        ..ModelConfig::modern()
    };
    [ModelConfig::modern(), ModelConfig::legacy(), low]
}

const CHOICE: FeatureChoice = FeatureChoice {
    supported: Features::INDIRECT_DESC.union(Features::EVENT_IDX),
    required: Features::empty(),
};

#[test]
fn bring_up_and_shut_down_are_clean() {
    for config in configs() {
        let slow = ModelConfig {
            reset_reads: 3,
            interrupt_noise: !0,
            ..config
        };
        let model = Model::new(slow);
        let mut transport = probe(model.registers()).device().expect("a device");
        assert_eq!(transport.device_type(), DeviceType::BLOCK);
        let mut dma = model.dma();
        let layout = std::alloc::Layout::from_size_align(8192, 4096).unwrap();
        let region = dma.allocate(layout).unwrap();
        let start = region.device_addr();

        let mut init = Init::begin(&mut transport, PollLimit(10))
            .unwrap()
            .acknowledge()
            .driver();
        let capacity = read_consistent(init.peek(), &mut PollLimit(9), |reader| reader.read_u32(0));
        assert_eq!(capacity, Ok(16384));
        let mut init = init.negotiate(CHOICE).unwrap();
        assert_eq!(init.device().max_queue_size(QueueIndex(0)), 256);
        let setup = QueueSetup {
            size: QueueSize::new(8).unwrap(),
            descriptor_table: start,
            driver_area: DeviceAddr(start.get() + 128),
            device_area: DeviceAddr(start.get() + 4096),
            legacy_align: 4096,
            vector: None,
        };
        // SAFETY: the memory is the model's and stays allocated until after the reset; nothing is made available.
        unsafe { init.enable_queue(QueueIndex(0), &setup) }.unwrap();
        let accepted = init.finish().unwrap();
        assert_eq!(model.accepted(), accepted);

        transport.notifier(QueueIndex(0), accepted).notify(0);
        model.spurious_interrupt(1);
        assert_eq!(transport.interrupt_causes(), InterruptCauses::USED_BUFFER);
        transport.acknowledge_interrupt(InterruptCauses::USED_BUFFER);
        assert!(!model.interrupt_line());
        transport.visit_registers(&mut |_, _| ());
        transport.reset(PollLimit(10)).unwrap();
        dma.release(region);
        model.assert_clean();
    }
}

#[test]
fn a_queue_can_be_stopped_on_its_own() {
    let model = Model::new(ModelConfig::modern());
    let mut transport = probe(model.registers()).device().unwrap();
    let init = Init::begin(&mut transport, PollLimit(1))
        .unwrap()
        .acknowledge()
        .driver();
    init.negotiate(CHOICE).unwrap().finish().unwrap();
    assert_eq!(transport.disable_queue(QueueIndex(0)), Ok(()));
    model.assert_clean();
}

#[test]
fn failures_are_told_to_the_device() {
    let cases = [
        (
            ModelConfig {
                refuse_features: true,
                ..ModelConfig::modern()
            },
            CHOICE,
        ),
        (ModelConfig::modern().withdraw(feature::VERSION_1), CHOICE),
        (
            ModelConfig::modern().withdraw(feature::EVENT_IDX),
            FeatureChoice {
                required: Features::EVENT_IDX,
                ..CHOICE
            },
        ),
    ];
    for (config, choice) in cases {
        let model = Model::new(config);
        let mut transport = probe(model.registers()).device().unwrap();
        let init = Init::begin(&mut transport, PollLimit(1))
            .unwrap()
            .acknowledge()
            .driver();
        assert!(init.negotiate(choice).is_err());
        assert_eq!(model.status().bits(), 0x83);
        model.assert_clean();
    }

    let model = Model::new(ModelConfig {
        stuck_reset: true,
        ..ModelConfig::modern()
    });
    let mut transport = probe(model.registers()).device().unwrap();
    let result = Init::begin(&mut transport, PollLimit(10));
    assert!(matches!(result, Err(HandshakeError::ResetTimeout)));
    drop(result);
    model.assert_clean();
}

#[test]
fn every_bit_may_be_offered() {
    // Words 2 and 3 show word 1 again, as in QEMU; nobody must be fooled.
    let all = ModelConfig {
        offered: Features::all(),
        ..ModelConfig::modern()
    };
    for config in [
        all.clone(),
        ModelConfig {
            alias_feature_words: false,
            ..all
        },
    ] {
        let model = Model::new(config);
        let mut transport = probe(model.registers()).device().unwrap();
        let init = Init::begin(&mut transport, PollLimit(1))
            .unwrap()
            .acknowledge()
            .driver();
        let greedy = FeatureChoice {
            supported: CHOICE.supported | Features::RING_RESET | Features::ADMIN_VQ | Features::NOTIFICATION_DATA,
            required: Features::empty(),
        };
        let accepted = init.negotiate(greedy).unwrap().finish().unwrap();
        assert_eq!(
            accepted,
            CHOICE.supported | Features::VERSION_1 | Features::NOTIFICATION_DATA
        );
        model.assert_clean();
    }
}

#[test]
fn an_empty_slot_is_left_alone() {
    let model = Model::new(ModelConfig {
        device_id: 0,
        ..ModelConfig::modern()
    });
    assert!(matches!(probe(model.registers()), Probe::Empty(_)));
    model.assert_clean();
}

#[test]
fn a_capacity_never_comes_out_torn() {
    let both = [ModelConfig::modern(), ModelConfig::legacy()];
    for config in both {
        for reads in 1..6 {
            let model = Model::new(ModelConfig {
                capacity: 0xFFFF_FFFF,
                ..config.clone()
            });
            let transport = probe(model.registers()).device().unwrap();
            model.resize_after_reads(reads, 0x1_0000_0000);
            let capacity = read_consistent(&transport, &mut PollLimit(30), |reader| {
                u64::from(reader.read_u32(0)) | u64::from(reader.read_u32(4)) << 32
            });
            assert!(
                matches!(capacity, Ok(0xFFFF_FFFF | 0x1_0000_0000)),
                "{capacity:x?} after {reads} reads"
            );
            model.assert_clean();
        }
    }
}
