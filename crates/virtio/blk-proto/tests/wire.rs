//! Arbitrary bytes through every decoder: none panics, and no bit is lost.

use proptest::prelude::*;
use virtio_blk_proto::zoned::{AppendTail, ZoneDescriptor, ZoneReportHeader, ZoneState, ZoneType, ZonedModel};
use virtio_blk_proto::{
    BlkFeatures, DeviceIdString, Lifetime, RangeFlags, RangeSegment, RequestHeader, RequestType, ReservedBlocks,
    Sector, Status, StatusError, Wear,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `T` from `bytes` and back; too short or too long is refused.
fn round_trip<T: FromBytes + IntoBytes + KnownLayout + Immutable>(bytes: &[u8]) -> T {
    let size = size_of::<T>();
    let value = T::read_from_bytes(&bytes[..size]).ok().unwrap();
    assert_eq!(value.as_bytes(), &bytes[..size]);
    assert!(T::read_from_bytes(&bytes[..size - 1]).is_err());
    assert!(T::read_from_bytes(&bytes[..size + 1]).is_err());
    value
}

#[test]
fn numbers_of_enumerations_survive_both_ways() {
    for wire in 0..=u8::MAX {
        assert_eq!(u8::from(ZoneType::from(wire)), wire);
        assert_eq!(u8::from(ZoneState::from(wire)), wire);
        assert_eq!(u8::from(ZonedModel::from(wire)), wire);
    }
}

#[test]
fn request_types_have_their_numbers() {
    let numbers = [
        (RequestType::IN, 0),
        (RequestType::OUT, 1),
        (RequestType::SCSI_CMD, 2),
        (RequestType::SCSI_CMD_OUT, 3),
        (RequestType::FLUSH, 4),
        (RequestType::FLUSH_OUT, 5),
        (RequestType::GET_ID, 8),
        (RequestType::GET_LIFETIME, 10),
        (RequestType::DISCARD, 11),
        (RequestType::WRITE_ZEROES, 13),
        (RequestType::SECURE_ERASE, 14),
        (RequestType::ZONE_APPEND, 15),
        (RequestType::ZONE_REPORT, 16),
        (RequestType::ZONE_OPEN, 18),
        (RequestType::ZONE_CLOSE, 20),
        (RequestType::ZONE_FINISH, 22),
        (RequestType::ZONE_RESET, 24),
        (RequestType::ZONE_RESET_ALL, 26),
    ];
    for (kind, number) in numbers {
        assert_eq!(kind.0, number);
    }
    assert_eq!(RequestType::BARRIER_BIT, 0x8000_0000);
}

#[test]
fn every_outcome_has_its_own_text() {
    let mut texts: Vec<String> = (1..=u8::MAX)
        .map(|status| Status(status).check().unwrap_err().to_string())
        .collect();
    assert!(texts.iter().all(|text| !text.is_empty()));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 255);
}

proptest! {
    #[test]
    fn a_request_header_says_what_it_was_made_of(kind: u32, sector: u64) {
        let header = RequestHeader::at(RequestType(kind), Sector(sector));
        prop_assert_eq!(header.request_type(), RequestType(kind));
        prop_assert_eq!(header.position(), Sector(sector));
        prop_assert_eq!(header.reserved.get(), 0);
        prop_assert_eq!(header.as_bytes().len(), RequestHeader::BYTES as usize);
        prop_assert_eq!(RequestHeader::without_position(RequestType(kind)).position(), Sector::ZERO);
    }

    #[test]
    fn a_range_says_what_it_was_made_of(first: u64, sectors: u32, may_unmap: bool) {
        let range = RangeSegment::zeroes(Sector(first), sectors, may_unmap);
        prop_assert_eq!(range.first(), Sector(first));
        prop_assert_eq!(range.sectors.get(), sectors);
        prop_assert_eq!(range.range_flags().contains(RangeFlags::UNMAP), may_unmap);
        prop_assert_eq!(range.range_flags() - RangeFlags::UNMAP, RangeFlags::empty());
        prop_assert_eq!(RangeSegment::plain(Sector(first), sectors).range_flags(), RangeFlags::empty());
    }

    #[test]
    fn bytes_survive_every_structure(bytes in proptest::collection::vec(any::<u8>(), 128)) {
        let header: RequestHeader = round_trip(&bytes);
        prop_assert_eq!(header.request_type().0, u32::from_le_bytes(bytes[..4].try_into().unwrap()));
        let range: RangeSegment = round_trip(&bytes);
        prop_assert_eq!(range.range_flags().bits(), range.flags.get(), "unknown flags are kept");
        let _: ZoneReportHeader = round_trip(&bytes);
        let zone: ZoneDescriptor = round_trip(&bytes);
        prop_assert_eq!(u8::from(zone.zone_type()), bytes[24]);
        prop_assert_eq!(u8::from(zone.state()), bytes[25]);
        let tail: AppendTail = round_trip(&bytes);
        prop_assert_eq!(tail.position().is_ok(), bytes[8] == 0);
        let _: Lifetime = round_trip(&bytes);
        let _: DeviceIdString = round_trip(&bytes);
    }

    #[test]
    fn an_id_prints_as_one_line_of_ascii(bytes: [u8; 20]) {
        let id = DeviceIdString(bytes);
        let text = id.to_string();
        prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(text.len(), id.as_bytes_trimmed().len());
        prop_assert!(!id.as_bytes_trimmed().contains(&0));
    }

    #[test]
    fn any_wear_values_decode(info: u16, slc: u16, mlc: u16) {
        let lifetime = Lifetime { pre_eol_info: info.into(), type_a: slc.into(), type_b: mlc.into() };
        prop_assert_eq!(matches!(lifetime.reserved_blocks(), ReservedBlocks::Reserved(_)), info > 3);
        prop_assert_eq!(matches!(lifetime.single_level_wear(), Wear::Reserved(_)), slc > 11);
        prop_assert_eq!(matches!(lifetime.multi_level_wear(), Wear::Reserved(_)), mlc > 11);
    }

    #[test]
    fn an_unknown_status_is_never_success(status in 7..=254_u8) {
        prop_assert_eq!(Status(status).check(), Err(StatusError::Unknown(status)));
    }

    #[test]
    fn sectors_and_bytes_agree(bytes: u64) {
        match Sector::from_bytes(bytes) {
            Some(sector) => prop_assert_eq!(sector.to_bytes(), Some(bytes)),
            None => prop_assert_ne!(bytes % 512, 0),
        }
    }

    // Shows FEAT-D-02.
    #[test]
    fn features_only_lose_what_cannot_be(bits: u64) {
        let offered = BlkFeatures::from_bits_retain(bits);
        let left = offered.without_unmet();
        prop_assert!(offered.contains(left));
        prop_assert!((offered - left) == BlkFeatures::empty() || (offered - left) == BlkFeatures::CONFIG_WCE);
        prop_assert!(!left.contains(BlkFeatures::CONFIG_WCE) || left.contains(BlkFeatures::FLUSH));
    }
}
