//! The memory that the README states for each capacity is what a disk takes.

use std::alloc::Layout;

use virtio_blk::{Disk, DiskOptions};
use virtio_blk_model::{Model, ModelConfig, ModelDma};
use virtio_core::{Dma, DmaBuffer, DmaError, DmaRegion, DmaSegments, PollLimit, Segment};
use virtio_mmio::{MmioTransport, MmioWindow};
use virtqueue::Chains;

/// A buffer as small as one can be: it names memory that is described elsewhere.
struct Handle(&'static [Segment; 1]);

// SAFETY: the segments are in a static, and no request is made with one of these.
unsafe impl DmaSegments for Handle {
    fn segments(&self) -> &[Segment] {
        self.0
    }
}

/// Counts what is asked for.
struct Counting {
    dma: ModelDma,
    bytes: usize,
}

impl Dma for Counting {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        self.bytes += layout.size();
        self.dma.allocate(layout)
    }

    fn release(&mut self, region: DmaRegion) {
        self.dma.release(region);
    }
}

/// DMA memory of a disk with room for `N` requests of up to `max_segments` segments.
fn dma_bytes<const N: usize>(max_segments: u16, chains: Chains) -> usize {
    let model = Model::new(ModelConfig {
        queue_size_max: 1024,
        seg_max: 254,
        ..ModelConfig::modern()
    });
    let transport = virtio_mmio::probe(model.registers()).device().unwrap();
    let mut dma = Counting {
        dma: model.dma(),
        bytes: 0,
    };
    let options = DiskOptions {
        max_segments,
        chains,
        ..DiskOptions::default()
    };
    let disk = Disk::<_, DmaBuffer, u32, N>::start(transport, &mut dma, &options, &mut PollLimit::default()).unwrap();
    let queue = usize::from(disk.queue().ring_state().size);
    assert_eq!(queue, N);
    disk.shut_down(&mut dma, &mut PollLimit::default(), |_| {
        unreachable!("nothing is in flight")
    })
    .unwrap();
    dma.bytes
}

/// A line of the table in the README.
fn line<const N: usize>() -> String {
    type Own<B, K, const N: usize> = Disk<MmioTransport<MmioWindow>, B, K, N>;
    let own = [size_of::<Own<Handle, u64, N>>(), size_of::<Own<DmaBuffer, u64, N>>()];
    let tables = [1, 16, 64, 126].map(|segments| dma_bytes::<N>(segments, Chains::PerRequest));
    let direct = dma_bytes::<N>(126, Chains::Direct);
    let figures: Vec<String> = own.into_iter().chain(tables).chain([direct]).map(grouped).collect();
    format!("| {N} | {} |", figures.join(" | "))
}

/// A number as people write it.
fn grouped(number: usize) -> String {
    match number {
        0..10_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[test]
fn the_readme_states_the_memory_of_every_capacity() {
    let lines = [line::<4>(), line::<16>(), line::<64>(), line::<256>()].join("\n");
    let readme = include_str!("../README.md");
    assert!(readme.contains(&lines), "the README should have these lines:\n{lines}");
}

#[test]
fn a_queue_of_256_with_one_segment_takes_at_most_32_kib() {
    assert!(dma_bytes::<256>(1, Chains::PerRequest) <= 32 << 10);
}
