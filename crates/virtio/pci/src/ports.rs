//! Pieces of a BAR that are ports.

use crate::{Doorbell, RegisterAccess};

/// Reads and writes ports: `in` and `out` on x86, a call to the kernel elsewhere.
///
/// Machines whose ports are a window in memory do not need this: they map ports as they map memory.
///
/// # Safety
///
/// An implementation promises that
///
/// * a value read is what the port answered, all ones if there is none, and a value written reaches that port and no other, in
///   one access of that width;
/// * safe code finds no way to write ports that belong to a VirtIO device but through a [`PortWindow`]. Its writes are
///   `unsafe`.
pub unsafe trait PortAccess: Clone {
    /// Reads 8 bits.
    fn read_u8(&self, port: u16) -> u8;
    /// Reads 16 bits.
    fn read_u16(&self, port: u16) -> u16;
    /// Reads 32 bits.
    fn read_u32(&self, port: u16) -> u32;
    /// Writes 8 bits.
    ///
    /// # Safety
    ///
    /// The caller answers for what the device at this port does.
    unsafe fn write_u8(&self, port: u16, value: u8);
    /// Writes 16 bits.
    ///
    /// # Safety
    ///
    /// That of [`write_u8`](Self::write_u8).
    unsafe fn write_u16(&self, port: u16, value: u16);
    /// Writes 32 bits.
    ///
    /// # Safety
    ///
    /// That of [`write_u8`](Self::write_u8).
    unsafe fn write_u32(&self, port: u16, value: u32);
}

/// A machine without ports. There is no value of it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoPorts {}

// SAFETY: no value exists, so nothing is read or written.
unsafe impl PortAccess for NoPorts {
    fn read_u8(&self, _: u16) -> u8 {
        match *self {}
    }
    fn read_u16(&self, _: u16) -> u16 {
        match *self {}
    }
    fn read_u32(&self, _: u16) -> u32 {
        match *self {}
    }
    unsafe fn write_u8(&self, _: u16, _: u8) {
        match *self {}
    }
    unsafe fn write_u16(&self, _: u16, _: u16) {
        match *self {}
    }
    unsafe fn write_u32(&self, _: u16, _: u32) {
        match *self {}
    }
}

/// A range of ports that belongs to one function.
///
/// Accesses outside of it, or not aligned to their own width, never reach the bus: reads answer with all bits set, writes
/// vanish.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortWindow<P> {
    ports: P,
    first: u16,
    count: u32,
}

impl<P: PortAccess> PortWindow<P> {
    /// The ports `first..first + count`; `None` if there are not that many.
    ///
    /// # Safety
    ///
    /// As long as the window or a doorbell of it exists, these ports are registers of one function, no read of them traps, and no
    /// other code writes them.
    pub unsafe fn new(ports: P, first: u16, count: u32) -> Option<Self> {
        let fits = u32::from(first).checked_add(count)? <= 0x1_0000;
        fits.then_some(Self { ports, first, count })
    }

    /// The port at `offset`, if all of the `bytes` there lie in the window and are aligned.
    #[inline]
    fn port(&self, offset: u32, bytes: u32) -> Option<u16> {
        let end = offset.checked_add(bytes)?;
        let port = self.first.checked_add(u16::try_from(offset).ok()?)?;
        let inside = end <= self.count && u32::from(port).is_multiple_of(bytes);
        inside.then_some(port)
    }
}

// SAFETY: every access is one access of that width to a port of the window, which is that of one function by the contract of
// `new`, as is that no other code writes it. A doorbell writes one port, and there is no other safe way to write any.
unsafe impl<P: PortAccess> RegisterAccess for PortWindow<P> {
    type Doorbell = PortDoorbell<P>;

    fn read_u8(&self, offset: u32) -> u8 {
        self.port(offset, 1).map_or(u8::MAX, |port| self.ports.read_u8(port))
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.port(offset, 2).map_or(u16::MAX, |port| self.ports.read_u16(port))
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.port(offset, 4).map_or(u32::MAX, |port| self.ports.read_u32(port))
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        if let Some(port) = self.port(offset, 1) {
            // SAFETY: the caller answers for what the device does.
            unsafe { self.ports.write_u8(port, value) }
        }
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        if let Some(port) = self.port(offset, 2) {
            // SAFETY: the caller answers for what the device does.
            unsafe { self.ports.write_u16(port, value) }
        }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        if let Some(port) = self.port(offset, 4) {
            // SAFETY: the caller answers for what the device does.
            unsafe { self.ports.write_u32(port, value) }
        }
    }

    unsafe fn doorbell(&self, offset: u32) -> PortDoorbell<P> {
        PortDoorbell {
            ports: self.ports.clone(),
            narrow: self.port(offset, 2),
            wide: self.port(offset, 4),
        }
    }
}

/// One doorbell port of a device; [`PortWindow`] makes it.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortDoorbell<P> {
    ports: P,
    /// The port in its two widths, as far as it lies in the window.
    narrow: Option<u16>,
    wide: Option<u16>,
}

impl<P: PortAccess> Doorbell for PortDoorbell<P> {
    fn ring_u16(&self, value: u16) {
        if let Some(port) = self.narrow {
            // SAFETY: a doorbell is at this port, and it may be rung at any time, by the contract of `RegisterAccess::doorbell`.
            unsafe { self.ports.write_u16(port, value) }
        }
    }

    fn ring_u32(&self, value: u32) {
        if let Some(port) = self.wide {
            // SAFETY: as in `ring_u16`.
            unsafe { self.ports.write_u32(port, value) }
        }
    }
}
