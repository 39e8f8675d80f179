//! The known states of the zones of a disk, to check requests that depend on them.

use virtio_blk_proto::zoned::{
    ZoneDescriptor, ZoneEvent, ZoneReport, ZoneRequestError, ZoneState, ZoneType, ZonedConfig,
};
use virtio_blk_proto::{SECTOR_BYTES, Sector};
use virtio_core::DmaSegments;

use crate::{Completion, Limits, Operation, Request, SectorRange};

/// A zone in a [`ZoneTable`].
#[derive(Clone, Copy, Debug)]
pub struct TrackedZone {
    /// The zone after all requests in flight, but without the resources that they release.
    zone: ZoneDescriptor,
    /// Requests in flight that change it.
    in_flight: u16,
    /// One is in flight that must be alone.
    exclusive: bool,
    /// It is implicitly open, or the device has closed it to open another one.
    maybe_closed: bool,
    /// A finish is in flight, which needs the zone to stay open.
    finishing: bool,
}

impl TrackedZone {
    /// A zone that no report has described yet. Only reads are known to be right.
    pub const UNKNOWN: Self = Self {
        zone: ZoneDescriptor::UNKNOWN,
        in_flight: 0,
        exclusive: false,
        maybe_closed: false,
        finishing: false,
    };
}

/// The known states of the zones of a disk.
///
/// The queue checks the rules of the configuration by itself. The table keeps the write pointer and the state of each zone, known
/// from reports and from the requests since, and so the numbers of open and active zones. The memory is the caller's; a
/// short table has the zones from the first on. [`Disk::submit_to_zones`](crate::Disk::submit_to_zones) checks a request against
/// it, and every completion has to be [shown](Self::completed) to it.
///
/// A device can carry out requests in any order (`BLK-N-30`). So one write, or any number of appends, can be in flight to a
/// sequential zone, and nothing else that changes it: [`ZoneRequestError::Busy`] says that a completion has to come first.
///
/// A device at its limit of open zones closes zones that were opened by a write (`BLK-N-35`), and does not say which ones. Only
/// an open zone can be finished, so a zone that may have been closed has to be opened before.
///
/// After a request that failed or was aborted, the state of its zones is unknown until the next report.
#[derive(Debug)]
pub struct ZoneTable<'z> {
    config: ZonedConfig,
    capacity: Sector,
    zones: &'z mut [TrackedZone],
}

impl<'z> ZoneTable<'z> {
    /// A table of the first zones of a disk, none of which is known. `None` if the disk has no zones.
    ///
    /// [`ZonedConfig::zone_count`] tells how many zones a disk has.
    pub fn new(limits: &Limits, zones: &'z mut [TrackedZone]) -> Option<Self> {
        let config = limits.zoned?;
        zones.fill(TrackedZone::UNKNOWN);
        Some(Self {
            config,
            capacity: limits.capacity,
            zones,
        })
    }

    /// Takes over the zones of a report. Zones with requests in flight, and zones that the table has no room for, are left out.
    /// Returns how many zones it took over.
    ///
    /// # Errors
    ///
    /// The first description that [makes no sense](ZoneDescriptor::is_plausible); those before it are taken over.
    pub fn learn(&mut self, report: &ZoneReport<'_>) -> Result<usize, ZoneDescriptor> {
        let mut learned = 0;
        for zone in report.zones() {
            if !zone.is_plausible(&self.config, self.capacity) {
                return Err(*zone);
            }
            let Some(tracked) = self.tracked(zone.start()).filter(|tracked| tracked.in_flight == 0) else {
                continue;
            };
            *tracked = TrackedZone {
                zone: *zone,
                ..TrackedZone::UNKNOWN
            };
            learned += 1;
        }
        Ok(learned)
    }

    /// The zone that holds `sector`, as it will be when all requests in flight are done; `None` if that is not known.
    pub fn zone(&self, sector: Sector) -> Option<&ZoneDescriptor> {
        let zone = &self.zones.get(self.index(sector)?)?.zone;
        (!matches!(zone.state(), ZoneState::Unknown(_))).then_some(zone)
    }

    /// Whether all sectors of a range are known to be written. A device may fail a read of others, or answer a pattern.
    pub fn is_written(&self, range: SectorRange) -> bool {
        self.pieces(range).all(|piece| {
            let zone = self.zone(piece.first);
            let end = piece.first.checked_add(piece.sectors);
            zone.is_some_and(|zone| match (zone.state(), zone.write_pointer()) {
                (_, Some(pointer)) => end.is_some_and(|end| end <= pointer),
                (state, None) => matches!(state, ZoneState::NoWritePointer | ZoneState::Full),
            })
        })
    }

    /// Checks a request that goes to zones.
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub fn check<B: DmaSegments, K>(&self, request: &Request<B, K>) -> Result<(), ZoneRequestError> {
        let operation = request.operation();
        if operation == Operation::ResetAllZones {
            let busy = self
                .zones
                .iter()
                .any(|tracked| tracked.can_be_reset() && tracked.in_flight > 0);
            return if busy { Err(ZoneRequestError::Busy) } else { Ok(()) };
        }
        let bytes = request.data_bytes();
        let range = range_of(operation, bytes);
        if range
            .first
            .checked_add(range.sectors)
            .is_none_or(|end| end > self.capacity)
        {
            return Err(ZoneRequestError::BeyondDisk);
        }
        let mut opened = Opened::default();
        for piece in self.pieces(range) {
            let tracked = self.index(piece.first).and_then(|index| self.zones.get(index));
            let tracked = tracked.unwrap_or(&TrackedZone::UNKNOWN);
            self.check_piece(operation, tracked, piece, bytes, &mut opened)?;
        }
        Ok(())
    }

    fn check_piece(
        &self,
        operation: Operation,
        tracked: &TrackedZone,
        piece: SectorRange,
        bytes: u64,
        opened: &mut Opened,
    ) -> Result<(), ZoneRequestError> {
        let zone = &tracked.zone;
        let busy = match operation {
            Operation::Append(_) => tracked.exclusive,
            Operation::Write(_)
            | Operation::OpenZone(_)
            | Operation::CloseZone(_)
            | Operation::FinishZone(_)
            | Operation::ResetZone(_)
            | Operation::SecureErase(_) => tracked.in_flight > 0,
            Operation::Read(_)
            | Operation::Discard(_)
            | Operation::WriteZeroes(_)
            | Operation::ZeroOrUnmap(_)
            | Operation::Flush
            | Operation::Identify
            | Operation::Lifetime
            | Operation::ReportZones(_)
            | Operation::ResetAllZones => false,
        };
        if busy {
            return Err(ZoneRequestError::Busy);
        }
        let to = match operation {
            Operation::Read(_) if zone.state() == ZoneState::Offline => return Err(ZoneRequestError::NotReadable),
            Operation::Write(_) => {
                self.config
                    .check_write(zone, piece.first, piece.sectors * SECTOR_BYTES)?;
                ZoneState::ImplicitlyOpen
            }
            Operation::Append(_) => {
                self.config.check_append(zone, bytes, self.capacity)?;
                ZoneState::ImplicitlyOpen
            }
            Operation::Discard(_) | Operation::WriteZeroes(_) | Operation::ZeroOrUnmap(_)
                if zone.zone_type() == ZoneType::SequentialWriteRequired =>
            {
                return Err(ZoneRequestError::WrongZoneType);
            }
            Operation::SecureErase(_) if zone.zone_type() == ZoneType::Conventional => return Ok(()),
            Operation::FinishZone(_) if tracked.maybe_closed => return Err(ZoneRequestError::WrongState),
            _ => match event_of(operation, zone) {
                Some(event) => zone.state().after(event).ok_or(ZoneRequestError::WrongState)?,
                None => return Ok(()),
            },
        };
        if zone.zone_type().is_sequential() {
            self.check_resources(zone.state(), to, opened)?;
        }
        Ok(())
    }

    /// Whether a zone may become open. Both limits are those of the device (`BLK-N-22`). To keep to that of open zones, a device
    /// closes a zone that was opened by a write.
    fn check_resources(&self, from: ZoneState, to: ZoneState, opened: &mut Opened) -> Result<(), ZoneRequestError> {
        if !to.is_open() || from == ZoneState::ExplicitlyOpen {
            return Ok(());
        }
        let count = |which: fn(ZoneState) -> bool| {
            let zones = self.zones.iter().filter(|tracked| which(tracked.zone.state()));
            u32::try_from(zones.count()).unwrap_or(u32::MAX)
        };
        let (active_limit, open_limit) = (self.config.max_active_zones, self.config.max_open_zones);
        if active_limit > 0 && !from.is_active() {
            let active = count(ZoneState::is_active).saturating_add(opened.active);
            if active >= active_limit {
                return Err(ZoneRequestError::TooManyActive);
            }
            opened.active += 1;
        }
        let explicit = count(|state| state == ZoneState::ExplicitlyOpen);
        if open_limit > 0 && explicit >= open_limit {
            return Err(ZoneRequestError::TooManyOpen);
        }
        if open_limit > 0 && self.zones.iter().any(|tracked| tracked.finishing) {
            return Err(ZoneRequestError::Busy);
        }
        // The device may have closed a zone that is being written, and has to open it once more.
        let written =
            |tracked: &TrackedZone| tracked.in_flight > 0 && tracked.zone.state() == ZoneState::ImplicitlyOpen;
        let last = to == ZoneState::ExplicitlyOpen && explicit.saturating_add(1) == open_limit;
        if last && self.zones.iter().any(written) {
            return Err(ZoneRequestError::Busy);
        }
        Ok(())
    }

    /// Notes a request that the driver has taken.
    pub(crate) fn submitted(&mut self, operation: Operation, bytes: u64) {
        if operation == Operation::ResetAllZones {
            let zones = self.zones.iter_mut().filter(|tracked| tracked.can_be_reset());
            zones.for_each(|tracked| tracked.start(true));
            return;
        }
        let range = range_of(operation, bytes);
        if !changes_zones(operation) {
            return;
        }
        self.each_piece(range, |tracked, piece| {
            let zone = &mut tracked.zone;
            let (sequential, state) = (zone.zone_type().is_sequential(), zone.state());
            match operation {
                Operation::Write(_) if !sequential => return,
                Operation::Write(_) | Operation::Append(_) => {
                    let from = match operation {
                        Operation::Append(_) => zone.z_wp.get(),
                        _ => piece.first.get(),
                    };
                    zone.z_wp = from.saturating_add(piece.sectors).max(zone.z_wp.get()).into();
                    if state != ZoneState::ExplicitlyOpen {
                        zone.z_state = ZoneState::ImplicitlyOpen.into();
                    }
                }
                Operation::OpenZone(_) => {
                    zone.z_state = ZoneState::ExplicitlyOpen.into();
                    tracked.maybe_closed = false;
                }
                Operation::FinishZone(_) => tracked.finishing = state == ZoneState::ImplicitlyOpen,
                _ => (),
            }
            tracked.start(!matches!(operation, Operation::Append(_)));
        });
        if matches!(
            operation,
            Operation::Write(_) | Operation::Append(_) | Operation::OpenZone(_)
        ) {
            self.note_closed_zones();
        }
    }

    /// With more zones open than the device can have, it has closed some of them.
    fn note_closed_zones(&mut self) {
        let open = self
            .zones
            .iter()
            .filter(|tracked| tracked.zone.state().is_open())
            .count();
        let limit = usize::try_from(self.config.max_open_zones).unwrap_or(usize::MAX);
        if limit == 0 || open <= limit {
            return;
        }
        for tracked in &mut *self.zones {
            tracked.maybe_closed |= tracked.zone.state() == ZoneState::ImplicitlyOpen;
        }
    }

    /// Notes a request that is over. Each completion has to be shown to the table, aborted ones included; those of requests that
    /// were submitted without it must not.
    pub fn completed<B: DmaSegments, K>(&mut self, completion: &Completion<B, K>) {
        let operation = completion.operation;
        let failed = completion.result.is_err();
        if operation == Operation::ResetAllZones {
            for tracked in self.zones.iter_mut().filter(|tracked| tracked.can_be_reset()) {
                tracked.finish(failed, |zone| zone.state().after(ZoneEvent::ResetAll));
            }
            return;
        }
        if !changes_zones(operation) {
            return;
        }
        let bytes = data_bytes(completion.buffer.as_ref().map_or(&[], DmaSegments::segments));
        self.each_piece(range_of(operation, bytes), |tracked, _| {
            if matches!(operation, Operation::Write(_)) && tracked.zone.zone_type() == ZoneType::Conventional {
                return;
            }
            tracked.finish(failed, |zone| {
                event_of(operation, zone).and_then(|event| zone.state().after(event))
            });
        });
    }

    fn index(&self, sector: Sector) -> Option<usize> {
        let index = sector.get().checked_div(u64::from(self.config.zone_sectors))?;
        usize::try_from(index).ok()
    }

    fn tracked(&mut self, sector: Sector) -> Option<&mut TrackedZone> {
        let index = self.index(sector)?;
        self.zones.get_mut(index)
    }

    /// The range, cut at the ends of zones.
    fn pieces(&self, range: SectorRange) -> impl Iterator<Item = SectorRange> + use<> {
        let size = u64::from(self.config.zone_sectors);
        let mut left = range;
        core::iter::from_fn(move || {
            let first = left.first;
            let sectors = left.sectors.min(size - first.get().checked_rem(size)?);
            left = SectorRange {
                first: Sector(first.get().saturating_add(sectors)),
                sectors: left.sectors - sectors,
            };
            (sectors > 0).then_some(SectorRange { first, sectors })
        })
    }

    fn each_piece(&mut self, range: SectorRange, mut each: impl FnMut(&mut TrackedZone, SectorRange)) {
        for piece in self.pieces(range) {
            if let Some(tracked) = self.tracked(piece.first) {
                each(tracked, piece);
            }
        }
    }
}

/// Zones that the same request has opened already.
#[derive(Default)]
struct Opened {
    active: u32,
}

impl TrackedZone {
    fn can_be_reset(&self) -> bool {
        self.zone.zone_type() != ZoneType::Conventional
    }

    fn start(&mut self, exclusive: bool) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.exclusive = exclusive;
    }

    /// Notes the end of one request. If it succeeded, the zone is in the state that `after` returns, or in the same as before.
    fn finish(&mut self, failed: bool, after: impl FnOnce(&ZoneDescriptor) -> Option<ZoneState>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.exclusive &= self.in_flight > 0;
        self.finishing = false;
        let zone = &mut self.zone;
        if failed {
            *zone = ZoneDescriptor::UNKNOWN;
            self.maybe_closed = false;
            return;
        }
        let idle = self.in_flight == 0;
        let filled = zone.remaining_sectors() == Some(0) && zone.state().is_open();
        if let Some(state) = after(zone) {
            if state == ZoneState::Empty {
                zone.z_wp = zone.z_start;
            }
            zone.z_state = state.into();
            self.maybe_closed = false;
        } else if filled && idle {
            zone.z_state = ZoneState::Full.into();
            self.maybe_closed = false;
        }
    }
}

/// Whether an operation changes a zone in a way that this table follows.
fn changes_zones(operation: Operation) -> bool {
    match operation {
        Operation::Write(_)
        | Operation::Append(_)
        | Operation::OpenZone(_)
        | Operation::CloseZone(_)
        | Operation::FinishZone(_)
        | Operation::ResetZone(_)
        | Operation::SecureErase(_) => true,
        Operation::Read(_)
        | Operation::Discard(_)
        | Operation::WriteZeroes(_)
        | Operation::ZeroOrUnmap(_)
        | Operation::Flush
        | Operation::Identify
        | Operation::Lifetime
        | Operation::ReportZones(_)
        | Operation::ResetAllZones => false,
    }
}

/// What a command does to its zone; `None` for requests that are no commands.
fn event_of(operation: Operation, zone: &ZoneDescriptor) -> Option<ZoneEvent> {
    let untouched = zone.write_pointer() == Some(zone.start());
    match operation {
        Operation::OpenZone(_) => Some(ZoneEvent::Open),
        Operation::CloseZone(_) => Some(ZoneEvent::Close { untouched }),
        Operation::FinishZone(_) => Some(ZoneEvent::Finish),
        Operation::ResetZone(_) | Operation::SecureErase(_) => Some(ZoneEvent::Reset),
        Operation::Read(_)
        | Operation::Write(_)
        | Operation::Append(_)
        | Operation::Discard(_)
        | Operation::WriteZeroes(_)
        | Operation::ZeroOrUnmap(_)
        | Operation::Flush
        | Operation::Identify
        | Operation::Lifetime
        | Operation::ReportZones(_)
        | Operation::ResetAllZones => None,
    }
}

/// The sectors that an operation with `bytes` of data is about; one sector of the zone for those about a whole zone.
fn range_of(operation: Operation, bytes: u64) -> SectorRange {
    let (first, sectors) = match operation {
        Operation::Read(first) | Operation::Write(first) => (first, bytes / SECTOR_BYTES),
        Operation::Append(zone) => (zone.start(), bytes / SECTOR_BYTES),
        Operation::OpenZone(zone)
        | Operation::CloseZone(zone)
        | Operation::FinishZone(zone)
        | Operation::ResetZone(zone) => (zone.start(), 1),
        Operation::Discard(range)
        | Operation::WriteZeroes(range)
        | Operation::ZeroOrUnmap(range)
        | Operation::SecureErase(range) => {
            return range;
        }
        Operation::Flush
        | Operation::Identify
        | Operation::Lifetime
        | Operation::ReportZones(_)
        | Operation::ResetAllZones => (Sector::ZERO, 0),
    };
    SectorRange { first, sectors }
}

fn data_bytes(segments: &[virtio_core::Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}
