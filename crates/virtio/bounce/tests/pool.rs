//! A pool from its start to its end: blocks taken, put back, refused, released.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use virtio_bounce::{BounceOr, BouncePool};
use virtio_core::{DeviceAddr, Dma, DmaBuffer, DmaError, DmaRegion, DmaSegments, Segment};

/// Memory of the host that a made-up device sees from `next` on, for so many regions.
struct Heap {
    next: u64,
    left: usize,
    lent: BTreeMap<NonNull<u8>, Layout>,
}

impl Heap {
    fn new(base: u64, regions: usize) -> Self {
        Self {
            next: base,
            left: regions,
            lent: BTreeMap::new(),
        }
    }
}

impl Dma for Heap {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        if layout.size() == 0 {
            return Err(DmaError::UnsupportedLayout);
        }
        self.left = self.left.checked_sub(1).ok_or(DmaError::OutOfMemory)?;
        let addr = self.next.next_multiple_of(layout.align() as u64);
        self.next = addr + layout.size() as u64;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(DmaError::OutOfMemory)?;
        self.lent.insert(start, layout);
        // SAFETY: fresh memory with no other owner; there is no device.
        Ok(unsafe { DmaRegion::from_raw_parts(start, layout.size(), DeviceAddr(addr)) })
    }

    fn release(&mut self, region: DmaRegion) {
        let layout = self.lent.remove(&region.as_ptr()).expect("lent by this heap");
        // SAFETY: allocated above with that layout, and the only region of it was just given up.
        unsafe { dealloc(region.as_ptr().as_ptr(), layout) }
    }
}

#[test]
fn every_block_is_taken_once_and_the_next_is_none() {
    let mut heap = Heap::new(0x1000, 3);
    let mut pool = BouncePool::<3>::allocate(&mut heap, 1024).unwrap();
    let blocks: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
    assert_eq!((blocks.len(), pool.blocks(), pool.free()), (3, 3, 0));
    let addresses: Vec<_> = blocks.iter().map(|block| block.segments()[0].addr.get()).collect();
    assert_eq!(addresses, [0x1000, 0x1400, 0x1800]);
    for block in blocks {
        pool.put_back(block).unwrap();
    }
    assert_eq!(pool.free(), 3);
    pool.release(&mut heap).unwrap();
    assert!(heap.lent.is_empty());
}

#[test]
fn a_pool_makes_do_with_the_memory_there_is() {
    let mut heap = Heap::new(0, 2);
    let pool = BouncePool::<8>::allocate(&mut heap, 512).unwrap();
    assert_eq!((pool.blocks(), pool.free(), pool.block_bytes()), (2, 2, 512));
    pool.release(&mut heap).unwrap();
    assert!(heap.lent.is_empty());
}

#[test]
fn a_pool_without_a_block_is_refused() {
    let refused = |result: Result<BouncePool<2>, DmaError>| result.map(drop).unwrap_err();
    assert_eq!(
        refused(BouncePool::allocate(&mut Heap::new(0, 0), 512)),
        DmaError::OutOfMemory
    );
    assert_eq!(
        refused(BouncePool::allocate(&mut Heap::new(0, 2), 0)),
        DmaError::UnsupportedLayout
    );
    let none = BouncePool::<0>::allocate(&mut Heap::new(0, 2), 512).map(drop);
    assert_eq!(none, Err(DmaError::OutOfMemory));
}

#[test]
fn a_platform_behind_a_pointer_gives_memory() {
    let mut heap = Heap::new(0, 1);
    let dma: &mut dyn Dma = &mut heap;
    let pool = BouncePool::<1>::allocate(dma, 512).unwrap();
    pool.release(dma).unwrap();
    assert!(heap.lent.is_empty());
}

#[test]
fn a_transfer_has_as_much_of_a_block_as_it_was_given() {
    let mut heap = Heap::new(0x8000, 1);
    let mut pool = BouncePool::<1>::allocate(&mut heap, 4096).unwrap();
    let mut block = pool.take().unwrap();
    assert!(block.set_len(512));
    block.fill(7);
    assert_eq!(block.segments(), [Segment::new(DeviceAddr(0x8000), 512)]);
    assert!(!block.set_len(0), "nothing to transfer");
    assert!(!block.set_len(4097), "more than the block has");
    assert_eq!((block.len(), block.capacity()), (512, 4096));
    pool.put_back(block).unwrap();
    let block = pool.take().unwrap();
    assert_eq!(block.len(), 4096, "a block starts whole");
    assert_eq!((block[511], block[512]), (7, 0));
    pool.put_back(block).unwrap();
    pool.release(&mut heap).unwrap();
}

#[test]
fn a_block_of_another_pool_comes_back() {
    // Devices behind IOMMUs of their own can see different memory at the same address.
    for base in [0x9000, 0x1000] {
        let (mut heap, mut other) = (Heap::new(0x1000, 2), Heap::new(base, 2));
        let mut pool = BouncePool::<2>::allocate(&mut heap, 512).unwrap();
        let mut second = BouncePool::<2>::allocate(&mut other, 512).unwrap();
        let foreign = second.take().unwrap();
        let foreign = pool.put_back(foreign).unwrap_err();
        let own = pool.take().unwrap();
        let foreign = pool.put_back(foreign).unwrap_err();
        pool.put_back(own).unwrap();
        second.put_back(foreign).unwrap();
        pool.release(&mut heap).unwrap();
        second.release(&mut other).unwrap();
        assert!(heap.lent.is_empty() && other.lent.is_empty());
    }
}

#[test]
fn a_pool_tells_for_people_how_much_of_it_is_free() {
    let mut heap = Heap::new(0, 2);
    let mut pool = BouncePool::<4>::allocate(&mut heap, 512).unwrap();
    let block = pool.take().unwrap();
    let told = format!("{pool:?}");
    assert_eq!(told, "BouncePool { blocks: 2, free: 1, block_bytes: 512 }");
    pool.put_back(block).unwrap();
    pool.release(&mut heap).unwrap();
}

#[test]
fn a_pool_is_not_released_without_all_of_its_blocks() {
    let mut heap = Heap::new(0, 2);
    let mut pool = BouncePool::<2>::allocate(&mut heap, 512).unwrap();
    let block = pool.take().unwrap();
    let mut pool = pool.release(&mut heap).unwrap_err();
    assert_eq!(heap.lent.len(), 2, "nothing was released");
    pool.put_back(block).unwrap();
    pool.release(&mut heap).unwrap();
    assert!(heap.lent.is_empty());
}

#[test]
fn a_request_has_the_segments_of_what_is_in_it() {
    let mut heap = Heap::new(0x4000, 2);
    let mut pool = BouncePool::<1>::allocate(&mut heap, 512).unwrap();
    let bounced = BounceOr::<DmaBuffer>::Bounce(pool.take().unwrap());
    assert_eq!(bounced.segments(), [Segment::new(DeviceAddr(0x4000), 512)]);
    let direct = BounceOr::Direct(DmaBuffer::allocate(&mut heap, 64, 64).unwrap());
    assert_eq!(direct.segments(), [Segment::new(DeviceAddr(0x4200), 64)]);
    let (BounceOr::Bounce(block), BounceOr::Direct(buffer)) = (bounced, direct) else {
        panic!("they stay what they are");
    };
    pool.put_back(block).unwrap();
    heap.release(buffer.into_region());
    pool.release(&mut heap).unwrap();
}
