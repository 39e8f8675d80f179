//! A device, and a blocking disk on it whose hook serves the device.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod fat;
pub(crate) mod mapped;

use virtio_blk_blocking::{BlockingDisk, BounceDisk, Stopped};
pub(crate) use virtio_blk_model::pattern;
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters};
use virtio_bounce::BouncePool;
use virtio_core::PollLimit;
use virtio_mmio::MmioTransport;

pub(crate) type TestTransport = MmioTransport<ModelRegisters>;

/// Blocks of the pool.
pub(crate) const BLOCKS: usize = 4;
/// Bytes of each: few for Miri, which is slow.
pub(crate) const BLOCK_BYTES: usize = if cfg!(miri) { 1024 } else { 4096 };

pub(crate) type TestDisk<W> = BlockingDisk<TestTransport, W, 16, BLOCKS>;

/// A disk on `model` that waits by `hook`.
pub(crate) fn start<W: virtio_blk_blocking::WaitHook>(model: &Model, hook: W) -> TestDisk<W> {
    start_with(model, hook, BLOCK_BYTES)
}

/// The same with bounce buffers of that size.
pub(crate) fn start_with<W: virtio_blk_blocking::WaitHook>(model: &Model, hook: W, block_bytes: usize) -> TestDisk<W> {
    let mut dma = model.dma();
    let transport = virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device");
    let pool = BouncePool::allocate(&mut dma, block_bytes).expect("the model has memory");
    let disk = BounceDisk::<_, 16>::start(transport, &mut dma, &Default::default(), &mut PollLimit::default());
    BlockingDisk::new(disk.expect("the model comes up"), pool, hook)
}

/// A hook that serves one request, and gives up after a hundred looks in vain.
pub(crate) fn one_at_a_time(model: &Model) -> impl FnMut(u32) -> bool + use<> {
    let model = model.clone();
    move |vain| {
        model.process(1);
        vain < 100
    }
}

/// A disk on a device that answers one request with each wait.
pub(crate) fn serving(config: ModelConfig) -> (Model, TestDisk<impl FnMut(u32) -> bool + use<>>) {
    let model = Model::new(config);
    let disk = start(&model, one_at_a_time(&model));
    (model, disk)
}

/// Stops the disk. All memory has come back, and the driver has kept to all rules.
pub(crate) fn finish<W: virtio_blk_blocking::WaitHook>(model: &Model, disk: TestDisk<W>) {
    let mut dma = model.dma();
    let stopped = stop(&mut dma, disk);
    assert!(stopped.late_buffer.is_none());
    release(model, stopped);
    model.assert_clean();
}

/// Stops the disk.
pub(crate) fn stop<W: virtio_blk_blocking::WaitHook>(
    dma: &mut ModelDma,
    disk: TestDisk<W>,
) -> Stopped<TestTransport, W, BLOCKS> {
    let stopped = disk.stop(dma, &mut PollLimit::default());
    stopped.map_err(|(error, _)| error).expect("the device resets")
}

/// Releases what a stopped disk has. Nothing else is allocated.
pub(crate) fn release<W>(model: &Model, stopped: Stopped<TestTransport, W, BLOCKS>) {
    stopped
        .pool
        .release(&mut model.dma())
        .expect("every bounce buffer has come back");
    assert_eq!(model.allocations(), 0, "memory was lost");
}
