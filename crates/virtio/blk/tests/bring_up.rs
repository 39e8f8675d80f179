//! From reset to live: what is accepted, what is found out, what the caller can choose.

mod common;

use common::{Rig, every_ring, options, pattern};
use virtio_blk::proto::{BlkFeatures, Sector};
use virtio_blk::{DiskOptions, Limits, Request, SUPPORTED_BLK, SUPPORTED_COMMON, SubmitError};
use virtio_blk_model::{Model, ModelConfig, Zones, feature};
use virtio_core::{DeviceStatus, Features, Interface, QueueSize};

fn blk(features: BlkFeatures) -> Features {
    Features::from_low(features.bits())
}

// Shows INIT-D-20, MMIO-D-01, MMIO-D-23, LEG-D-01, LEG-D-02.
#[test]
fn every_kind_of_device_comes_up_and_goes_down() {
    every_ring(|config| {
        for memory_base in [ModelConfig::HIGH_MEMORY, ModelConfig::LOW_MEMORY] {
            let config = ModelConfig {
                memory_base,
                interrupt_noise: 0xFFFF_FFFC,
                reset_reads: 3,
                ..config.clone()
            };
            let legacy = config.interface == Interface::Legacy;
            let mut rig = Rig::<16>::new(config);
            assert_eq!(rig.model.status().bits(), if legacy { 0x07 } else { 0x0F });
            rig.works();
            let model = rig.model.clone();
            rig.finish();
            assert_eq!(model.status(), DeviceStatus::RESET);
        }
    });
}

#[test]
fn configuration_and_limits_are_those_of_the_device() {
    let config = ModelConfig {
        capacity: 0x1_2345_6780,
        geometry: (1000, 3, 17),
        topology: (3, 1, 8, 64),
        block_size: 4096,
        seg_max: 5,
        size_max: 8192,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let rig = Rig::<16>::new(config);
    let told = rig.disk.config();
    assert_eq!(told.capacity, Sector(0x1_2345_6780));
    let geometry = told.geometry.unwrap();
    assert_eq!((geometry.cylinders, geometry.heads, geometry.sectors), (1000, 3, 17));
    let topology = told.topology.unwrap();
    assert_eq!((topology.physical_block_exp, topology.alignment_offset), (3, 1));
    assert_eq!((topology.min_io_blocks, topology.opt_io_blocks), (8, 64));
    let Limits {
        capacity,
        block_bytes,
        max_segments,
        max_segment_bytes,
        ..
    } = *rig.disk.limits();
    assert_eq!(
        (capacity.get(), block_bytes, max_segments, max_segment_bytes),
        (0x1_2345_6780, 4096, 5, 8192)
    );
    rig.finish();
}

// Shows FEAT-D-03, FEAT-D-04, FEAT-D-05, FEAT-D-07, FEAT-D-10.
#[test]
fn of_a_full_offer_the_documented_set_is_accepted() {
    for model_of_zones in [0, 2] {
        for alias_feature_words in [false, true] {
            let config = ModelConfig {
                offered: Features::all(),
                alias_feature_words,
                zones: Zones {
                    model: model_of_zones,
                    ..Zones::default()
                },
                ..ModelConfig::modern()
            };
            let mut rig = Rig::<16>::new(config);
            let expected = blk(SUPPORTED_BLK - BlkFeatures::ZONED - BlkFeatures::MQ - BlkFeatures::BARRIER)
                | Features::INDIRECT_DESC
                | Features::EVENT_IDX
                | Features::ACCESS_PLATFORM
                | Features::VERSION_1;
            assert_eq!(rig.disk.accepted_features(), expected);
            assert_eq!(rig.model.accepted(), expected);
            rig.works();
            rig.finish();
        }
    }
}

// Shows FEAT-D-11, FEAT-D-13.
#[test]
fn access_platform_is_accepted_whatever_the_options_say() {
    let options = options(|it| it.features = Features::empty());
    let config = ModelConfig::modern().offer(feature::ACCESS_PLATFORM);
    let mut rig = Rig::<16>::with(config, &options);
    // Without it the device would take translated addresses for physical ones.
    assert_eq!(
        rig.disk.accepted_features(),
        Features::VERSION_1 | Features::ACCESS_PLATFORM
    );
    rig.works();
    rig.finish();
    let rig = Rig::<16>::with(ModelConfig::modern(), &options);
    assert_eq!(rig.disk.accepted_features(), Features::VERSION_1, "it was not offered");
    rig.finish();
}

// Shows LEG-D-03, LEG-D-11, LEG-D-12.
#[test]
fn of_a_legacy_offer_the_documented_set_is_accepted() {
    let config = ModelConfig {
        offered: Features::all(),
        zones: Zones {
            model: 0,
            ..Zones::default()
        },
        ..ModelConfig::legacy()
    };
    let mut rig = Rig::<16>::new(config);
    let expected = blk(SUPPORTED_BLK - BlkFeatures::ZONED - BlkFeatures::MQ)
        | Features::ANY_LAYOUT
        | Features::INDIRECT_DESC
        | Features::EVENT_IDX;
    assert_eq!(rig.disk.accepted_features(), expected);
    assert_eq!(rig.model.accepted(), expected);
    rig.works();
    rig.finish();
}

// Shows FEAT-D-02, FEAT-D-08.
#[test]
fn the_driver_does_without_any_one_feature() {
    let generous = ModelConfig {
        seg_max: 4,
        size_max: 1024,
        ..ModelConfig::modern()
    }
    .offer(feature::SIZE_MAX | feature::LIFETIME | feature::SECURE_ERASE | feature::ACCESS_PLATFORM);
    let optional = SUPPORTED_COMMON | blk(SUPPORTED_BLK);
    for bit in (0..64).filter(|&bit| optional.low() & 1 << bit != 0 && bit != 27) {
        let config = generous.clone().withdraw(1 << bit);
        let mut expected = config.offered & (optional | Features::VERSION_1);
        if bit == 9 {
            // No switch without a flush.
            expected -= blk(BlkFeatures::CONFIG_WCE);
        }
        let mut rig = Rig::<16>::new(config);
        assert_eq!(rig.disk.accepted_features(), expected, "without bit {bit}");
        rig.works();
        let content = pattern(bit, 8192);
        // Without SEG_MAX a sector must lie in one piece.
        let pieces = if bit == 2 {
            [1024, 1024, 1024, 512, 4608]
        } else {
            [1000, 1000, 1000, 1000, 4192]
        };
        rig.write_from(0, &content, &pieces);
        assert_eq!(rig.read(0, 8192), content);
        rig.finish();
    }
    // And without all of them.
    let bare = ModelConfig {
        offered: Features::VERSION_1,
        ..ModelConfig::modern()
    };
    let mut rig = Rig::<16>::new(bare);
    assert_eq!(rig.disk.accepted_features(), Features::VERSION_1);
    rig.works();
    rig.finish();
    let bare = ModelConfig {
        offered: Features::empty(),
        ..ModelConfig::legacy()
    };
    let mut rig = Rig::<16>::new(bare);
    assert_eq!(rig.disk.accepted_features(), Features::empty());
    rig.works();
    rig.finish();
}

// Shows CFG-D-01.
#[test]
fn a_capacity_is_never_torn() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let config = ModelConfig {
            capacity: 0x0000_0001_0000_0000,
            ..config
        };
        for reads in 1..12 {
            let model = Model::new(config.clone());
            model.resize_after_reads(reads, 0x0000_0000_FFFF_FFFF);
            let transport = Rig::<16>::probe(&model);
            let rig = Rig::<16>::on(model, transport, &DiskOptions::default()).unwrap();
            let capacity = rig.disk.limits().capacity.get();
            assert!(
                [0x1_0000_0000, 0xFFFF_FFFF].contains(&capacity),
                "{capacity:#x} is torn"
            );
            rig.finish();
        }
    }
}

#[test]
fn the_options_are_kept_to() {
    every_ring(|config| {
        let direct = !config.offered.contains(Features::INDIRECT_DESC);
        for (max_segments, expected) in [(0, 1), (1, 1), (3, 3), (u16::MAX, 14)] {
            let options = DiskOptions {
                max_segments,
                ..DiskOptions::default()
            };
            let mut rig = Rig::<16>::with(config.clone(), &options);
            assert_eq!(rig.disk.limits().max_segments, expected, "direct: {direct}");
            let content = pattern(1, 4096);
            rig.write_from(0, &content, &[512; 8]);
            assert_eq!(rig.model.read_disk(0, 8), content);
            assert_eq!(rig.model.counters().longest_chain, usize::from(expected).min(8) + 2);
            rig.finish();
        }
        let options = options(|it| it.max_queue_size = QueueSize::new(8).unwrap());
        let mut rig = Rig::<16>::with(config.clone(), &options);
        assert_eq!(rig.disk.queue().ring_state().size, 8);
        rig.works();
        rig.finish();
    });
}

#[test]
fn the_features_mask_is_kept_to_and_can_not_be_widened() {
    let everything = options(|it| it.features = Features::all());
    let config = ModelConfig {
        offered: Features::all(),
        zones: Zones {
            model: 0,
            ..Zones::default()
        },
        ..ModelConfig::modern()
    };
    let rig = Rig::<16>::with(config.clone(), &everything);
    let default = Rig::<16>::new(config).disk.accepted_features();
    assert_eq!(rig.disk.accepted_features(), default | blk(BlkFeatures::ZONED));
    rig.finish();

    // The switch depends on flush, and goes with it.
    let without_flush = options(|it| it.features = DiskOptions::default().features - blk(BlkFeatures::FLUSH));
    let rig = Rig::<16>::with(ModelConfig::modern(), &without_flush);
    assert_eq!(
        rig.disk.accepted_features().low() & (feature::FLUSH | feature::CONFIG_WCE),
        0
    );
    rig.finish();
}

#[test]
fn limits_hold_without_their_features() {
    // The limits of the device do not depend on what was accepted.
    let nothing = options(|it| it.features = Features::empty());
    let config = ModelConfig {
        seg_max: 2,
        size_max: 700,
        block_size: 1024,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let mut rig = Rig::<16>::with(config, &nothing);
    assert_eq!(rig.disk.accepted_features(), Features::VERSION_1);
    let content = pattern(3, 8192);
    rig.write(0, &content);
    assert_eq!(rig.read(0, 8192), content);
    rig.finish();

    let mut rig = Rig::<16>::with(ModelConfig::modern().offer(feature::RO), &nothing);
    assert_eq!(rig.refused_write(0, &content, &[8192]), SubmitError::ReadOnly);
    rig.finish();
}

// Shows MMIO-D-34.
#[test]
fn a_dump_shows_registers_features_and_rings() {
    every_ring(|config| {
        let legacy = config.interface == Interface::Legacy;
        let mut rig = Rig::<16>::new(config);
        rig.submit(Request::flush);
        let text = rig.disk.dump().to_string();
        for word in [
            "MagicValue",
            "Status",
            "features accepted",
            "queue of 16",
            "1 not published",
        ] {
            assert!(text.contains(word), "no {word} in:\n{text}");
        }
        assert_eq!(text.contains("QueuePFN"), legacy, "{text}");
        rig.settle();
        rig.finish();
    });
}
