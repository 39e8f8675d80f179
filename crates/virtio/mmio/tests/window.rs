//! The hardware window, over plain memory: places, widths, byte order and bounds.

use std::ptr::NonNull;

use virtio_mmio::{Doorbell, MmioWindow, RegisterAccess, WindowError};

/// Memory that stands in for a device. It is leaked, so that it outlives every handle.
fn memory() -> NonNull<u8> {
    let words: &'static mut [u32; 0x80] = Box::leak(Box::new([0; 0x80]));
    NonNull::from(words).cast()
}

fn window(base: NonNull<u8>) -> MmioWindow {
    // SAFETY: 0x200 bytes of leaked memory, used by this thread only, through this window.
    unsafe { MmioWindow::new(base, 0x200) }.unwrap()
}

#[test]
fn values_are_little_endian_at_their_offset() {
    let mut window = window(memory());
    // SAFETY: no device is behind the window.
    unsafe { window.write_u32(0x104, 0x1234_5678) };
    assert_eq!(window.read_u32(0x104), 0x1234_5678);
    assert_eq!(
        [0x104, 0x105, 0x106, 0x107].map(|at| window.read_u8(at)),
        [0x78, 0x56, 0x34, 0x12]
    );
    assert_eq!([0x104, 0x106].map(|at| window.read_u16(at)), [0x5678, 0x1234]);
    // SAFETY: no device is behind the window.
    unsafe { window.write_u8(0x105, 0xAA) };
    assert_eq!(window.read_u32(0x104), 0x1234_AA78);
    assert_eq!(window.read_u32(0x100), 0);
    assert_eq!(window.read_u32(0x108), 0);
}

#[test]
fn a_doorbell_writes_one_register() {
    let window = window(memory());
    // SAFETY: no device is behind the window.
    let doorbell = unsafe { window.doorbell() };
    doorbell.ring(0x1234_5678);
    for offset in (0..0x200).step_by(4) {
        let expected = if offset == 0x050 { 0x1234_5678 } else { 0 };
        assert_eq!(window.read_u32(offset), expected, "{offset:#x}");
    }
}

#[test]
fn nothing_outside_or_misaligned_reaches_the_bus() {
    let mut window = window(memory());
    for offset in [0x200, 0x1FD, 0x101, u32::MAX, u32::MAX - 3] {
        assert_eq!(window.read_u32(offset), u32::MAX, "{offset:#x}");
        // SAFETY: no device is behind the window.
        unsafe { window.write_u32(offset, 0xFFFF_FFFF) };
    }
    for offset in [0x200, 0x1FF, 0x101] {
        assert_eq!(window.read_u16(offset), u16::MAX, "{offset:#x}");
    }
    assert_eq!(window.read_u8(0x200), u8::MAX);
    // SAFETY: no device is behind the window.
    unsafe { window.write_u8(0x200, 1) };
    for offset in (0..0x200).step_by(4) {
        assert_eq!(window.read_u32(offset), 0, "{offset:#x}");
    }
}

#[test]
fn a_window_that_cannot_be_one_is_refused() {
    let base = memory();
    // SAFETY: the memory has 0x200 bytes; the second start is one byte in, with fewer bytes left than are there.
    let (small, odd) = unsafe { (MmioWindow::new(base, 0xFF), MmioWindow::new(base.add(1), 0x100)) };
    assert_eq!(small, Err(WindowError::TooSmall));
    assert_eq!(odd, Err(WindowError::Misaligned));
}
