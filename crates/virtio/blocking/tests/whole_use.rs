//! A blocking disk from its start to the release of its memory, as a kernel uses it.

mod common;

use common::{TestTransport, pattern};
use virtio_blk::DiskOptions;
use virtio_blk_blocking::{BlockIo, BlockingDisk, BounceDisk, ByteRange, Sector};
use virtio_blk_model::{Model, ModelConfig, ModelDma};
use virtio_bounce::BouncePool;
use virtio_core::PollLimit;

fn use_disk(
    transport: TestTransport,
    mut dma: ModelDma,
    memory: &mut [u8],
    yield_now: impl Fn(),
) -> Result<(), Box<dyn core::error::Error>> {
    let pool = BouncePool::<4>::allocate(&mut dma, 16384)?;
    let disk = BounceDisk::<_, 16>::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default())?;
    let mut disk = BlockingDisk::new(disk, pool, |vain: u32| {
        yield_now();
        vain < 100_000
    });

    disk.read(Sector(2048), &mut memory[3..])?;
    disk.write(Sector(2048), &memory[3..])?;
    disk.flush()?;

    let mut partition = ByteRange::whole(&mut disk)
        .part(1 << 20..4 << 20)
        .map_err(|_| "too short")?;
    partition.write_at(12345, b"any byte")?;

    let stopped = disk
        .stop(&mut dma, &mut PollLimit::default())
        .map_err(|(error, _)| error)?;
    stopped
        .pool
        .release(&mut dma)
        .map_err(|_| "a bounce buffer is missing")?;
    Ok(())
}

#[test]
fn a_disk_is_used_and_gives_everything_back() {
    let model = Model::new(ModelConfig::modern());
    let transport = virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device");
    let content = pattern(1, 512);
    model.write_disk(2048, &content);
    let mut memory = vec![0; 515];
    let serve = || {
        model.process(1);
    };
    use_disk(transport, model.dma(), &mut memory, serve).expect("the model behaves");
    assert_eq!(memory[3..], content);
    assert_eq!(model.read_disk(2048 + 24, 1)[57..65], *b"any byte");
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}
