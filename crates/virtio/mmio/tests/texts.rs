//! What a window says of itself, and what of it can be had back.

use std::ptr::NonNull;

use virtio_mmio::MmioWindow;

#[test]
fn a_window_knows_its_place() {
    let mut words = [0_u32; 0x80];
    let base = NonNull::from(&mut words).cast();
    // SAFETY: 0x200 bytes that outlive the window and that nothing else uses.
    let window = unsafe { MmioWindow::new(base, 0x200) }.unwrap();
    assert_eq!((window.base(), window.bytes()), (base, 0x200));
    assert_eq!(format!("{window:?}"), format!("MmioWindow({base:p}, 0x200 bytes)"));
}
