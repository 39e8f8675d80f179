//! DMA memory from VM.

use std::alloc::Layout;

use fake_minix::{PHYSICAL, Process, System};
use minix_abi::Endpoint;
use minix_virtio_blk::dma::VmDma;
use virtio_core::{DeviceAddr, Dma, DmaError, DmaRegion};

fn process() -> Process {
    System::default().process(Endpoint(40), "disk")
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a power of two")
}

#[test]
fn memory_is_where_the_device_sees_it() {
    let mut dma = VmDma::new(process());
    let region = dma.allocate(layout(5000, 4096)).expect("VM has some");
    assert_eq!(region.len(), 5000);
    let start = region.as_ptr().addr().get() as u64;
    assert_eq!(region.device_addr(), DeviceAddr(start + PHYSICAL));
    assert!(region.device_addr().is_aligned_to(4096));
}

#[test]
fn released_memory_is_cleared_and_lent_again() {
    let process = process();
    let mut dma = VmDma::new(process.clone());
    let first = dma.allocate(layout(8192, 64)).expect("VM has some");
    let start = first.as_ptr();
    // SAFETY: the region is ours.
    unsafe { start.write(0xA5) };
    dma.release(first);
    process.state().no_memory = true;
    let second = dma.allocate(layout(5000, 64)).expect("this needs nothing of VM");
    assert_eq!(second.as_ptr(), start);
    // SAFETY: the region is ours.
    assert_eq!(unsafe { start.read() }, 0);
    // It is lent now, and there is no other.
    assert!(matches!(dma.allocate(layout(5000, 64)), Err(DmaError::OutOfMemory)));
    assert_eq!(process.state().mappings, [8192]);
}

#[test]
fn a_request_that_vm_should_not_see_is_not_made() {
    let process = process();
    let mut dma = VmDma::new(process.clone());
    for (size, align) in [(0, 1), ((1 << 20) + 1, 1), (4096, 8192)] {
        let refused = dma.allocate(layout(size, align));
        assert!(matches!(refused, Err(DmaError::UnsupportedLayout)), "{size} {align}");
    }
    assert!(process.state().mappings.is_empty());
    assert!(dma.allocate(layout(1 << 20, 4096)).is_ok());
}

#[test]
fn memory_of_others_is_never_lent() {
    let mut dma = VmDma::new(process());
    let mut other = [0_u8; 4096];
    let start = std::ptr::NonNull::from(&mut other).cast();
    // SAFETY: the array is not used otherwise until the end of the test.
    dma.release(unsafe { DmaRegion::from_raw_parts(start, 4096, DeviceAddr(0x1000)) });
    let region = dma.allocate(layout(4096, 1)).expect("VM has some");
    assert_ne!(region.as_ptr(), start);
}

#[test]
fn memory_is_asked_for_so_often_and_no_more() {
    let process = process();
    let mut dma = VmDma::new(process.clone());
    let regions: Vec<DmaRegion> = std::iter::from_fn(|| dma.allocate(layout(4096, 1)).ok()).collect();
    assert_eq!((regions.len(), process.state().mappings.len()), (24, 24));
    assert!(matches!(dma.allocate(layout(1, 1)), Err(DmaError::OutOfMemory)));
    // What comes back is lent again.
    for region in regions {
        dma.release(region);
    }
    assert!(dma.allocate(layout(4096, 1)).is_ok());
    assert_eq!(process.state().mappings.len(), 24);
}
