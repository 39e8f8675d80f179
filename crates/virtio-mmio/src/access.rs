//! The seam between the register protocol and whatever answers it: real hardware or a model in a test.

/// Reads and writes the locations of one device window.
///
/// Offsets are in bytes from the start of the window. Values are in the byte order of the CPU; an implementation that
/// talks to a bus swaps them if that is not little-endian (`MMIO-N-01`).
///
/// Only the widths that the specification knows for a driver are here: control registers are 32 bits wide
/// (`MMIO-D-04`), configuration fields 8, 16 or 32 (`MMIO-D-05` to `MMIO-D-07`), and the one configuration field a
/// driver writes has 8.
///
/// Access is through a shared reference and the handle is `Clone`, because a doorbell may live apart from the rest:
/// the device, not the handle, keeps the state. An implementation must bear a location that does not exist: reads
/// answer with all bits set, as an empty bus does, writes vanish.
///
/// # Safety
///
/// Memory is freed on the word of these registers: when the status reads 0 after a reset, when a queue is no longer
/// ready. An implementation promises that its answers are those of one device, the same for all clones of the handle,
/// and reach that device unchanged. One that has no device behind it, as in a test, has nothing that could use memory
/// and may answer as it likes.
pub unsafe trait RegisterAccess: Clone {
    /// Reads 8 bits.
    fn read_u8(&self, offset: u32) -> u8;

    /// Reads 16 bits; `offset` is even.
    fn read_u16(&self, offset: u32) -> u16;

    /// Reads 32 bits; `offset` is a multiple of four.
    fn read_u32(&self, offset: u32) -> u32;

    /// Writes 8 bits.
    fn write_u8(&self, offset: u32, value: u8);

    /// Writes 32 bits; `offset` is a multiple of four.
    fn write_u32(&self, offset: u32, value: u32);
}
