//! Data goes where it belongs, for all pieces, limits and orders of completion.

mod common;

use std::collections::BTreeMap;

use common::{Rig, Scatter, every_ring, options, pattern};
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Chains, Disk, DiskOptions, OperationKind, Request, SubmitError};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, Service, feature};
use virtio_core::{Dma, DmaBuffer, DmaSegments, DmaSlice, Features, PollLimit, RawSegments, Segment};

/// `total` as pieces of `size`, and what is left.
fn pieces(total: usize, size: usize) -> Vec<usize> {
    let mut pieces = vec![size; total / size];
    pieces.extend(Some(total % size).filter(|&rest| rest > 0));
    pieces
}

#[test]
fn a_write_reaches_the_disk_and_a_read_returns_it() {
    every_ring(|config| {
        let capacity = config.capacity;
        let mut rig = Rig::<64>::new(config);
        for (seed, (first, bytes)) in [
            (0, 512),
            (1, 1024),
            (capacity - 1, 512),
            (capacity - 128, 65536),
            (777, 65536 + 512),
        ]
        .into_iter()
        .enumerate()
        {
            let content = pattern(seed as u64, bytes);
            rig.write(first, &content);
            assert_eq!(rig.model.read_disk(first, bytes as u64 / 512), content);
            assert_eq!(rig.read(first, bytes), content);
        }
        // Nothing next to it was touched.
        assert_eq!(rig.model.read_disk(776, 1), [0; 512]);
        assert_eq!(rig.model.read_disk(777 + 129, 1), [0; 512]);
        rig.finish();
    });
}

// Shows RING-D-06.
#[test]
fn indirect_tables_are_used_exactly_when_they_were_accepted() {
    every_ring(|config| {
        let indirect = config.offered.contains(Features::INDIRECT_DESC);
        let mut rig = Rig::<16>::new(config);
        rig.write_from(0, &pattern(1, 2048), &[512; 4]);
        rig.good(Request::flush);
        let counters = rig.model.counters();
        assert_eq!(counters.chains, 2);
        assert_eq!(counters.indirect_chains, if indirect { 2 } else { 0 });
        assert_eq!(counters.longest_chain, 6);
        rig.finish();
    });
}

// Shows RING-D-03.
#[test]
fn a_buffer_in_one_piece_takes_one_descriptor() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.write_from(0, &pattern(1, 8192), &[8192]);
        // Header, data and status.
        assert_eq!(rig.model.counters().longest_chain, 3);
        assert_eq!(rig.read(0, 8192), pattern(1, 8192));
        assert_eq!(rig.model.counters().longest_chain, 3);
        rig.finish();
    });
}

#[test]
fn pieces_may_have_any_length_and_any_address() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        let lists: [&[usize]; 9] = [
            &[512, 512],
            &[1, 511],
            &[511, 1],
            &[300, 300, 300, 300, 336],
            &[512, 1, 1023],
            &[7, 1000, 17, 3072],
            // Empty pieces carry nothing and are left out.
            &[0, 512],
            &[512, 0],
            &[0, 0, 256, 0, 256, 0, 0],
        ];
        for (seed, lengths) in lists.into_iter().enumerate() {
            let bytes = lengths.iter().sum();
            let content = pattern(seed as u64, bytes);
            rig.write_from(40, &content, lengths);
            assert_eq!(rig.model.read_disk(40, bytes as u64 / 512), content, "{lengths:?}");
            assert_eq!(rig.read_into(40, lengths), content, "{lengths:?}");
        }
        rig.finish();
    });
}

#[test]
fn more_pieces_than_a_chain_holds_make_several_requests() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        // 14 pieces fit. A block ends in every fourth.
        let lengths = [128; 64];
        let content = pattern(5, 8192);
        rig.write_from(16, &content, &lengths);
        assert_eq!(rig.model.read_disk(16, 16), content);
        assert_eq!(rig.model.counters().requests_of(1), 16_u64.div_ceil(3));
        assert_eq!(rig.read_into(16, &lengths), content);
        let counters = rig.finish();
        assert_eq!(counters.queue.of(OperationKind::Write).operations, 1);
        assert_eq!(counters.queue.of(OperationKind::Read).bytes, 8192);
    });
}

#[test]
fn transfers_are_split_at_the_limits_of_the_device() {
    // seg_max, size_max, lengths of the pieces, device requests.
    let table: [(u32, u32, Vec<usize>, u64); 12] = [
        (254, 1 << 20, vec![16384], 1),
        (1, 1 << 20, vec![16384], 1),
        (1, 16384, vec![16384], 1),
        (1, 16383, vec![16384], 2),
        (1, 512, vec![16384], 32),
        (2, 1024, vec![16384], 8),
        // 2000 bytes are three blocks and a bit that has to wait.
        (2, 1000, vec![16384], 11),
        (4, 1 << 20, vec![4096; 4], 1),
        (4, 1 << 20, vec![4096; 5], 2),
        (3, 4096, pieces(8192, 500), 8),
        (6, 100, vec![4096], 8),
        (7, 511, vec![8192], 3),
    ];
    every_ring(|config| {
        for (seg_max, size_max, lengths, requests) in &table {
            let config = ModelConfig {
                seg_max: *seg_max,
                size_max: *size_max,
                ..config.clone().offer(feature::SIZE_MAX)
            };
            let mut rig = Rig::<64>::new(config);
            let bytes: usize = lengths.iter().sum();
            let content = pattern(u64::from(*size_max), bytes);
            rig.write_from(3, &content, lengths);
            assert_eq!(rig.model.read_disk(3, bytes as u64 / 512), content);
            assert_eq!(rig.read_into(3, lengths), content);
            let model = rig.model.clone();
            let counters = rig.finish();
            let label = format!("seg_max {seg_max}, size_max {size_max}, {lengths:?}");
            assert_eq!(model.counters().requests_of(0), *requests, "{label}");
            assert_eq!(model.counters().requests_of(1), *requests, "{label}");
            assert_eq!(counters.queue.device_requests, 2 * requests, "{label}");
            assert_eq!(counters.queue.of(OperationKind::Read).operations, 1);
            assert_eq!(counters.queue.of(OperationKind::Read).bytes, bytes as u64);
        }
    });
}

#[test]
fn limits_of_zero_mean_no_limit() {
    let config = ModelConfig {
        seg_max: 0,
        size_max: 0,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let mut rig = Rig::<16>::new(config);
    let content = pattern(2, 4096);
    rig.write(0, &content);
    assert_eq!(rig.read(0, 4096), content);
    // A limit of zero cannot be kept, and the model says only that.
    let ids: Vec<_> = rig.model.take_violations().iter().map(|v| v.id).collect();
    assert!(ids.iter().all(|&id| id == "BLK-N-04"), "{ids:?}");
    rig.finish();
}

#[test]
fn a_transfer_larger_than_the_queue_waits_for_room() {
    every_ring(|config| {
        for service in [Service::Manual, Service::OnNotify] {
            let config = ModelConfig {
                queue_size_max: 4,
                size_max: 512,
                service,
                ..config.clone().offer(feature::SIZE_MAX)
            };
            let mut rig = Rig::<16>::new(config);
            assert_eq!(rig.disk.limits().max_segments, 2);
            let content = pattern(9, 64 * 1024);
            rig.write(100, &content);
            assert_eq!(rig.model.read_disk(100, 128), content);
            let lengths = pieces(64 * 1024, 700);
            assert_eq!(rig.read_into(100, &lengths), content);
            let counters = rig.finish();
            assert_eq!(counters.queue.of(OperationKind::Write).operations, 1);
            assert_eq!(counters.queue.of(OperationKind::Write).bytes, 64 * 1024);
            assert_eq!(counters.queue.queue_full, 0);
        }
    });
}

#[test]
fn no_request_overtakes_a_transfer_that_waits_for_room() {
    every_ring(|config| {
        let config = ModelConfig {
            queue_size_max: 4,
            size_max: 512,
            ..config.offer(feature::SIZE_MAX)
        };
        let mut rig = Rig::<16>::new(config);
        let content = pattern(4, 16384);
        let large = rig.write_request(0, &content, &[16384]);
        let large = rig.submit(large);
        let mut finished = Vec::new();
        rig.disk.notify();
        while rig.disk.counters().queue.device_requests < 16 {
            // As long as parts of it wait, there is no room for others, however often they ask.
            assert_eq!(rig.try_submit(Request::identify), Err(SubmitError::QueueFull));
            assert_eq!(rig.disk.queue().in_flight(), 1);
            assert_eq!(rig.model.process(1), 1, "the device knows of every part");
            finished.extend(rig.poll().unwrap());
        }
        assert_eq!(finished, [], "the last parts are out, and that is all");
        while finished.is_empty() {
            assert_ne!(rig.model.process(1), 0);
            finished = rig.poll().unwrap();
        }
        assert_eq!(finished.len(), 1);
        assert_eq!((finished[0].token, finished[0].bytes), (large, 16384));
        assert_eq!(rig.model.read_disk(0, 32), content);
        assert!(matches!(rig.good(Request::identify), Answer::Id(_)));
        rig.finish();
    });
}

#[test]
fn many_requests_in_flight_complete_in_any_order() {
    every_ring(|config| {
        for order in [
            CompletionOrder::InOrder,
            CompletionOrder::Reverse,
            CompletionOrder::Shuffled(3),
        ] {
            let mut rig = Rig::<256>::new(ModelConfig {
                order,
                ..config.clone()
            });
            rig.model.write_disk(1000, &pattern(1, 60 * 1024));
            let disk = pattern(1, 60 * 1024);
            for round in 0..4 {
                let mut expected = BTreeMap::new();
                for n in 0..60_usize {
                    let from = n * 1024..(n + 1) * 1024;
                    let token = if n % 3 == 0 {
                        let content = pattern(round, 512);
                        let token = rig.submit_write(n as u64, &content, &[512]);
                        expected.insert(token, content);
                        token
                    } else {
                        let token = rig.submit_read(1000 + 2 * n as u64, &[1024]);
                        expected.insert(token, disk[from].to_vec());
                        token
                    };
                    assert!(expected.contains_key(&token));
                }
                assert_eq!(rig.disk.queue().in_flight(), 60);
                let outcomes = rig.settle();
                let tokens: Vec<u32> = outcomes.iter().map(|outcome| outcome.token).collect();
                assert_eq!(tokens.is_sorted(), order == CompletionOrder::InOrder);
                for outcome in outcomes {
                    assert_eq!(outcome.result, Ok(Answer::Done));
                    assert_eq!(Some(outcome.content), expected.remove(&outcome.token));
                }
                assert!(expected.is_empty());
            }
            rig.finish();
        }
    });
}

#[test]
fn parts_of_one_transfer_may_come_back_in_any_order() {
    every_ring(|config| {
        for order in [CompletionOrder::Reverse, CompletionOrder::Shuffled(11)] {
            let config = ModelConfig {
                order,
                seg_max: 2,
                size_max: 512,
                ..config.clone().offer(feature::SIZE_MAX)
            };
            let mut rig = Rig::<64>::new(config);
            let content = pattern(8, 32 * 1024);
            rig.write(5, &content);
            assert_eq!(rig.model.read_disk(5, 64), content);
            assert_eq!(rig.read_into(5, &pieces(32 * 1024, 5000)), content);
            rig.finish();
        }
    });
}

#[test]
fn blocks_of_4096_bytes() {
    every_ring(|config| {
        let config = ModelConfig {
            block_size: 4096,
            seg_max: 3,
            size_max: 4000,
            ..config.offer(feature::SIZE_MAX)
        };
        let mut rig = Rig::<16>::new(config);
        assert_eq!(rig.disk.limits().block_bytes, 4096);
        assert_eq!(rig.disk.limits().block_sectors(), 8);
        let content = pattern(6, 5 * 4096);
        rig.write_from(16, &content, &pieces(content.len(), 5555));
        assert_eq!(rig.model.read_disk(16, 40), content);
        assert_eq!(rig.read(16, content.len()), content);
        rig.finish();
    });
}

#[test]
fn a_block_size_that_makes_no_sense_is_taken_as_512() {
    for block_size in [0, 1, 256, 513, 3 << 10] {
        let config = ModelConfig {
            block_size,
            ..ModelConfig::modern()
        };
        let rig = Rig::<16>::new(config);
        assert_eq!(rig.disk.limits().block_bytes, 512, "{block_size}");
        rig.finish();
    }
}

#[test]
fn requests_of_all_kinds_by_turns_are_what_they_are() {
    every_ring(|config| {
        for chains in [Chains::Direct, Chains::Indirect, Chains::PerRequest] {
            let config = ModelConfig {
                queue_size_max: 16,
                ..config.clone()
            };
            let mut rig = Rig::<16>::with(config, &options(|options| options.chains = chains));
            let rounds = if cfg!(miri) { 10 } else { 100 };
            for round in 0..rounds {
                // Like one before, in the place of something else, and the other way round.
                let (first, content) = (round * 7 % 50, pattern(round, 1024));
                rig.write(first, &content);
                assert_eq!(rig.read_into(first, &[1024]), content);
                match round % 4 {
                    0 => assert_eq!(rig.good(Request::flush), Answer::Done),
                    1 => assert!(matches!(rig.good(Request::identify), Answer::Id(_))),
                    2 => assert_eq!(rig.read_into(first, &[300, 724]), content),
                    _ => {}
                }
                // Two at a time: the second one has the other direction.
                let other = pattern(round + 1, 512);
                rig.submit_write(first + 60, &other, &[512]);
                let read = rig.submit_read(first, &[1024]);
                let outcomes = rig.settle();
                let found = outcomes
                    .iter()
                    .find(|outcome| outcome.token == read)
                    .expect("it is back");
                assert_eq!(found.content, content);
                assert_eq!(rig.model.read_disk(first + 60, 1), other);
            }
            rig.finish();
        }
    });
}

#[test]
fn a_full_queue_sends_requests_back_and_takes_them_later() {
    every_ring(|config| {
        let indirect = config.offered.contains(Features::INDIRECT_DESC);
        let config = ModelConfig {
            queue_size_max: 16,
            ..config
        };
        let mut rig = Rig::<32>::new(config);
        let room = if indirect { 16 } else { 5 };
        for n in 0..room {
            let content = pattern(n, 512);
            rig.submit_write(n, &content, &[512]);
        }
        for refused in 1..4 {
            let request = rig.write_request(room, &pattern(room, 512), &[512]);
            assert_eq!(rig.try_submit(request), Err(SubmitError::QueueFull));
            assert_eq!(rig.disk.counters().queue.queue_full, refused);
        }
        rig.disk.notify();
        assert_eq!(rig.model.process(1), 1);
        assert_eq!(rig.poll().unwrap().len(), 1);
        rig.submit_write(room, &pattern(room, 512), &[512]);
        assert_eq!(rig.try_submit_read(0, &[512]), Err(SubmitError::QueueFull));
        assert_eq!(rig.settle().len() as u64, room);
        for n in 0..=room {
            assert_eq!(rig.model.read_disk(n, 1), pattern(n, 512));
        }
        let counters = rig.finish();
        assert_eq!(counters.queue.queue_full, 4);
        assert_eq!(counters.queue.of(OperationKind::Write).operations, room + 1);
    });
}

#[test]
fn the_ring_may_go_round_more_often_than_its_index() {
    // With the event index, which is compared modulo 2^16 at every notification.
    let mut rig = Rig::<64>::new(ModelConfig {
        service: Service::OnNotify,
        coalesce_interrupts: true,
        ..ModelConfig::modern()
    });
    let mut done = 0;
    while done < 66_000 {
        for _ in 0..64 {
            rig.submit(Request::flush);
        }
        assert!(rig.disk.notify(), "the device was idle and wants to hear of it");
        done += rig.poll().unwrap().len();
    }
    rig.write(1, &pattern(1, 512));
    assert_eq!(rig.read(1, 512), pattern(1, 512));
    let model = rig.model.clone();
    rig.finish();
    // None was asked for, but the index passed every value there is.
    assert!(model.counters().interrupts <= 1);
}

#[test]
fn buffers_of_every_ready_made_kind() {
    let model = Model::new(ModelConfig::modern());
    let mut dma = model.dma();
    let probe = || virtio_mmio::probe(model.registers()).device().unwrap();
    let content = pattern(3, 2048);

    // A slice of a buffer.
    let mut disk =
        Disk::<_, DmaSlice, &str, 16>::start(probe(), &mut dma, &DiskOptions::default(), &mut PollLimit::default())
            .unwrap();
    let buffer = DmaBuffer::allocate(&mut dma, content.len() + 5, 1).unwrap();
    let mut slice = buffer.slice(3, content.len()).unwrap();
    slice.copy_from_slice(&content);
    disk.submit(Request::write(Sector(50), slice, "slice")).unwrap();
    disk.notify();
    model.process(1);
    let mut done = Vec::new();
    disk.poll(|completion| done.push(completion)).unwrap();
    let completion = done.pop().unwrap();
    assert_eq!(completion.token, "slice");
    assert_eq!(model.read_disk(50, 4), content);
    dma.release(completion.buffer.unwrap().into_buffer().into_region());
    let (transport, _) = disk
        .shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();

    // Memory of another address space, as in a driver that serves several.
    let theirs = DmaBuffer::allocate(&mut dma, 4096, 4096).unwrap();
    let base = theirs.segments()[0].addr;
    let list = vec![
        Segment::new(base.wrapping_add(2000), 1000),
        Segment::new(base.wrapping_add(100), 1048),
    ];
    // SAFETY: the buffer is not touched until the segments are back.
    let raw = unsafe { RawSegments::new(list) };
    let mut disk = Disk::<_, RawSegments<Vec<Segment>>, Box<str>, 16>::start(
        transport,
        &mut dma,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap();
    disk.submit(Request::read(Sector(50), raw, "raw".into())).unwrap();
    disk.notify();
    model.process(1);
    let mut done = Vec::new();
    disk.poll(|completion| done.push(completion)).unwrap();
    let completion = done.pop().unwrap();
    assert_eq!((&*completion.token, completion.bytes), ("raw", 2048));
    assert_eq!(completion.buffer.unwrap().into_inner().len(), 2);
    assert_eq!(theirs[2000..3000], content[..1000]);
    assert_eq!(theirs[100..1148], content[1000..]);
    dma.release(theirs.into_region());
    disk.shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn pieces_of_a_buffer_make_no_difference_to_the_disk() {
    let mut rig = Rig::<64>::new(ModelConfig::modern());
    let content = pattern(12, 4096);
    rig.write_from(0, &content, &[1; 4096 / 512 * 2].map(|_: usize| 256));
    rig.write(8, &content);
    assert_eq!(rig.model.read_disk(0, 8), rig.model.read_disk(8, 8));
    let buffer: Scatter = rig.buffer(&[100, 412]);
    assert_eq!(buffer.total_bytes(), 512);
    assert_eq!(rig.good(|token| Request::read(Sector(0), buffer, token)), Answer::Done);
    rig.finish();
}
