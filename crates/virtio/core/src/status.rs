//! The device status byte.

use bitflags::bitflags;

bitflags! {
    /// Milestones of initialisation and the device's requests for a reset (VirtIO 1.4, "Device Status Field"; `INIT-N-01`).
    ///
    /// A bit, once set, only goes away with a reset (`INIT-D-02`). Bits without a name are kept as read.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DeviceStatus: u8 {
        /// The driver has found the device.
        const ACKNOWLEDGE = 1;
        /// The driver knows how to drive it.
        const DRIVER = 2;
        /// The driver is set up; the device is live.
        const DRIVER_OK = 4;
        /// Feature negotiation is over.
        const FEATURES_OK = 8;
        /// The device is suspended (VirtIO 1.4).
        const SUSPEND = 16;
        /// Set by the device: only a reset helps.
        const DEVICE_NEEDS_RESET = 64;
        /// Set by the driver: it has given up.
        const FAILED = 128;

        // Every other bit is kept as it is.
        const _ = !0;
    }
}

impl DeviceStatus {
    /// The state right after a reset: nothing set.
    pub const RESET: Self = Self::empty();
}

#[cfg(feature = "defmt")]
impl defmt::Format for DeviceStatus {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "DeviceStatus({=u8:#x})", self.bits());
    }
}
