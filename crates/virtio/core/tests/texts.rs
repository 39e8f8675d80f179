//! What values say of themselves, and the corners of DMA memory.

use std::alloc::Layout;
use std::fmt::Display;
use std::ptr::NonNull;

use virtio_core::{DeviceAddr, DeviceType, Dma, DmaBuffer, DmaError, DmaRegion, QueueIndex, QueueSize};

#[test]
fn values_are_told_as_their_numbers() {
    let texts: [(&dyn Display, &str); 4] = [
        (&DeviceAddr(0x8000_1000), "0x80001000"),
        (&QueueIndex(3), "3"),
        (&QueueSize::MAX, "32768"),
        (&DeviceType::BLOCK, "2"),
    ];
    for (value, text) in texts {
        assert_eq!(value.to_string(), text);
    }
    assert_eq!(format!("{:?}", DeviceAddr(16)), "DeviceAddr(0x10)");
}

#[test]
fn an_address_past_the_end_is_none() {
    assert_eq!(DeviceAddr(u64::MAX).checked_add(1), None);
    assert_eq!(DeviceAddr(1).checked_add(2), Some(DeviceAddr(3)));
}

/// A platform that gives empty regions, and counts those that are out.
#[derive(Default)]
struct Stingy {
    out: u32,
}

impl Dma for Stingy {
    fn allocate(&mut self, _layout: Layout) -> Result<DmaRegion, DmaError> {
        self.out += 1;
        // SAFETY: there is no byte in it.
        Ok(unsafe { DmaRegion::from_raw_parts(NonNull::dangling(), 0, DeviceAddr(0)) })
    }

    fn release(&mut self, region: DmaRegion) {
        assert!(region.is_empty());
        self.out -= 1;
    }
}

#[test]
fn a_region_that_is_no_buffer_goes_back() {
    let mut dma = Stingy::default();
    // Borrowed twice, as by a function that takes `impl Dma`.
    let error = DmaBuffer::allocate(&mut &mut dma, 512, 1).unwrap_err();
    assert_eq!((error, dma.out), (DmaError::UnsupportedLayout, 0));
}

#[test]
fn a_buffer_that_cannot_be_asks_for_no_memory() {
    let mut dma = Stingy::default();
    for (bytes, align) in [(0, 1), (1 << 32, 1), (512, 3)] {
        let error = DmaBuffer::allocate(&mut dma, bytes, align).unwrap_err();
        assert_eq!((error, dma.out), (DmaError::UnsupportedLayout, 0), "{bytes} {align}");
    }
}
