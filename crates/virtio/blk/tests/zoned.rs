//! Zones: bring-up, every operation, every status, and transfers that cross the ends of zones.

mod common;

use common::{Access, Rig, TestRequest, every_modern, pattern, range, register};
use virtio_blk::proto::zoned::{ZoneDescriptor, ZoneId, ZoneReport, ZoneRequestError, ZoneState, ZoneType, ZonedModel};
use virtio_blk::proto::{Sector, StatusError};
use virtio_blk::{Answer, DiskOptions, InitError, IoError, Request, SubmitError};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{CompletionOrder, Limits, Model, ModelConfig, ZoneFailure, Zones, feature};
use virtio_core::{DeviceStatus, Features};

const HOST_MANAGED: u8 = 1;
const HOST_AWARE: u8 = 2;

/// Zones of 64 sectors, of which 48 can be written; the first is conventional. Two can be open, three active.
const ZONES: Zones = Zones {
    zone_sectors: 64,
    zone_capacity: 48,
    conventional: 1,
    max_open: 2,
    max_active: 3,
    max_append_sectors: 16,
    write_granularity: 1024,
    model: HOST_MANAGED,
    unwritten_reads_fail: false,
};

fn options() -> DiskOptions {
    DiskOptions::default().with_zones()
}

/// A disk of four and a half zones.
fn config(zones: Zones) -> ModelConfig {
    let whole_zones = Limits {
        max_sectors: 200,
        ..Limits::default()
    };
    ModelConfig {
        capacity: 4 * 64 + 32,
        zones,
        secure_erase: whole_zones,
        ..ModelConfig::modern().offer(feature::ZONED | feature::SECURE_ERASE)
    }
}

fn rig(zones: Zones) -> Rig<16> {
    Rig::with(config(zones), &options())
}

fn of_model(model: u8) -> Zones {
    Zones { model, ..ZONES }
}

/// The zone with this number.
fn zone(number: u64) -> ZoneId {
    ZoneId::starting_at(Sector(64 * number))
}

/// A start that fails: why, and the device.
fn fails(config: ModelConfig, options: &DiskOptions) -> (InitError, Model) {
    let model = Model::new(config);
    let transport = Rig::<16>::probe(&model);
    let started = Rig::<16>::on(model.clone(), transport, options);
    (started.err().expect("the start fails").error, model)
}

fn report(rig: &mut Rig<16>, sector: u64, zones: u32) -> Vec<ZoneDescriptor> {
    let buffer = rig.buffer(&[ZoneReport::bytes_for(zones).unwrap() as usize]);
    let outcome = rig.run(|token| Request::report_zones(Sector(sector), buffer, token));
    assert_eq!((outcome.result, outcome.bytes), (Ok(Answer::Done), 0));
    let report = ZoneReport::parse(&outcome.content).unwrap();
    assert_eq!(report.claimed(), report.zones().len() as u64);
    report.zones().to_vec()
}

/// State and write pointer of a zone.
fn state(rig: &mut Rig<16>, number: u64) -> (ZoneState, Option<u64>) {
    let zone = report(rig, 64 * number, 1)[0];
    (zone.state(), zone.write_pointer().map(Sector::get))
}

fn append(rig: &mut Rig<16>, number: u64, content: &[u8]) -> impl FnOnce(u32) -> TestRequest + use<> {
    let mut buffer = rig.buffer(&[content.len()]);
    buffer.fill(content);
    move |token| Request::append(zone(number), buffer, token)
}

/// The status of a request that the device refuses.
fn status(rig: &mut Rig<16>, make: impl FnOnce(u32) -> TestRequest) -> StatusError {
    match rig.run(make).result {
        Err(IoError::Device(status)) => status,
        other => panic!("{other:?} is no status of the device"),
    }
}

// Shows BLK-D-05, BLK-D-06, BLK-D-07, BLK-D-08, BLK-D-09.
#[test]
fn zoned_is_accepted_only_when_asked_for() {
    for (model, asked, zones) in [
        (0, true, false),
        (HOST_MANAGED, true, true),
        (HOST_AWARE, true, true),
        (HOST_AWARE, false, false),
    ] {
        let options = if asked { options() } else { DiskOptions::default() };
        let mut rig = Rig::<16>::with(config(of_model(model)), &options);
        let accepted = rig.disk.accepted_features().low();
        assert_eq!(accepted & feature::ZONED != 0, asked);
        assert_eq!(rig.disk.limits().zoned.is_some(), zones);
        assert_eq!(accepted & feature::DISCARD != 0, model != HOST_MANAGED, "BLK-D-06");
        if !zones {
            rig.works();
            let error = rig.refused(Request::reset_all_zones);
            assert_eq!(error, SubmitError::Zone(ZoneRequestError::NoZones));
        }
        rig.finish();
    }
    let legacy = |model| ModelConfig {
        zones: of_model(model),
        ..ModelConfig::legacy().offer(feature::ZONED)
    };
    assert_eq!(fails(legacy(HOST_MANAGED), &options()).0, InitError::NeedsZones);
    let mut rig = Rig::<16>::with(legacy(HOST_AWARE), &options());
    assert_eq!(rig.disk.accepted_features().low() & feature::ZONED, 0);
    rig.works();
    rig.finish();
    let (error, model) = fails(config(ZONES), &DiskOptions::default());
    assert_eq!(error, InitError::NeedsZones);
    assert!(model.status().contains(DeviceStatus::FAILED), "BLK-D-08");
    model.assert_clean();
}

// Shows BLK-D-10.
#[test]
fn zones_that_make_no_sense_are_refused_or_ignored() {
    let unknown = of_model(7);
    let none = Zones {
        zone_sectors: 0,
        ..ZONES
    };
    let odd = Zones {
        zone_sectors: 63,
        ..ZONES
    };
    for bad in [unknown, none, odd] {
        let (error, model) = fails(config(bad), &options());
        let expected = InitError::BadZones {
            model: ZonedModel::from(bad.model),
            zone_sectors: bad.zone_sectors,
        };
        assert_eq!(error, expected);
        assert!(model.status().contains(DeviceStatus::FAILED));
        model.assert_clean();
    }
    for bad in [none, odd] {
        let aware = Zones {
            model: HOST_AWARE,
            ..bad
        };
        let mut rig = rig(aware);
        assert_eq!(rig.disk.accepted_features().low() & feature::ZONED, 0);
        rig.works();
        rig.finish();
    }
}

#[test]
fn a_block_size_without_its_feature_does_not_count_for_zones() {
    let config = ModelConfig {
        // The zones have 32 KiB, so no zone is a multiple of it.
        block_size: 65536,
        ..config(ZONES)
    };
    let rig = Rig::<16>::with(config.withdraw(feature::BLK_SIZE), &options());
    assert!(rig.disk.limits().zoned.is_some());
    rig.finish();
}

#[test]
fn a_report_describes_zones_in_the_callers_buffer() {
    for (model, kind) in [
        (HOST_MANAGED, ZoneType::SequentialWriteRequired),
        (HOST_AWARE, ZoneType::SequentialWritePreferred),
    ] {
        let mut rig = rig(of_model(model));
        let zones = report(&mut rig, 0, 9);
        let starts: Vec<u64> = zones.iter().map(|zone| zone.start().get()).collect();
        assert_eq!(starts, [0, 64, 128, 192, 256]);
        let capacities: Vec<u64> = zones.iter().map(|zone| zone.z_cap.get()).collect();
        assert_eq!(capacities, [48, 48, 48, 48, 32]);
        assert_eq!(
            (zones[0].zone_type(), zones[1].zone_type()),
            (ZoneType::Conventional, kind)
        );
        let limits = *rig.disk.limits();
        for zone in &zones {
            assert!(zone.is_plausible(&limits.zoned.unwrap(), limits.capacity));
        }
        // It starts with the zone of any sector, and ends with the buffer.
        assert_eq!(report(&mut rig, 100, 2)[0].id(), zone(1));
        assert_eq!(report(&mut rig, 100, 2).len(), 2);
        assert_eq!(
            rig.finish().queue.odd_lengths,
            0,
            "a report may be shorter than its buffer"
        );
    }
}

#[test]
fn zones_go_through_their_states() {
    for model in [HOST_MANAGED, HOST_AWARE] {
        every_modern(|base| {
            let base = ModelConfig {
                offered: base.offered | Features::from_low(feature::ZONED),
                ..config(of_model(model))
            };
            let mut rig = Rig::<16>::with(base, &options());
            for (operation, expected) in [
                (
                    Request::open_zone as fn(_, _) -> _,
                    (ZoneState::ExplicitlyOpen, Some(64)),
                ),
                (Request::close_zone, (ZoneState::Empty, Some(64))),
                (Request::open_zone, (ZoneState::ExplicitlyOpen, Some(64))),
                (Request::finish_zone, (ZoneState::Full, None)),
                (Request::reset_zone, (ZoneState::Empty, Some(64))),
            ] {
                rig.good(|token| operation(zone(1), token));
                assert_eq!(state(&mut rig, 1), expected);
            }
            rig.write(64, &pattern(1, 1024));
            assert_eq!(state(&mut rig, 1), (ZoneState::ImplicitlyOpen, Some(66)));
            rig.good(|token| Request::close_zone(zone(1), token));
            assert_eq!(state(&mut rig, 1), (ZoneState::Closed, Some(66)));
            rig.write(128, &pattern(2, 48 * 512));
            assert_eq!(state(&mut rig, 2), (ZoneState::Full, None));
            rig.good(Request::reset_all_zones);
            for number in 1..5 {
                assert_eq!(state(&mut rig, number), (ZoneState::Empty, Some(64 * number)));
            }
            rig.finish();
        });
    }
}

// Shows BLK-D-27, BLK-D-35.
#[test]
fn an_append_answers_where_the_data_went() {
    every_modern(|base| {
        let base = ModelConfig {
            offered: base.offered | Features::from_low(feature::ZONED),
            ..config(ZONES)
        };
        let mut rig = Rig::<16>::with(base, &options());
        for (seed, sectors, place) in [(1, 2, 64), (2, 16, 66), (3, 4, 82)] {
            let content = pattern(seed, sectors * 512);
            let request = append(&mut rig, 1, &content);
            let outcome = rig.run(request);
            assert_eq!(outcome.result, Ok(Answer::Appended(Sector(place))));
            assert_eq!(outcome.bytes, content.len() as u64);
            assert_eq!(rig.read(place, content.len()), content);
        }
        assert_eq!(state(&mut rig, 1), (ZoneState::ImplicitlyOpen, Some(86)));
        assert_eq!(rig.finish().queue.odd_lengths, 0);
    });
}

#[test]
fn many_appends_to_one_zone_are_in_flight_in_any_order() {
    for order in [
        CompletionOrder::InOrder,
        CompletionOrder::Reverse,
        CompletionOrder::Shuffled(7),
    ] {
        let mut rig = Rig::<64>::with(config(ZONES), &options());
        rig.model.set_order(order);
        let mut expected = Vec::new();
        for n in 0..12 {
            let content = pattern(n, 2048);
            let mut buffer = rig.buffer(&[1000, 1048]);
            buffer.fill(&content);
            let token = rig.submit(|token| Request::append(zone(3), buffer, token));
            expected.push((token, content));
        }
        let mut places = Vec::new();
        for outcome in rig.settle() {
            let Ok(Answer::Appended(place)) = outcome.result else {
                panic!("{outcome:?}")
            };
            let (_, content) = expected.iter().find(|(token, _)| *token == outcome.token).unwrap();
            assert_eq!(rig.model.read_disk(place.get(), 4), *content);
            places.push(place.get());
        }
        places.sort_unstable();
        assert!(places.iter().copied().eq((192..240).step_by(4)));
        rig.finish();
    }
}

#[test]
fn an_append_elsewhere_is_a_lie_of_the_device() {
    for (sector, lie) in [
        (FaultKind::AppendSector(64), false),
        (FaultKind::AppendSector(126), false),
        (FaultKind::AppendSector(63), true),
        (FaultKind::AppendSector(127), true),
        (FaultKind::AppendSector(u64::MAX), true),
    ] {
        let mut rig = rig(ZONES);
        rig.model.set_fault(FaultScript::new().at(0, sector));
        let request = append(&mut rig, 1, &pattern(1, 1024));
        let outcome = rig.run(request);
        assert_eq!(
            matches!(outcome.result, Err(IoError::BadAppendSector(_))),
            lie,
            "{sector:?}"
        );
        assert_eq!(outcome.bytes, if lie { 0 } else { 1024 });
        rig.finish();
    }
    let mut rig = rig(ZONES);
    rig.model.set_fault(FaultScript::new().at(0, FaultKind::NoStatus));
    let request = append(&mut rig, 1, &pattern(1, 1024));
    assert_eq!(status(&mut rig, request), StatusError::NotWritten);
    rig.finish();
}

#[test]
fn zones_stay_as_they_were_at_the_start() {
    let mut rig = rig(ZONES);
    let before = rig.disk.limits().zoned;
    rig.model.resize(320);
    // The device tells another zone size from now on.
    rig.registers
        .hook(|access| (access == Access::Read(register::CONFIG + 72)).then_some(100));
    rig.disk.refresh_config().unwrap();
    assert_eq!(rig.disk.limits().capacity, Sector(320));
    assert_eq!(rig.disk.limits().zoned, before);
    rig.registers.unhook();
    rig.finish();
}

#[test]
fn every_status_of_zones_is_an_error_of_its_own() {
    let mut rig = rig(ZONES);
    assert_eq!(
        status(&mut rig, |token| Request::open_zone(zone(0), token)),
        StatusError::ZoneInvalidCommand
    );
    assert_eq!(
        status(&mut rig, |token| Request::close_zone(zone(1), token)),
        StatusError::ZoneInvalidCommand
    );
    let request = append(&mut rig, 0, &pattern(1, 1024));
    assert_eq!(
        status(&mut rig, request),
        StatusError::ZoneInvalidCommand,
        "a conventional zone"
    );
    let request = rig.write_request(66, &pattern(1, 1024), &[1024]);
    assert_eq!(status(&mut rig, request), StatusError::ZoneUnalignedWritePointer);
    for number in [1, 2] {
        rig.good(|token| Request::open_zone(zone(number), token));
    }
    let open = |token| Request::open_zone(zone(3), token);
    assert_eq!(status(&mut rig, open), StatusError::ZoneOpenResource);
    rig.write(64, &pattern(1, 1024));
    rig.good(|token| Request::close_zone(zone(1), token));
    rig.good(open);
    rig.good(|token| Request::close_zone(zone(2), token));
    rig.write(128, &pattern(1, 1024));
    let request = append(&mut rig, 4, &pattern(1, 1024));
    assert_eq!(status(&mut rig, request), StatusError::ZoneActiveResource);
    rig.finish();
}

#[test]
fn zones_that_fail_are_read_only_or_not_readable() {
    let mut rig = rig(ZONES);
    let content = pattern(1, 1024);
    for number in [1, 2] {
        rig.write(64 * number, &content);
    }
    rig.model.fail_zone(64, ZoneFailure::ReadOnly);
    rig.model.fail_zone(128, ZoneFailure::Offline);
    assert_eq!(state(&mut rig, 1), (ZoneState::ReadOnly, None));
    assert_eq!(state(&mut rig, 2), (ZoneState::Offline, None));
    assert_eq!(rig.read(64, 1024), content);
    let read = rig.read_request(128, &[512]);
    let write = rig.write_request(66, &content, &[1024]);
    let append = append(&mut rig, 1, &content);
    assert_eq!(status(&mut rig, read), StatusError::ZoneInvalidCommand);
    assert_eq!(status(&mut rig, write), StatusError::ZoneInvalidCommand);
    assert_eq!(status(&mut rig, append), StatusError::ZoneInvalidCommand);
    for number in [1, 2] {
        for operation in [
            Request::open_zone as fn(_, _) -> _,
            Request::finish_zone,
            Request::reset_zone,
        ] {
            assert_eq!(
                status(&mut rig, |token| operation(zone(number), token)),
                StatusError::ZoneInvalidCommand
            );
        }
    }
    // A reset of all leaves them alone.
    rig.good(Request::reset_all_zones);
    assert_eq!(state(&mut rig, 2), (ZoneState::Offline, None));
    rig.finish();
}

#[test]
fn reads_beyond_the_write_pointer_give_a_pattern_or_fail() {
    for unwritten_reads_fail in [false, true] {
        let mut rig = rig(Zones {
            unwritten_reads_fail,
            ..ZONES
        });
        let content = pattern(1, 1024);
        rig.write(64, &content);
        assert_eq!(rig.read(64, 1024), content);
        let request = rig.read_request(64, &[1536]);
        let result = rig.run(request).result;
        if unwritten_reads_fail {
            assert_eq!(result, Err(IoError::Device(StatusError::ZoneInvalidCommand)));
        } else {
            assert_eq!(result, Ok(Answer::Done));
        }
        rig.finish();
    }
}

#[test]
fn requests_that_break_a_rule_do_not_reach_the_device() {
    use ZoneRequestError as E;
    let mut rig = rig(ZONES);
    let at = |sector| ZoneId::starting_at(Sector(sector));
    for (sector, error) in [(65, E::NotZoneStart), (320, E::BeyondDisk), (u64::MAX, E::BeyondDisk)] {
        for operation in [
            Request::open_zone as fn(_, _) -> _,
            Request::close_zone,
            Request::finish_zone,
            Request::reset_zone,
        ] {
            assert_eq!(
                rig.refused(|token| operation(at(sector), token)),
                SubmitError::Zone(error)
            );
        }
    }
    for (sector, bytes, error) in [
        (288, 128, E::BeyondDisk),
        (0, 127, E::ReportTooSmall),
        (0, 64, E::ReportTooSmall),
    ] {
        let buffer = rig.buffer(&[bytes]);
        let refused = rig.refused(|token| Request::report_zones(Sector(sector), buffer, token));
        assert_eq!(refused, SubmitError::Zone(error));
    }
    for (sector, sectors, error) in [
        (65, 2, SubmitError::Zone(E::NotZoneStart)),
        (64, 1, SubmitError::Zone(E::LengthNotAligned)),
        (64, 18, SubmitError::Zone(E::AppendTooLong)),
        (288, 2, SubmitError::OutOfRange { capacity: Sector(288) }),
        (64, 0, SubmitError::Empty),
    ] {
        let buffer = rig.buffer(&[sectors * 512]);
        assert_eq!(rig.refused(|token| Request::append(at(sector), buffer, token)), error);
    }
    for (first, sectors, error) in [(64, 63, E::PartialZone), (65, 64, E::NotZoneStart)] {
        let refused = rig.refused(|token| Request::secure_erase(range(first, sectors), token));
        assert_eq!(refused, SubmitError::Zone(error));
    }
    rig.finish();
}

#[test]
fn an_append_is_never_split() {
    let config = ModelConfig {
        seg_max: 3,
        size_max: 1000,
        ..config(Zones {
            max_append_sectors: 64,
            ..ZONES
        })
        .offer(feature::SIZE_MAX)
    };
    let mut rig = Rig::<16>::with(config, &options());
    // One piece becomes three segments; four would be too many.
    let request = append(&mut rig, 1, &pattern(1, 2048));
    assert_eq!(rig.good(request), Answer::Appended(Sector(64)));
    let request = append(&mut rig, 1, &pattern(2, 4096));
    assert_eq!(rig.refused(request), SubmitError::TooScattered);
    let too_long = append(&mut rig, 4, &pattern(2, 33 * 1024));
    assert_eq!(rig.refused(too_long), SubmitError::OutOfRange { capacity: Sector(288) });
    rig.finish();
}

#[test]
fn a_device_that_cannot_append_gets_no_append() {
    let mut rig = rig(Zones {
        max_append_sectors: 0,
        ..ZONES
    });
    let request = append(&mut rig, 1, &pattern(1, 1024));
    assert_eq!(
        rig.refused(request),
        SubmitError::Zone(ZoneRequestError::AppendUnsupported)
    );
    rig.finish();
    let mut rig = Rig::<16>::with(config(ZONES).offer(feature::RO), &options());
    let request = append(&mut rig, 1, &pattern(1, 1024));
    assert_eq!(rig.refused(request), SubmitError::ReadOnly);
    assert_eq!(
        rig.refused(|token| Request::reset_zone(zone(1), token)),
        SubmitError::ReadOnly
    );
    assert_eq!(report(&mut rig, 0, 9).len(), 5);
    rig.finish();
}

#[test]
fn a_transfer_is_cut_at_zone_ends_and_written_in_order() {
    for model in [HOST_MANAGED, HOST_AWARE] {
        for order in [
            CompletionOrder::InOrder,
            CompletionOrder::Reverse,
            CompletionOrder::Shuffled(3),
        ] {
            let zones = Zones {
                zone_capacity: u32::MAX,
                max_open: 0,
                max_active: 0,
                model,
                ..ZONES
            };
            // Whole zones need several device requests, because a segment has 5000 bytes and there are three of them.
            let config = ModelConfig {
                seg_max: 3,
                size_max: 5000,
                order,
                ..config(zones).offer(feature::SIZE_MAX)
            };
            let mut rig = Rig::<16>::with(config, &options());
            let content = pattern(9, 288 * 512);
            rig.write(0, &content);
            assert_eq!(rig.model.read_disk(0, 288), content);
            assert_eq!(rig.read(0, content.len()), content);
            // 32 KiB in parts of 14 KiB, which are whole units of writing, and 14848 bytes, which are whole sectors.
            let counters = rig.model.counters();
            assert_eq!(
                (counters.requests_of(1), counters.requests_of(0)),
                (4 * 3 + 2, 4 * 3 + 2)
            );
            rig.finish();
        }
    }
}

#[test]
fn after_a_failed_part_no_later_part_of_the_zone_is_sent() {
    let config = ModelConfig {
        seg_max: 1,
        size_max: 4096,
        ..config(ZONES).offer(feature::SIZE_MAX)
    };
    let mut rig = Rig::<16>::with(config, &options());
    rig.model.set_fault(FaultScript::new().at(1, FaultKind::Status(1)));
    let request = rig.write_request(64, &pattern(1, 16384), &[16384]);
    let outcome = rig.run(request);
    assert_eq!(
        (outcome.result, outcome.bytes),
        (Err(IoError::Device(StatusError::Io)), 4096)
    );
    assert_eq!(rig.model.counters().requests_of(1), 2);
    assert_eq!(state(&mut rig, 1), (ZoneState::ImplicitlyOpen, Some(72)));
    rig.finish();
}

// Shows BLK-D-39.
#[test]
fn an_erase_takes_whole_zones_and_resets_them() {
    let mut rig = rig(ZONES);
    rig.write(128, &pattern(1, 1024));
    let erase = |token| Request::secure_erase(range(64, 192), token);
    rig.good(erase);
    assert_eq!(state(&mut rig, 2), (ZoneState::Empty, Some(128)));
    // The device takes 200 sectors at once, which are three zones.
    assert_eq!(rig.model.counters().requests_of(14), 1);
    rig.good(|token| Request::secure_erase(range(0, 256), token));
    assert_eq!(rig.model.counters().requests_of(14), 3);
    rig.finish();
    let mut config = config(ZONES);
    config.secure_erase.max_sectors = 63;
    let mut rig = Rig::<16>::with(config, &options());
    assert_eq!(rig.refused(erase), SubmitError::Unsupported, "less than a zone at once");
    rig.finish();
}

#[test]
fn zone_requests_come_back_when_the_device_is_reset() {
    let mut rig = rig(ZONES);
    let request = append(&mut rig, 1, &pattern(1, 1024));
    rig.submit(request);
    rig.submit(Request::reset_all_zones);
    let (_, _, outcomes) = rig.abandon();
    assert!(outcomes.iter().all(|outcome| outcome.result == Err(IoError::Aborted)));
    assert_eq!(outcomes.len(), 2);
}
