//! The seam between the registers of a device and what reaches them: mapped memory, ports, or a model in a test.

use crate::BarRange;

/// Reads and writes the locations of one piece of a BAR.
///
/// Offsets are in bytes from the start of the piece. Values are in the byte order of the CPU; on the bus they are
/// little-endian. A field is accessed in its own width (`PCI-D-05` to `PCI-D-07`), so these three are all there are.
///
/// A read has no effect, except that reading the interrupt status clears it. A write has one: some of these registers tell the
/// device which memory to write to. So a write takes `unsafe` and an exclusive reference, and the type is not `Clone`. A doorbell
/// is a handle of its own, which another hart can own, and which rings and does nothing else.
///
/// At a location that does not exist, a read answers with all bits set, as an empty bus does, and a write has no effect.
///
/// # Safety
///
/// Memory is freed on the word of these registers: when the status reads 0 after a reset, when a queue reset is over. An
/// implementation promises that
///
/// * its answers are those of the piece it was made for, and reach the caller unchanged;
/// * as long as a value of the type exists, that piece is written through it and its doorbells alone;
/// * safe code finds no other way to write it.
///
/// An implementation without a device, as in a test, or whose device uses no memory but its own, may answer as it likes.
pub unsafe trait RegisterAccess {
    /// A doorbell in this piece.
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
    /// The caller answers for what the device does after the write. In particular, the registers that say where a queue lies and
    /// those that set it to work are written under the contract of
    /// [`enable_queue`](virtio_core::Transport::enable_queue) only.
    unsafe fn write_u8(&mut self, offset: u32, value: u8);

    /// Writes 16 bits; `offset` is even.
    ///
    /// # Safety
    ///
    /// That of [`write_u8`](Self::write_u8).
    unsafe fn write_u16(&mut self, offset: u32, value: u16);

    /// Writes 32 bits; `offset` is a multiple of four.
    ///
    /// # Safety
    ///
    /// That of [`write_u8`](Self::write_u8).
    unsafe fn write_u32(&mut self, offset: u32, value: u32);

    /// A handle that writes the one register at `offset` and nothing else. At a place outside the piece, or not aligned to
    /// four bytes, it may ring 16 bits or nothing.
    ///
    /// # Safety
    ///
    /// A doorbell of a queue is at `offset`. The handle lives as long as its owner likes, so for all that time it is rung with
    /// the value that the specification asks for. With NOTIFICATION_DATA that is an available index that was published, since a
    /// device may go by that number alone.
    unsafe fn doorbell(&self, offset: u32) -> Self::Doorbell;
}

/// A doorbell: a handle whose owner can write one register.
pub trait Doorbell {
    /// Writes 16 bits.
    fn ring_u16(&self, value: u16);

    /// Writes 32 bits.
    fn ring_u32(&self, value: u32);
}

/// How the machine makes a piece of a BAR accessible. The kernel implements it, or takes [`Mapper`](crate::Mapper).
///
/// # Safety
///
/// What [`map`](Self::map) returns reaches the piece it was asked for, of the function that is being looked at, and keeps the
/// contract of [`RegisterAccess`] for it. A function that is probed again has its pieces mapped again.
///
/// Where a piece is and how long its BAR is, is what the function answers when it is probed. A kernel that does not believe its
/// devices compares that with the addresses that it has assigned. Otherwise a lying device can have it map registers of another.
pub unsafe trait MapBar {
    /// The access to a mapped piece.
    type Window: RegisterAccess;

    /// Makes `range` accessible; `None` if the machine cannot, for example because it has no ports.
    fn map(&mut self, range: &BarRange) -> Option<Self::Window>;
}

// SAFETY: it is the same mapper.
unsafe impl<M: MapBar + ?Sized> MapBar for &mut M {
    type Window = M::Window;

    fn map(&mut self, range: &BarRange) -> Option<Self::Window> {
        (**self).map(range)
    }
}
