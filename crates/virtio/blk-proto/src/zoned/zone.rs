//! The description of one zone, its type and its state.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Sector;
use crate::zoned::ZonedConfig;

/// The first sector of a zone, as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneId(Sector);

impl ZoneId {
    /// The zone that starts at `first`, unchecked. [`ZonedConfig::zone_of`] finds the zone of any sector.
    pub const fn starting_at(first: Sector) -> Self {
        Self(first)
    }

    /// The first sector.
    pub const fn start(self) -> Sector {
        self.0
    }
}

/// How a zone can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ZoneType {
    /// Anywhere, like an ordinary disk.
    Conventional,
    /// Only at the write pointer.
    SequentialWriteRequired,
    /// Anywhere, but better at the write pointer.
    SequentialWritePreferred,
    /// A value without a meaning yet.
    Unknown(u8),
}

impl ZoneType {
    /// Whether the zone has a write pointer and the rules of sequential zones apply.
    pub const fn is_sequential(self) -> bool {
        matches!(self, Self::SequentialWriteRequired | Self::SequentialWritePreferred)
    }
}

impl From<u8> for ZoneType {
    fn from(wire: u8) -> Self {
        match wire {
            1 => Self::Conventional,
            2 => Self::SequentialWriteRequired,
            3 => Self::SequentialWritePreferred,
            other => Self::Unknown(other),
        }
    }
}

impl From<ZoneType> for u8 {
    fn from(kind: ZoneType) -> Self {
        match kind {
            ZoneType::Conventional => 1,
            ZoneType::SequentialWriteRequired => 2,
            ZoneType::SequentialWritePreferred => 3,
            ZoneType::Unknown(other) => other,
        }
    }
}

/// The state of a zone. [`after`](Self::after) defines which one follows which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ZoneState {
    /// A conventional zone: there is no write pointer.
    NoWritePointer,
    /// Nothing is written.
    Empty,
    /// Opened by a write.
    ImplicitlyOpen,
    /// Opened by command.
    ExplicitlyOpen,
    /// Partly written, and not open.
    Closed,
    /// Readable only.
    ReadOnly,
    /// Written up to its capacity, or finished.
    Full,
    /// Neither readable nor writable, for good.
    Offline,
    /// A value without a meaning yet.
    Unknown(u8),
}

impl ZoneState {
    /// Whether zones in this state have a valid write pointer, and can therefore be written at it (`BLK-N-26`).
    pub const fn has_write_pointer(self) -> bool {
        matches!(
            self,
            Self::Empty | Self::ImplicitlyOpen | Self::ExplicitlyOpen | Self::Closed
        )
    }

    /// Whether the zone counts against `max_open_zones`.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::ImplicitlyOpen | Self::ExplicitlyOpen)
    }

    /// Whether the zone counts against `max_active_zones`.
    pub const fn is_active(self) -> bool {
        self.is_open() || matches!(self, Self::Closed)
    }
}

impl From<u8> for ZoneState {
    fn from(wire: u8) -> Self {
        match wire {
            0 => Self::NoWritePointer,
            1 => Self::Empty,
            2 => Self::ImplicitlyOpen,
            3 => Self::ExplicitlyOpen,
            4 => Self::Closed,
            13 => Self::ReadOnly,
            14 => Self::Full,
            15 => Self::Offline,
            other => Self::Unknown(other),
        }
    }
}

impl From<ZoneState> for u8 {
    fn from(state: ZoneState) -> Self {
        match state {
            ZoneState::NoWritePointer => 0,
            ZoneState::Empty => 1,
            ZoneState::ImplicitlyOpen => 2,
            ZoneState::ExplicitlyOpen => 3,
            ZoneState::Closed => 4,
            ZoneState::ReadOnly => 13,
            ZoneState::Full => 14,
            ZoneState::Offline => 15,
            ZoneState::Unknown(other) => other,
        }
    }
}

/// One zone as it lies in a report. The names of the fields are those of the specification.
///
/// The device wrote it, so no field is valid until checked: see [`is_plausible`](Self::is_plausible).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZoneDescriptor {
    /// Sectors that can be written while the zone is empty.
    pub z_cap: U64,
    /// First sector.
    pub z_start: U64,
    /// The position of the next write; see [`write_pointer`](Self::write_pointer) for when it has a meaning.
    pub z_wp: U64,
    /// [`ZoneType`].
    pub z_type: u8,
    /// [`ZoneState`].
    pub z_state: u8,
    /// Reserved.
    pub reserved: [u8; 38],
}

impl ZoneDescriptor {
    /// Bytes of one description.
    pub const BYTES: u32 = 64;

    /// A description of unknown type and unknown state.
    pub const UNKNOWN: Self = Self {
        z_cap: U64::ZERO,
        z_start: U64::ZERO,
        z_wp: U64::ZERO,
        z_type: 0,
        z_state: u8::MAX,
        reserved: [0; 38],
    };

    /// A description with zeroes in the reserved bytes, for code that plays the device.
    pub fn new(kind: ZoneType, state: ZoneState, start: Sector, capacity: u64, write_pointer: Sector) -> Self {
        Self {
            z_cap: U64::new(capacity),
            z_start: start.into(),
            z_wp: write_pointer.into(),
            z_type: kind.into(),
            z_state: state.into(),
            reserved: [0; 38],
        }
    }

    /// How the zone can be written.
    pub fn zone_type(&self) -> ZoneType {
        self.z_type.into()
    }

    /// The state of the zone.
    pub fn state(&self) -> ZoneState {
        self.z_state.into()
    }

    /// The zone that is described.
    pub fn id(&self) -> ZoneId {
        ZoneId(self.start())
    }

    /// First sector of the zone.
    pub fn start(&self) -> Sector {
        self.z_start.into()
    }

    /// The sector after the last that can be written: start plus capacity, or `None` past 2^64.
    pub fn writable_end(&self) -> Option<Sector> {
        self.start().checked_add(self.z_cap.get())
    }

    /// The position of the next write.
    ///
    /// `None` where the field has no meaning: conventional zones, zones that are read-only, full or offline
    /// (`BLK-N-26`), and types and states that are not known.
    pub fn write_pointer(&self) -> Option<Sector> {
        (self.zone_type().is_sequential() && self.state().has_write_pointer()).then(|| self.z_wp.into())
    }

    /// Sectors that can still be written, from the write pointer on.
    ///
    /// `None` if there is no write pointer, or if it lies outside the zone.
    pub fn remaining_sectors(&self) -> Option<u64> {
        let pointer = self.write_pointer()?;
        if pointer < self.start() {
            return None;
        }
        self.writable_end()?.get().checked_sub(pointer.get())
    }

    /// Whether the description agrees with the configuration of a disk of `capacity` sectors and with itself.
    ///
    /// The zone starts on the disk, at a multiple of the zone size. Its capacity is at most its size. The write pointer, if
    /// there is one, lies in it, and at the start of an empty zone.
    pub fn is_plausible(&self, config: &ZonedConfig, capacity: Sector) -> bool {
        let start = self.start();
        if !config.is_zone_start(start) || start >= capacity {
            return false;
        }
        if self.z_cap.get() > config.sectors_of(self.id(), capacity) {
            return false;
        }
        match (self.write_pointer(), self.state()) {
            (Some(pointer), ZoneState::Empty) => pointer == start,
            (Some(_), _) => self.remaining_sectors().is_some(),
            (None, _) => true,
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ZoneDescriptor {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "ZoneDescriptor({=u64}+{=u64}, {}, {}, write pointer {})",
            self.z_start.get(),
            self.z_cap.get(),
            self.zone_type(),
            self.state(),
            self.write_pointer()
        );
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ZoneDescriptor>() == ZoneDescriptor::BYTES as usize);
    assert!(size_of::<ZoneDescriptor>() == 64);
    assert!(offset_of!(ZoneDescriptor, z_cap) == 0);
    assert!(offset_of!(ZoneDescriptor, z_start) == 8);
    assert!(offset_of!(ZoneDescriptor, z_wp) == 16);
    assert!(offset_of!(ZoneDescriptor, z_type) == 24);
    assert!(offset_of!(ZoneDescriptor, z_state) == 25);
    assert!(offset_of!(ZoneDescriptor, reserved) == 26);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoned::ZonedModel;

    const CONFIG: ZonedConfig = ZonedConfig {
        zone_sectors: 0x800,
        max_open_zones: 0,
        max_active_zones: 0,
        max_append_sectors: 0,
        write_granularity: 4096,
        model: ZonedModel::HostManaged,
    };

    fn zone(kind: ZoneType, state: ZoneState) -> ZoneDescriptor {
        ZoneDescriptor::new(kind, state, Sector(0x1000), 0x700, Sector(0x1200))
    }

    #[test]
    fn types_and_states_have_their_numbers() {
        use ZoneState as S;
        use ZoneType as T;
        for (wire, kind) in [
            (1, T::Conventional),
            (2, T::SequentialWriteRequired),
            (3, T::SequentialWritePreferred),
            (0, T::Unknown(0)),
        ] {
            assert_eq!(T::from(wire), kind);
        }
        for (wire, state) in [
            (0, S::NoWritePointer),
            (1, S::Empty),
            (2, S::ImplicitlyOpen),
            (3, S::ExplicitlyOpen),
            (4, S::Closed),
            (5, S::Unknown(5)),
            (12, S::Unknown(12)),
            (13, S::ReadOnly),
            (14, S::Full),
            (15, S::Offline),
        ] {
            assert_eq!(S::from(wire), state);
        }
    }

    #[test]
    fn only_some_states_have_a_write_pointer() {
        use ZoneState as S;
        for state in [S::Empty, S::ImplicitlyOpen, S::ExplicitlyOpen, S::Closed] {
            for kind in [ZoneType::SequentialWriteRequired, ZoneType::SequentialWritePreferred] {
                assert_eq!(zone(kind, state).write_pointer(), Some(Sector(0x1200)));
            }
            assert_eq!(zone(ZoneType::Conventional, state).write_pointer(), None);
            assert_eq!(zone(ZoneType::Unknown(9), state).write_pointer(), None);
        }
        for state in [S::NoWritePointer, S::ReadOnly, S::Full, S::Offline, S::Unknown(7)] {
            assert_eq!(zone(ZoneType::SequentialWriteRequired, state).write_pointer(), None);
        }
    }

    #[test]
    fn the_limits_count_open_and_active_zones() {
        let open: [u8; 2] = [2, 3];
        let active: [u8; 3] = [2, 3, 4];
        for wire in 0..=u8::MAX {
            assert_eq!(ZoneState::from(wire).is_open(), open.contains(&wire), "{wire}");
            assert_eq!(ZoneState::from(wire).is_active(), active.contains(&wire), "{wire}");
        }
    }

    #[test]
    fn remaining_sectors_run_from_write_pointer_to_capacity() {
        let mut zone = zone(ZoneType::SequentialWriteRequired, ZoneState::Closed);
        assert_eq!(zone.remaining_sectors(), Some(0x500));
        zone.z_wp = U64::new(0x1700);
        assert_eq!(zone.remaining_sectors(), Some(0));
        zone.z_wp = U64::new(0x1701);
        assert_eq!(zone.remaining_sectors(), None);
        zone.z_wp = U64::new(0x0FFF);
        assert_eq!(zone.remaining_sectors(), None);
        zone.z_wp = U64::new(0x1200);
        zone.z_cap = U64::new(u64::MAX);
        assert_eq!(zone.remaining_sectors(), None);
    }

    #[test]
    fn an_implausible_zone_is_detected() {
        let capacity = Sector(0x2000);
        let good = zone(ZoneType::SequentialWriteRequired, ZoneState::Closed);
        assert!(good.is_plausible(&CONFIG, capacity));
        let lies = [
            ZoneDescriptor {
                z_start: U64::new(0x1001),
                ..good
            },
            ZoneDescriptor {
                z_cap: U64::new(0x801),
                ..good
            },
            ZoneDescriptor {
                z_wp: U64::new(0x0800),
                ..good
            },
            ZoneDescriptor {
                z_wp: U64::new(0x1701),
                ..good
            },
            ZoneDescriptor {
                z_state: ZoneState::Empty.into(),
                ..good
            },
        ];
        for lie in lies {
            assert!(!lie.is_plausible(&CONFIG, capacity), "{lie:?}");
        }
        assert!(!good.is_plausible(&CONFIG, Sector(0x1000)), "not on the disk");
        assert!(
            !good.is_plausible(&CONFIG, Sector(0x16FF)),
            "more than the short last zone holds"
        );
        assert!(good.is_plausible(&CONFIG, Sector(0x1700)));
    }
}
