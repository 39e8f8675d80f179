//! Which functions are VirtIO devices, by vendor and device id.

use virtio_core::DeviceType;

/// The vendor id of all VirtIO devices.
pub const VENDOR: u16 = 0x1AF4;

/// Device ids of modern devices start here: the device type is added (`PCI-D-01`).
const MODERN: u16 = 0x1040;
/// The last device id of a modern device.
const MODERN_LAST: u16 = 0x107F;
/// The first device id of a transitional device.
const TRANSITIONAL: u16 = 0x1000;

/// What the ids of a function say about a VirtIO device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VirtioId {
    /// The kind of device.
    pub device_type: DeviceType,
    /// It may have the legacy interface, beside the modern one or alone. The capabilities tell which (`LEG-D-13`).
    pub transitional: bool,
}

impl VirtioId {
    /// The VirtIO device that has these ids; `None` for any other function.
    ///
    /// Revision and subsystem vendor say nothing about it (`PCI-D-03`, `PCI-D-04`). The subsystem id is looked at only
    /// for a transitional id that the specification does not list; it is the device type then.
    pub const fn new(vendor: u16, device: u16, subsystem: u16) -> Option<Self> {
        if vendor != VENDOR || device < TRANSITIONAL || device > MODERN_LAST {
            return None;
        }
        let transitional = device < MODERN;
        let device_type = match device {
            MODERN..=MODERN_LAST => device - MODERN,
            0x1000 => 1,
            0x1001 => 2,
            0x1002 => 5,
            0x1003 => 3,
            0x1004 => 8,
            0x1005 => 4,
            0x1009 => 9,
            _ => subsystem,
        };
        Some(Self {
            device_type: DeviceType(device_type as u32),
            transitional,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(vendor: u16, device: u16, subsystem: u16) -> Option<(u32, bool)> {
        VirtioId::new(vendor, device, subsystem).map(|id| (id.device_type.0, id.transitional))
    }

    // Shows PCI-D-01.
    #[test]
    fn block_devices_are_known_by_both_ids() {
        assert_eq!(type_of(0x1AF4, 0x1042, 0x1100), Some((2, false)));
        assert_eq!(type_of(0x1AF4, 0x1001, 0x0002), Some((2, true)));
        assert_eq!(type_of(0x1AF4, 0x1001, 0xBEEF), Some((2, true)));
    }

    #[test]
    fn an_unlisted_transitional_id_goes_by_its_subsystem() {
        assert_eq!(type_of(0x1AF4, 0x1033, 18), Some((18, true)));
    }

    #[test]
    fn other_vendors_and_ids_are_no_virtio_devices() {
        assert_eq!(type_of(0x8086, 0x1042, 0), None);
        assert_eq!(type_of(0x1AF4, 0x0FFF, 0), None);
        assert_eq!(type_of(0x1AF4, 0x1080, 0), None);
        assert_eq!(type_of(0xFFFF, 0xFFFF, 0xFFFF), None);
    }
}
