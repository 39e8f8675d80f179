//! The rules for zones, one by one and against arbitrary devices.

use proptest::prelude::*;
use virtio_blk_proto::zoned::{
    ZoneDescriptor, ZoneEvent, ZoneId, ZoneReport, ZoneReportHeader, ZoneRequestError as E, ZoneState, ZoneType,
    ZonedConfig, ZonedModel,
};
use virtio_blk_proto::{RequestType, Sector};
use zerocopy::{FromBytes, IntoBytes};

/// Zones of 1 MiB, 4 KiB at a time, appends of up to 64 KiB.
const CONFIG: ZonedConfig = ZonedConfig {
    zone_sectors: 2048,
    max_open_zones: 4,
    max_active_zones: 8,
    max_append_sectors: 128,
    write_granularity: 4096,
    model: ZonedModel::HostManaged,
};

/// Two and a half zones.
const CAPACITY: Sector = Sector(5120);

/// The second zone, with room for 1000 more sectors.
fn zone(kind: ZoneType) -> ZoneDescriptor {
    ZoneDescriptor::new(kind, ZoneState::ImplicitlyOpen, Sector(2048), 1800, Sector(2848))
}

fn required() -> ZoneDescriptor {
    zone(ZoneType::SequentialWriteRequired)
}

fn in_state(state: ZoneState) -> ZoneDescriptor {
    ZoneDescriptor {
        z_state: state.into(),
        ..required()
    }
}

// Shows BLK-D-28, BLK-D-29.
#[test]
fn blk_d_28_29_a_report_starts_anywhere_on_the_disk() {
    for sector in [0, 1, 2048, 5119] {
        assert_eq!(
            CONFIG.check_header(RequestType::ZONE_REPORT, Sector(sector), CAPACITY),
            Ok(())
        );
    }
    for sector in [5120, u64::MAX] {
        let outcome = CONFIG.check_header(RequestType::ZONE_REPORT, Sector(sector), CAPACITY);
        assert_eq!(outcome, Err(E::BeyondDisk));
    }
}

// Shows BLK-D-30.
#[test]
fn blk_d_30_32_commands_and_appends_name_the_start_of_a_zone() {
    for kind in [
        RequestType::ZONE_OPEN,
        RequestType::ZONE_CLOSE,
        RequestType::ZONE_FINISH,
        RequestType::ZONE_RESET,
        RequestType::ZONE_APPEND,
    ] {
        for (sector, outcome) in [
            (0, Ok(())),
            (1, Err(E::NotZoneStart)),
            (2048, Ok(())),
            (2056, Err(E::NotZoneStart)),
            (4096, Ok(())),
            (6144, Err(E::BeyondDisk)),
        ] {
            assert_eq!(
                CONFIG.check_header(kind, Sector(sector), CAPACITY),
                outcome,
                "{kind:?} {sector}"
            );
        }
    }
}

// Shows BLK-D-31.
#[test]
fn blk_d_31_a_reset_of_all_zones_names_sector_0() {
    let check = |sector| CONFIG.check_header(RequestType::ZONE_RESET_ALL, Sector(sector), CAPACITY);
    assert_eq!(check(0), Ok(()));
    assert_eq!(check(2048), Err(E::NotSectorZero));
}

#[test]
fn other_requests_are_no_zone_requests() {
    for kind in [
        RequestType::IN,
        RequestType::OUT,
        RequestType::FLUSH,
        RequestType(17),
        RequestType(u32::MAX),
    ] {
        assert_eq!(CONFIG.check_header(kind, Sector(0), CAPACITY), Err(E::NotZoneRequest));
    }
}

#[test]
fn a_device_without_zones_gets_no_zone_requests() {
    for config in [
        ZonedConfig {
            zone_sectors: 0,
            ..CONFIG
        },
        ZonedConfig {
            model: ZonedModel::None,
            ..CONFIG
        },
    ] {
        assert_eq!(
            config.check_header(RequestType::ZONE_REPORT, Sector(0), CAPACITY),
            Err(E::NoZones)
        );
        assert_eq!(config.check_append(&required(), 4096, CAPACITY), Err(E::NoZones));
        assert_eq!(config.check_secure_erase(Sector(1), 1), Ok(()));
    }
}

#[test]
fn an_append_within_the_rules_passes() {
    assert_eq!(CONFIG.check_append(&required(), 4096, CAPACITY), Ok(()));
    assert_eq!(CONFIG.check_append(&required(), 65536, CAPACITY), Ok(()));
}

// Shows BLK-D-32.
#[test]
fn blk_d_32_an_append_names_the_start_of_its_zone() {
    for sector in [2049, 2848] {
        let zone = ZoneDescriptor {
            z_start: Sector(sector).into(),
            ..required()
        };
        assert_eq!(CONFIG.check_append(&zone, 4096, CAPACITY), Err(E::NotZoneStart));
    }
}

// Shows BLK-D-33.
#[test]
fn blk_d_33_an_append_has_a_multiple_of_the_granularity() {
    for bytes in [1, 511, 512, 4095, 4608] {
        assert_eq!(
            CONFIG.check_append(&required(), bytes, CAPACITY),
            Err(E::LengthNotAligned)
        );
    }
}

// Shows BLK-D-34.
#[test]
fn blk_d_34_an_append_is_not_longer_than_the_device_takes() {
    let check = |bytes| CONFIG.check_append(&required(), bytes, CAPACITY);
    assert_eq!(check(65536), Ok(()));
    assert_eq!(check(65536 + 4096), Err(E::AppendTooLong));
    let never = ZonedConfig {
        max_append_sectors: 0,
        ..CONFIG
    };
    assert_eq!(
        never.check_append(&required(), 4096, CAPACITY),
        Err(E::AppendUnsupported)
    );
}

// Shows BLK-D-34.
#[test]
fn the_limits_of_an_append_are_exact_to_the_sector() {
    let sectors = ZonedConfig {
        write_granularity: 0,
        max_append_sectors: 2048,
        ..CONFIG
    };
    let (first, last) = (required().id(), ZoneId::starting_at(Sector(4096)));
    let check = |config: ZonedConfig, zone, sectors: u64| config.check_append_size(zone, sectors * 512, CAPACITY);
    assert_eq!(check(sectors, first, 2048), Ok(()));
    assert_eq!(check(sectors, first, 2049), Err(E::AppendTooLong));
    // The last zone has half the size.
    assert_eq!(check(sectors, last, 1024), Ok(()));
    assert_eq!(check(sectors, last, 1025), Err(E::NoRoom));
    let longer = ZonedConfig {
        max_append_sectors: 4096,
        ..sectors
    };
    assert_eq!(check(longer, first, 2049), Err(E::NoRoom));
}

#[test]
fn only_zones_that_need_order_take_appends() {
    for kind in [
        ZoneType::Conventional,
        ZoneType::SequentialWritePreferred,
        ZoneType::Unknown(4),
    ] {
        assert_eq!(CONFIG.check_append(&zone(kind), 4096, CAPACITY), Err(E::WrongZoneType));
    }
}

// Shows BLK-D-36.
#[test]
fn blk_d_36_a_write_has_a_multiple_of_the_granularity() {
    for kind in [ZoneType::SequentialWriteRequired, ZoneType::SequentialWritePreferred] {
        let check = |bytes| CONFIG.check_write(&zone(kind), Sector(2848), bytes);
        assert_eq!(check(8192), Ok(()));
        assert_eq!(check(512), Err(E::LengthNotAligned));
        assert_eq!(check(4608), Err(E::LengthNotAligned));
    }
}

// Shows BLK-D-37.
#[test]
fn blk_d_37_a_write_starts_at_a_multiple_of_the_granularity() {
    let preferred = zone(ZoneType::SequentialWritePreferred);
    assert_eq!(CONFIG.check_write(&preferred, Sector(2856), 4096), Ok(()));
    for sector in [2849, 2852, 2855] {
        assert_eq!(
            CONFIG.check_write(&preferred, Sector(sector), 4096),
            Err(E::StartNotAligned)
        );
    }
}

// Shows BLK-D-38.
#[test]
fn blk_d_38_writes_end_within_the_zone_capacity() {
    // 1000 sectors are 125 granules.
    let write = |bytes| CONFIG.check_write(&required(), Sector(2848), bytes);
    assert_eq!(write(125 * 4096), Ok(()));
    assert_eq!(write(126 * 4096), Err(E::NoRoom));
    // The room after the write pointer counts, even for a write that starts before it.
    let before = |bytes| CONFIG.check_write(&zone(ZoneType::SequentialWritePreferred), Sector(2048), bytes);
    assert_eq!(before(125 * 4096), Ok(()));
    assert_eq!(before(126 * 4096), Err(E::NoRoom));
    let roomy = ZonedConfig {
        max_append_sectors: u32::MAX,
        ..CONFIG
    };
    let append = |bytes| roomy.check_append(&required(), bytes, CAPACITY);
    assert_eq!(append(125 * 4096), Ok(()));
    assert_eq!(append(126 * 4096), Err(E::NoRoom));
}

#[test]
fn a_zone_that_needs_order_is_written_at_its_write_pointer() {
    for sector in [2048, 2840, 2856] {
        assert_eq!(
            CONFIG.check_write(&required(), Sector(sector), 4096),
            Err(E::NotAtWritePointer)
        );
    }
    assert_eq!(CONFIG.check_write(&required(), Sector(2848), 4096), Ok(()));
}

#[test]
fn a_zone_that_prefers_order_is_written_anywhere_inside() {
    let preferred = zone(ZoneType::SequentialWritePreferred);
    let check = |sector| CONFIG.check_write(&preferred, Sector(sector), 4096);
    assert_eq!(check(2048), Ok(()));
    assert_eq!(check(3840), Ok(()));
    assert_eq!(check(3848), Err(E::NoRoom));
    assert_eq!(check(2040), Err(E::OutsideZone));
    assert_eq!(check(u64::MAX - 7), Err(E::NoRoom));
}

#[test]
fn a_conventional_zone_is_written_in_any_order() {
    let plain = ZoneDescriptor {
        z_state: ZoneState::NoWritePointer.into(),
        ..zone(ZoneType::Conventional)
    };
    assert_eq!(CONFIG.check_write(&plain, Sector(2049), 512), Ok(()));
    assert_eq!(CONFIG.check_write(&plain, Sector(2049), 100), Err(E::LengthNotAligned));
    let broken = ZoneDescriptor {
        z_state: ZoneState::ReadOnly.into(),
        ..plain
    };
    assert_eq!(CONFIG.check_write(&broken, Sector(2049), 512), Err(E::NotWritable));
}

#[test]
fn a_zone_without_a_write_pointer_is_not_written() {
    for state in [
        ZoneState::Full,
        ZoneState::ReadOnly,
        ZoneState::Offline,
        ZoneState::Unknown(9),
    ] {
        let zone = in_state(state);
        assert_eq!(
            CONFIG.check_write(&zone, Sector(2848), 4096),
            Err(E::NotWritable),
            "{state:?}"
        );
        assert_eq!(
            CONFIG.check_append(&zone, 4096, CAPACITY),
            Err(E::NotWritable),
            "{state:?}"
        );
    }
    let strange = zone(ZoneType::Unknown(9));
    assert_eq!(CONFIG.check_write(&strange, Sector(2848), 4096), Err(E::NotWritable));
}

// Shows BLK-D-39.
#[test]
fn blk_d_39_only_whole_zones_are_erased() {
    assert_eq!(CONFIG.check_secure_erase(Sector(2048), 4096), Ok(()));
    assert_eq!(CONFIG.check_secure_erase(Sector(2048), 4095), Err(E::PartialZone));
    assert_eq!(CONFIG.check_secure_erase(Sector(2049), 2048), Err(E::NotZoneStart));
}

fn config() -> impl Strategy<Value = ZonedConfig> {
    // Small numbers meet more often than large ones.
    let number = || prop_oneof![Just(0), 1..64_u32, any::<u32>()];
    (number(), number(), number(), any::<u8>()).prop_map(|(zone, append, granularity, model)| ZonedConfig {
        zone_sectors: zone,
        max_open_zones: 0,
        max_active_zones: 0,
        max_append_sectors: append,
        write_granularity: granularity,
        model: ZonedModel::from(model % 4),
    })
}

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![0..256_u64, any::<u64>(), (u64::MAX - 256)..=u64::MAX]
}

fn descriptor() -> impl Strategy<Value = ZoneDescriptor> {
    (position(), position(), position(), 0..6_u8, 0..18_u8).prop_map(|(start, capacity, pointer, kind, state)| {
        ZoneDescriptor::new(kind.into(), state.into(), Sector(start), capacity, Sector(pointer))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn zones_cover_the_disk_exactly(config in config(), capacity in position()) {
        let count = u128::from(config.zone_count(Sector(capacity)));
        let last = u128::from(config.last_zone_sectors(Sector(capacity)));
        let size = u128::from(config.zone_sectors);
        if !config.has_zones() || capacity == 0 {
            prop_assert_eq!((count, last), (0, 0));
        } else {
            prop_assert!(1 <= last && last <= size);
            prop_assert_eq!((count - 1) * size + last, u128::from(capacity));
        }
    }

    /// Every rule for zones against exact arithmetic: a request that passes obeys all of them, and no check panics.
    #[test]
    fn what_passes_keeps_the_rules(
        config in config(), zone in descriptor(), sector in position(), bytes in prop_oneof![0..65_u64, position()],
        whole: bool,
    ) {
        // Multiples of a sector would be rare otherwise.
        let bytes = if whole { bytes.wrapping_mul(512) } else { bytes };
        let granularity = u128::from(config.write_granularity.max(1));
        let end_of_room = u128::from(zone.z_start.get()) + u128::from(zone.z_cap.get());
        let keeps_common_rules = |sector: u64| {
            u128::from(bytes) % granularity == 0
                && bytes % 512 == 0
                && u128::from(sector) * 512 % granularity == 0
                && zone.write_pointer().is_some_and(|pointer| {
                    u128::from(pointer.get()) + u128::from(bytes / 512) <= end_of_room
                })
        };
        if config.check_write(&zone, Sector(sector), bytes).is_ok() && zone.zone_type().is_sequential() {
            prop_assert!(keeps_common_rules(sector));
            prop_assert!(sector >= zone.z_start.get());
            prop_assert!(u128::from(sector) + u128::from(bytes / 512) <= end_of_room);
        }
        if config.check_append(&zone, bytes, Sector(u64::MAX)).is_ok() {
            prop_assert!(keeps_common_rules(zone.z_start.get()));
            prop_assert!(zone.z_start.get().is_multiple_of(config.zone_sectors.into()));
            prop_assert!(bytes / 512 <= u64::from(config.max_append_sectors));
        }
    }

    #[test]
    fn headers_are_checked_without_panic(
        config in config(), kind in 0..32_u32, sector in position(), capacity in position(), sectors: u32,
    ) {
        let kind = RequestType(kind);
        if config.check_header(kind, Sector(sector), Sector(capacity)).is_ok() {
            prop_assert!(kind == RequestType::ZONE_RESET_ALL || sector < capacity);
            let anywhere = kind == RequestType::ZONE_REPORT;
            prop_assert!(anywhere || sector % u64::from(config.zone_sectors) == 0);
        }
        let _ = config.check_secure_erase(Sector(sector), sectors);
    }

    #[test]
    fn a_plausible_zone_lies_on_the_disk(config in config(), zone in descriptor(), capacity in position()) {
        if zone.is_plausible(&config, Sector(capacity)) {
            let end = zone.writable_end().unwrap();
            prop_assert!(end <= Sector(capacity));
            if let Some(pointer) = zone.write_pointer() {
                prop_assert!(zone.start() <= pointer && pointer <= end);
            }
        }
    }

    /// A report has no more descriptions than the device claims, and no more than the buffer holds.
    #[test]
    fn a_report_stays_in_its_buffer(
        claimed in prop_oneof![0..8_u64, any::<u64>()], rest in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let mut buffer = ZoneReportHeader::new(claimed).as_bytes().to_vec();
        buffer.extend_from_slice(&rest);
        let report = ZoneReport::parse(&buffer).unwrap();
        prop_assert_eq!(report.claimed(), claimed);
        prop_assert_eq!(report.zones().len() as u64, claimed.min(rest.len() as u64 / 64));
        for (zone, bytes) in report.into_iter().zip(rest.chunks(64)) {
            prop_assert_eq!(zone.as_bytes(), bytes);
        }
    }

    #[test]
    fn any_buffer_is_a_report_or_none(buffer in proptest::collection::vec(any::<u8>(), 0..256)) {
        let report = ZoneReport::parse(&buffer);
        prop_assert_eq!(report.is_some(), buffer.len() >= 64);
        for zone in report.into_iter().flatten() {
            let _ = (zone.write_pointer(), zone.remaining_sectors(), zone.is_plausible(&CONFIG, CAPACITY));
        }
    }

    /// Commands neither revive an offline zone nor turn a conventional zone into one with a write pointer.
    #[test]
    fn states_stay_where_they_belong(state: u8, fills: bool, untouched: bool, event in 0..9_usize) {
        let event = [
            ZoneEvent::Written { fills },
            ZoneEvent::Open,
            ZoneEvent::Close { untouched },
            ZoneEvent::Finish,
            ZoneEvent::Reset,
            ZoneEvent::ResetAll,
            ZoneEvent::ClosedByDevice,
            ZoneEvent::TurnedReadOnly,
            ZoneEvent::TurnedOffline,
        ][event];
        let from = ZoneState::from(state % 18);
        let Some(to) = from.after(event) else { return Ok(()) };
        prop_assert!(from != ZoneState::Offline || to == ZoneState::Offline);
        prop_assert!(from == ZoneState::NoWritePointer || to != ZoneState::NoWritePointer);
        prop_assert!(from != ZoneState::NoWritePointer || !to.has_write_pointer());
        prop_assert!(!matches!(to, ZoneState::Unknown(_)));
    }
}

#[test]
fn a_descriptor_has_these_bytes() {
    let zone = ZoneDescriptor::new(
        ZoneType::SequentialWriteRequired,
        ZoneState::Full,
        Sector(0x0800),
        0x0700,
        Sector(0x0F00),
    );
    let mut bytes = [0; 64];
    bytes[1] = 7;
    bytes[9] = 8;
    bytes[17] = 0x0F;
    bytes[24] = 2;
    bytes[25] = 14;
    assert_eq!(zone.as_bytes(), bytes);
    assert_eq!(ZoneDescriptor::read_from_bytes(&bytes), Ok(zone));
}

#[test]
fn each_reason_to_refuse_a_request_has_a_text_of_its_own() {
    let reasons = [
        E::NoZones,
        E::NotZoneRequest,
        E::BeyondDisk,
        E::NotZoneStart,
        E::NotSectorZero,
        E::OutsideZone,
        E::WrongZoneType,
        E::NotWritable,
        E::AppendUnsupported,
        E::AppendTooLong,
        E::LengthNotAligned,
        E::StartNotAligned,
        E::NotAtWritePointer,
        E::NoRoom,
        E::PartialZone,
        E::ReportTooSmall,
        E::NotReadable,
        E::WrongState,
        E::Busy,
        E::TooManyOpen,
        E::TooManyActive,
    ];
    let texts: std::collections::BTreeSet<String> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), reasons.len());
    assert!(texts.iter().all(|text| text.contains(' ')), "{texts:?}");
    assert_eq!(E::NoRoom.to_string(), "not enough room left in the zone");
}
