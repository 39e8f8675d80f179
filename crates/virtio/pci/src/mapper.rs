//! A mapper for kernels that can turn a bus address into a pointer.

use core::ptr::NonNull;

use crate::{
    BarRange, BarSpace, Doorbell, MapBar, MemoryDoorbell, MemoryWindow, NoPorts, PortAccess, PortDoorbell, PortWindow,
    RegisterAccess,
};

/// Maps memory by a function of the kernel, and ports by a [`PortAccess`] if the machine has one.
///
/// Where ports are a window in memory, the function maps them as well: [`BarRange::space`] tells ports from memory.
#[derive(Debug)]
pub struct Mapper<F, P = NoPorts> {
    map: F,
    ports: Option<P>,
}

impl<F: FnMut(&BarRange) -> Option<NonNull<u8>>> Mapper<F> {
    /// A mapper that asks `map` for memory and for ports.
    ///
    /// # Safety
    ///
    /// Each pointer that `map` returns keeps the contract of [`MemoryWindow::new`] for the bytes of the range, and what answers
    /// there is that range.
    pub const unsafe fn new(map: F) -> Self {
        Self { map, ports: None }
    }
}

impl<F: FnMut(&BarRange) -> Option<NonNull<u8>>, P: PortAccess> Mapper<F, P> {
    /// A mapper that asks `map` for memory alone, and reaches ports by `ports`.
    ///
    /// # Safety
    ///
    /// That of [`new`](Mapper::new); and the ports of a function whose BARs are mapped with this are written by no other code.
    pub const unsafe fn with_ports(map: F, ports: P) -> Self {
        Self {
            map,
            ports: Some(ports),
        }
    }
}

// SAFETY: the windows are made of what the contracts of the constructors promise.
unsafe impl<F: FnMut(&BarRange) -> Option<NonNull<u8>>, P: PortAccess> MapBar for Mapper<F, P> {
    type Window = Window<P>;

    fn map(&mut self, range: &BarRange) -> Option<Window<P>> {
        match &self.ports {
            Some(ports) if range.space() == BarSpace::Ports => {
                let first = u16::try_from(range.address()).ok()?;
                // SAFETY: the range belongs to the function that is looked at; the rest is the contract of `with_ports`.
                unsafe { PortWindow::new(ports.clone(), first, range.bytes()) }.map(Window::Ports)
            }
            _ => {
                let base = (self.map)(range)?;
                // SAFETY: the contract of `new`.
                Some(Window::Memory(unsafe { MemoryWindow::new(base, range.bytes()) }))
            }
        }
    }
}

/// A piece of a BAR, in memory or in ports.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Window<P = NoPorts> {
    /// In memory.
    Memory(MemoryWindow),
    /// In ports.
    Ports(PortWindow<P>),
}

/// Asks the window or doorbell inside.
macro_rules! either {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Self::Memory($inner) => $call,
            Self::Ports($inner) => $call,
        }
    };
}

// SAFETY: both kinds keep the contract.
unsafe impl<P: PortAccess> RegisterAccess for Window<P> {
    type Doorbell = WindowDoorbell<P>;

    #[inline]
    fn read_u8(&self, offset: u32) -> u8 {
        either!(self, window => window.read_u8(offset))
    }

    #[inline]
    fn read_u16(&self, offset: u32) -> u16 {
        either!(self, window => window.read_u16(offset))
    }

    #[inline]
    fn read_u32(&self, offset: u32) -> u32 {
        either!(self, window => window.read_u32(offset))
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        // SAFETY: the caller keeps the same contract.
        unsafe { either!(self, window => window.write_u8(offset, value)) }
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        // SAFETY: the caller keeps the same contract.
        unsafe { either!(self, window => window.write_u16(offset, value)) }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: the caller keeps the same contract.
        unsafe { either!(self, window => window.write_u32(offset, value)) }
    }

    unsafe fn doorbell(&self, offset: u32) -> WindowDoorbell<P> {
        // SAFETY: the caller keeps the same contract.
        unsafe {
            match self {
                Self::Memory(window) => WindowDoorbell::Memory(window.doorbell(offset)),
                Self::Ports(window) => WindowDoorbell::Ports(window.doorbell(offset)),
            }
        }
    }
}

/// A doorbell in memory or in ports.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WindowDoorbell<P = NoPorts> {
    /// In memory.
    Memory(MemoryDoorbell),
    /// In ports.
    Ports(PortDoorbell<P>),
}

impl<P: PortAccess> Doorbell for WindowDoorbell<P> {
    #[inline]
    fn ring_u16(&self, value: u16) {
        either!(self, doorbell => doorbell.ring_u16(value));
    }

    #[inline]
    fn ring_u32(&self, value: u32) {
        either!(self, doorbell => doorbell.ring_u32(value));
    }
}
