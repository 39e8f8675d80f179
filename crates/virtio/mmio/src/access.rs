//! The seam between the register protocol and what answers it: real hardware or a model in a test.

/// Reads and writes the locations of one device window.
///
/// Offsets are in bytes from the start of the window. Values are in the byte order of the CPU; an implementation that
/// talks to a bus swaps them if that is not little-endian (`MMIO-N-01`).
///
/// Only the widths that the specification knows for a driver are here: control registers are 32 bits wide
/// (`MMIO-D-04`), configuration fields 8, 16 or 32 (`MMIO-D-05` to `MMIO-D-07`), and the one configuration field a
/// driver writes has 8.
///
/// Looking is harmless. Writing is not: some of these registers tell the device which memory to write to. So a write takes
/// `unsafe` and an exclusive reference, there is no `Clone`, and a doorbell, which may live apart from the rest, is a handle
/// of its own that does nothing but ring.
///
/// An implementation must bear a location that does not exist: reads answer with all bits set, as an empty bus does, writes
/// vanish.
///
/// # Safety
///
/// Memory is freed on the word of these registers: when the status reads 0 after a reset, when a queue is no longer
/// ready, when there is no device any more. An implementation promises that
///
/// * its answers are those of one device, and reach the caller unchanged;
/// * when the magic value reads as all ones, that device is cut off from memory for good: it makes no access any more;
/// * as long as a value of the type exists, the registers of that device are written through it and its doorbells alone;
/// * safe code finds no other way to write them.
///
/// An implementation without a device, as in a test, or whose device uses no memory but its own, may answer as it likes.
pub unsafe trait RegisterAccess {
    /// The doorbell of the device.
    type Doorbell: Doorbell;

    /// Reads 8 bits.
    fn read_u8(&self, offset: u32) -> u8;

    /// Reads 16 bits; `offset` is even.
    fn read_u16(&self, offset: u32) -> u16;

    /// Reads 32 bits; `offset` is a multiple of four.
    fn read_u32(&self, offset: u32) -> u32;

    /// Writes 8 bits.
    ///
    /// # Safety
    ///
    /// What a write does to the device is the caller's business. In particular, the registers that say where a queue lies and
    /// those that set it to work are written under the contract of
    /// [`enable_queue`](virtio_core::Transport::enable_queue) only.
    unsafe fn write_u8(&mut self, offset: u32, value: u8);

    /// Writes 32 bits; `offset` is a multiple of four.
    ///
    /// # Safety
    ///
    /// That of [`write_u8`](Self::write_u8).
    unsafe fn write_u32(&mut self, offset: u32, value: u32);

    /// A handle that writes QueueNotify and nothing else.
    ///
    /// # Safety
    ///
    /// The handle lives as long as its owner likes, so for all that time: if NOTIFICATION_DATA was accepted, it is rung with
    /// an available index only that was published, since a device may go by that number alone. Without the feature a ring is
    /// harmless.
    unsafe fn doorbell(&self) -> Self::Doorbell;
}

/// The doorbell of a device: one register that can be written by the owner of the handle.
pub trait Doorbell {
    /// Writes `value` to QueueNotify.
    fn ring(&self, value: u32);
}
