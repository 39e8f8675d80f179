//! Chains of a header, data and a status: written as a whole, or sent again with other data. And where chains are written.

mod common;

use common::{Found, Rig, ScriptedRig, direct, indirect, segment};
use virtio_core::{DeviceAddr, Segment};
use virtqueue::{ChainError, Chains, Data, QueueOptions, SegmentLimit, Shape};

const WRITE: Shape = Shape::with_readable(1, 1).unwrap();
const READ: Shape = Shape::with_writable(2, 1).unwrap();

/// Header and status of a slot, at addresses that tell slot and shape.
fn ends(slot: u16, shape: Shape) -> [Segment; 2] {
    let kind = if shape == READ { 0x100 } else { 0x200 };
    let addr = |part: u64| DeviceAddr(0x10_0000 + (u64::from(slot) << 12) + part);
    [Segment::new(addr(kind), 16), Segment::new(addr(0), 1)]
}

/// What a device finds of a chain.
fn expected(slot: u16, shape: Shape, data: &[Segment]) -> (Vec<Segment>, Vec<Segment>) {
    let [header, status] = ends(slot, shape);
    let (mut readable, mut writable) = (vec![header], Vec::new());
    let with_data = if shape == READ { &mut writable } else { &mut readable };
    with_data.extend_from_slice(data);
    writable.push(status);
    (readable, writable)
}

fn per_request(descriptors: u16, entries: u16) -> QueueOptions {
    QueueOptions {
        chains: Chains::PerRequest,
        ..indirect(descriptors, entries)
    }
}

/// Submits a chain as a driver does: as a frame if there is one. Answers its slot and whether it was one.
fn send<const N: usize>(
    rig: &mut Rig<u32, N>,
    shape: Shape,
    data: &[Segment],
    token: u32,
) -> Result<(u16, bool), ChainError> {
    let frame = match data {
        &[only] => rig.queue.frame(shape, only, SegmentLimit::MAX),
        list => rig.queue.list_frame(shape, list, SegmentLimit::MAX),
    };
    if let Some(frame) = frame {
        let slot = frame.slot();
        frame.submit(token);
        return Ok((slot, true));
    }
    let data = Data::new(data, SegmentLimit::MAX).ok_or(ChainError::Empty)?;
    let mut taken = 0;
    let ends = |slot| {
        taken = slot;
        ends(slot, shape)
    };
    rig.queue.write_framed(shape, data, ends)?.submit(token);
    Ok((taken, false))
}

/// Sends a chain, checks what the device finds, and takes it back. Answers whether it was a frame, and a direct chain.
fn turn<const N: usize>(rig: &mut Rig<u32, N>, shape: Shape, data: &[Segment]) -> (bool, bool) {
    let (slot, framed) = send(rig, shape, data, 7).expect("there is room");
    let found = rig.show().pop().expect("one chain");
    assert_eq!(found.head, slot);
    let Found { readable, writable, .. } = found.clone();
    assert_eq!((readable, writable), expected(slot, shape, data));
    rig.device.complete(found.head, found.writable_bytes());
    let used = rig.queue.pop_used().unwrap().expect("one chain");
    assert_eq!((used.token, used.written), (7, Some(found.writable_bytes())));
    (framed, !found.indirect)
}

fn both() -> [Rig<u32, 16>; 2] {
    [direct(16), indirect(16, 6)].map(Rig::new)
}

#[test]
fn a_frame_is_sent_again_with_other_data() {
    for mut rig in both() {
        for shape in [READ, WRITE] {
            assert!(!turn(&mut rig, shape, &[segment(0x5000, 512)]).0);
            for n in 1..50 {
                assert!(turn(&mut rig, shape, &[segment(0x5000 + n, 4096 - n as u32)]).0);
            }
        }
    }
}

#[test]
fn another_shape_needs_another_chain() {
    for mut rig in both() {
        for _ in 0..4 {
            assert!(!turn(&mut rig, READ, &[segment(0x5000, 512)]).0);
            assert!(!turn(&mut rig, WRITE, &[segment(0x6000, 512)]).0);
        }
    }
}

/// So many segments, which differ with `seed`.
fn list(count: u64, seed: u64) -> Vec<Segment> {
    (0..count)
        .map(|n| segment(0x5000 + 0x1000 * n + seed, 512 + (seed + n) as u32))
        .collect()
}

#[test]
fn a_frame_of_a_list_is_sent_again_with_as_many_segments() {
    for mut rig in both() {
        for shape in [READ, WRITE] {
            for count in [2, 4, 3, 1] {
                assert!(!turn(&mut rig, shape, &list(count, 0)).0, "{count} for the first time");
                for seed in 1..20 {
                    assert!(turn(&mut rig, shape, &list(count, seed)).0);
                }
            }
        }
    }
}

/// A memory need not write a table as a whole.
#[test]
fn a_memory_that_writes_one_entry_at_a_time_has_the_same_tables() {
    let mut rig = ScriptedRig::new(indirect(8, 6), 0, |_, _| {});
    for (data, framed) in [(list(3, 0), false), (list(3, 1), true)] {
        let frame = rig.queue.list_frame(READ, &data, SegmentLimit::MAX);
        assert_eq!(frame.is_some(), framed);
        if let Some(frame) = frame {
            frame.submit(7);
        } else {
            let data = Data::new(&data, SegmentLimit::MAX).unwrap();
            let chain = rig.queue.write_framed(READ, data, |slot| ends(slot, READ));
            chain.unwrap().submit(7);
        }
        let _ = rig.queue.publish();
        let found = rig.device.borrow_mut().take().expect("one chain");
        assert!(found.indirect);
        let bytes = found.writable_bytes();
        assert_eq!((found.readable, found.writable), expected(found.head, READ, &data));
        rig.device.borrow_mut().complete(found.head, bytes);
        assert_eq!(rig.queue.pop_used().unwrap().map(|used| used.token), Some(7));
    }
}

#[test]
fn frames_of_lists_are_where_the_ring_wants_them() {
    let mut rig = Rig::<u32, 64>::new(per_request(64, 6));
    // In its table, as the ring is taken for crowded.
    assert_eq!(turn(&mut rig, READ, &list(2, 0)), (false, false));
    for seed in 1..600 {
        turn(&mut rig, READ, &list(2, seed));
    }
    // A short chain is direct now, and a long one in its table all the same.
    assert_eq!(turn(&mut rig, READ, &list(1, 1)), (false, true));
    assert_eq!(turn(&mut rig, READ, &list(1, 2)), (true, true));
    assert_eq!(turn(&mut rig, READ, &list(2, 1)), (false, false));
    assert_eq!(turn(&mut rig, READ, &list(2, 2)), (true, false));
}

#[test]
fn a_list_longer_than_a_form_remembers_is_written_each_time() {
    for options in [direct(512), indirect(512, 300)] {
        let mut rig = Rig::<u32, 512>::new(options);
        for (count, framed) in [(255, true), (256, false), (298, false)] {
            turn(&mut rig, READ, &list(count, 0));
            assert_eq!(turn(&mut rig, READ, &list(count, 1)).0, framed, "{count} segments");
        }
    }
}

#[test]
fn a_wrong_list_is_refused_and_the_frame_stays() {
    for mut rig in both() {
        turn(&mut rig, READ, &list(3, 0));
        let wrong = [
            segment(1, 0),
            segment(1, 1 << 31),
            segment(u64::MAX, 2),
            segment(1, 4097),
        ];
        let limit = SegmentLimit::at_most(4096);
        for (wrong, place) in wrong.into_iter().zip([0, 1, 2, 1]) {
            let mut data = list(3, 9);
            data[place] = wrong;
            assert!(rig.queue.list_frame(READ, &data, limit).is_none());
        }
        assert!(rig.queue.list_frame(READ, &[], limit).is_none());
        let most = [segment(1, 1 << 30); 2];
        assert!(!turn(&mut rig, READ, &list(2, 1)).0);
        assert!(
            rig.queue.list_frame(READ, &most, SegmentLimit::MAX).is_none(),
            "too long together"
        );
        assert!(turn(&mut rig, READ, &list(2, 2)).0);
    }
}

#[test]
fn a_list_that_is_right_at_second_sight_is_written_in_full() {
    for mut rig in both() {
        assert!(!turn(&mut rig, READ, &list(3, 0)).0);
        let mut data = list(3, 1);
        data[1] = segment(1 << 63, 512);
        assert!(!turn(&mut rig, READ, &data).0, "where an address could wrap around");
        assert!(turn(&mut rig, READ, &list(3, 2)).0);
    }
}

#[test]
fn a_chain_in_its_place_ends_a_frame() {
    for mut rig in both() {
        let data = [segment(0x5000, 512)];
        turn(&mut rig, READ, &data);
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_some());
        // Submitted and taken back, in the place of the frame.
        rig.queue
            .submit(&[segment(1, 1)], &[segment(2, 2), segment(3, 3)], 1)
            .unwrap();
        let found = rig.show().pop().unwrap();
        rig.device.complete(found.head, 0);
        rig.queue.pop_used().unwrap().unwrap();
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_none());
        turn(&mut rig, READ, &data);
        // Begun and given up.
        {
            let mut chain = rig.queue.chain().unwrap();
            chain.readable(segment(1, 1)).unwrap();
            chain.readable(segment(2, 2)).unwrap();
        }
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_none());
        turn(&mut rig, READ, &data);
    }
}

#[test]
fn a_frame_in_pieces_is_no_frame() {
    let mut rig = Rig::<u32, 16>::new(direct(16));
    let data = [segment(0x5000, 512)];
    turn(&mut rig, READ, &data);
    // A chain of two takes the first two descriptors of three.
    rig.queue.submit(&[segment(1, 1)], &[segment(2, 2)], 1).unwrap();
    assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_none());
    let found = rig.show().pop().unwrap();
    rig.device.complete(found.head, 0);
    rig.queue.pop_used().unwrap().unwrap();
    turn(&mut rig, READ, &data);
    // A long one takes frames that lie below.
    for _ in 0..3 {
        send(&mut rig, WRITE, &data, 0).unwrap();
    }
    for found in rig.show() {
        rig.device.complete(found.head, 1);
    }
    while rig.queue.pop_used().unwrap().is_some() {}
    let list: Vec<_> = (0..8).map(|n| segment(0x5000 + 0x1000 * n, 512)).collect();
    turn(&mut rig, READ, &list);
    for _ in 0..5 {
        assert_eq!(send(&mut rig, WRITE, &data, 0).map(|(_, framed)| framed), Ok(false));
    }
    for found in rig.show() {
        assert_eq!((found.readable, found.writable), expected(found.head, WRITE, &data));
    }
}

#[test]
fn data_that_no_descriptor_can_tell_is_refused() {
    for mut rig in both() {
        turn(&mut rig, READ, &[segment(0x5000, 512)]);
        for wrong in [segment(1, 0), segment(1, 1 << 31), segment(u64::MAX, 2)] {
            assert!(rig.queue.frame(READ, wrong, SegmentLimit::MAX).is_none());
            assert!(Data::new(&[segment(1, 1), wrong], SegmentLimit::MAX).is_none());
        }
        assert!(Data::new(&[], SegmentLimit::MAX).is_none());
        assert!(Data::new(&[segment(1, 513)], SegmentLimit::at_most(512)).is_none());
        assert!(Data::new(&[segment(1, 1 << 30), segment(1, 1 << 30)], SegmentLimit::MAX).is_none());
        assert_eq!(
            Data::new(&[segment(1, 512), segment(u64::MAX, 1)], SegmentLimit::at_most(512))
                .unwrap()
                .bytes(),
            513
        );
    }
}

#[test]
fn a_full_or_broken_queue_has_no_frame() {
    for mut rig in both() {
        let data = [segment(0x5000, 512)];
        turn(&mut rig, READ, &data);
        while send(&mut rig, READ, &data, 0).is_ok() {}
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_none());
        let found = rig.show();
        rig.device.complete(found[0].head, 513);
        rig.queue.pop_used().unwrap().unwrap();
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_some());
        rig.device.complete(999, 0);
        assert!(rig.queue.pop_used().is_err());
        assert!(rig.queue.frame(READ, data[0], SegmentLimit::MAX).is_none());
        assert!(matches!(send(&mut rig, READ, &data, 0), Err(ChainError::Broken(_))));
    }
}

#[test]
fn a_calm_ring_is_direct_and_a_crowded_one_is_not() {
    let mut rig = Rig::<u32, 64>::new(per_request(64, 8));
    let data = [segment(0x5000, 512)];
    // A new ring takes as many chains as it has descriptors.
    for _ in 0..2 {
        assert_eq!(fill(&mut rig, &data), 64);
    }
    // Then few at a time, for long enough.
    for _ in 0..4 * 64 {
        assert!(!turn(&mut rig, READ, &data).1);
    }
    assert!(turn(&mut rig, READ, &data).1);
    // A long chain has its table all the same, and so has one of unknown length.
    let long: Vec<_> = (0..6).map(|n| segment(0x5000 + 0x1000 * n, 512)).collect();
    assert!(!turn(&mut rig, READ, &long).1);
    assert!(turn(&mut rig, READ, &data).1);
    // All at once: half. Then the ring is crowded, batch after batch.
    assert_eq!(fill(&mut rig, &data), 16 + 16);
    for _ in 0..9 {
        assert_eq!(fill(&mut rig, &data), 64);
    }
}

/// Fills the queue and lets all come back. Answers how many there were.
fn fill<const N: usize>(rig: &mut Rig<u32, N>, data: &[Segment]) -> usize {
    let mut count = 0;
    while send(rig, READ, data, 0).is_ok() {
        count += 1;
    }
    for found in rig.show() {
        assert_eq!((found.readable, found.writable), expected(found.head, READ, data));
        rig.device.complete(found.head, 513);
    }
    while rig.queue.pop_used().unwrap().is_some() {}
    assert_eq!(rig.queue.state().free as usize, N);
    count
}

/// Chains of all kinds at random.
#[cfg(not(miri))]
mod at_random {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// One step of a driver with many kinds of chains.
    #[derive(Clone, Debug)]
    enum Step {
        /// Sends a read or a write with so many segments.
        Send(bool, usize),
        /// Submits a plain chain with so many segments.
        Plain(u16),
        /// Begins a chain of so many segments and drops it.
        GiveUp(u16),
        /// The n-th of the chains in flight comes back.
        Return(usize),
        /// All come back, the last one first.
        ReturnAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (any::<bool>(), prop_oneof![6 => Just(1usize), 1 => 2usize..6]).prop_map(|(read, count)| Step::Send(read, count)),
            2 => (1u16..6).prop_map(Step::Plain),
            1 => (1u16..6).prop_map(Step::GiveUp),
            8 => any::<usize>().prop_map(Step::Return),
            1 => Just(Step::ReturnAll),
        ]
    }

    /// What a chain in flight must be.
    type Sent = HashMap<u16, (u32, Vec<Segment>, Vec<Segment>)>;

    fn bring_back(rig: &mut Rig<u32, 16>, sent: &mut Sent, found: Found) {
        let (token, readable, writable) = sent.remove(&found.head).expect("a chain in flight");
        assert_eq!((&found.readable, &found.writable), (&readable, &writable));
        rig.device.complete(found.head, found.writable_bytes());
        let used = rig.queue.pop_used().unwrap().expect("it is back");
        assert_eq!((used.token, used.slot), (token, found.head));
        assert_eq!(used.written, Some(found.writable_bytes()));
    }

    fn run(options: QueueOptions, steps: &[Step]) {
        let mut rig = Rig::<u32, 16>::new(options);
        let (mut sent, mut with_device) = (Sent::new(), Vec::<Found>::new());
        for (token, step) in (0..).zip(steps) {
            let list = |count: usize| -> Vec<Segment> {
                let addr = |n: usize| 0x100_0000 + 0x1_0000 * u64::from(token) + 0x1000 * n as u64;
                (0..count).map(|n| segment(addr(n), token + 1)).collect()
            };
            match *step {
                Step::Send(read, count) => {
                    let (shape, data) = (if read { READ } else { WRITE }, list(count));
                    if let Ok((slot, _)) = send(&mut rig, shape, &data, token) {
                        let (readable, writable) = expected(slot, shape, &data);
                        assert!(
                            sent.insert(slot, (token, readable, writable)).is_none(),
                            "slot {slot} twice"
                        );
                    }
                }
                Step::Plain(count) => {
                    let readable = list(usize::from(count));
                    if let Ok(slot) = rig.queue.submit(&readable, &[], token) {
                        assert!(
                            sent.insert(slot, (token, readable, Vec::new())).is_none(),
                            "slot {slot} twice"
                        );
                    }
                }
                Step::GiveUp(count) => {
                    if let Ok(mut chain) = rig.queue.chain_of(count) {
                        for piece in list(usize::from(count)) {
                            let _ = chain.readable(piece);
                        }
                    }
                }
                Step::Return(_) | Step::ReturnAll => {
                    with_device.extend(rig.show());
                    let all = matches!(step, Step::ReturnAll);
                    while let Some(last) = with_device.len().checked_sub(1) {
                        let which = if let Step::Return(n) = *step {
                            n % (last + 1)
                        } else {
                            last
                        };
                        let found = with_device.swap_remove(which);
                        bring_back(&mut rig, &mut sent, found);
                        if !all {
                            break;
                        }
                    }
                }
            }
            assert_eq!(usize::from(rig.queue.in_flight()), sent.len());
        }
        with_device.extend(rig.show());
        for found in with_device {
            bring_back(&mut rig, &mut sent, found);
        }
        assert!(sent.is_empty());
        assert_eq!(rig.queue.state().free, 16, "every descriptor is free again");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn chains_of_all_kinds_in_one_ring_stay_what_they_are(
            chains in prop_oneof![Just(Chains::Direct), Just(Chains::Indirect), Just(Chains::PerRequest)],
            steps in vec(step(), 1..400),
        ) {
            run(QueueOptions { chains, ..indirect(16, 8) }, &steps);
        }
    }
}
