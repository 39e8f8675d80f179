//! Requests without data of their own: ranges, flush, identity, wear, and the write cache.

mod common;

use common::{Rig, TestCompletion, TestRequest, every_ring, pattern, range};
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, OperationKind, Request, SectorRange, SubmitError, WriteCache, WriteCacheError};
use virtio_blk_model::{Limits, Model, ModelConfig, feature};

type RangeRequest = fn(SectorRange, u32) -> TestRequest;

const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const SECURE_ERASE: u32 = 14;

fn limits(max_sectors: u32, alignment: u32) -> Limits {
    Limits {
        max_sectors,
        max_segments: 1,
        alignment,
    }
}

/// The sectors of the first 200 that differ from what was there.
fn changed(model: &Model, before: &[u8]) -> Vec<u64> {
    let after = model.read_disk(0, 200);
    let differs = |n: &u64| after[*n as usize * 512..][..512] != before[*n as usize * 512..][..512];
    (0..200).filter(differs).collect()
}

fn whole(outcome: &TestCompletion, sectors: u64) {
    assert_eq!(outcome.result, Ok(Answer::Done));
    assert_eq!(outcome.bytes, sectors * 512);
}

#[test]
fn zeroes_are_written_exactly_where_they_were_asked_for() {
    every_ring(|config| {
        for may_unmap in [false, true] {
            let mut rig = Rig::<16>::new(config.clone());
            let before = pattern(1, 200 * 512);
            rig.model.write_disk(0, &before);
            let outcome = rig.run(|token| Request::write_zeroes(range(10, 33), may_unmap, token));
            whole(&outcome, 33);
            assert_eq!(rig.model.read_disk(10, 33), vec![0; 33 * 512]);
            assert_eq!(changed(&rig.model, &before), (10..43).collect::<Vec<_>>());
            assert_eq!(rig.read(42, 512), [0; 512]);
            rig.finish();
        }
    });
}

#[test]
fn discard_and_erase_touch_nothing_else() {
    let config = ModelConfig::modern().offer(feature::SECURE_ERASE);
    let requests: [(RangeRequest, _); 2] = [(Request::discard, DISCARD), (Request::secure_erase, SECURE_ERASE)];
    for (request, code) in requests {
        let mut rig = Rig::<16>::new(config.clone());
        let before = pattern(2, 200 * 512);
        rig.model.write_disk(0, &before);
        whole(&rig.run(|token| request(range(64, 8), token)), 8);
        assert_eq!(changed(&rig.model, &before), (64..72).collect::<Vec<_>>());
        assert_eq!(rig.model.counters().requests_of(code), 1);
        rig.finish();
    }
}

// Shows BLK-D-17.
#[test]
fn ranges_are_split_at_limits_and_alignments() {
    // max_sectors, alignment, first, sectors, device requests with the alignment and without.
    let table = [
        (100, 1, 0, 100, 1, 1),
        (100, 1, 0, 101, 2, 2),
        (99, 1, 1, 100, 2, 2),
        (1, 1, 5, 20, 20, 20),
        (100, 64, 0, 101, 2, 2),
        // 10..64, 64..128, 128..192, 192..200: as few as possible would be two.
        (100, 64, 10, 190, 3, 2),
        (20, 64, 10, 100, 6, 5),
        (1 << 16, 1, 0, 200, 1, 1),
    ];
    every_ring(|config| {
        for (max, alignment, first, sectors, aligned, unaligned) in table {
            let config = ModelConfig {
                discard: limits(max, alignment),
                write_zeroes: limits(max, alignment),
                secure_erase: limits(max, alignment),
                ..config.clone().offer(feature::SECURE_ERASE)
            };
            let mut rig = Rig::<16>::new(config);
            let before = pattern(3, 200 * 512);
            let touched: Vec<u64> = (first..first + sectors).collect();
            let label = format!("{sectors} at {first}, {max} at once");

            let requests: [(RangeRequest, _, _, _); 3] = [
                (Request::discard, DISCARD, OperationKind::Discard, aligned),
                (Request::secure_erase, SECURE_ERASE, OperationKind::SecureErase, aligned),
                (
                    |range, token| Request::write_zeroes(range, true, token),
                    WRITE_ZEROES,
                    OperationKind::WriteZeroes,
                    unaligned,
                ),
            ];
            for (request, code, kind, expected) in requests {
                rig.model.write_disk(0, &before);
                whole(&rig.run(|token| request(range(first, sectors), token)), sectors);
                assert_eq!(changed(&rig.model, &before), touched, "{label}");
                assert_eq!(rig.model.counters().requests_of(code), expected, "{label}");
                let of = rig.disk.counters().queue.of(kind);
                assert_eq!((of.operations, of.bytes, of.errors), (1, sectors * 512, 0), "{label}");
            }
            rig.finish();
        }
    });
}

#[test]
fn a_range_with_more_parts_than_the_queue_holds() {
    every_ring(|config| {
        let config = ModelConfig {
            queue_size_max: 4,
            write_zeroes: limits(3, 0),
            ..config
        };
        let mut rig = Rig::<4>::new(config);
        let before = pattern(4, 200 * 512);
        rig.model.write_disk(0, &before);
        whole(
            &rig.run(|token| Request::write_zeroes(range(0, 200), false, token)),
            200,
        );
        assert_eq!(rig.model.read_disk(0, 200), vec![0; 200 * 512]);
        assert_eq!(rig.finish().queue.device_requests, 67);
    });
}

#[test]
fn parts_of_a_range_are_whole_blocks() {
    // Also if what the device likes is not.
    for alignment in [64, 0, 1, 12] {
        let config = ModelConfig {
            block_size: 4096,
            discard: limits(21, alignment),
            write_zeroes: limits(21, 0),
            ..ModelConfig::modern()
        };
        let mut rig = Rig::<16>::new(config);
        whole(&rig.run(|token| Request::discard(range(8, 160), token)), 160);
        whole(
            &rig.run(|token| Request::write_zeroes(range(8, 160), false, token)),
            160,
        );
        assert_eq!(rig.model.counters().requests_of(WRITE_ZEROES), 10);
        rig.finish();
    }
}

#[test]
fn ranges_of_more_than_32_bits_of_sectors() {
    let config = ModelConfig {
        capacity: 1 << 40,
        // The model would have to do all that work, so its disk answers without.
        discard: limits(u32::MAX, 0),
        ..ModelConfig::modern()
    };
    let mut rig = Rig::<16>::new(config);
    rig.model.set_fault(Idle);
    let sectors = (1 << 34) + 3;
    let outcome = rig.run(|token| Request::discard(range(5, sectors), token));
    whole(&outcome, sectors);
    assert_eq!(rig.model.counters().requests_of(DISCARD), 5);
    rig.finish();
}

/// A device that says yes and does nothing.
struct Idle;

impl virtio_blk_model::faults::Fault for Idle {
    fn before_service(&mut self, _: &virtio_blk_model::faults::RequestInfo) -> virtio_blk_model::faults::Verdict {
        virtio_blk_model::faults::Verdict::Answer(0)
    }
}

// Shows BLK-D-01, BLK-D-15.
#[test]
fn a_flush_makes_completed_writes_durable() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        assert_eq!(rig.disk.write_cache(), Ok(WriteCache::WriteBack));
        let (kept, lost) = (pattern(1, 512), pattern(2, 512));
        rig.write(0, &kept);
        assert_eq!(rig.model.unflushed_sectors(), 1);
        assert_eq!(rig.good(Request::flush), Answer::Done);
        assert_eq!(rig.model.unflushed_sectors(), 0);
        rig.write(1, &lost);
        assert_eq!(rig.disk.counters().queue.of(OperationKind::Flush).bytes, 0);
        let model = rig.model.clone();
        rig.finish();
        model.power_cut();
        assert_eq!(model.read_disk(0, 1), kept);
        assert_ne!(model.read_disk(1, 1), lost);
    });
}

// Shows BLK-D-18.
#[test]
fn the_identification_string_comes_as_the_device_has_it() {
    every_ring(|config| {
        let mut short = [0; 20];
        short[..5].copy_from_slice(b"disk0");
        for (id, text) in [
            (*b"twenty characters ok", "twenty characters ok"),
            (short, "disk0"),
            ([0; 20], ""),
            (*b"a\x01b\xFFc\0ignored beyond", "a?b?c"),
        ] {
            let mut rig = Rig::<16>::new(ModelConfig { id, ..config.clone() });
            let Answer::Id(answer) = rig.good(Request::identify) else {
                panic!("an identification string")
            };
            assert_eq!(answer.0, id);
            assert_eq!(answer.to_string(), text);
            rig.finish();
        }
    });
}

#[test]
fn several_answers_in_flight_do_not_mix() {
    let config = ModelConfig {
        lifetime: [3, 7, 11],
        order: virtio_blk_model::CompletionOrder::Reverse,
        ..ModelConfig::modern().offer(feature::LIFETIME)
    };
    let mut rig = Rig::<16>::new(config);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push((rig.submit(Request::identify), true));
        tokens.push((rig.submit(Request::lifetime), false));
    }
    for outcome in rig.settle() {
        let (_, identify) = *tokens.iter().find(|(token, _)| *token == outcome.token).unwrap();
        match outcome.result.unwrap() {
            Answer::Id(id) => assert!(identify && id.to_string() == "model-0.1"),
            Answer::Lifetime(wear) => {
                assert!(!identify);
                assert_eq!(
                    (wear.pre_eol_info.get(), wear.type_a.get(), wear.type_b.get()),
                    (3, 7, 11)
                );
            }
            answer => panic!("{answer:?} is no answer to these"),
        }
    }
    rig.finish();
}

// Shows BLK-D-22, BLK-D-23.
#[test]
fn the_write_cache_is_switched_only_on_an_idle_queue() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut rig = Rig::<16>::new(config);
        let content = pattern(1, 512);
        rig.submit_write(0, &content, &[512]);
        assert_eq!(
            rig.disk.set_write_cache(WriteCache::WriteThrough),
            Err(WriteCacheError::Busy)
        );
        assert!(rig.model.writeback());
        rig.settle();
        assert_eq!(rig.model.unflushed_sectors(), 1);

        assert_eq!(rig.disk.set_write_cache(WriteCache::WriteThrough), Ok(()));
        assert!(!rig.model.writeback());
        assert_eq!(rig.disk.write_cache(), Ok(WriteCache::WriteThrough));
        rig.good(Request::flush);
        rig.write(1, &content);
        assert_eq!(rig.model.unflushed_sectors(), 0);

        assert_eq!(rig.disk.set_write_cache(WriteCache::WriteBack), Ok(()));
        assert_eq!(rig.disk.write_cache(), Ok(WriteCache::WriteBack));
        rig.write(1, &pattern(2, 512));
        assert_eq!(rig.model.unflushed_sectors(), 1);
        rig.finish();
    }
}

// Shows BLK-D-02, BLK-D-03.
#[test]
fn without_a_switch_the_cache_is_what_flush_tells() {
    let flush_only = ModelConfig::modern().withdraw(feature::CONFIG_WCE);
    let mut rig = Rig::<16>::new(flush_only);
    assert_eq!(rig.disk.write_cache(), Ok(WriteCache::WriteBack));
    assert_eq!(
        rig.disk.set_write_cache(WriteCache::WriteThrough),
        Err(WriteCacheError::Unsupported)
    );
    rig.finish();

    // The switch does not come without flush, and a device without either is taken as write-through.
    for without in [feature::FLUSH, feature::FLUSH | feature::CONFIG_WCE] {
        let mut rig = Rig::<16>::new(ModelConfig::modern().withdraw(without));
        assert_eq!(rig.disk.write_cache(), Ok(WriteCache::WriteThrough));
        assert_eq!(
            rig.disk.set_write_cache(WriteCache::WriteBack),
            Err(WriteCacheError::Unsupported)
        );
        assert_eq!(rig.refused(Request::flush), SubmitError::Unsupported);
        rig.finish();
    }
}

#[test]
fn the_limits_tell_what_the_device_does() {
    let config = ModelConfig {
        discard: limits(1000, 8),
        may_unmap: true,
        ..ModelConfig::modern().withdraw(feature::WRITE_ZEROES)
    };
    let rig = Rig::<16>::new(config);
    let told = *rig.disk.limits();
    assert_eq!(told.capacity, Sector(16384));
    let discard = told.discard.unwrap();
    assert_eq!((discard.max_sectors, discard.alignment_sectors), (1000, 8));
    assert_eq!((told.write_zeroes, told.secure_erase), (None, None));
    assert!(told.flush && !told.lifetime && !told.read_only);
    rig.finish();
}
