//! When either side is notified, and when not: flags and event indices, in both directions.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use common::{Moment, Rig, ScriptedRig, direct, drain, indirect, segment, with_events};
use virtio_core::{DeviceAddr, Segment};
use virtqueue::{Descriptor, DescriptorPlace, Notification, RingMemory, UsedElement, VirtQueue};

fn rings(doorbell: Notification) -> bool {
    matches!(doorbell, Notification::Needed { .. })
}

/// Submits, lets the device take and complete everything, and takes it back: moves all indices on by `chains`.
fn turn<const N: usize>(rig: &mut Rig<u32, N>, chains: u16) {
    for _ in 0..chains {
        rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    }
    for found in rig.show() {
        rig.device.complete(found.head, 0);
    }
    for _ in 0..chains {
        assert!(rig.queue.pop_used().unwrap().is_some());
    }
}

#[test]
fn nothing_published_rings_nothing() {
    for options in [direct(4), with_events(direct(4))] {
        let mut rig = Rig::<u32, 4>::new(options);
        assert_eq!(rig.queue.publish(), Notification::NotNeeded);
        rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
        assert_eq!(rig.queue.publish(), Notification::Needed { next_available: 1 });
        assert_eq!(rig.queue.publish(), Notification::NotNeeded);
        assert_eq!(rig.device.available_index(), 1);
    }
}

// Shows RING-D-28, RING-D-30.
#[test]
fn a_batch_is_one_index_store_and_one_decision() {
    for options in [direct(8), indirect(8, 2), with_events(direct(8))] {
        let mut rig = Rig::<u32, 8>::new(options);
        for token in 0..5 {
            rig.queue.submit(&[segment(1, 1)], &[], token).unwrap();
            assert_eq!(rig.device.available_index(), 0);
        }
        assert_eq!(rig.queue.state().unpublished, 5);
        assert_eq!(rig.queue.publish(), Notification::Needed { next_available: 5 });
        assert_eq!(rig.device.available_index(), 5);
        assert_eq!(rig.device.take_all().len(), 5);
    }
}

// Shows RING-D-20, RING-D-21, RING-D-22.
#[test]
fn without_event_idx_only_the_flags_decide() {
    let mut rig = Rig::<u32, 4>::new(direct(4));
    for (flags, expected) in [(0, true), (1, false), (0, true), (2, true), (3, false), (0xFFFE, true)] {
        for event in [0, 1, 2, 0x7FFF, 0xFFFF] {
            rig.device.set_used_flags(flags);
            rig.device.set_avail_event(event);
            rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
            assert_eq!(rings(rig.queue.publish()), expected, "flags {flags:#x}");
            turn(&mut rig, 0);
            assert!(rig.queue.pop_used().unwrap().is_some());
        }
    }
}

// Shows RING-D-23.
#[test]
fn by_event_the_flag_means_nothing() {
    let mut rig = Rig::<u32, 4>::new(with_events(direct(4)));
    rig.device.set_used_flags(1);
    rig.device.set_avail_event(0);
    rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    assert!(rings(rig.queue.publish()), "RING-D-23");
    rig.device.set_used_flags(0);
    rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    assert!(!rings(rig.queue.publish()), "the event is passed already");
}

/// A ring whose device is done with a chain the moment it is published: the quickest way around the index.
#[derive(Default)]
struct Echo {
    heads: [u16; 16],
    index: u16,
    avail_event: Rc<Cell<u16>>,
}

impl RingMemory for Echo {
    fn write_descriptor(&mut self, _: u16, _: Descriptor) {}

    fn write_table_entry(&mut self, _: u16, _: u16, _: Descriptor) {}

    fn table_place(&self, _: u16, _: u16) -> Option<DescriptorPlace> {
        None
    }

    fn redirect(&mut self, _: DescriptorPlace, _: Segment) {}

    fn table_addr(&self, _: u16) -> DeviceAddr {
        DeviceAddr(0)
    }

    fn write_available(&mut self, slot: u16, head: u16) {
        self.heads[usize::from(slot % 16)] = head;
    }

    fn store_available_index(&mut self, index: u16, _: Ordering) {
        self.index = index;
    }

    fn store_available_flags(&mut self, _: u16, _: Ordering) {}

    fn store_used_event(&mut self, _: u16, _: Ordering) {}

    fn load_used_index(&self, _: Ordering) -> u16 {
        self.index
    }

    fn load_used_flags(&self, _: Ordering) -> u16 {
        1
    }

    fn load_avail_event(&self, _: Ordering) -> u16 {
        self.avail_event.get()
    }

    fn read_used(&self, slot: u16) -> UsedElement {
        UsedElement {
            id: u32::from(self.heads[usize::from(slot % 16)]),
            len: 0,
        }
    }

    fn store_load_fence(&self) {}
}

// Shows RING-D-24, RING-D-25.
#[test]
#[cfg_attr(miri, ignore = "walks around the 16-bit index")]
fn every_avail_event_near_a_batch_that_touches_the_wrap() {
    let echo = Echo::default();
    let avail_event = Rc::clone(&echo.avail_event);
    let mut queue = VirtQueue::<u32, 16, _>::with_memory(with_events(direct(16)), echo);
    let mut step = |batch: u16| {
        for token in 0..batch {
            queue.submit(&[segment(1, 1)], &[], token.into()).unwrap();
        }
        let doorbell = queue.publish();
        for _ in 0..batch {
            assert!(queue.pop_used().unwrap().is_some());
        }
        doorbell
    };
    let mut index = 0u16;
    for batch in [1u16, 2, 3, 16] {
        for start in [0u16, 0xFFFF, 0xFFFE, 0xFFF1, 0xFFF0, 0xFFEF] {
            if start != 0 && start.wrapping_neg() > batch + 1 {
                continue;
            }
            for offset in 0..batch + 5 {
                while index != start {
                    let stride = start.wrapping_sub(index).min(16);
                    let _ = step(stride);
                    index = index.wrapping_add(stride);
                }
                let event = start.wrapping_add(offset).wrapping_sub(2);
                avail_event.set(event);
                let filled = (0..batch).any(|k| start.wrapping_add(k) == event);
                index = index.wrapping_add(batch);
                let expected = if filled {
                    Notification::Needed { next_available: index }
                } else {
                    Notification::NotNeeded
                };
                assert_eq!(
                    step(batch),
                    expected,
                    "event {event:#x}, {batch} chains from {start:#x}"
                );
            }
        }
    }
}

#[test]
fn a_device_that_arms_and_looks_again_misses_nothing() {
    for options in [direct(8), with_events(direct(8))] {
        let mut rig = Rig::<u32, 8>::new(options);
        for round in 0..200u32 {
            rig.device.suppress_notifications();
            rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            assert_eq!(rig.queue.publish(), Notification::NotNeeded, "asked not to be");
            if round % 3 == 0 {
                // The device has not seen it yet, but it looks before it goes to sleep.
                assert!(rig.device.arm_notifications());
            }
            for found in rig.device.take_all() {
                rig.device.complete(found.head, 0);
            }
            assert!(!rig.device.arm_notifications());
            rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            assert!(rings(rig.queue.publish()), "asked for");
            for found in rig.device.take_all() {
                rig.device.complete(found.head, 0);
            }
            assert_eq!(drain(&mut rig.queue, drop), Ok(2));
        }
    }
}

// Shows RING-D-12.
#[test]
fn by_flags_the_driver_writes_only_0_and_1() {
    let mut rig = Rig::<u32, 4>::new(direct(4));
    assert_eq!(rig.device.available_flags(), 0, "interrupts are wanted from the start");
    rig.queue.suppress_interrupts();
    assert_eq!(rig.device.available_flags(), 1);
    assert!(!rig.queue.arm_interrupts());
    assert_eq!(rig.device.available_flags(), 0);
    assert_eq!(rig.device.used_event(), 0, "not touched");
}

// Shows RING-D-14.
#[test]
fn by_event_the_available_flags_stay_zero() {
    let mut rig = Rig::<u32, 4>::new(with_events(direct(4)));
    for step in 0..10u16 {
        rig.queue.suppress_interrupts();
        assert_eq!(rig.device.available_flags(), 0, "RING-D-14");
        assert_eq!(rig.device.used_event(), step.wrapping_sub(1));
        assert!(!rig.queue.arm_interrupts());
        assert_eq!(rig.device.available_flags(), 0, "RING-D-14");
        assert_eq!(rig.device.used_event(), step);
        turn(&mut rig, 1);
    }
}

// Shows RING-D-13, RING-D-15.
#[test]
fn interrupts_come_when_wanted_and_not_when_not() {
    for options in [direct(8), with_events(direct(8)), with_events(indirect(8, 2))] {
        let mut rig = Rig::<u32, 8>::new(options);
        let rounds = if cfg!(miri) { 20 } else { 25_000 };
        for round in 0..rounds {
            let wanted = round % 3 != 0;
            if wanted {
                assert!(!rig.queue.arm_interrupts());
            } else {
                rig.queue.suppress_interrupts();
            }
            let chains = 1 + round % 5;
            for _ in 0..chains {
                rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            }
            for found in rig.show() {
                rig.device.complete(found.head, 0);
            }
            assert_eq!(rig.device.interrupt_due(), wanted, "round {round} of {options:?}");
            assert!(rig.queue.arm_interrupts(), "completions are there");
            for _ in 0..chains {
                assert!(rig.queue.pop_used().unwrap().is_some());
            }
            assert_eq!(rig.queue.pop_used(), Ok(None));
        }
    }
}

#[test]
fn after_a_drain_the_next_completion_interrupts() {
    for options in [direct(4), with_events(direct(4))] {
        let mut rig = Rig::<u32, 4>::new(options);
        for round in 0..10 {
            rig.queue.submit(&[segment(1, 1)], &[], round).unwrap();
            let head = rig.show()[0].head;
            assert_eq!(drain(&mut rig.queue, drop), Ok(0));
            rig.device.complete(head, 0);
            assert!(rig.device.interrupt_due(), "round {round}");
            // An interrupt without news is harmless too (RING-D-16).
            assert_eq!(drain(&mut rig.queue, drop), Ok(1));
            assert_eq!(drain(&mut rig.queue, drop), Ok(0));
        }
    }
}

#[test]
fn a_completion_in_any_window_of_a_drain_is_not_lost() {
    for options in [direct(8), with_events(direct(8))] {
        // The device posts its second completion at the n-th moment of the drain.
        let mut windows = Vec::new();
        for when in 0..12 {
            let moments = Rc::new(RefCell::new(Vec::new()));
            let announced = Rc::new(Cell::new(None));
            let (seen, told) = (Rc::clone(&moments), Rc::clone(&announced));
            let mut rig = ScriptedRig::new(options, 2, move |moment, device| {
                if seen.borrow().len() == when {
                    device.complete(1, 0);
                    told.set(Some(device.interrupt_due()));
                }
                seen.borrow_mut().push(moment);
            });
            rig.device.borrow_mut().complete(0, 0);
            assert!(rig.device.borrow_mut().interrupt_due());

            let mut tokens = Vec::new();
            drain(&mut rig.queue, |used| tokens.push(used.token)).unwrap();
            let moments = moments.borrow();
            match (&tokens[..], announced.get()) {
                ([0, 1], Some(_)) | ([0], Some(true) | None) => {}
                lost => panic!("{lost:?} at moment {when}: {moments:?}"),
            }
            if announced.get().is_some() {
                windows.push((moments[when], tokens.len()));
            }
        }
        // The windows that matter have all been tried: between the last look and the event or flags, and right after those.
        let taken_late = |moment| windows.iter().filter(|&&window| window == (moment, 2)).count();
        for moment in [Moment::BeforeEvent, Moment::AfterEvent, Moment::BeforeUsedIndex] {
            assert!(taken_late(moment) >= 2, "{windows:?}");
        }
    }
}

#[test]
fn a_drain_ends_although_completions_keep_slipping_in() {
    for options in [direct(8), with_events(direct(8))] {
        let mut heads = 0..8;
        let mut rig = ScriptedRig::new(options, 8, move |moment, device| {
            if moment == Moment::BeforeEvent
                && let Some(head) = heads.next()
            {
                device.complete(head, 0);
            }
        });
        let mut tokens = Vec::new();
        assert_eq!(drain(&mut rig.queue, |used| tokens.push(used.token)), Ok(8));
        assert_eq!(tokens, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
