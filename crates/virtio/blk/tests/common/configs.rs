//! The device in all the shapes that change the path of a request.

use virtio_blk_model::{ModelConfig, feature};

/// Direct or indirect chains, event index or flags.
fn rings(base: &ModelConfig, run: &mut impl FnMut(ModelConfig)) {
    for without in [
        0,
        feature::INDIRECT_DESC,
        feature::EVENT_IDX,
        feature::INDIRECT_DESC | feature::EVENT_IDX,
    ] {
        run(base.clone().withdraw(without));
    }
}

/// Runs `run` on modern devices with every combination of ring features.
pub(crate) fn every_modern(mut run: impl FnMut(ModelConfig)) {
    rings(&ModelConfig::modern(), &mut run);
}

/// Runs `run` on legacy devices with every combination of ring features.
pub(crate) fn every_legacy(mut run: impl FnMut(ModelConfig)) {
    rings(&ModelConfig::legacy(), &mut run);
}

/// Runs `run` on modern and legacy devices, with direct and indirect chains, event index and flags.
pub(crate) fn every_ring(mut run: impl FnMut(ModelConfig)) {
    every_modern(&mut run);
    every_legacy(&mut run);
}

/// On this device a part of a transfer goes out alone: 512 bytes each, on a queue of four.
pub(crate) fn narrow(config: ModelConfig) -> ModelConfig {
    ModelConfig {
        queue_size_max: 4,
        seg_max: 1,
        size_max: 512,
        ..config.withdraw(feature::INDIRECT_DESC).offer(feature::SIZE_MAX)
    }
}
