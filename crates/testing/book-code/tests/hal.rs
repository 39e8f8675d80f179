//! The platform of a kernel with a `Hal`, under the driver of this project.

mod common;

use std::alloc::Layout;

use book_code::hal::{HalDma, HalMap};
use common::{ModelHal, transport, use_memory_of};
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, Sector};
use virtio_blk_model::{Model, ModelConfig, pattern};
use virtio_bounce::BouncePool;
use virtio_core::{Direction, Dma, DmaError, DmaRegion, Mapped, PollLimit};

#[test]
fn a_disk_runs_on_the_memory_of_a_hal_and_gives_it_back() {
    let model = Model::new(ModelConfig::modern());
    use_memory_of(&model);
    let (mut dma, map) = (HalDma::<ModelHal, 8>::new(), HalMap::<ModelHal>::new());
    let pool = BouncePool::<2>::allocate(&mut dma, 4096).unwrap();
    let disk = BounceDisk::<_, 16, _>::start(
        transport(&model),
        &mut dma,
        &Default::default(),
        &mut PollLimit::default(),
    );
    let mut disk = BlockingDisk::with_buffers(disk.unwrap(), pool, |vain| {
        model.process(1);
        vain < 100
    });

    let content = pattern(1, 3 * 512);
    disk.write(Sector(3), &content).unwrap();
    let mapped = Mapped::new(vec![0; content.len()], Direction::FromDevice, map).unwrap();
    assert_eq!(disk.read_buffer(Sector(3), mapped).unwrap().unmap(), content);
    let mapped = Mapped::new(content.clone(), Direction::ToDevice, map).unwrap();
    disk.write_buffer(Sector(9), mapped).unwrap();
    assert_eq!(model.read_disk(9, 3), content);

    let stopped = disk.stop(&mut dma, &mut PollLimit::default()).map_err(drop).unwrap();
    stopped.pool.release(&mut dma).unwrap();
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn what_a_hal_cannot_give_is_refused() {
    let model = Model::new(ModelConfig {
        memory_bytes: 8 * 4096,
        ..ModelConfig::modern()
    });
    use_memory_of(&model);
    let mut dma = HalDma::<ModelHal, 2>::new();
    let layout = |bytes, align| Layout::from_size_align(bytes, align).unwrap();
    assert_eq!(dma.allocate(layout(0, 1)).unwrap_err(), DmaError::UnsupportedLayout);
    assert_eq!(dma.allocate(layout(8, 8192)).unwrap_err(), DmaError::UnsupportedLayout);
    assert_eq!(dma.allocate(layout(16 * 4096, 8)).unwrap_err(), DmaError::OutOfMemory);
    let regions = [8, 4097].map(|bytes| dma.allocate(layout(bytes, 8)).unwrap());
    assert_eq!(regions.each_ref().map(DmaRegion::len), [8, 4097]);
    assert_eq!(
        dma.allocate(layout(8, 8)).unwrap_err(),
        DmaError::OutOfMemory,
        "no place for a region"
    );
    for region in regions {
        dma.release(region);
    }
    assert_eq!(model.allocations(), 0);
}

#[test]
fn a_region_from_elsewhere_is_not_given_to_a_hal() {
    let model = Model::new(ModelConfig::modern());
    use_memory_of(&model);
    let other = model.dma().allocate(Layout::new::<u64>()).unwrap();
    HalDma::<ModelHal, 2>::new().release(other);
    assert_eq!(model.allocations(), 1);
}
