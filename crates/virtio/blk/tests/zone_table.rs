//! Zone tables: what they let through, what they remember, and zones against an oracle of their states.

use proptest::prelude::*;
use virtio_blk::proto::zoned::{
    ZoneDescriptor, ZoneEvent, ZoneId, ZoneReport, ZoneRequestError as E, ZoneState, ZoneType,
};
use virtio_blk::proto::{Sector, StatusError};
use virtio_blk::{
    Answer, Completion, Disk, DiskOptions, IoError, Request, SectorRange, SubmitError, TrackedZone, ZoneTable,
};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{
    CompletionOrder, Limits, Model, ModelConfig, ModelDma, ModelRegisters, ZoneFailure, Zones, feature,
};
use virtio_core::{Dma, DmaBuffer, PollLimit};
use virtio_mmio::MmioTransport;
use zerocopy::IntoBytes;

const ZONE: u64 = 16;
const COUNT: u64 = 6;
/// Zone 0 is conventional; of the others, 12 sectors can be written, two can be open and three active.
const ZONES: Zones = Zones {
    zone_sectors: ZONE as u32,
    zone_capacity: 12,
    conventional: 1,
    max_open: 2,
    max_active: 3,
    max_append_sectors: 8,
    write_granularity: 512,
    model: 1,
    unwritten_reads_fail: false,
};

type ZonedDisk = Disk<MmioTransport<ModelRegisters>, DmaBuffer, u32, 64>;
type Done = Completion<DmaBuffer, u32>;

/// A disk, a table of its zones, and requests in flight.
struct Host<'z> {
    model: Model,
    disk: ZonedDisk,
    dma: ModelDma,
    zones: ZoneTable<'z>,
}

impl<'z> Host<'z> {
    fn new(zones: Zones, order: CompletionOrder, memory: &'z mut [TrackedZone]) -> Self {
        let model = Model::new(ModelConfig {
            capacity: ZONE * COUNT,
            zones,
            order,
            secure_erase: Limits {
                max_sectors: (ZONE * COUNT) as u32,
                ..Limits::default()
            },
            ..ModelConfig::modern().offer(feature::ZONED | feature::SECURE_ERASE)
        });
        let mut dma = model.dma();
        let transport = virtio_mmio::probe(model.registers()).device().unwrap();
        let disk = ZonedDisk::start(
            transport,
            &mut dma,
            &DiskOptions::default().with_zones(),
            &mut PollLimit::default(),
        )
        .unwrap();
        let zones = ZoneTable::new(disk.limits(), memory).expect("there are zones");
        let mut host = Self {
            model,
            disk,
            dma,
            zones,
        };
        let report = host.report();
        assert_eq!(host.learn(&report), COUNT as usize);
        host
    }

    fn request(&mut self, command: Command) -> Request<DmaBuffer, u32> {
        let mut buffer = |sectors| DmaBuffer::allocate(&mut self.dma, sectors as usize * 512, 512).unwrap();
        match command {
            Command::Write(sector, sectors) => Request::write(Sector(sector), buffer(sectors), 0),
            Command::Append(number, sectors) => Request::append(zone(number), buffer(sectors), 0),
            Command::Open(number) => Request::open_zone(zone(number), 0),
            Command::Close(number) => Request::close_zone(zone(number), 0),
            Command::Finish(number) => Request::finish_zone(zone(number), 0),
            Command::Reset(number) => Request::reset_zone(zone(number), 0),
            Command::ResetAll => Request::reset_all_zones(0),
            Command::Erase(number, count) => Request::secure_erase(zones(number, count), 0),
        }
    }

    /// Submits with the table.
    fn submit(&mut self, command: Command) -> Result<(), SubmitError> {
        let request = self.request(command);
        let rejected = self.disk.submit_to_zones(&mut self.zones, request);
        rejected.map_err(|rejected| {
            self.release(rejected.request.into_parts().0);
            rejected.error
        })
    }

    fn refuses(&mut self, command: Command, error: E) {
        assert_eq!(self.submit(command), Err(SubmitError::Zone(error)), "{command:?}");
    }

    fn release(&mut self, buffer: Option<DmaBuffer>) {
        if let Some(buffer) = buffer {
            self.dma.release(buffer.into_region());
        }
    }

    /// Lets the device work until nothing is in flight. Shows each completion to the table, if it is in use.
    fn settle(&mut self, with_table: bool) -> Vec<Result<Answer, IoError>> {
        let (mut results, mut buffers) = (Vec::new(), Vec::new());
        self.disk.notify();
        while self.disk.queue().in_flight() > 0 {
            self.model.process(usize::MAX);
            let zones = &mut self.zones;
            let each = |done: Done| {
                if with_table {
                    zones.completed(&done);
                }
                results.push(done.result);
                buffers.push(done.buffer);
            };
            self.disk.poll(each).unwrap();
        }
        buffers.into_iter().for_each(|buffer| self.release(buffer));
        results
    }

    /// Carries a command out with the table.
    fn run(&mut self, command: Command) -> Result<Answer, IoError> {
        self.submit(command)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.settle(true).remove(0)
    }

    fn good(&mut self, command: Command) {
        self.run(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    /// All zones as the device describes them.
    fn report(&mut self) -> Vec<ZoneDescriptor> {
        let bytes = ZoneReport::bytes_for(COUNT as u32).unwrap() as usize;
        let buffer = DmaBuffer::allocate(&mut self.dma, bytes, 8).unwrap();
        self.disk.submit(Request::report_zones(Sector(0), buffer, 0)).unwrap();
        self.disk.notify();
        self.model.process(1);
        let mut report = None;
        self.disk.poll(|done| report = done.buffer).unwrap();
        let buffer = report.expect("a report");
        let zones = ZoneReport::parse(&buffer).unwrap().zones().to_vec();
        self.dma.release(buffer.into_region());
        zones
    }

    fn learn(&mut self, zones: &[ZoneDescriptor]) -> usize {
        let bytes = report_of(zones);
        self.zones.learn(&ZoneReport::parse(&bytes).unwrap()).unwrap()
    }

    fn state(&self, number: u64) -> Option<(ZoneState, Option<u64>)> {
        let zone = self.zones.zone(zone(number).start())?;
        Some((zone.state(), zone.write_pointer().map(Sector::get)))
    }

    /// Compares the table with a report. An implicitly open zone may have been closed by the device.
    fn agrees(&mut self) {
        for told in self.report() {
            let known = *self.zones.zone(told.start()).expect("the zone is known");
            let closed = known.state() == ZoneState::ImplicitlyOpen && told.state() == ZoneState::Closed;
            assert!(
                known.state() == told.state() || closed,
                "{known:?}, but the device says {told:?}"
            );
            if !closed {
                assert_eq!(known.write_pointer(), told.write_pointer(), "{known:?}, {told:?}");
            }
        }
    }

    /// The driver has kept to all rules.
    fn finish(mut self) {
        self.settle(true);
        self.model.assert_clean();
        self.disk
            .shut_down(&mut self.dma, &mut PollLimit::default(), |_| ())
            .expect("a reset");
        assert_eq!(self.model.allocations(), 0);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// First sector and sectors.
    Write(u64, u64),
    /// Zone number and sectors.
    Append(u64, u64),
    Open(u64),
    Close(u64),
    Finish(u64),
    Reset(u64),
    ResetAll,
    /// Number of the first zone, and zones.
    Erase(u64, u64),
}
use Command::{Append, Close, Erase, Finish, Open, Reset, ResetAll, Write};

fn zone(number: u64) -> ZoneId {
    ZoneId::starting_at(Sector(ZONE * number))
}

/// The sectors of some zones.
fn zones(number: u64, count: u64) -> SectorRange {
    SectorRange {
        first: zone(number).start(),
        sectors: ZONE * count,
    }
}

fn report_of(zones: &[ZoneDescriptor]) -> Vec<u8> {
    let header = virtio_blk::proto::zoned::ZoneReportHeader::new(zones.len() as u64);
    [header.as_bytes(), zones.as_bytes()].concat()
}

const UNKNOWN: [TrackedZone; COUNT as usize] = [TrackedZone::UNKNOWN; COUNT as usize];

#[test]
fn writes_go_to_the_write_pointer_and_fit() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    host.refuses(Write(17, 1), E::NotAtWritePointer);
    host.refuses(Write(16, 13), E::NoRoom);
    host.refuses(Append(0, 1), E::WrongZoneType);
    host.refuses(Write(95, 2), E::BeyondDisk);
    host.good(Write(16, 8));
    host.refuses(Write(16, 1), E::NotAtWritePointer);
    host.refuses(Append(1, 5), E::NoRoom);
    assert_eq!(host.run(Append(1, 4)), Ok(Answer::Appended(Sector(24))));
    assert_eq!(host.state(1), Some((ZoneState::Full, None)));
    host.refuses(Write(28, 1), E::NotWritable);
    host.refuses(Append(1, 1), E::NotWritable);
    // Conventional zones take any write.
    host.good(Write(3, 5));
    host.good(Write(0, 16));
    assert!(host.zones.is_written(SectorRange {
        first: Sector(0),
        sectors: 32
    }));
    assert!(!host.zones.is_written(SectorRange {
        first: Sector(31),
        sectors: 2
    }));
    host.agrees();
    host.finish();
}

#[test]
fn limits_on_open_and_active_zones_are_kept() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    host.good(Open(1));
    host.good(Open(2));
    host.refuses(Open(3), E::TooManyOpen);
    host.refuses(Write(48, 1), E::TooManyOpen);
    host.good(Append(1, 1));
    host.good(Close(1));
    host.good(Append(3, 1));
    host.refuses(Append(4, 1), E::TooManyActive);
    host.refuses(Open(4), E::TooManyActive);
    // Zone 3 may be closed by the device to make room, and has no room to be opened again.
    host.good(Open(1));
    host.refuses(Append(3, 1), E::TooManyOpen);
    host.good(Finish(2));
    host.refuses(Finish(3), E::WrongState);
    host.good(Append(3, 1));
    host.good(Append(4, 1));
    host.refuses(Close(5), E::WrongState);
    host.refuses(Finish(5), E::WrongState);
    host.refuses(Reset(0), E::WrongState);
    host.good(ResetAll);
    host.agrees();
    host.finish();
}

#[test]
fn a_write_over_several_zones_opens_each() {
    let whole = Zones {
        zone_capacity: u32::MAX,
        ..ZONES
    };
    let mut memory = UNKNOWN;
    let mut host = Host::new(whole, CompletionOrder::InOrder, &mut memory);
    host.refuses(Write(16, 52), E::TooManyActive);
    host.good(Write(16, 48));
    assert_eq!(host.state(3), Some((ZoneState::Full, None)));
    host.good(Write(8, 8));
    host.agrees();
    host.finish();
}

#[test]
fn a_zone_stays_active_until_its_last_appends_complete() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    host.good(Append(2, 1));
    host.good(Append(3, 1));
    host.submit(Append(1, 8)).unwrap();
    host.submit(Append(1, 4)).unwrap();
    host.disk.notify();
    host.model.process(1);
    let mut buffer = None;
    let zones = &mut host.zones;
    let each = |done: Done| {
        zones.completed(&done);
        buffer = done.buffer;
    };
    assert_eq!(host.disk.poll(each), Ok(1));
    host.release(buffer);
    assert_eq!(host.state(1), Some((ZoneState::ImplicitlyOpen, Some(28))));
    host.refuses(Append(4, 1), E::TooManyActive);
    host.settle(true);
    host.good(Append(4, 1));
    host.agrees();
    host.finish();
}

#[test]
fn requests_whose_order_matters_are_not_in_flight_together() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::Reverse, &mut memory);
    host.submit(Append(1, 2)).unwrap();
    host.submit(Append(1, 2)).unwrap();
    for command in [Write(20, 1), Open(1), Close(1), Finish(1), Reset(1), ResetAll] {
        host.refuses(command, E::Busy);
    }
    host.submit(Write(32, 1)).unwrap();
    host.refuses(Write(33, 1), E::Busy);
    host.refuses(Append(2, 1), E::Busy);
    // The last open zone stays free for the zones that are written.
    host.submit(Open(3)).unwrap();
    host.refuses(Open(4), E::TooManyActive);
    let report = host.zones.zone(Sector(16)).copied().unwrap();
    assert_eq!(
        host.learn(&[report]),
        0,
        "a zone with requests in flight is left as it is"
    );
    assert!(host.settle(true).iter().all(Result::is_ok));
    host.good(Reset(1));
    host.submit(Append(2, 1)).unwrap();
    host.refuses(Open(4), E::Busy);
    host.settle(true);
    host.good(Open(4));
    host.agrees();
    host.finish();
}

#[test]
fn a_zone_is_unknown_after_a_failure_until_the_next_report() {
    for command in [Append(1, 2), Write(16, 2), Reset(1), Open(1)] {
        let mut memory = UNKNOWN;
        let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
        host.model.set_fault(FaultScript::new().at(1, FaultKind::Status(1)));
        assert_eq!(host.run(command), Err(IoError::Device(StatusError::Io)));
        assert_eq!(host.state(1), None);
        host.refuses(Write(16, 1), E::NotWritable);
        host.refuses(Append(1, 1), E::WrongZoneType);
        host.refuses(Reset(1), E::WrongState);
        let report = host.report();
        host.learn(&report);
        host.good(Append(1, 1));
        host.agrees();
        host.finish();
    }
}

#[test]
fn a_secure_erase_resets_its_sequential_zones() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    host.good(Append(1, 2));
    host.submit(Append(2, 1)).unwrap();
    host.refuses(Erase(1, 2), E::Busy);
    host.settle(true);
    // Zone 0 is conventional.
    host.submit(Erase(0, 3)).unwrap();
    host.refuses(Append(1, 1), E::Busy);
    assert!(host.settle(true).iter().all(Result::is_ok));
    assert_eq!(host.state(1), Some((ZoneState::Empty, Some(16))));
    host.agrees();
    host.finish();
}

#[test]
fn only_conventional_zones_are_discarded_or_zeroed() {
    let mut memory = UNKNOWN;
    let host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    for (range, checked) in [
        (zones(0, 1), Ok(())),
        (zones(1, 1), Err(E::WrongZoneType)),
        (zones(0, 2), Err(E::WrongZoneType)),
    ] {
        let discard: Request<DmaBuffer, u32> = Request::discard(range, 0);
        assert_eq!(host.zones.check(&discard), checked);
        let zeroes: Request<DmaBuffer, u32> = Request::write_zeroes(range, true, 0);
        assert_eq!(host.zones.check(&zeroes), checked);
    }
    host.finish();
}

#[test]
fn zones_that_failed_are_learned_from_a_report() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    host.model.fail_zone(ZONE, ZoneFailure::ReadOnly);
    host.model.fail_zone(2 * ZONE, ZoneFailure::Offline);
    let report = host.report();
    host.learn(&report);
    host.refuses(Write(16, 1), E::NotWritable);
    host.refuses(Reset(1), E::WrongState);
    let buffer = DmaBuffer::allocate(&mut host.dma, 512, 512).unwrap();
    let read = Request::read(Sector(32), buffer, 0);
    assert_eq!(host.zones.check(&read), Err(E::NotReadable));
    host.release(read.into_parts().0);
    host.finish();
}

#[test]
fn a_description_that_makes_no_sense_is_not_learned() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    let kind = ZoneType::SequentialWriteRequired;
    let good = ZoneDescriptor::new(kind, ZoneState::Closed, Sector(16), 12, Sector(20));
    let beyond = ZoneDescriptor::new(kind, ZoneState::Closed, Sector(32), 12, Sector(45));
    let bytes = report_of(&[good, beyond]);
    assert_eq!(host.zones.learn(&ZoneReport::parse(&bytes).unwrap()), Err(beyond));
    assert_eq!(host.state(1), Some((ZoneState::Closed, Some(20))));
    assert_eq!(host.state(2), Some((ZoneState::Empty, Some(32))));
    host.finish();
}

#[test]
fn a_table_smaller_than_the_disk_knows_the_first_zones() {
    let mut memory = UNKNOWN;
    let mut host = Host::new(ZONES, CompletionOrder::InOrder, &mut memory);
    let report = host.report();
    let mut few = [TrackedZone::UNKNOWN; 2];
    host.zones = ZoneTable::new(host.disk.limits(), &mut few).unwrap();
    assert_eq!(host.learn(&report), 2);
    host.good(Append(1, 1));
    host.refuses(Append(2, 1), E::WrongZoneType);
    host.finish();
}

fn command() -> impl Strategy<Value = Command> {
    let number = || 0..COUNT;
    prop_oneof![
        3 => (number(), 0..14u64, 1..20u64).prop_map(|(number, offset, sectors)| Write(ZONE * number + offset, sectors)),
        3 => (number(), 1..9u64).prop_map(|(number, sectors)| Append(number, sectors)),
        1 => number().prop_map(Open),
        1 => number().prop_map(Close),
        1 => number().prop_map(Finish),
        1 => number().prop_map(Reset),
        1 => Just(ResetAll),
    ]
}

/// Zones by the table of the specification, which is written down in `ZoneState::after`.
struct Oracle {
    zones: Vec<(ZoneState, u64)>,
    host_managed: bool,
}

impl Oracle {
    const END: u64 = 12;

    fn new(host_managed: bool) -> Self {
        let state = |number| {
            if number == 0 {
                ZoneState::NoWritePointer
            } else {
                ZoneState::Empty
            }
        };
        Self {
            zones: (0..COUNT).map(|number| (state(number), 0)).collect(),
            host_managed,
        }
    }

    fn count(&self, which: fn(ZoneState) -> bool) -> usize {
        self.zones.iter().filter(|zone| which(zone.0)).count()
    }

    /// Moves a zone from one state to another, as far as resources allow.
    fn go(&mut self, number: u64, event: ZoneEvent, opens: bool) -> Result<(), StatusError> {
        let from = self.zones[number as usize].0;
        let to = from.after(event).ok_or(StatusError::ZoneInvalidCommand)?;
        if opens && !from.is_active() && self.count(ZoneState::is_active) >= 3 {
            return Err(StatusError::ZoneActiveResource);
        }
        if opens && !from.is_open() && self.count(ZoneState::is_open) >= 2 {
            let implicit = self.zones.iter_mut().find(|zone| zone.0 == ZoneState::ImplicitlyOpen);
            let zone = implicit.ok_or(StatusError::ZoneOpenResource)?;
            zone.0 = zone.0.after(ZoneEvent::ClosedByDevice).unwrap();
        }
        let zone = &mut self.zones[number as usize];
        zone.0 = to;
        if to == ZoneState::Empty {
            zone.1 = 0;
        }
        Ok(())
    }

    /// A write of `sectors` at `offset` of a zone; `None` at the write pointer.
    fn write(&mut self, number: u64, offset: Option<u64>, sectors: u64) -> Result<(), StatusError> {
        let (state, pointer) = self.zones[number as usize];
        if state == ZoneState::NoWritePointer && offset.is_some() {
            return Ok(());
        }
        if !state.has_write_pointer() || pointer + sectors > Self::END {
            return Err(StatusError::ZoneInvalidCommand);
        }
        let offset = offset.unwrap_or(pointer);
        if self.host_managed && offset != pointer {
            return Err(StatusError::ZoneUnalignedWritePointer);
        }
        let after = pointer.max(offset + sectors);
        let fills = after == Self::END;
        self.go(number, ZoneEvent::Written { fills }, true)?;
        self.zones[number as usize].1 = after;
        Ok(())
    }

    fn run(&mut self, command: Command) -> Result<(), StatusError> {
        match command {
            Write(sector, sectors) => self.write(sector / ZONE, Some(sector % ZONE), sectors),
            Append(0, _) => Err(StatusError::ZoneInvalidCommand),
            Append(_, _) if !self.host_managed => Err(StatusError::ZoneInvalidCommand),
            Append(number, sectors) => self.write(number, None, sectors),
            Open(number) => self.go(number, ZoneEvent::Open, true),
            Close(number) => {
                let untouched = self.zones[number as usize].1 == 0;
                self.go(number, ZoneEvent::Close { untouched }, false)
            }
            Finish(number) => self.go(number, ZoneEvent::Finish, false),
            Reset(number) => self.go(number, ZoneEvent::Reset, false),
            Erase(..) => unreachable!("not among the generated commands"),
            ResetAll => (0..COUNT).try_for_each(|number| self.go(number, ZoneEvent::ResetAll, false)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }) })]

    /// One request at a time, without a table: statuses and reports are those of the oracle.
    #[test]
    fn zones_behave_as_the_specification_has_it(model in 1..3u8, commands in prop::collection::vec(command(), 1..60)) {
        let mut memory = UNKNOWN;
        let mut host = Host::new(Zones { model, ..ZONES }, CompletionOrder::InOrder, &mut memory);
        let mut oracle = Oracle::new(model == 1);
        for command in commands {
            if let Write(sector, sectors) = command
                && sector % ZONE + sectors > Oracle::END
            {
                continue;
            }
            let request = host.request(command);
            host.disk.submit(request).expect("the configuration allows it");
            let result = host.settle(false).remove(0);
            let expected = oracle.run(command).map_err(IoError::Device);
            prop_assert_eq!(result.map(drop), expected, "{:?}", command);
            for (told, &(state, pointer)) in host.report().iter().zip(&oracle.zones) {
                prop_assert_eq!(told.state(), state, "after {:?}", command);
                let expected = state.has_write_pointer().then(|| Sector(told.start().get() + pointer));
                prop_assert_eq!(told.write_pointer(), expected, "after {:?}", command);
            }
        }
        host.disk.shut_down(&mut host.dma, &mut PollLimit::default(), |_| ()).expect("a reset");
    }

    /// Many requests in flight: a device that carries them out in any order fails none that the table lets through.
    #[test]
    fn requests_that_a_table_lets_through_succeed_in_any_order(
        model in 1..3u8,
        seed: u64,
        batches in prop::collection::vec(prop::collection::vec(command(), 1..12), 1..12),
    ) {
        let mut memory = UNKNOWN;
        let mut host = Host::new(Zones { model, ..ZONES }, CompletionOrder::Shuffled(seed), &mut memory);
        for batch in batches {
            let taken = batch.into_iter().filter(|&command| host.submit(command).is_ok()).count();
            let results = host.settle(true);
            prop_assert_eq!(results.len(), taken);
            prop_assert!(results.iter().all(Result::is_ok), "{:?}", results);
            host.agrees();
        }
        host.finish();
    }
}
