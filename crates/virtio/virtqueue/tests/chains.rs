//! What the device finds in memory, and who owns which slot when.

mod common;

use std::alloc::Layout;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

use common::{Device, Platform, Rig, direct, drain, indirect, segment, size, with_events};
use virtio_core::{DeviceAddr, DmaRegion};
use virtqueue::{
    ChainError, CreateError, Descriptor, DmaRing, Notification, QueueOptions, RingLayout, RingMemory, UsedElement,
    VirtQueue,
};

const KILO: u32 = 1024;

// Shows RING-D-29.
#[test]
fn a_direct_chain_byte_by_byte() {
    let mut rig = Rig::<&str, 8>::new(direct(8));
    let head = rig
        .queue
        .submit(
            &[segment(0x1122_3344_5566_7788, 16)],
            &[segment(0x9000, 0x0102_0304), segment(0xA000, 1)],
            "read",
        )
        .unwrap();
    assert_eq!(head, 0);
    assert_eq!(rig.device.available_index(), 0, "nothing is shown before publish");
    assert_eq!(rig.queue.publish(), Notification::Needed { next_available: 1 });

    let setup = rig.queue.setup();
    let bus = &rig.device.bus;
    assert_eq!(
        bus.read(setup.descriptor_table.get(), 3 * 16),
        [
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 16, 0, 0, 0, 1, 0, 1, 0, // NEXT, then descriptor 1
            0x00, 0x90, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 3, 0, 2, 0, // NEXT and WRITE, then descriptor 2
            0x00, 0xA0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // WRITE
        ]
    );
    assert_eq!(
        bus.read(setup.driver_area.get(), 6 + 2 * 8),
        [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

// Shows RING-D-07, RING-D-09.
#[test]
fn an_indirect_chain_byte_by_byte() {
    let mut rig = Rig::<&str, 4>::new(indirect(4, 3));
    rig.queue.submit(&[], &[segment(0x1, 1)], "takes slot 0 away").unwrap();
    let head = rig
        .queue
        .submit(
            &[segment(0x8000, 16)],
            &[segment(0x9000, 512), segment(0xA000, 1)],
            "read",
        )
        .unwrap();
    assert_eq!(head, 1);
    let _ = rig.queue.publish();

    let setup = rig.queue.setup();
    let bus = &rig.device.bus;
    let table = rig.device.descriptor(head).addr.get();
    let mut expected = table.to_le_bytes().to_vec();
    expected.extend([48, 0, 0, 0, 4, 0, 0, 0]); // three entries; INDIRECT and nothing else
    assert_eq!(bus.read(rig.device.descriptor_addr(head), 16), expected);
    assert_eq!(
        bus.read(table, 48),
        [
            0x00, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, // NEXT, then entry 1
            0x00, 0x90, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 3, 0, 2, 0, // NEXT and WRITE, then entry 2
            0x00, 0xA0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // WRITE
        ]
    );
    assert_eq!(
        bus.read(setup.driver_area.get(), 8),
        [0, 0, 2, 0, 0, 0, 1, 0],
        "flags, index, heads"
    );
}

#[test]
fn tables_overlap_neither_each_other_nor_the_ring() {
    let options = indirect(8, 5);
    let mut rig = Rig::<u16, 8>::new(options);
    for n in 0..8u16 {
        let long: Vec<_> = (0..5)
            .map(|k| segment(u64::from(n) << 32 | k, 1 + u32::from(n)))
            .collect();
        rig.queue.submit(&long, &[], n).unwrap();
    }
    let found = rig.show();
    let mut tables: Vec<u64> = (0..8).map(|slot| rig.device.descriptor(slot).addr.get()).collect();
    tables.sort_unstable();
    let used_end = rig.queue.setup().device_area.get() + 6 + 8 * 8;
    assert!(tables[0] >= used_end);
    assert!(tables.windows(2).all(|pair| pair[0] + 5 * 16 <= pair[1]));
    for (n, chain) in (0u64..).zip(found) {
        assert!(chain.indirect);
        assert!(chain.readable.iter().all(|segment| segment.addr.get() >> 32 == n));
        assert_eq!(chain.readable.len(), 5);
    }
}

// Shows RING-D-19.
#[test]
fn new_memory_is_zeroed() {
    for options in [direct(4), indirect(4, 4)] {
        let rig = Rig::<u8, 4>::new(options);
        let start = rig.queue.setup().descriptor_table.get();
        let bytes = options.offsets().memory().unwrap().size();
        assert!(rig.device.bus.read(start, bytes).iter().all(|&byte| byte == 0));
    }
}

// Shows LEG-D-09.
#[test]
fn a_legacy_ring_lies_where_a_legacy_device_computes_it() {
    let options = QueueOptions {
        layout: RingLayout::Legacy,
        ..indirect(8, 4)
    };
    let mut rig = Rig::<u8, 8>::new(options);
    let setup = rig.queue.setup();
    let start = setup.descriptor_table.get();
    assert_eq!(setup.legacy_align, 4096);
    assert!(setup.descriptor_table.is_aligned_to(4096));
    assert_eq!(setup.driver_area.get(), start + 16 * 8);
    assert_eq!(setup.device_area.get(), start + 4096);
    rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    rig.show();
    assert!(
        rig.device.descriptor(0).addr.get() >= start + 8192,
        "tables after the ring"
    );
}

#[test]
fn memory_that_does_not_fit_comes_back() {
    let options = direct(8);
    let layout = options.offsets().memory().unwrap();
    let mut platform = Platform::new();
    let mut region = |skip: usize, len: usize, addr_shift: u64| {
        let whole = platform.region(layout, 0);
        // SAFETY: a part of a region that is given up here; the shifted device address is never used.
        unsafe {
            DmaRegion::from_raw_parts(
                whole.as_ptr().add(skip),
                len,
                whole.device_addr().wrapping_add(skip as u64 + addr_shift),
            )
        }
    };
    let full = layout.size();
    for (skip, len, shift, what) in [
        (0, full - 1, 0, "too small"),
        (0, full, 32, "not aligned for the device"),
        (32, full - 32, 32, "not aligned for the CPU"),
    ] {
        let region = region(skip, len, shift);
        let start = region.as_ptr();
        let (error, back) = VirtQueue::<u8, 8>::new(options, region).unwrap_err();
        assert_eq!(error, CreateError::BadMemory, "{what}");
        assert_eq!((back.as_ptr(), back.len()), (start, len), "{what}");
    }
    let (error, back) = VirtQueue::<u8, 4>::new(options, region(0, full, 0)).unwrap_err();
    assert_eq!(error, CreateError::OverCapacity);
    let queue = VirtQueue::<u8, 8>::new(options, back).unwrap();
    assert_eq!(queue.into_region(drop).len(), full);
}

#[test]
fn no_layout_promises_less_memory_than_its_tables_take() {
    let options = indirect(32768, 32768);
    match options.offsets().memory() {
        None => {}
        Some(layout) => assert!(layout.size() as u64 > 16 * 32768 * 32768),
    }
}

#[test]
fn slots_in_flight_are_unique_and_below_the_size() {
    for (options, segments) in [(direct(16), 1), (direct(16), 3), (indirect(16, 4), 4)] {
        let mut rig = Rig::<u32, 64>::new(options);
        let list = vec![segment(0x1000, 8); segments];
        let mut out = HashSet::new();
        let mut rounds = 0u32;
        while rounds < if cfg!(miri) { 8 } else { 100 } {
            rounds += 1;
            while let Ok(mut chain) = rig.queue.chain() {
                if list.iter().try_for_each(|&part| chain.readable(part)).is_err() {
                    break;
                }
                let slot = chain.slot();
                assert_eq!(chain.submit(rounds).unwrap(), slot);
                assert!(slot < 16);
                assert!(out.insert(slot), "slot {slot} given out twice");
            }
            for found in rig.show() {
                // Some stay out for many rounds.
                if !(u32::from(found.head) + rounds).is_multiple_of(3) {
                    rig.device.complete(found.head, 0);
                }
            }
            while let Some(used) = rig.queue.pop_used().unwrap() {
                assert!(out.remove(&used.slot));
            }
            if rounds.is_multiple_of(10) {
                for &slot in &out {
                    rig.device.complete(slot, 0);
                }
            }
        }
    }
}

#[test]
fn a_dropped_chain_leaves_no_trace() {
    for options in [direct(8), indirect(8, 4)] {
        let mut rig = Rig::<&str, 8>::new(options);
        rig.queue.submit(&[segment(0x10, 1)], &[], "first").unwrap();
        let before = rig.queue.state();
        for _ in 0..20 {
            {
                let mut chain = rig.queue.chain().unwrap();
                chain.readable(segment(0xBAD, 1)).unwrap();
                chain.writable(segment(0xBAD, 1)).unwrap();
                chain.writable(segment(0xBAD, 1)).unwrap();
                assert_eq!(chain.len(), 3);
            }
            assert_eq!(rig.queue.state(), before);
        }
        rig.queue
            .submit(&[segment(0x20, 2), segment(0x30, 3)], &[segment(0x40, 4)], "second")
            .unwrap();
        let found = rig.show();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].readable, [segment(0x10, 1)]);
        assert_eq!(found[1].readable, [segment(0x20, 2), segment(0x30, 3)]);
        assert_eq!(found[1].writable, [segment(0x40, 4)]);
    }
}

// Shows RING-D-02.
#[test]
fn a_refused_segment_leaves_the_chain_as_it_was() {
    for options in [direct(8), indirect(8, 4)] {
        let mut rig = Rig::<(), 8>::new(options);
        let mut chain = rig.queue.chain().unwrap();
        assert!(chain.is_empty());
        chain.readable(segment(0x10, 10)).unwrap();
        assert!(!chain.is_empty());
        assert_eq!(chain.readable(segment(0x20, 0)), Err(ChainError::Empty));
        assert_eq!(chain.readable(segment(u64::MAX - 4, 10)), Err(ChainError::TooLong));
        chain.writable(segment(0x30, 30)).unwrap();
        assert_eq!(
            chain.readable(segment(0x40, 40)),
            Err(ChainError::ReadableAfterWritable)
        );
        assert_eq!(chain.writable(segment(0x50, 0)), Err(ChainError::Empty));
        assert_eq!(chain.writable(segment(0x60, u32::MAX)), Err(ChainError::TooLong));
        assert_eq!(chain.len(), 2);
        chain.submit(()).unwrap();
        let found = &rig.show()[0];
        assert_eq!(found.readable, [segment(0x10, 10)]);
        assert_eq!(found.writable, [segment(0x30, 30)]);
    }
}

// Shows RING-D-02.
#[test]
fn every_way_to_be_refused() {
    let mut rig = Rig::<u8, 8>::new(direct(4));
    let one = [segment(0x10, 1)];
    let five = [segment(0x10, 1); 5];
    let queue = &mut rig.queue;
    assert_eq!(queue.submit(&[], &[], 1), Err((ChainError::Empty, 1)));
    assert_eq!(queue.chain().unwrap().submit(2), Err((ChainError::Empty, 2)));
    assert_eq!(queue.submit(&five, &[], 3), Err((ChainError::TooManySegments, 3)));
    assert_eq!(queue.submit(&[], &five, 4), Err((ChainError::TooManySegments, 4)));
    queue.submit(&one, &[], 5).unwrap();
    assert_eq!(queue.submit(&five[..4], &[], 6), Err((ChainError::QueueFull, 6)));
    queue.submit(&five[..3], &[], 7).unwrap();
    assert_eq!(queue.submit(&one, &[], 8), Err((ChainError::QueueFull, 8)));
    assert!(matches!(queue.chain(), Err(ChainError::QueueFull)));
    // None of this has been seen by the device.
    assert_eq!(queue.in_flight(), 2);
    assert_eq!(rig.show().len(), 2);
}

#[test]
fn a_full_queue_and_a_short_table_are_different_errors() {
    let mut rig = Rig::<u8, 2>::new(indirect(2, 2));
    let two = [segment(0x10, 1); 2];
    assert_eq!(rig.queue.max_segments(), 2);
    rig.queue.submit(&two, &[], 0).unwrap();
    assert_eq!(
        rig.queue.submit(&two, &two[..1], 1),
        Err((ChainError::TooManySegments, 1))
    );
    rig.queue.submit(&[], &two, 2).unwrap();
    assert_eq!(rig.queue.submit(&two, &[], 3), Err((ChainError::QueueFull, 3)));
}

// Shows RING-D-08.
#[test]
fn a_table_is_never_longer_than_the_queue() {
    let options = indirect(4, 64);
    let mut rig = Rig::<u8, 4>::new(options);
    assert_eq!(rig.queue.max_segments(), 4, "RING-D-08");
    let five = [segment(0x10, 1); 5];
    assert_eq!(rig.queue.submit(&five, &[], 0), Err((ChainError::TooManySegments, 0)));
    rig.queue.submit(&five[..4], &[], 0).unwrap();
    assert_eq!(rig.show()[0].readable.len(), 4);
}

// Shows RING-D-04.
#[test]
fn the_sum_of_all_lengths_stays_within_32_bits() {
    for options in [direct(8), indirect(8, 8)] {
        let mut rig = Rig::<u8, 8>::new(options);
        let big = segment(0x1_0000_0000, u32::MAX);
        assert_eq!(
            rig.queue.submit(&[big], &[segment(0x10, 1)], 0),
            Err((ChainError::TooLong, 0))
        );
        let quarter = segment(0x1000, 1 << 30);
        assert_eq!(
            rig.queue.submit(&[quarter; 2], &[quarter; 2], 0),
            Err((ChainError::TooLong, 0))
        );
        rig.queue
            .submit(&[quarter; 2], &[quarter, segment(0x10, (1 << 30) - 1)], 1)
            .unwrap();
        rig.queue.submit(&[], &[big], 2).unwrap();
        for found in rig.show() {
            rig.device.complete(found.head, found.writable_bytes());
        }
        assert_eq!(rig.queue.pop_used().unwrap().unwrap().written, Some((1 << 31) - 1));
        assert_eq!(rig.queue.pop_used().unwrap().unwrap().written, Some(u32::MAX));
    }
}

#[test]
fn the_token_comes_back_with_what_the_device_wrote() {
    let mut rig = Rig::<Box<str>, 4>::new(direct(4));
    rig.queue
        .submit(&[segment(1, KILO)], &[segment(2, KILO)], "one".into())
        .unwrap();
    rig.queue.submit(&[segment(3, KILO)], &[], "two".into()).unwrap();
    let found = rig.show();
    rig.device.complete(found[1].head, 0);
    rig.device.complete(found[0].head, 5);
    let second = rig.queue.pop_used().unwrap().unwrap();
    assert_eq!(
        (&*second.token, second.slot, second.written),
        ("two", found[1].head, Some(0))
    );
    let first = rig.queue.pop_used().unwrap().unwrap();
    assert_eq!(
        (&*first.token, first.slot, first.written),
        ("one", found[0].head, Some(5))
    );
    assert_eq!(rig.queue.pop_used().unwrap(), None);
    assert_eq!(rig.queue.in_flight(), 0);
}

/// Fills a queue of `options` to the brim with chains of one segment and completes all of them in one step, backwards.
fn brim<const N: usize>(options: QueueOptions) {
    let n = options.size.get();
    let mut rig = Box::new(Rig::<u16, N>::new(options));
    assert_eq!(rig.queue.size(), options.size);
    // Three times round, so that the free list has been shuffled.
    for _ in 0..3 {
        for token in 0..n {
            rig.queue
                .submit(&[segment(0x1000 + u64::from(token), 7)], &[], token)
                .unwrap();
        }
        let full = Err((ChainError::QueueFull, n));
        assert_eq!(rig.queue.submit(&[segment(1, 1)], &[], n), full);
        assert_eq!(rig.queue.in_flight(), n);
        let found = rig.show();
        assert_eq!(found.len(), usize::from(n));
        for (token, chain) in (0u64..).zip(&found) {
            assert_eq!(chain.readable, [segment(0x1000 + token, 7)]);
        }
        let elements: Vec<_> = found.iter().rev().map(|chain| (u32::from(chain.head), 0)).collect();
        rig.device.post(&elements);
        for expected in (0..n).rev() {
            assert_eq!(rig.queue.pop_used().unwrap().unwrap().token, expected);
        }
        assert_eq!(rig.queue.pop_used().unwrap(), None);
        assert_eq!(rig.queue.state().free, n);
    }
}

fn brim_both<const N: usize>() {
    let n = u16::try_from(N).unwrap();
    brim::<N>(direct(n));
    brim::<N>(with_events(indirect(n, 3)));
    brim::<N>(QueueOptions {
        layout: RingLayout::Legacy,
        ..direct(n)
    });
}

#[test]
fn every_small_size_works_to_the_brim() {
    brim_both::<1>();
    brim_both::<2>();
    brim_both::<4>();
    brim_both::<8>();
    brim_both::<16>();
}

#[test]
#[cfg_attr(miri, ignore = "large")]
fn every_large_size_works_to_the_brim() {
    // A queue is one value with all its slots in it, and unoptimised code moves values over the stack.
    let large = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        brim_both::<32>();
        brim_both::<64>();
        brim_both::<128>();
        brim_both::<256>();
        brim_both::<512>();
        brim_both::<1024>();
        brim_both::<2048>();
        brim_both::<4096>();
        brim_both::<8192>();
        brim_both::<16384>();
        brim_both::<32768>();
    });
    large.unwrap().join().unwrap();
}

#[test]
fn a_size_below_the_capacity_works_to_the_brim() {
    for n in [1, 2, 4, 8] {
        brim::<32>(direct(n));
        brim::<32>(indirect(n, 2));
    }
}

#[test]
fn a_chain_can_be_as_long_as_the_queue() {
    for options in [direct(8), indirect(8, 8)] {
        let mut rig = Rig::<u8, 8>::new(options);
        for round in 0..5u8 {
            // The free list is in another order every time.
            let singles = rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            let other = rig.show()[1].head;
            rig.device.post(&[(u32::from(other), 0), (u32::from(singles), 0)]);
            assert_eq!(drain(&mut rig.queue, drop), Ok(2));

            let reads: Vec<_> = (1..4).map(|k| segment(k * 0x100, 1)).collect();
            let writes: Vec<_> = (4..9).map(|k| segment(k * 0x100, 2)).collect();
            rig.queue.submit(&reads, &writes, round).unwrap();
            let found = rig.show().remove(0);
            assert_eq!((&found.readable, &found.writable), (&reads, &writes));
            rig.device.complete(found.head, 10);
            assert_eq!(rig.queue.pop_used().unwrap().unwrap().written, Some(10));
        }
    }
}

// Shows RING-D-11, RING-D-29.
#[test]
fn indices_run_past_the_16_bit_wrap_several_times() {
    // Enough to wrap both indices twice; under Miri a walk around the ring has to do.
    let requests: u32 = if cfg!(miri) { 30 } else { 3 * 65536 };
    for options in [
        direct(4),
        indirect(4, 3),
        with_events(direct(4)),
        with_events(indirect(4, 2)),
    ] {
        let mut rig = Rig::<u32, 4>::new(options);
        let (mut sent, mut received) = (0u32, 0u32);
        while received < requests {
            // Batches of one, two and three.
            for _ in 0..=sent % 3 {
                let (read, write) = (segment(u64::from(sent), 1), segment(0xFFFF, 4));
                match rig.queue.submit(&[read], &[write], sent) {
                    Ok(_) => sent += 1,
                    Err((error, _)) => assert_eq!(error, ChainError::QueueFull),
                }
            }
            for found in rig.show().iter().rev() {
                rig.device.complete(found.head, found.readable[0].addr.get() as u32 % 5);
            }
            let drained = drain(&mut rig.queue, |used| {
                assert_eq!(used.written, Some(used.token % 5));
                received += 1;
            });
            assert!(drained.unwrap() > 0);
        }
        assert_eq!(sent, received);
        let state = rig.queue.state();
        assert_eq!(state.available_index, sent as u16);
        assert_eq!(state.used_seen, sent as u16);
        assert_eq!((state.free, state.in_flight, state.unpublished), (4, 0, 0));
    }
}

#[test]
fn one_chain_can_stay_out_while_the_indices_wrap_around_it() {
    let requests: u32 = if cfg!(miri) { 30 } else { 2 * 65536 + 7 };
    let mut rig = Rig::<u32, 4>::new(direct(4));
    rig.queue.submit(&[segment(1, 1)], &[], u32::MAX).unwrap();
    let slow = rig.show()[0].head;
    for token in 0..requests {
        rig.queue.submit(&[segment(2, 1)], &[], token).unwrap();
        let head = rig.show()[0].head;
        assert_ne!(head, slow);
        rig.device.complete(head, 0);
        assert_eq!(rig.queue.pop_used().unwrap().unwrap().token, token);
        if token % 4099 == 0 {
            // While others are collected but not shown, too.
            rig.queue.submit(&[segment(2, 1)], &[], token).unwrap();
            assert_eq!(rig.queue.pop_used().unwrap(), None);
            let head = rig.show()[0].head;
            rig.device.complete(head, 0);
            assert_eq!(rig.queue.pop_used().unwrap().unwrap().token, token);
        }
    }
    rig.queue.submit(&[segment(2, 1)], &[], 0).unwrap();
    rig.device.complete(slow, 0);
    assert_eq!(rig.queue.pop_used().unwrap().unwrap().token, u32::MAX);
}

#[test]
fn tokens_of_outstanding_chains_are_returned_once() {
    for options in [with_events(direct(8)), indirect(8, 2)] {
        let mut rig = Rig::<u8, 8>::new(options);
        for token in 0..3 {
            rig.queue.submit(&[segment(1, 1), segment(2, 1)], &[], token).unwrap();
        }
        let found = rig.show();
        rig.device.complete(found[2].head, 0);
        assert_eq!(rig.queue.pop_used().unwrap().unwrap().token, 2);
        // Never published.
        rig.queue.submit(&[segment(1, 1)], &[], 3).unwrap();
        let mut left = rig.restart();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 3]);
    }
}

#[test]
fn memory_of_a_larger_ring_still_works_in_a_smaller_queue() {
    let mut platform = Platform::new();
    let options = direct(8);
    let region = platform.region(options.offsets().memory().unwrap(), 0);
    let ring = DmaRing::new(options.offsets(), region).unwrap();
    let setup = ring.setup();
    let mut queue = VirtQueue::<u16, 4, _>::with_memory(options, ring);
    assert_eq!(queue.size(), size(4));
    let mut device = Device::new(platform.bus(), &setup, false);
    for round in 0..10 {
        for token in 0..4 {
            queue.submit(&[segment(u64::from(token), 1)], &[], token).unwrap();
        }
        assert_eq!(queue.submit(&[segment(1, 1)], &[], 9), Err((ChainError::QueueFull, 9)));
        let _ = queue.publish();
        for found in device.take_all() {
            device.complete(found.head, 0);
        }
        assert_eq!(drain(&mut queue, drop), Ok(4), "round {round}");
    }
}

// Shows FEAT-D-14, FEAT-D-15.
#[test]
fn the_device_gets_device_addresses_and_no_pointers() {
    let mut rig = Rig::<(), 4>::new(indirect(4, 2));
    rig.queue.submit(&[segment(1, 1)], &[], ()).unwrap();
    let table: DeviceAddr = rig.device.descriptor(0).addr;
    let setup = rig.queue.setup();
    rig.show();
    let region = rig.queue.into_region(drop);
    assert_eq!(setup.descriptor_table, region.device_addr());
    assert!(table > setup.device_area);
    assert!(table.get() < region.device_addr().get() + region.len() as u64);
    assert_ne!(region.as_ptr().addr().get() as u64, region.device_addr().get());
}

#[test]
fn no_argument_reaches_outside_the_ring() {
    let offsets = indirect(4, 3).offsets();
    let exact = offsets.memory().unwrap();
    let room = Layout::from_size_align(exact.size() + 4096, exact.align()).unwrap();
    let mut platform = Platform::new();
    let region = platform.region(room, 0);
    let end = region.device_addr().get() + exact.size() as u64;
    let mut ring = DmaRing::new(offsets, region).unwrap();
    let noise = Descriptor {
        addr: DeviceAddr(u64::MAX),
        len: u32::MAX,
        flags: u16::MAX,
        next: u16::MAX,
    };
    for extreme in [3, 4, 5, 0x7FFF, 0x8000, 0xFFFF] {
        ring.write_descriptor(extreme, noise);
        ring.write_available(extreme, 0xFFFF);
        for entry in [0, 2, 3, 0x1000, 0xFFFF] {
            ring.write_table_entry(extreme, entry, noise);
        }
        ring.store_available_index(extreme, Ordering::Relaxed);
        ring.store_available_flags(extreme, Ordering::Relaxed);
        ring.store_used_event(extreme, Ordering::Relaxed);
        assert_eq!(ring.read_used(extreme), UsedElement { id: 0, len: 0 });
        assert!(ring.table_addr(extreme).get() + 3 * 16 <= end);
    }
    let setup = ring.setup();
    let used = platform.bus().read(setup.device_area.get(), 6 + 8 * 4);
    assert!(used.iter().all(|&byte| byte == 0), "the device's part was written");
    let rest = platform.bus().read(end, 4096);
    assert!(rest.iter().all(|&byte| byte == 0), "written beyond the end");
}
