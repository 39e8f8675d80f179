//! Who rings whom, and when not: flags and event indices, in both directions.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use common::{Device, Moment, Platform, Rig, Script, Scripted, direct, drain, indirect, segment, with_events};
use virtio_core::DeviceAddr;
use virtqueue::{Descriptor, DmaRing, Doorbell, QueueOptions, RingMemory, UsedElement, VirtQueue};

fn rings(doorbell: Doorbell) -> bool {
    matches!(doorbell, Doorbell::Ring { .. })
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
        assert_eq!(rig.queue.publish(), Doorbell::Quiet);
        rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
        assert_eq!(rig.queue.publish(), Doorbell::Ring { next_available: 1 });
        assert_eq!(rig.queue.publish(), Doorbell::Quiet);
        assert_eq!(rig.device.available_index(), 1);
    }
}

#[test]
fn a_batch_is_one_index_store_and_one_decision() {
    for options in [direct(8), indirect(8, 2), with_events(direct(8))] {
        let mut rig = Rig::<u32, 8>::new(options);
        for token in 0..5 {
            rig.queue.submit(&[segment(1, 1)], &[], token).unwrap();
            assert_eq!(rig.device.available_index(), 0);
        }
        assert_eq!(rig.queue.state().unpublished, 5);
        assert_eq!(rig.queue.publish(), Doorbell::Ring { next_available: 5 });
        assert_eq!(rig.device.available_index(), 5);
        assert_eq!(rig.device.take_all().len(), 5);
    }
}

#[test]
fn by_flags_the_device_decides_and_avail_event_means_nothing() {
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

#[test]
fn by_event_the_flag_means_nothing() {
    let mut rig = Rig::<u32, 4>::new(with_events(direct(4)));
    rig.device.set_used_flags(1);
    rig.device.set_avail_event(0);
    rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    assert!(rings(rig.queue.publish()), "RING-D-23");
    rig.device.set_used_flags(0);
    rig.queue.submit(&[segment(1, 1)], &[], 0).unwrap();
    assert!(!rings(rig.queue.publish()), "the event stays behind");
}

/// A ring whose device is done with a chain the moment it is published: the quickest way around the index.
#[derive(Default)]
struct Echo {
    heads: [u16; 16],
    index: u16,
    /// `avail_event`, for the test to change.
    wish: Rc<Cell<u16>>,
}

impl RingMemory for Echo {
    fn write_descriptor(&mut self, _: u16, _: Descriptor) {}

    fn write_table_entry(&mut self, _: u16, _: u16, _: Descriptor) {}

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
        self.wish.get()
    }

    fn read_used(&self, slot: u16) -> UsedElement {
        UsedElement {
            id: u32::from(self.heads[usize::from(slot % 16)]),
            len: 0,
        }
    }

    fn store_load_fence(&self) {}
}

#[test]
#[cfg_attr(miri, ignore = "walks around the 16-bit index")]
fn every_avail_event_near_a_batch_that_touches_the_wrap() {
    let echo = Echo::default();
    let wish = Rc::clone(&echo.wish);
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
                wish.set(event);
                let filled = (0..batch).any(|k| start.wrapping_add(k) == event);
                index = index.wrapping_add(batch);
                let expected = if filled {
                    Doorbell::Ring { next_available: index }
                } else {
                    Doorbell::Quiet
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
            assert_eq!(rig.queue.publish(), Doorbell::Quiet, "asked not to be");
            if round % 3 == 0 {
                // Not noticed by the device yet, but it will look before it goes to sleep.
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

#[test]
fn by_flags_the_driver_writes_nought_and_one_and_nothing_else() {
    let mut rig = Rig::<u32, 4>::new(direct(4));
    assert_eq!(rig.device.available_flags(), 0, "interrupts are wanted from the start");
    rig.queue.suppress_interrupts();
    assert_eq!(rig.device.available_flags(), 1);
    assert!(!rig.queue.arm_interrupts());
    assert_eq!(rig.device.available_flags(), 0);
    assert_eq!(rig.device.used_event(), 0, "not touched");
}

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

/// A queue whose memory calls `script`, and the device.
fn scripted(options: QueueOptions, script: Script) -> (Platform, VirtQueue<u32, 8, Scripted>, Device) {
    let mut platform = Platform::new();
    let region = platform.region(options.layout().memory().unwrap(), 0);
    let ring = DmaRing::new(options.layout(), region).unwrap();
    let device = Device::new(platform.bus(), &ring.setup(), options.event_idx);
    let queue = VirtQueue::with_memory(options, Scripted { ring, script });
    (platform, queue, device)
}

#[test]
fn a_completion_in_any_window_of_a_drain_is_taken_or_announced() {
    for options in [direct(8), with_events(direct(8))] {
        // The device posts its second completion at the n-th moment of the drain, whatever that is.
        let mut windows = Vec::new();
        for when in 0..12 {
            let device: Rc<RefCell<Option<Device>>> = Rc::default();
            let heads: Rc<RefCell<Vec<u16>>> = Rc::default();
            let moments = Rc::new(RefCell::new(Vec::new()));
            let announced = Rc::new(RefCell::new(false));
            let script: Script = {
                let (device, heads) = (Rc::clone(&device), Rc::clone(&heads));
                let (moments, announced) = (Rc::clone(&moments), Rc::clone(&announced));
                Rc::new(RefCell::new(move |moment: Moment| {
                    let mut device = device.borrow_mut();
                    let Some(device) = device.as_mut() else {
                        return;
                    };
                    if moments.borrow().len() == when {
                        device.complete(heads.borrow_mut().remove(0), 0);
                        *announced.borrow_mut() = device.interrupt_due();
                    }
                    moments.borrow_mut().push(moment);
                }))
            };
            let (_platform, mut queue, made) = scripted(options, script);
            let mut made = made;
            queue.submit(&[segment(1, 1)], &[], 1).unwrap();
            queue.submit(&[segment(1, 1)], &[], 2).unwrap();
            let _ = queue.publish();
            let found = made.take_all();
            made.complete(found[0].head, 0);
            assert!(made.interrupt_due());
            heads.borrow_mut().push(found[1].head);
            *device.borrow_mut() = Some(made);

            let mut tokens = Vec::new();
            drain(&mut queue, |used| tokens.push(used.token)).unwrap();
            let posted = heads.borrow().is_empty();
            match tokens[..] {
                [1, 2] => assert!(posted),
                [1] => assert!(
                    !posted || *announced.borrow(),
                    "lost at moment {when}: {:?}",
                    moments.borrow()
                ),
                _ => panic!("{tokens:?}"),
            }
            if posted {
                windows.push((moments.borrow()[when], tokens.len()));
            }
        }
        // The windows that matter have all been tried: between the last look and the wish, and right after the wish.
        let taken_late = |moment| windows.iter().filter(|&&window| window == (moment, 2)).count();
        assert!(taken_late(Moment::BeforeEvent) >= 2, "{windows:?}");
        assert!(taken_late(Moment::AfterEvent) >= 2, "{windows:?}");
        assert!(taken_late(Moment::BeforeUsedIndex) >= 2, "{windows:?}");
    }
}

#[test]
fn a_drain_goes_on_while_completions_keep_slipping_in_and_still_ends() {
    for options in [direct(8), with_events(direct(8))] {
        let device: Rc<RefCell<Option<Device>>> = Rc::default();
        let heads: Rc<RefCell<Vec<u16>>> = Rc::default();
        let script: Script = {
            let (device, heads) = (Rc::clone(&device), Rc::clone(&heads));
            Rc::new(RefCell::new(move |moment: Moment| {
                if let (Moment::BeforeEvent, Some(device)) = (moment, device.borrow_mut().as_mut())
                    && let Some(head) = heads.borrow_mut().pop()
                {
                    device.complete(head, 0);
                }
            }))
        };
        let (_platform, mut queue, mut made) = scripted(options, script);
        for token in 0..8 {
            queue.submit(&[segment(1, 1)], &[], token).unwrap();
        }
        let _ = queue.publish();
        heads
            .borrow_mut()
            .extend(made.take_all().iter().map(|found| found.head));
        *device.borrow_mut() = Some(made);
        let mut tokens = Vec::new();
        assert_eq!(drain(&mut queue, |used| tokens.push(used.token)), Ok(8));
        tokens.sort_unstable();
        assert_eq!(tokens, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
