//! What the disk tells of its device, and requests without data.

use minix_abi::disk_control::{DiskFlags, DiskHead, EventKind, FaultCode, Lifetime, QueueFlags, StatCounts};
use minix_blockdriver::RangeOperation;
use minix_blockdriver::statistics::Kind;
use minix_virtio_blk::disk::DevicePlace;
use virtio_blk::proto::BlkFeatures;
use virtio_blk_model::Limits;
use virtio_core::Features;

use super::*;

const MAX_SECTORS: u32 = 32;

/// A device that can do everything, in ranges of 32 sectors.
fn able() -> Rig {
    let limits = Limits {
        max_sectors: MAX_SECTORS,
        ..Limits::default()
    };
    let more = BlkFeatures::SECURE_ERASE | BlkFeatures::LIFETIME;
    let config = ModelConfig::modern();
    rig_of(
        ModelConfig {
            offered: config.offered | Features::from_low(more.bits()),
            discard: limits,
            write_zeroes: limits,
            secure_erase: limits,
            ..config
        },
        256,
    )
}

fn range(operation: RangeOperation, first: u64, sectors: u64) -> DeviceRequest {
    DeviceRequest::Range {
        operation,
        first,
        sectors,
    }
}

fn described(rig: &Rig) -> DiskHead {
    let mut head = DiskHead::default();
    rig.disk.describe(&mut head);
    head
}

const OPERATIONS: [(RangeOperation, Kind); 4] = [
    (RangeOperation::Discard, Kind::Discard),
    (RangeOperation::WriteZeroes { may_unmap: false }, Kind::Zero),
    (RangeOperation::WriteZeroes { may_unmap: true }, Kind::Zero),
    (RangeOperation::Erase, Kind::Erase),
];

#[test]
fn the_limits_of_ranges_are_those_of_the_device() {
    let rig = able();
    let info = rig.disk.info().expect("it is live");
    let limits = [info.discard, info.write_zeroes, info.secure_erase];
    assert!(
        limits
            .iter()
            .all(|limit| limit.expect("it is there").sectors == MAX_SECTORS)
    );
    assert!(info.zeroes_unmap && info.lifetime && info.cache_switch);
    let rig = rig_of(ModelConfig::legacy(), 256);
    let info = rig.disk.info().expect("it is live");
    assert!(info.secure_erase.is_none() && !info.lifetime);
}

#[test]
fn ranges_hit_their_sectors_and_spare_the_neighbours() {
    for (operation, kind) in OPERATIONS {
        let mut rig = able();
        let pattern: Vec<u8> = (0..512 * 300).map(|at| (at / 512 % 250) as u8 + 1).collect();
        rig.model.write_disk(0, &pattern);
        rig.disk.submit(range(operation, 10, 200), Tag(0)).expect("room");
        assert_eq!(rig.finish(), [(0, Ok(()))]);
        let found = rig.model.read_disk(0, 300);
        assert_eq!(found[..5120], pattern[..5120], "{operation:?}");
        assert_eq!(found[210 * 512..], pattern[210 * 512..], "{operation:?}");
        for sector in 10..210 {
            let bytes = sector * 512..sector * 512 + 512;
            assert_ne!(found[bytes.clone()], pattern[bytes.clone()], "{operation:?} {sector}");
            let zeroes = found[bytes].iter().all(|&byte| byte == 0);
            assert!(zeroes || kind != Kind::Zero, "{operation:?} {sector}");
        }
        let counted = rig.disk.operations(kind);
        assert_eq!((counted.operations, counted.bytes, counted.errors), (1, 200 * 512, 0));
        rig.model.assert_clean();
    }
}

#[test]
fn a_range_longer_than_the_limit_goes_in_parts_that_are_progress() {
    let mut rig = able();
    rig.disk
        .submit(range(RangeOperation::Erase, 0, 4000), Tag(3))
        .expect("room");
    rig.disk.notify();
    let mut parts = 0;
    loop {
        rig.model.process(1);
        let mut done = Vec::new();
        let progress = rig.disk.poll(|tag: Tag, result| done.push((tag.0, result)));
        assert_eq!(progress, Ok(true), "each part is progress");
        rig.disk.notify();
        parts += 1;
        if !done.is_empty() {
            assert_eq!(done, [(3, Ok(()))]);
            break;
        }
    }
    assert_eq!(parts, 4000_u32.div_ceil(MAX_SECTORS));
}

#[test]
fn a_range_that_the_disk_cannot_do_is_refused() {
    let mut rig = rig_of(ModelConfig::legacy(), 256);
    let erase = range(RangeOperation::Erase, 0, 8);
    assert_eq!(rig.disk.submit(erase, Tag(0)), Err(Refusal::Unsupported));
    let mut rig = able();
    for (first, sectors) in [(16384, 1), (16380, 8), (0, 0)] {
        let beyond = range(RangeOperation::Discard, first, sectors);
        assert_eq!(rig.disk.submit(beyond, Tag(0)), Err(Refusal::Invalid));
    }
}

#[test]
fn a_range_is_forgotten_by_a_reset_and_its_tag_is_free() {
    let mut rig = able();
    rig.disk
        .submit(range(RangeOperation::Discard, 0, 4000), Tag(0))
        .expect("room");
    rig.disk.notify();
    rig.model.process(3);
    assert_eq!(rig.poll(), Ok(Vec::new()));
    assert_eq!(rig.disk.reset(&mut |_, _| panic!("it is not completed")), Ok(()));
    rig.disk
        .submit(range(RangeOperation::Discard, 0, 64), Tag(0))
        .expect("room");
    assert_eq!(rig.finish(), [(0, Ok(()))]);
}

#[test]
fn a_device_tells_its_id_and_its_lifetime_when_asked() {
    let mut rig = able();
    rig.disk.set_place(DevicePlace {
        address: 0x1000_8000,
        irq: 8,
    });
    let head = described(&rig);
    assert_eq!((head.address, head.irq, head.transport_version), (0x1000_8000, 8, 2));
    assert_eq!((head.flags, head.descriptors), (DiskFlags::INDIRECT, 128));
    assert_eq!(head.accepted, rig.model.accepted().bits());
    assert_eq!(head.accepted & head.offered, head.accepted);
    rig.disk.submit(DeviceRequest::Identify, Tag(1)).expect("room");
    rig.disk.submit(DeviceRequest::AskLifetime, Tag(2)).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(())), (2, Ok(()))]);
    let head = described(&rig);
    assert_eq!(head.flags, DiskFlags::INDIRECT | DiskFlags::ID | DiskFlags::LIFETIME);
    assert!(head.id.starts_with(b"model-0.1\0"));
    let lifetime = Lifetime {
        pre_eol: 1,
        single_level: 2,
        multi_level: 3,
    };
    assert_eq!(head.lifetime, lifetime);
    assert_eq!(described(&rig_of(ModelConfig::legacy(), 256)).transport_version, 1);
}

#[test]
fn registers_are_told_live_and_stopped() {
    let mut rig = rig();
    let names = |rig: &Rig| {
        let mut names = Vec::new();
        rig.disk.visit_registers(&mut |name, value| names.push((name, value)));
        names
    };
    let live = names(&rig);
    assert_eq!(live[0], ("MagicValue", 0x7472_6976));
    assert!(live.contains(&("Status", 15)));
    assert!(rig.disk.stop());
    assert!(names(&rig).contains(&("Status", 0)));
    rig.model.assert_clean();
}

#[test]
fn the_ring_is_told_while_there_is_one() {
    let mut rig = rig();
    let sector = rig.sector();
    rig.read(0, &[sector], 0).expect("room");
    let ring = rig.disk.ring();
    assert!(ring.flags.contains(QueueFlags::LIVE | QueueFlags::EVENT_INDEX));
    assert_eq!((ring.size, ring.chains, ring.unpublished), (128, 1, 1));
    rig.finish();
    let ring = rig.disk.ring();
    assert_eq!((ring.chains, ring.used_index, ring.available_index), (0, 1, 1));
    assert!(rig.disk.stop());
    assert_eq!(rig.disk.ring(), Default::default());
}

#[test]
fn operations_are_counted_over_resets() {
    let mut rig = rig();
    let sector = rig.sector();
    for _ in 0..3 {
        rig.read(0, &[sector], 0).expect("room");
        rig.finish();
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    }
    rig.read(0, &[sector], 0).expect("room");
    rig.finish();
    let counted = rig.disk.operations(Kind::Read);
    assert_eq!((counted.operations, counted.bytes, counted.errors), (4, 2048, 0));
    let mut counts = StatCounts::default();
    rig.disk.count(&mut counts);
    assert_eq!((counts.notifies, counts.faults), (4, 0));
}

#[test]
fn faults_and_new_sizes_are_events() {
    let mut rig = rig();
    rig.disk.listen(Listen::Interrupts);
    rig.model.resize(99);
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Ok(Vec::new()));
    let event = rig.disk.take_event().expect("an event");
    assert_eq!((event.kind, event.first, event.second), (EventKind::RESIZED, 99, 16384));
    rig.model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(77)));
    rig.read_bounced(0, 0, 512, 1).expect("room");
    rig.disk.notify();
    rig.model.process(1);
    assert_eq!(rig.poll(), Err(Broken));
    let event = rig.disk.take_event().expect("an event");
    assert_eq!((event.kind, event.first), (EventKind::FAULT, 77));
    assert_eq!(FaultCode(event.code), FaultCode::NOT_IN_FLIGHT);
    let flags = rig.disk.ring().flags;
    assert!(flags.contains(QueueFlags::FAULT) && !flags.contains(QueueFlags::LIVE));
    rig.refuse_start.set(true);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Err(Broken));
    assert_eq!(rig.disk.take_event().expect("an event").kind, EventKind::NOT_STARTED);
    assert_eq!(rig.disk.take_event(), None);
}

#[test]
fn a_device_that_asks_for_a_reset_is_an_event() {
    let mut rig = rig();
    rig.model.needs_reset();
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Err(Broken));
    let event = rig.disk.take_event().expect("an event");
    assert_eq!(
        (event.kind, FaultCode(event.code)),
        (EventKind::FAULT, FaultCode::NEEDS_RESET)
    );
}
