//! Feature bits that belong to every device: queues, negotiation, transports.
//!
//! The bits of a device type (0 to 23 and 50 to 63) are named by the crate that knows the type; here they are merely
//! kept. The set holds 64 bits, two words of the register interface, and keeps bits without a name. Bits 64 to 127 have a
//! meaning for network devices alone; a driver that does not ask for them accepts none.

use bitflags::bitflags;

bitflags! {
    /// A set of feature bits (VirtIO 1.4, "Feature Bits" and "Reserved Feature Bits").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// Legacy only: the device notifies when it runs out of buffers, suppressed or not.
        const NOTIFY_ON_EMPTY = 1 << 24;
        /// Legacy only: descriptor boundaries are free.
        const ANY_LAYOUT = 1 << 27;
        /// Indirect descriptor tables.
        const INDIRECT_DESC = 1 << 28;
        /// Notifications are suppressed by `used_event` and `avail_event` instead of flags.
        const EVENT_IDX = 1 << 29;
        /// The device follows version 1 or later of the specification.
        const VERSION_1 = 1 << 32;
        /// Device addresses are translated or restricted by the platform.
        const ACCESS_PLATFORM = 1 << 33;
        /// The packed virtqueue layout.
        const RING_PACKED = 1 << 34;
        /// Buffers come back in the order they went out.
        const IN_ORDER = 1 << 35;
        /// Memory accesses are ordered as for a hardware device.
        const ORDER_PLATFORM = 1 << 36;
        /// Single-root I/O virtualisation; PCI only.
        const SR_IOV = 1 << 37;
        /// Notifications carry the ring position.
        const NOTIFICATION_DATA = 1 << 38;
        /// A device-supplied value stands for the queue in notifications; PCI only.
        const NOTIF_CONFIG_DATA = 1 << 39;
        /// One queue can be reset on its own.
        const RING_RESET = 1 << 40;
        /// Administration virtqueues; PCI only.
        const ADMIN_VQ = 1 << 41;
        /// The device can be suspended.
        const SUSPEND = 1 << 43;

        // Every other bit is kept as it is.
        const _ = !0;
    }
}

impl Features {
    /// Number of 32-bit words in the set.
    pub const WORDS: u32 = 2;

    /// The words a legacy interface has: bits 0 to 31 (`LEG-N-04`).
    pub const LEGACY: Self = Self::from_bits_retain(u32::MAX as u64);

    /// Bits that only mean something on a legacy interface; on a modern one they are undefined (`FEAT-D-04`).
    pub const LEGACY_ONLY: Self = Self::NOTIFY_ON_EMPTY.union(Self::ANY_LAYOUT);

    /// A set of the bits 0 to 63.
    #[inline]
    pub const fn from_low(bits: u64) -> Self {
        Self::from_bits_retain(bits)
    }

    /// Bits 0 to 63.
    #[inline]
    pub const fn low(self) -> u64 {
        self.bits()
    }

    /// Word `index` of the register interface: bits `32 * index` to `32 * index + 31`. Words past the set are zero.
    #[inline]
    pub const fn word(self, index: u32) -> u32 {
        if index < Self::WORDS {
            (self.bits() >> (32 * index)) as u32
        } else {
            0
        }
    }

    /// The set with word `index` replaced. Words past the set change nothing.
    #[inline]
    #[must_use]
    pub const fn with_word(self, index: u32, word: u32) -> Self {
        if index >= Self::WORDS {
            return self;
        }
        let shift = 32 * index;
        let cleared = self.bits() & !((u32::MAX as u64) << shift);
        Self::from_bits_retain(cleared | ((word as u64) << shift))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Features {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Features({=u64:#x})", self.bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bits_are_two_views_of_one_set() {
        let mut set = Features::empty();
        for index in 0..Features::WORDS {
            set = set.with_word(index, 0x1111_1111 * (index + 1));
        }
        assert_eq!(set.bits(), 0x22222222_11111111);
        for index in 0..Features::WORDS {
            assert_eq!(set.word(index), 0x1111_1111 * (index + 1));
        }
        assert_eq!(set.with_word(2, 0).word(2), 0);
    }

    #[test]
    fn words_outside_the_set_are_empty() {
        assert_eq!(Features::all().word(2), 0);
        assert_eq!(Features::empty().with_word(2, u32::MAX), Features::empty());
        assert_eq!(Features::all().word(u32::MAX), 0);
    }

    #[test]
    fn unknown_bits_survive() {
        let unknown = Features::from_bits_retain(1 << 63 | 1 << 31 | 1 << 55);
        assert_eq!((unknown | Features::VERSION_1) - Features::VERSION_1, unknown);
    }
}
