//! Numbers made of numbers: endpoints, grants, minors, device numbers, control codes, status words, sets, ranges.

use std::collections::BTreeSet;

use minix_abi::grant::{DirectGrant, Grant, GrantEntry, GrantFlags, IndirectGrant, MagicGrant};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::kernel_call::{MemRange, PhysRange, VumapReply, filled_ranges, total_bytes};
use minix_abi::minor::{DeviceNumber, Minor, Place};
use minix_abi::notify::{Notification, NotificationKind};
use minix_abi::signal::{SigSet, Signal};
use minix_abi::{Endpoint, GrantId, Message, MessageType};
use proptest::prelude::*;

#[test]
fn endpoints_are_generation_and_slot() {
    // generation, slot, endpoint
    let pairs = [
        (0, -2, -2),
        (0, -5, -5),
        (0, 11, 11),
        (1, 0, 32768),
        (1, -5, 32763),
        (1, 255, 33023),
        (2, 17, 65553),
        (0, -1023, -1023),
        (1, -1023, 31745),
        (0, 31744, 31744),
        (65534, 255, 2_147_418_367),
        (65535, 31744, 2_147_482_624),
    ];
    for (generation, slot, endpoint) in pairs {
        assert_eq!(Endpoint::new(generation, slot), Some(Endpoint(endpoint)));
        assert_eq!(Endpoint(endpoint).slot(), slot);
        assert_eq!(Endpoint(endpoint).generation(), i32::from(generation));
    }
    // Numbers beyond all endpoints.
    assert_eq!(
        (Endpoint(i32::MAX).generation(), Endpoint(i32::MAX).slot()),
        (65536, -1)
    );
    assert_eq!(
        (Endpoint(i32::MIN).generation(), Endpoint(i32::MIN).slot()),
        (-65536, 0)
    );
    for slot in [-1024, 31745, i32::MIN, i32::MAX] {
        assert_eq!(Endpoint::new(0, slot), None);
    }
}

#[test]
fn endpoints_that_are_nobody() {
    for endpoint in [
        Endpoint::ANY,
        Endpoint::NONE,
        Endpoint::SELF,
        Endpoint(256),
        Endpoint(-6),
        Endpoint(i32::MIN),
        Endpoint(i32::MAX),
    ] {
        assert!(!endpoint.is_process() && !endpoint.is_kernel_task(), "{endpoint:?}");
    }
    for endpoint in [-5, -1].map(Endpoint) {
        assert!(endpoint.is_process() && endpoint.is_kernel_task(), "{endpoint:?}");
    }
    for endpoint in [0, 255, 0x8000, 0x80FF].map(Endpoint) {
        assert!(endpoint.is_process() && !endpoint.is_kernel_task(), "{endpoint:?}");
    }
    assert_eq!(Endpoint::RS.to_string(), "RS (2)");
    assert_eq!(Endpoint(0x8010).to_string(), "32784 (slot 16, generation 1)");
    assert_eq!(
        format!("{:?} {:?}", Endpoint::SYSTEM, Endpoint(99)),
        "SYSTEM Endpoint(99)"
    );
}

#[test]
fn grant_ids_are_sequence_and_index() {
    // index, sequence, id
    let ids = [
        (0, 0, 0),
        (1, 0, 1),
        (0, 1, 0x10_0000),
        (0xF_FFFF, 2047, i32::MAX),
        (5, 3, 0x30_0005),
    ];
    for (index, sequence, id) in ids {
        assert_eq!(GrantId::new(index, sequence), Some(GrantId(id)));
        assert_eq!(GrantId(id).index(), Some(index));
        assert_eq!(GrantId(id).sequence(), Some(sequence));
        assert!(GrantId(id).is_valid());
    }
    assert_eq!(GrantId::new(1 << 20, 0), None);
    assert_eq!(GrantId::new(0, 2048), None);
    for id in [-1, i32::MIN].map(GrantId) {
        assert_eq!((id.index(), id.sequence(), id.is_valid()), (None, None, false));
    }
    let next = [0, 2046, 2047, 2048, u32::MAX].map(GrantId::next_sequence);
    assert_eq!(next, [1, 2047, 0, 1, 0]);
}

#[test]
fn grants_are_read_by_their_kind() {
    let direct = DirectGrant {
        grantee: Endpoint::DS,
        start: 1,
        bytes: 2,
        ..Default::default()
    };
    let entry = GrantEntry::direct(0, GrantFlags::READ, direct);
    assert_eq!(entry.grant(), Some(Grant::Direct(direct)));
    let indirect = IndirectGrant {
        grantee: Endpoint::ANY,
        granter: Endpoint::VFS,
        grant: GrantId(3),
        ..Default::default()
    };
    let with = GrantEntry::indirect(0, GrantFlags::READ, indirect);
    assert_eq!(with.grant(), Some(Grant::Indirect(indirect)));
    let magic = MagicGrant {
        owner: Endpoint::INIT,
        grantee: Endpoint(0x8001),
        start: 4,
        bytes: 5,
    };
    let with = GrantEntry::magic(0, GrantFlags::READ, magic);
    assert_eq!(with.grant(), Some(Grant::Magic(magic)));

    for flags in [
        GrantFlags::empty(),
        GrantFlags::LIVE,
        GrantFlags::DIRECT | GrantFlags::USED,
        GrantFlags::DIRECT | GrantFlags::VALID,
        GrantFlags::LIVE | GrantFlags::DIRECT | GrantFlags::MAGIC,
    ] {
        assert_eq!(GrantEntry { flags, ..entry }.grant(), None, "{flags:?}");
    }
}

#[test]
fn minors_of_all_drives() {
    let mut seen = BTreeSet::new();
    for drive in 0..8 {
        let base = i32::from(drive) * 5;
        let mut expected = vec![(Place::Drive { drive }, base)];
        for partition in 0..4 {
            expected.push((Place::Partition { drive, partition }, base + 1 + i32::from(partition)));
            for sub in 0..4 {
                let minor = 128 + 16 * i32::from(drive) + 4 * i32::from(partition) + i32::from(sub);
                expected.push((Place::SubPartition { drive, partition, sub }, minor));
            }
        }
        for (place, minor) in expected {
            assert_eq!(place.minor(), Some(Minor(minor)), "{place:?}");
            assert_eq!(Minor(minor).place(), Some(place), "{minor}");
            assert_eq!(place.drive(), drive);
            assert!(seen.insert(minor));
        }
    }
    assert_eq!(seen.len(), 8 * 21);
    for minor in (-1000..1000).chain([i32::MIN, i32::MAX]) {
        assert_eq!(Minor(minor).place().is_some(), seen.contains(&minor), "{minor}");
    }
    // Some in plain numbers.
    let first = Place::SubPartition {
        drive: 0,
        partition: 1,
        sub: 2,
    };
    assert_eq!(first.minor(), Some(Minor(134)));
    assert_eq!(Minor(143).place().map(Place::drive), Some(0));
    assert_eq!(Minor(144).place().map(Place::drive), Some(1));
}

#[test]
fn places_that_are_not_there() {
    let (drive, partition, sub) = (0, 0, 0);
    for place in [
        Place::Drive { drive: 8 },
        Place::Drive { drive: 255 },
        Place::Partition { drive, partition: 4 },
        Place::Partition { drive: 8, partition },
        Place::SubPartition {
            drive: 8,
            partition,
            sub,
        },
        Place::SubPartition {
            drive,
            partition: 4,
            sub,
        },
        Place::SubPartition {
            drive,
            partition,
            sub: 4,
        },
        Place::SubPartition {
            drive: 255,
            partition: 255,
            sub: 255,
        },
    ] {
        assert_eq!(place.minor(), None, "{place:?}");
    }
}

#[test]
fn device_numbers() {
    assert_eq!(DeviceNumber::new(3, 0), Some(DeviceNumber(0x300)));
    assert_eq!(DeviceNumber::new(3, 0x85), Some(DeviceNumber(0x385)));
    assert_eq!(DeviceNumber::new(0xFFF, 0), Some(DeviceNumber(0xF_FF00)));
    assert_eq!(DeviceNumber::new(0, 0x100), Some(DeviceNumber(0x10_0000)));
    assert_eq!(DeviceNumber::new(12, 0xABCDE), Some(DeviceNumber(0xABC0_0CDE)));
    assert_eq!(DeviceNumber::new(0x1000, 0), None);
    assert_eq!(DeviceNumber::new(0, 1 << 20), None);
}

#[test]
fn control_codes_tell_about_their_argument() {
    // code: read, written, none, bytes, group, number
    let codes = [
        (0x8020_6403, true, false, false, 32, Some(b'd'), 3),
        (0x4020_6404, false, true, false, 32, Some(b'd'), 4),
        (0x2000_6408, false, false, true, 0, Some(b'd'), 8),
        (0xC004_6406, true, true, false, 4, Some(b'd'), 6),
        (0x8008_6201, true, false, false, 8, Some(b'b'), 1),
        (0x5080_0003, false, true, false, 32768, None, 3),
        (0x8FFF_0000, true, false, false, 4095, Some(0), 0),
        (0x5FFF_FFFF, false, true, false, 0xF_FFFF, None, 255),
    ];
    for (code, reads, writes, none, bytes, group, number) in codes {
        let code = IoctlCode(code);
        assert_eq!(
            (code.driver_reads(), code.driver_writes(), code.has_no_argument()),
            (reads, writes, none),
            "{code:?}"
        );
        assert_eq!(
            (code.argument_bytes(), code.group(), code.number()),
            (bytes, group, number),
            "{code:?}"
        );
        assert_eq!(code.is_big(), group.is_none());
    }
    assert_eq!(format!("{:?}", IoctlCode(0x4004_6407)), "DIOCOPENCT");
}

#[test]
fn status_words() {
    let from_vfs = IpcStatus(0x1_0010);
    assert_eq!((from_vfs.call(), from_vfs.is_from_kernel()), (IpcCall::SENDA, true));
    assert!(!from_vfs.is_notification() && !from_vfs.sender_waits_for_reply());
    let notification = IpcStatus(4);
    assert!(notification.is_notification() && !notification.is_from_kernel());
    let waits = IpcStatus(3);
    assert!(waits.sender_waits_for_reply() && !waits.is_notification());
    // Only six bits are the call.
    assert!(IpcStatus(0xFFFF_FFC4).is_notification());
    assert!(!IpcStatus(0x14).is_notification());
    assert_eq!(IpcStatus::new(IpcCall::SENDA, true), from_vfs);
    assert_eq!(IpcStatus::new(IpcCall::NOTIFY, false), notification);
}

#[test]
fn notifications_mean_what_their_source_says() {
    let signals = SigSet::EMPTY.with(Signal::KMESS);
    let body = Notification {
        timestamp: 10,
        interrupts: 0b101,
        signals,
    };
    let mut message = Message::with_payload(MessageType::NOTIFY_MESSAGE, &body);
    for (source, kind) in [
        (Endpoint(-1), NotificationKind::Interrupts(5)),
        (Endpoint(-2), NotificationKind::Signals(signals)),
        (Endpoint(-3), NotificationKind::Alarm(10)),
        (Endpoint(-5), NotificationKind::AsyncDone),
        (Endpoint(2), NotificationKind::Ping),
        (Endpoint(0x8009), NotificationKind::Other(Endpoint(0x8009))),
    ] {
        message.source = source;
        assert_eq!(NotificationKind::of(&message), kind);
    }
}

#[test]
fn signal_sets() {
    assert_eq!(SigSet::EMPTY.with(Signal(1)).words, [1, 0, 0, 0]);
    assert_eq!(SigSet::EMPTY.with(Signal(32)).words, [1 << 31, 0, 0, 0]);
    assert_eq!(SigSet::EMPTY.with(Signal(33)).words, [0, 1, 0, 0]);
    assert_eq!(SigSet::EMPTY.with(Signal(128)).words, [0, 0, 0, 1 << 31]);
    for outside in [0, -1, 129, i32::MIN, i32::MAX] {
        assert!(SigSet::EMPTY.with(Signal(outside)).is_empty());
        assert!(!SigSet { words: [!0; 4] }.contains(Signal(outside)));
    }
    let set = SigSet::EMPTY.with(Signal::TERM).with(Signal::KSIG).with(Signal::HUP);
    assert!(set.iter().eq([Signal::HUP, Signal::TERM, Signal::KSIG]));
    assert!(set.without(Signal::TERM).iter().eq([Signal::HUP, Signal::KSIG]));
    assert_eq!(SigSet { words: [!0; 4] }.iter().count(), 128);
}

#[test]
fn memory_ranges_include_their_limit() {
    assert_eq!(MemRange::new(0x1000, 0), None);
    assert_eq!(MemRange::new(u64::MAX, 2), None);
    assert_eq!(MemRange::new(u64::MAX, 1).map(|range| range.limit), Some(u64::MAX));
    let range = MemRange::new(0x1000_1000, 0x8000).unwrap();
    assert_eq!(range.limit, 0x1000_8FFF);
    assert!(range.holds(0x1000_1000, 0x8000));
    assert!(range.holds(0x1000_8FFF, 1));
    for (physical, bytes) in [
        (0x1000_1000, 0x8001),
        (0x1000_9000, 1),
        (0x1000_0FFF, 2),
        (0x1000_1000, 0),
        (0x1000_1000, u64::MAX),
    ] {
        assert!(!range.holds(physical, bytes), "{physical:#x} {bytes:#x}");
    }
}

#[test]
fn a_vector_is_never_longer_than_it_is() {
    let output = [1, 2, 3].map(|bytes| PhysRange { address: 0, bytes });
    for (filled, expected) in [(0, 0), (2, 2), (3, 3), (4, 3), (i32::MAX, 3), (-1, 0), (i32::MIN, 0)] {
        assert_eq!(
            filled_ranges(&output, VumapReply { filled }).len(),
            expected,
            "{filled}"
        );
    }
    assert_eq!(total_bytes(&output), Some(6));
    assert_eq!(total_bytes(&[]), Some(0));
    let huge = PhysRange {
        address: 0,
        bytes: u64::MAX,
    };
    assert_eq!(total_bytes(&[huge]), Some(u64::MAX));
    assert_eq!(total_bytes(&[huge, output[0]]), None);
}

proptest! {
    #[test]
    fn any_number_is_taken_apart(number: i32) {
        let endpoint = Endpoint(number);
        let (generation, slot) = (endpoint.generation(), endpoint.slot());
        prop_assert!((Endpoint::MIN_SLOT..=Endpoint::MAX_SLOT).contains(&slot));
        prop_assert_eq!(i64::from(generation) * 32768 + i64::from(slot), i64::from(number));
        if let Ok(generation) = u16::try_from(generation) {
            prop_assert_eq!(Endpoint::new(generation, slot), Some(endpoint));
        }
        let id = GrantId(number);
        if let (Some(index), Some(sequence)) = (id.index(), id.sequence()) {
            prop_assert_eq!(GrantId::new(index, sequence), Some(id));
        } else {
            prop_assert!(number < 0);
        }
        if let Some(place) = Minor(number).place() {
            prop_assert_eq!(place.minor(), Some(Minor(number)));
        }
        let device = DeviceNumber(number as u32);
        prop_assert_eq!(DeviceNumber::new(device.major(), device.minor()), Some(device));
    }

    #[test]
    fn a_signal_goes_in_and_out(number in 1..=128, others: [u32; 4]) {
        let signal = Signal(number);
        let set = SigSet { words: others };
        prop_assert!(set.with(signal).contains(signal));
        prop_assert!(!set.without(signal).contains(signal));
        prop_assert_eq!(set.with(signal).without(signal), set.without(signal));
        prop_assert_eq!(set.iter().count() as u32, others.iter().map(|word| word.count_ones()).sum::<u32>());
    }
}
