//! A driver's duties with zones, as pure functions. A driver sends no request that they refuse.

use core::fmt;

use crate::zoned::{ZoneDescriptor, ZoneId, ZoneState, ZoneType, ZonedConfig};
use crate::{RequestType, SECTOR_BYTES, Sector};

/// Why a request to a zoned device must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ZoneRequestError {
    /// The device has no zones.
    NoZones,
    /// The request type is no zone request.
    NotZoneRequest,
    /// The position is not on the disk (`BLK-D-12`, `BLK-D-28`).
    BeyondDisk,
    /// The position is not the first sector of a zone (`BLK-D-30`, `BLK-D-32`).
    NotZoneStart,
    /// A reset of all zones names a position (`BLK-D-31`).
    NotSectorZero,
    /// The position is outside the zone.
    OutsideZone,
    /// Zones of this type cannot be appended to.
    WrongZoneType,
    /// The zone is read-only, full, offline, or in a state that is not known.
    NotWritable,
    /// The device cannot append (`BLK-N-23`).
    AppendUnsupported,
    /// More data than one append can have (`BLK-D-34`).
    AppendTooLong,
    /// The amount of data is no multiple of the write granularity (`BLK-D-33`, `BLK-D-36`) or of a sector (`BLK-D-16`).
    LengthNotAligned,
    /// The position is no multiple of the write granularity (`BLK-D-37`).
    StartNotAligned,
    /// The zone can only be written at its write pointer, which is elsewhere.
    NotAtWritePointer,
    /// The zone has too little room left (`BLK-D-38`).
    NoRoom,
    /// Only whole zones can be erased (`BLK-D-39`).
    PartialZone,
    /// The buffer of a report has no room for one zone (`BLK-N-24`).
    ReportTooSmall,
    /// The zone is offline.
    NotReadable,
    /// The command makes no sense in the state of the zone.
    WrongState,
    /// Requests in flight to the zone have to complete first, because their order matters (`BLK-N-30`).
    Busy,
    /// No more zones can be open: close one (`BLK-N-22`).
    TooManyOpen,
    /// No more zones can be active: finish or reset one (`BLK-N-22`).
    TooManyActive,
}

impl fmt::Display for ZoneRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoZones => "the device has no zones",
            Self::NotZoneRequest => "not a zone request",
            Self::BeyondDisk => "position beyond the end of the disk",
            Self::NotZoneStart => "position is not the start of a zone",
            Self::NotSectorZero => "a reset of all zones takes no position",
            Self::OutsideZone => "position outside the zone",
            Self::WrongZoneType => "zones of this type take no append",
            Self::NotWritable => "the zone cannot be written in its state",
            Self::AppendUnsupported => "append not supported by the device",
            Self::AppendTooLong => "more data than one append can have",
            Self::LengthNotAligned => "length is no multiple of the write granularity",
            Self::StartNotAligned => "position is no multiple of the write granularity",
            Self::NotAtWritePointer => "write not at the zone's write pointer",
            Self::NoRoom => "not enough room left in the zone",
            Self::PartialZone => "only whole zones can be erased",
            Self::ReportTooSmall => "no room for one zone in the report",
            Self::NotReadable => "the zone is offline",
            Self::WrongState => "the command makes no sense in the state of the zone",
            Self::Busy => "requests in flight to the zone have to complete first",
            Self::TooManyOpen => "too many open zones",
            Self::TooManyActive => "too many active zones",
        })
    }
}

impl core::error::Error for ZoneRequestError {}

impl ZonedConfig {
    /// Whether the header of a zone request is right for a disk of `capacity` sectors (`BLK-D-28` to `BLK-D-32`).
    ///
    /// A report can start anywhere in its first zone (`BLK-D-29`); a reset of all zones names sector 0; all others name
    /// the first sector of their zone. The other rules for appends are in [`check_append`](Self::check_append).
    ///
    /// # Errors
    ///
    /// [`NoZones`](ZoneRequestError::NoZones), [`NotZoneRequest`](ZoneRequestError::NotZoneRequest),
    /// [`BeyondDisk`](ZoneRequestError::BeyondDisk), [`NotZoneStart`](ZoneRequestError::NotZoneStart) or
    /// [`NotSectorZero`](ZoneRequestError::NotSectorZero).
    pub fn check_header(&self, kind: RequestType, sector: Sector, capacity: Sector) -> Result<(), ZoneRequestError> {
        if !self.has_zones() {
            return Err(ZoneRequestError::NoZones);
        }
        match kind {
            RequestType::ZONE_RESET_ALL if sector == Sector::ZERO => Ok(()),
            RequestType::ZONE_RESET_ALL => Err(ZoneRequestError::NotSectorZero),
            RequestType::ZONE_REPORT => on_disk(sector, capacity),
            RequestType::ZONE_APPEND
            | RequestType::ZONE_OPEN
            | RequestType::ZONE_CLOSE
            | RequestType::ZONE_FINISH
            | RequestType::ZONE_RESET => {
                on_disk(sector, capacity)?;
                if self.is_zone_start(sector) {
                    Ok(())
                } else {
                    Err(ZoneRequestError::NotZoneStart)
                }
            }
            _ => Err(ZoneRequestError::NotZoneRequest),
        }
    }

    /// Whether the configuration allows an append of `bytes` to a zone (`BLK-D-32` to `BLK-D-34`). The rules about the state of
    /// the zone are in [`check_append`](Self::check_append).
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub fn check_append_size(&self, zone: ZoneId, bytes: u64, capacity: Sector) -> Result<(), ZoneRequestError> {
        self.check_header(RequestType::ZONE_APPEND, zone.start(), capacity)?;
        if self.max_append_sectors == 0 {
            return Err(ZoneRequestError::AppendUnsupported);
        }
        self.check_granularity(zone.start(), bytes)?;
        let sectors = bytes / SECTOR_BYTES;
        if sectors > u64::from(self.max_append_sectors) {
            return Err(ZoneRequestError::AppendTooLong);
        }
        if sectors > self.sectors_of(zone, capacity) {
            return Err(ZoneRequestError::NoRoom);
        }
        Ok(())
    }

    /// Whether `bytes` of data can be appended to `zone` on a disk of `capacity` sectors (`BLK-D-32` to `BLK-D-38`).
    ///
    /// `zone` is the state of the zone that the caller expects after all requests in flight.
    ///
    /// # Errors
    ///
    /// The first rule broken. `zone` itself is checked by
    /// [`ZoneDescriptor::is_plausible`].
    pub fn check_append(&self, zone: &ZoneDescriptor, bytes: u64, capacity: Sector) -> Result<(), ZoneRequestError> {
        self.check_append_size(zone.id(), bytes, capacity)?;
        if zone.zone_type() != ZoneType::SequentialWriteRequired {
            return Err(ZoneRequestError::WrongZoneType);
        }
        check_room(zone, bytes)
    }

    /// Whether `bytes` of data can be written to `zone` from `sector` on (`BLK-D-36` to `BLK-D-38`).
    ///
    /// A conventional zone takes any write. The caller checks the end of the disk, as on any disk.
    /// `zone` is the state of the zone that the caller expects after all requests in flight.
    ///
    /// # Errors
    ///
    /// The first rule broken. Zones of unknown type are [`NotWritable`](ZoneRequestError::NotWritable).
    pub fn check_write(&self, zone: &ZoneDescriptor, sector: Sector, bytes: u64) -> Result<(), ZoneRequestError> {
        let kind = zone.zone_type();
        if kind == ZoneType::Conventional {
            return match zone.state() {
                ZoneState::ReadOnly | ZoneState::Offline => Err(ZoneRequestError::NotWritable),
                _ if bytes.is_multiple_of(SECTOR_BYTES) => Ok(()),
                _ => Err(ZoneRequestError::LengthNotAligned),
            };
        }
        if sector < zone.start() {
            return Err(ZoneRequestError::OutsideZone);
        }
        self.check_granularity(sector, bytes)?;
        let pointer = zone.write_pointer().ok_or(ZoneRequestError::NotWritable)?;
        if kind == ZoneType::SequentialWriteRequired && sector != pointer {
            return Err(ZoneRequestError::NotAtWritePointer);
        }
        check_room(zone, bytes)?;
        // A zone that prefers order can be written away from its pointer, but not beyond its end.
        let end = sector.checked_add(bytes / SECTOR_BYTES);
        match (end, zone.writable_end()) {
            (Some(end), Some(limit)) if end <= limit => Ok(()),
            _ => Err(ZoneRequestError::NoRoom),
        }
    }

    /// Whether a range can be erased securely: whole zones only (`BLK-D-39`).
    ///
    /// The specification has a rule for the length. The device resets the zones of the range, so it starts with a zone, too. A
    /// device without zones has no such rule.
    ///
    /// # Errors
    ///
    /// [`NotZoneStart`](ZoneRequestError::NotZoneStart) or [`PartialZone`](ZoneRequestError::PartialZone).
    pub fn check_secure_erase(&self, first: Sector, sectors: u32) -> Result<(), ZoneRequestError> {
        if !self.has_zones() {
            return Ok(());
        }
        if !self.is_zone_start(first) {
            return Err(ZoneRequestError::NotZoneStart);
        }
        if !sectors.is_multiple_of(self.zone_sectors) {
            return Err(ZoneRequestError::PartialZone);
        }
        Ok(())
    }

    /// Length and position in multiples of the write granularity.
    ///
    /// The specification compares the position in sectors with a number of bytes; it means the position in bytes.
    /// With a granularity of 0, whole sectors are enough.
    fn check_granularity(&self, sector: Sector, bytes: u64) -> Result<(), ZoneRequestError> {
        let granularity = match self.write_granularity {
            0 => SECTOR_BYTES,
            bytes => u64::from(bytes),
        };
        if !bytes.is_multiple_of(SECTOR_BYTES) || !bytes.is_multiple_of(granularity) {
            return Err(ZoneRequestError::LengthNotAligned);
        }
        // Reduced first: the position in bytes may not fit 64 bits.
        let rest = sector.get() % granularity * SECTOR_BYTES % granularity;
        if rest != 0 {
            return Err(ZoneRequestError::StartNotAligned);
        }
        Ok(())
    }
}

fn on_disk(sector: Sector, capacity: Sector) -> Result<(), ZoneRequestError> {
    if sector < capacity {
        Ok(())
    } else {
        Err(ZoneRequestError::BeyondDisk)
    }
}

/// Room from the write pointer on. The specification counts it like this for writes at any position.
fn check_room(zone: &ZoneDescriptor, bytes: u64) -> Result<(), ZoneRequestError> {
    zone.write_pointer().ok_or(ZoneRequestError::NotWritable)?;
    match zone.remaining_sectors() {
        Some(room) if bytes / SECTOR_BYTES <= room => Ok(()),
        _ => Err(ZoneRequestError::NoRoom),
    }
}
