//! How a queue is named, sized and handed to a device. What is in it belongs to the `virtqueue` crate.

use core::fmt;

use crate::{DeviceAddr, DeviceGone, InterruptVector};

/// Which queue of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueIndex(pub u16);

impl fmt::Display for QueueIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of descriptors of a split virtqueue: a power of two from 1 to 32768 (`RING-N-01`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueSize(u16);

impl QueueSize {
    /// The largest size the specification allows.
    pub const MAX: Self = Self(32768);

    /// The size `descriptors`, if it is a legal one.
    pub const fn new(descriptors: u16) -> Option<Self> {
        if descriptors.is_power_of_two() && descriptors <= Self::MAX.0 {
            Some(Self(descriptors))
        } else {
            None
        }
    }

    /// The largest legal size that is not above `limit`; `None` if the limit is zero.
    pub const fn at_most(limit: u32) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        // Where no instruction counts zeroes, a logarithm is several times this code.
        let mut size = Self::MAX.0;
        while size as u32 > limit {
            size /= 2;
        }
        Some(Self(size))
    }

    /// Number of descriptors.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The mask that turns a free-running index into a slot number.
    #[inline]
    pub const fn mask(self) -> u16 {
        self.0 - 1
    }
}

impl fmt::Display for QueueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a queue lies in memory and how it announces itself: what a transport tells the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueSetup {
    /// Number of descriptors.
    pub size: QueueSize,
    /// The descriptor table; 16-byte aligned.
    pub descriptor_table: DeviceAddr,
    /// The driver area, which is the available ring of a split queue; 2-byte aligned.
    pub driver_area: DeviceAddr,
    /// The device area, which is the used ring of a split queue; 4-byte aligned.
    pub device_area: DeviceAddr,
    /// Alignment in bytes of the device area, for legacy interfaces that compute its place themselves.
    pub legacy_align: u32,
    /// Where the CPU sees the same three parts, if the caller says so. A transport that goes by them refuses a queue without.
    pub cpu: Option<CpuAddresses>,
    /// The interrupt vector of this queue, on transports that have vectors. The transport reads back that the device has taken it.
    pub vector: Option<InterruptVector>,
}

impl QueueSetup {
    /// The page that the queue starts at, in units of `page_bytes`, if the device will find its three parts where the driver
    /// put them.
    ///
    /// A legacy device is only told that page, the size and the alignment, and works out the rest (`LEG-D-08`, `LEG-D-09`): the
    /// driver area follows the descriptors, the device area starts at the next multiple of the alignment.
    pub fn legacy_page(&self, page_bytes: u32) -> Option<u32> {
        let size = u64::from(self.size.get());
        let align = u64::from(self.legacy_align);
        let page_bytes = u64::from(page_bytes);
        if !align.is_power_of_two() || !page_bytes.is_power_of_two() {
            return None;
        }
        let available = self.descriptor_table.checked_add(16 * size)?;
        let end = available.checked_add(6 + 2 * size)?;
        let used = end.get().checked_next_multiple_of(align)?;
        let agreed = self.descriptor_table.is_aligned_to(page_bytes)
            // Alignment counts from the start of the queue, which must therefore have it itself.
            && self.descriptor_table.is_aligned_to(align)
            && self.driver_area == available
            && self.device_area.get() == used
            && self.device_area.is_aligned_to(4);
        let page = u32::try_from(self.descriptor_table.get() / page_bytes).ok()?;
        // Page 0 would read as "not in use".
        (agreed && page != 0).then_some(page)
    }
}

/// Where the CPU sees the same three parts of a queue. A device in another process of the same machine is told these addresses and
/// translates them itself (vhost-user).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CpuAddresses {
    /// The descriptor table.
    pub descriptor_table: usize,
    /// The driver area.
    pub driver_area: usize,
    /// The device area.
    pub device_area: usize,
}

/// Why a queue could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum QueueSetupError {
    /// The device has no queue of that index.
    #[error("the device has no such queue")]
    NoSuchQueue,
    /// The device already uses the queue; it was not reset.
    #[error("the queue is already in use; reset the device first")]
    InUse,
    /// The device takes fewer descriptors than that.
    #[error("the queue is larger than the device allows")]
    TooLarge,
    /// An address is not aligned, not laid out or not as low as the transport needs it.
    #[error("the transport cannot express where the queue lies")]
    BadAddress,
    /// The transport has no such interrupt vector, or the device refused it.
    #[error("the interrupt vector was refused")]
    VectorRefused,
    /// The device takes this many descriptors and no fewer (legacy PCI).
    #[error("the size of the queue is fixed")]
    SizeFixed,
    /// The doorbell of the queue does not lie where the device has its doorbells.
    #[error("the doorbell of the queue is out of reach")]
    NoDoorbell,
    /// The device did not take the queue into use.
    #[error("the device did not take the queue into use")]
    NotReady,
    /// There is no device any more. It uses no memory.
    #[error("the device is gone")]
    Gone,
}

impl From<DeviceGone> for QueueSetupError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_are_sizes() {
        let legal = (0..=u16::MAX).filter(|&n| QueueSize::new(n).is_some());
        assert_eq!(legal.count(), 16);
        assert_eq!(QueueSize::new(0), None);
        assert_eq!(QueueSize::new(6), None);
        assert_eq!(QueueSize::new(32768).map(QueueSize::get), Some(32768));
    }

    #[test]
    fn a_legacy_device_finds_the_three_parts_by_the_page() {
        let setup = |used: u64, align: u32| QueueSetup {
            size: QueueSize::new(256).unwrap(),
            descriptor_table: DeviceAddr(0x2000),
            driver_area: DeviceAddr(0x3000),
            device_area: DeviceAddr(used),
            legacy_align: align,
            cpu: None,
            vector: None,
        };
        // The driver area takes 6 + 2 * 256 bytes.
        assert_eq!(setup(0x3208, 4).legacy_page(4096), Some(2));
        assert_eq!(setup(0x4000, 4096).legacy_page(4096), Some(2));
        for (used, align) in [
            (0x3204, 4),
            (0x320C, 4),
            (0x3108, 4),
            (0x4000, 4),
            (0x3208, 3),
            (0x4000, 0x4000),
        ] {
            assert_eq!(setup(used, align).legacy_page(4096), None, "{used:#x}, {align}");
        }
        assert_eq!(setup(0x4000, 4096).legacy_page(4095), None);
    }

    #[test]
    fn a_limit_is_rounded_down() {
        let at_most = |limit| QueueSize::at_most(limit).map(QueueSize::get);
        assert_eq!(at_most(0), None);
        assert_eq!(at_most(1), Some(1));
        assert_eq!(at_most(3), Some(2));
        assert_eq!(at_most(1024), Some(1024));
        assert_eq!(at_most(1023), Some(512));
        assert_eq!(at_most(32767), Some(16384));
        assert_eq!(at_most(u32::MAX), Some(32768));
    }
}
