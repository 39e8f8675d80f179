//! A device that lies: every lie is named, nothing is lost, and the queue stands still until it is reset.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{Moment, Rig, ScriptedRig, direct, drain, indirect, segment, with_events};
use virtqueue::{ChainError, DeviceFault, Found, Notification, QueueOptions, RingLayout};

/// Three chains of two descriptors with the device: heads 0, 2 and 4. Each has 100 bytes for writing.
fn three_out(options: QueueOptions) -> Rig<Rc<u8>, 8> {
    let mut rig = Rig::new(options);
    for token in 0..3 {
        rig.queue
            .submit(&[segment(0x1000, 16)], &[segment(0x2000, 100)], Rc::new(token))
            .unwrap();
    }
    assert_eq!(rig.show().len(), 3);
    rig
}

/// The queue stands still, returns every token of `left` once, and a new one works.
fn assert_stopped(mut rig: Rig<Rc<u8>, 8>, fault: DeviceFault, left: &[u8]) {
    let queue = &mut rig.queue;
    assert_eq!(queue.fault(), Some(fault));
    assert_eq!(queue.state().fault, Some(fault));
    for _ in 0..3 {
        assert_eq!(queue.pop_used(), Err(fault));
        assert_eq!(drain(queue, drop), Err(fault));
        assert!(queue.arm_interrupts(), "there is a fault to hear of");
        assert!(matches!(queue.chain(), Err(ChainError::Broken(found)) if found == fault));
        let token = Rc::new(9);
        assert_eq!(
            queue.submit(&[segment(1, 1)], &[], token),
            Err((ChainError::Broken(fault), Rc::new(9)))
        );
        assert_eq!(queue.publish(), Notification::NotNeeded);
    }
    // Honest behaviour does not heal it, neither of the element nor of the index.
    let next = queue.state().used_seen;
    for id in 0..8 {
        rig.device.write_element(next, id, 0);
        assert_eq!(queue.pop_used(), Err(fault));
    }
    rig.device.write_used_index(next);
    assert_eq!(queue.pop_used(), Err(fault));

    assert_eq!(usize::from(queue.in_flight()), left.len());
    let tokens = rig.restart();
    let mut numbers: Vec<_> = tokens.iter().map(|token| **token).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, left);
    let unique = tokens.iter().all(|token| Rc::strong_count(token) == 1);
    assert!(unique, "the queue kept a copy");

    rig.queue
        .submit(&[segment(1, 1)], &[segment(2, 3)], Rc::new(8))
        .unwrap();
    let found = rig.show();
    rig.device.complete(found[0].head, 3);
    assert_eq!(*rig.queue.pop_used().unwrap().unwrap().token, 8);
}

/// The next look at the used ring finds `fault`, and the tokens `left` are still in the queue.
fn assert_fault(mut rig: Rig<Rc<u8>, 8>, fault: DeviceFault, left: &[u8]) {
    assert_eq!(rig.queue.pop_used(), Err(fault));
    assert_stopped(rig, fault, left);
}

fn variants() -> [QueueOptions; 4] {
    [
        direct(8),
        with_events(direct(8)),
        indirect(8, 2),
        with_events(indirect(8, 8)),
    ]
}

#[test]
fn an_index_that_jumps() {
    for options in variants() {
        for index in [4, 5, 8, 9, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF] {
            let mut rig = three_out(options);
            rig.device.write_used_index(index);
            let fault = DeviceFault::IndexJump { index, outstanding: 3 };
            assert_fault(rig, fault, &[0, 1, 2]);
        }
    }
}

#[test]
fn an_index_that_goes_back() {
    for options in variants() {
        let mut rig = three_out(options);
        rig.device.complete(0, 0);
        assert_eq!(*rig.queue.pop_used().unwrap().unwrap().token, 0);
        rig.device.write_used_index(0);
        let fault = DeviceFault::IndexJump {
            index: 0,
            outstanding: 2,
        };
        assert_fault(rig, fault, &[1, 2]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "walks around the 16-bit index")]
fn an_index_that_jumps_across_the_wrap() {
    for honest in [true, false] {
        let mut rig = Rig::<Rc<u8>, 8>::new(direct(8));
        for _ in 0..0xFFFE {
            rig.queue.submit(&[segment(1, 1)], &[], Rc::new(0)).unwrap();
            let head = rig.show()[0].head;
            rig.device.complete(head, 0);
            rig.queue.pop_used().unwrap().unwrap();
        }
        for token in 1..=4 {
            rig.queue.submit(&[segment(1, 1)], &[], Rc::new(token)).unwrap();
        }
        let found = rig.show();
        if honest {
            let elements: Vec<_> = found.iter().map(|found| (u32::from(found.head), 0)).collect();
            rig.device.post(&elements);
            assert_eq!(rig.device.posted, 2);
            assert_eq!(drain(&mut rig.queue, drop), Ok(4));
        } else {
            rig.device.write_used_index(3);
            let fault = DeviceFault::IndexJump {
                index: 3,
                outstanding: 4,
            };
            assert_fault(rig, fault, &[1, 2, 3, 4]);
        }
    }
}

#[test]
fn a_completion_out_of_the_blue() {
    let mut rig = Rig::<Rc<u8>, 8>::new(direct(8));
    rig.device.complete(0, 0);
    let fault = DeviceFault::IndexJump {
        index: 1,
        outstanding: 0,
    };
    assert_fault(rig, fault, &[]);
}

#[test]
fn an_id_that_is_no_descriptor() {
    for options in variants() {
        for id in [8, 9, 16, 0xFFFF, 0x1_0000, 0x8000_0000, u32::MAX] {
            let mut rig = three_out(options);
            rig.device.post(&[(id, 0)]);
            let fault = DeviceFault::IdOutOfRange { id };
            assert_fault(rig, fault, &[0, 1, 2]);
        }
    }
}

#[test]
fn an_id_below_the_capacity_but_not_below_the_size() {
    let mut rig = three_out(direct(8));
    let mut small = Rig::<Rc<u8>, 64>::new(direct(8));
    small.queue.submit(&[segment(1, 1)], &[], Rc::new(1)).unwrap();
    small.show();
    small.device.post(&[(8, 0)]);
    assert_eq!(small.queue.pop_used(), Err(DeviceFault::IdOutOfRange { id: 8 }));
    // With the capacity for mask, 64 would have become 0.
    rig.device.post(&[(64, 0)]);
    assert_eq!(rig.queue.pop_used(), Err(DeviceFault::IdOutOfRange { id: 64 }));
}

#[test]
fn an_id_in_the_middle_of_a_chain_or_of_none() {
    let mut heads = vec![(direct(8), vec![1, 3, 5, 6, 7])];
    heads.push((indirect(8, 2), vec![3, 4, 7]));
    for (options, ids) in heads {
        for id in ids {
            let mut rig = three_out(options);
            rig.device.post(&[(id, 0)]);
            let fault = DeviceFault::NotInFlight { id };
            assert_fault(rig, fault, &[0, 1, 2]);
        }
    }
}

#[test]
fn a_chain_completed_twice() {
    for options in variants() {
        for at_once in [true, false] {
            let mut rig = three_out(options);
            if at_once {
                rig.device.post(&[(0, 0), (0, 0)]);
                assert_eq!(*rig.queue.pop_used().unwrap().unwrap().token, 0);
            } else {
                rig.device.complete(0, 0);
                assert_eq!(*rig.queue.pop_used().unwrap().unwrap().token, 0);
                rig.device.complete(0, 0);
            }
            let fault = DeviceFault::NotInFlight { id: 0 };
            assert_fault(rig, fault, &[1, 2]);
        }
    }
}

#[test]
fn a_drain_returns_completions_before_the_lie() {
    let mut rig = three_out(direct(8));
    rig.device.post(&[(2, 50), (4, 100), (0x1234, 0)]);
    let mut tokens = Vec::new();
    let fault = DeviceFault::IdOutOfRange { id: 0x1234 };
    assert_eq!(
        drain(&mut rig.queue, |used| tokens.push((*used.token, used.written))),
        Err(fault)
    );
    assert_eq!(tokens, [(1, Some(50)), (2, Some(100))]);
    assert_stopped(rig, fault, &[0]);
}

#[test]
fn a_length_beyond_the_writable_part_is_clipped() {
    for options in variants() {
        for (claimed, clipped) in [
            (0, false),
            (100, false),
            (101, true),
            (116, true),
            (117, true),
            (u32::MAX, true),
        ] {
            let mut rig = three_out(options);
            rig.device.complete(0, claimed);
            let used = rig.queue.pop_used().unwrap().unwrap();
            assert_eq!(
                (*used.token, used.written, used.clipped),
                (0, Some(claimed.min(100)), clipped)
            );
            // The queue goes on.
            rig.device.complete(2, 3);
            let used = rig.queue.pop_used().unwrap().unwrap();
            assert_eq!((used.written, used.clipped), (Some(3), false));
        }
    }
}

#[test]
fn a_length_although_nothing_is_writable_is_clipped_to_0() {
    let mut rig = Rig::<Rc<u8>, 8>::new(direct(8));
    rig.queue.submit(&[segment(1, 4096)], &[], Rc::new(7)).unwrap();
    rig.show();
    rig.device.complete(0, 1024);
    let used = rig.queue.pop_used().unwrap().unwrap();
    assert_eq!((*used.token, used.written, used.clipped), (7, Some(0), true));
    assert_eq!(rig.queue.fault(), None);
}

// Shows LEG-D-23.
#[test]
fn lengths_of_a_legacy_device_mean_nothing() {
    for layout in [RingLayout::Modern, RingLayout::Legacy] {
        let mut rig = three_out(QueueOptions {
            used_len_valid: false,
            layout,
            ..direct(8)
        });
        rig.device.post(&[(0, 0), (2, 101), (4, u32::MAX)]);
        for token in 0..3 {
            let used = rig.queue.pop_used().unwrap().unwrap();
            assert_eq!((*used.token, used.written), (token, None), "LEG-N-02");
            assert!(!used.clipped);
        }
    }
}

#[test]
fn a_chain_completed_before_it_was_published() {
    for options in variants() {
        let mut rig = three_out(options);
        // Collected, but not shown: the device cannot be done with it, nor know of it.
        let head = rig
            .queue
            .submit(&[segment(0x1000, 16)], &[segment(0x2000, 100)], Rc::new(3))
            .unwrap();
        rig.device.complete(head, 0);
        let fault = DeviceFault::NotInFlight { id: u32::from(head) };
        assert_fault(rig, fault, &[0, 1, 2, 3]);
    }
}

#[test]
fn only_a_filled_chain_that_the_device_has_is_taken_unasked() {
    // Stands for the chain that was not shown.
    const UNPUBLISHED: u16 = u16::MAX;
    for options in variants() {
        for (id, len) in [(0, 100), (0, 99), (0, 101), (UNPUBLISHED, 100), (7, 100), (999, 100)] {
            let mut rig = three_out(options);
            let unpublished = rig
                .queue
                .submit(&[segment(0x1000, 16)], &[segment(0x2000, 100)], Rc::new(3))
                .unwrap();
            let id = if id == UNPUBLISHED { unpublished } else { id };
            rig.device.complete(id, len);
            assert_eq!(rig.queue.has_used(), Ok(true));
            let (shown, mut taken) = (Cell::new(None), None);
            let other = rig.queue.take_while(
                |slot| slot,
                |slot, token| {
                    assert_eq!(*slot, id);
                    shown.set(Some(**token));
                    true
                },
                |token| taken = Some(*token),
            );
            let expected = ((id, len) == (0, 100)).then_some(0);
            assert_eq!((shown.get(), taken), (expected, expected), "{id}, {len}");
            assert_eq!(other.map(|(_, slot)| slot), expected.is_none().then_some(id));
        }
    }
}

/// What a look for a single chain has found, by which tokens were taken and which slot was left.
fn single(rig: &mut Rig<Rc<u8>, 8>) -> (&'static str, Option<u8>, Option<u16>) {
    let mut taken = None;
    let found = rig
        .queue
        .take_single(|slot| slot, |_, _| true, |token| taken = Some(*token));
    match found {
        Found::Nothing => ("nothing", taken, None),
        Found::Taken => ("taken", taken, None),
        Found::Left(_, slot) => ("left", taken, Some(slot)),
        Found::Others => ("others", taken, None),
    }
}

#[test]
fn a_single_chain_is_taken_and_several_are_left_alone() {
    for options in variants() {
        let mut rig = three_out(options);
        let step = if options.indirect_entries == 0 { 2 } else { 1 };
        assert_eq!(single(&mut rig), ("nothing", None, None));
        rig.device.complete(step, 100);
        assert_eq!(single(&mut rig), ("taken", Some(1), None));
        assert_eq!(single(&mut rig), ("nothing", None, None));
        rig.device.complete(0, 100);
        rig.device.complete(2 * step, 100);
        assert_eq!(single(&mut rig), ("others", None, None));
        for token in [0, 2] {
            let used = rig.queue.pop_used().unwrap().expect("nothing has happened to it");
            assert_eq!(*used.token, token);
            // What was announced before is not looked for again.
            let expected = if token == 0 { "others" } else { "nothing" };
            assert_eq!(single(&mut rig).0, expected);
        }
        assert_eq!((rig.queue.in_flight(), rig.queue.returned()), (0, 3));
    }
}

#[test]
fn a_single_chain_is_taken_unasked_only_if_filled_and_in_flight() {
    for options in variants() {
        // A slot that has no chain, one beyond the queue, and less or more than there is room for.
        for (id, len) in [(7, 100), (999, 100), (0, 99), (0, 101)] {
            let mut rig = three_out(options);
            rig.device.complete(id, len);
            assert_eq!(single(&mut rig), ("left", None, Some(id)), "{id}, {len}");
        }
        // Collected, but not shown.
        let mut rig = three_out(options);
        let segments = ([segment(0x1000, 16)], [segment(0x2000, 100)]);
        let head = rig.queue.submit(&segments.0, &segments.1, Rc::new(3)).unwrap();
        rig.device.complete(head, 100);
        assert_eq!(single(&mut rig), ("left", None, Some(head)));
    }
}

#[test]
fn a_look_for_a_single_chain_leaves_lies_to_be_judged() {
    for options in variants() {
        // One that the device does not have, one that runs back, one far ahead.
        for (outstanding, index) in [(0, 1), (3, u16::MAX), (3, 4)] {
            let mut rig = if outstanding == 0 {
                Rig::new(options)
            } else {
                three_out(options)
            };
            rig.device.write_used_index(index);
            assert_eq!(single(&mut rig), ("others", None, None));
            let jump = DeviceFault::IndexJump { index, outstanding };
            assert_eq!(rig.queue.has_used(), Err(jump));
            // Nothing is found after a fault, even if the device makes good for it.
            rig.device.write_used_index(0);
            assert_eq!(single(&mut rig), ("others", None, None));
        }
    }
}

#[test]
fn unpublished_chains_do_not_count_as_outstanding() {
    let mut rig = three_out(direct(8));
    rig.queue.submit(&[segment(1, 1)], &[], Rc::new(3)).unwrap();
    rig.device.post(&[(0, 0), (2, 0), (4, 0), (6, 0)]);
    let fault = DeviceFault::IndexJump {
        index: 4,
        outstanding: 3,
    };
    assert_fault(rig, fault, &[0, 1, 2, 3]);
}

#[test]
fn chains_not_published_before_a_fault_never_are() {
    let mut rig = three_out(direct(8));
    rig.queue.submit(&[segment(1, 1)], &[], Rc::new(3)).unwrap();
    rig.device.post(&[(7, 0)]);
    assert!(rig.queue.pop_used().is_err());
    assert_eq!(rig.queue.publish(), Notification::NotNeeded);
    assert_eq!(rig.device.take(), None);
}

#[test]
fn a_used_index_that_moves_to_and_fro_ends_a_drain() {
    for options in [direct(8), with_events(direct(8))] {
        // One step ahead whenever `arm_interrupts` looks, back again whenever `pop_used` does.
        let (mut armed, mut calls) = (false, 0);
        let mut rig = ScriptedRig::new(options, 1, move |moment, device| {
            calls += 1;
            assert!(calls < 1000, "the drain does not end");
            match moment {
                Moment::BeforeEvent => {}
                Moment::AfterEvent => armed = true,
                Moment::BeforeUsedIndex => {
                    // The drain begins with suppression; `pop_used` comes next, then the event or flags that arm.
                    device.write_used_index(u16::from(armed && calls > 4));
                    armed = false;
                }
            }
        });
        let fault = DeviceFault::IndexJump {
            index: 0,
            outstanding: 0,
        };
        // Its first announcement is believed, since there is an element that names a chain.
        assert_eq!(drain(&mut rig.queue, drop), Err(fault));
        assert_eq!((rig.queue.fault(), rig.queue.in_flight()), (Some(fault), 0));
    }
}

#[test]
fn what_a_device_had_done_before_it_went_away_is_given_back() {
    for options in variants() {
        // Nothing was done, one chain of which nothing is known yet, and one that was announced already.
        for (done, looks) in [(0, false), (1, false), (2, true)] {
            let mut rig = three_out(options);
            let heads = [0, 2, 4];
            for head in heads.iter().take(done) {
                let head = if options.indirect_entries == 0 {
                    *head
                } else {
                    *head / 2
                };
                rig.device.complete(head, 100);
            }
            if looks {
                assert!(rig.queue.has_used().unwrap());
            }
            rig.queue.device_gone();
            for token in 0..done {
                assert!(rig.queue.may_have_used() && rig.queue.arm_interrupts());
                let used = rig.queue.pop_used().unwrap().expect("it was done");
                assert_eq!(usize::from(*used.token), token);
            }
            let left: Vec<u8> = (done as u8..3).collect();
            assert_fault(rig, DeviceFault::Gone, &left);
        }
    }
}

#[test]
fn a_lie_before_the_end_of_a_device_is_found_out() {
    let mut rig = three_out(direct(8));
    rig.device.write_used_index(9);
    rig.queue.device_gone();
    let jump = DeviceFault::IndexJump {
        index: 9,
        outstanding: 3,
    };
    assert_eq!(rig.queue.fault(), Some(jump));
    rig.queue.device_gone();
    assert_fault(rig, jump, &[0, 1, 2]);
}
