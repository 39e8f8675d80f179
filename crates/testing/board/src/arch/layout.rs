//! Where the linker script has put things.

unsafe extern "C" {
    // Only their addresses mean anything.
    static _image_start: u8;
    static _end: u8;
    static _stack_top: u8;
    static _stack_bottom: u8;
}

/// First address of the image and first address after it.
pub fn image_bounds() -> (usize, usize) {
    ((&raw const _image_start).addr(), (&raw const _end).addr())
}

/// Lowest address of the stack and first address above it.
///
/// The lowest is that of the part an image may count on; below it the stack goes on, up to the firmware.
pub(super) fn stack_bounds() -> (usize, usize) {
    ((&raw const _stack_bottom).addr(), (&raw const _stack_top).addr())
}
