//! Finding out what is in a window.

use virtio_core::{DeviceType, Interface};

use crate::gone::answered;
use crate::registers::{DEVICE_ID, MAGIC, MAGIC_VALUE, VERSION};
use crate::{MmioTransport, RegisterAccess};

/// What a window turned out to hold.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Probe<A> {
    /// A device of any kind. Nothing about it has been changed.
    Device(MmioTransport<A>),
    /// An empty slot. That is no error and nothing to report (`MMIO-D-13`).
    Empty(Interface),
    /// A VirtIO window of an unknown version; the value of the register (`MMIO-D-10`).
    UnknownVersion(u32),
    /// No VirtIO window; what was read in place of the magic value (`MMIO-D-08`). All ones also for a device that went away while
    /// it was looked at.
    WrongMagic(u32),
}

impl<A> Probe<A> {
    /// The device, if there is one.
    pub fn device(self) -> Option<MmioTransport<A>> {
        match self {
            Self::Device(transport) => Some(transport),
            _ => None,
        }
    }
}

/// Looks into a window.
///
/// Reads the magic value, the version and the device id, in this order, and stops at the first that rules a device
/// out (`MMIO-D-27`, `MMIO-D-28`). No other register is touched; in an empty slot none may be (`MMIO-D-33`).
///
/// The registers go into the transport and there is one of it: two that set queues up at the same time, each with half of an
/// address, would lead the device anywhere.
///
/// ```compile_fail,E0382
/// # fn on(window: virtio_mmio::MmioWindow) {
/// let first = virtio_mmio::probe(window);
/// let second = virtio_mmio::probe(window); // gone
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # fn on<A: virtio_mmio::RegisterAccess + Clone>(transport: virtio_mmio::MmioTransport<A>) {
/// let second = transport.clone(); // not even if there could be a second window
/// # }
/// ```
pub fn probe<A: RegisterAccess>(access: A) -> Probe<A> {
    let magic = MAGIC_VALUE.read(&access);
    if magic != MAGIC {
        warn!("no VirtIO window: magic value {:#x}", magic);
        return Probe::WrongMagic(magic);
    }
    let interface = match VERSION.read(&access) {
        1 => Interface::Legacy,
        2 => Interface::Modern,
        version => {
            warn!("unknown VirtIO MMIO version {}", version);
            return Probe::UnknownVersion(version);
        }
    };
    let Ok(kind) = answered(&access, DEVICE_ID.read(&access)) else {
        return Probe::WrongMagic(u32::MAX);
    };
    match DeviceType(kind) {
        DeviceType::NONE => Probe::Empty(interface),
        device_type => Probe::Device(MmioTransport::new(access, interface, device_type)),
    }
}
