//! The end of a program that has no other panic handler.

unsafe extern "C" {
    /// The program's own; it does not return.
    safe fn virtio_blk_panicked() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    virtio_blk_panicked()
}
