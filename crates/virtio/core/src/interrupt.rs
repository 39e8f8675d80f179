//! Where interrupts come from and why.

use bitflags::bitflags;

bitflags! {
    /// Why a device raised its interrupt (`MMIO-N-11`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct InterruptCauses: u32 {
        /// The device has used buffers of some queue.
        const USED_BUFFER = 1;
        /// The configuration or the device status has changed.
        const CONFIG_CHANGE = 2;
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for InterruptCauses {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "InterruptCauses({=u32:#x})", self.bits());
    }
}

/// An entry of a transport's vector table (MSI-X).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InterruptVector(pub u16);

/// The way that an interrupt took: a line or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InterruptSource {
    /// The one line of the device, which may be shared with other devices.
    Line,
    /// One of its vectors, which is its own.
    Vector(InterruptVector),
}
