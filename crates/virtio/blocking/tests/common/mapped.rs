//! A disk whose buffers go through the hook of a platform.

#![allow(dead_code, reason = "each test file uses a part of it")]

use virtio_blk_blocking::{BlockingDisk, BounceDisk, WaitHook};
use virtio_blk_model::{Model, ModelConfig, feature};
use virtio_bounce::BouncePool;
use virtio_core::{DmaSegments, Features, PollLimit};

use super::TestTransport;

pub(crate) type MappedDisk<W, B> = BlockingDisk<TestTransport, W, 16, 2, B>;

/// A device that works only for drivers that accept ACCESS_PLATFORM.
pub(crate) fn behind_a_platform() -> Model {
    Model::new(ModelConfig {
        demanded: Features::ACCESS_PLATFORM,
        ..ModelConfig::modern().offer(feature::ACCESS_PLATFORM)
    })
}

pub(crate) fn start<W: WaitHook, B: DmaSegments>(model: &Model, hook: W) -> MappedDisk<W, B> {
    let mut dma = model.dma();
    let transport = virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device");
    let pool = BouncePool::allocate(&mut dma, 512).expect("the model has memory");
    let disk = BounceDisk::<_, 16, _>::start(transport, &mut dma, &Default::default(), &mut PollLimit::default());
    BlockingDisk::with_buffers(disk.expect("the model comes up"), pool, hook)
}

/// Stops the disk. Every mapping has ended, all memory has come back, and the driver has kept to all rules.
pub(crate) fn finish<W: WaitHook, B: DmaSegments>(model: &Model, disk: MappedDisk<W, B>) {
    let mut dma = model.dma();
    let stopped = disk.stop(&mut dma, &mut PollLimit::default()).map_err(drop);
    let stopped = stopped.expect("the device resets");
    stopped
        .pool
        .release(&mut dma)
        .expect("every bounce buffer has come back");
    assert_eq!(model.allocations(), 0, "a mapping was left");
    model.assert_clean();
}
