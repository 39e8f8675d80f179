//! Random interleavings of an honest driver with an honest device, and with one that writes anything at all.
#![cfg(not(miri))]

mod common;

use std::collections::{HashMap, HashSet, VecDeque};

use common::{Found, Rig, direct, drain, segment};
use proptest::collection::vec;
use proptest::prelude::*;
use virtio_core::Segment;
use virtqueue::{ChainError, Notification, QueueOptions, RingLayout};

const CAPACITY: usize = 16;

fn options() -> impl Strategy<Value = QueueOptions> {
    (0u32..5, any::<bool>(), 0u16..6, any::<bool>(), any::<bool>()).prop_map(
        |(shift, event_idx, indirect_entries, used_len_valid, legacy)| QueueOptions {
            event_idx,
            indirect_entries,
            used_len_valid,
            layout: if legacy { RingLayout::Legacy } else { RingLayout::Modern },
            ..direct(1 << shift)
        },
    )
}

/// One step of either side.
#[derive(Clone, Debug)]
enum QueueStep {
    Submit(Vec<u32>, Vec<u32>),
    /// A chain begun and dropped.
    GiveUp(u8),
    Publish,
    /// The device takes the chains that it sees.
    Take,
    /// It writes the used element of the n-th chain it has, with some length.
    Complete(usize, u32),
    /// It publishes its used index.
    Post,
    Pop,
    Drain,
    Suppress,
    Arm,
    ArmDevice,
    SuppressDevice,
}

fn lengths() -> impl Strategy<Value = Vec<u32>> {
    vec(prop_oneof![8 => 1u32..5000, 1 => Just(0u32), 1 => Just(u32::MAX)], 0..5)
}

fn step() -> impl Strategy<Value = QueueStep> {
    prop_oneof![
        8 => (lengths(), lengths()).prop_map(|(readable, writable)| QueueStep::Submit(readable, writable)),
        1 => (0u8..4).prop_map(QueueStep::GiveUp),
        4 => Just(QueueStep::Publish),
        4 => Just(QueueStep::Take),
        8 => (any::<usize>(), any::<u32>()).prop_map(|(which, share)| QueueStep::Complete(which, share)),
        4 => Just(QueueStep::Post),
        6 => Just(QueueStep::Pop),
        1 => Just(QueueStep::Drain),
        1 => Just(QueueStep::Suppress),
        1 => Just(QueueStep::Arm),
        1 => Just(QueueStep::ArmDevice),
        1 => Just(QueueStep::SuppressDevice),
    ]
}

/// A chain as the driver submitted it.
#[derive(Clone, Debug)]
struct Sent {
    slot: u16,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Sent {
    fn writable_bytes(&self) -> u32 {
        self.writable.iter().map(|segment| segment.len).sum()
    }
}

/// Driver, device, and everything that is true about them, told once more in simple words.
struct World {
    options: QueueOptions,
    rig: Rig<u32, CAPACITY>,
    next_token: u32,
    /// What must still come back, by token.
    open: HashMap<u32, Sent>,
    returned: HashSet<u32>,
    /// Submitted and not published, in order.
    collected: Vec<u32>,
    /// Published and not seen by the device, in order.
    shown: VecDeque<u32>,
    /// With the device.
    taken: Vec<u32>,
    /// In the used ring but not covered by its index: token and length.
    written: Vec<(u32, u32)>,
    /// Covered by it.
    posted: VecDeque<(u32, u32)>,
    /// The driver asked for an interrupt and nothing has come since.
    armed: bool,
}

impl World {
    fn new(options: QueueOptions) -> Self {
        Self {
            options,
            rig: Rig::new(options),
            next_token: 0,
            open: HashMap::new(),
            returned: HashSet::new(),
            collected: Vec::new(),
            shown: VecDeque::new(),
            taken: Vec::new(),
            written: Vec::new(),
            posted: VecDeque::new(),
            armed: true,
        }
    }

    /// Descriptors occupied by chains that have not come back.
    fn occupied(&self) -> usize {
        if self.options.indirect_entries > 0 {
            return self.open.len();
        }
        let segments = |sent: &Sent| sent.readable.len() + sent.writable.len();
        self.open.values().map(segments).sum()
    }

    /// What `submit` is expected to answer.
    fn judge(&self, readable: &[u32], writable: &[u32]) -> bool {
        let segments = readable.len() + writable.len();
        let total: u64 = readable.iter().chain(writable).map(|&len| u64::from(len)).sum();
        let empty = segments == 0 || readable.iter().chain(writable).any(|&len| len == 0);
        let size = usize::from(self.options.size.get());
        let free = size - self.occupied();
        let fits = match usize::from(self.options.indirect_entries) {
            0 => segments <= free,
            entries => segments <= entries.min(size) && free > 0,
        };
        fits && !empty && total <= u64::from(u32::MAX)
    }

    fn submit(&mut self, readable: &[u32], writable: &[u32]) {
        let token = self.next_token;
        let expected = self.judge(readable, writable);
        let place = |base: u64| {
            move |(k, &len): (usize, &u32)| segment(base + (u64::from(token) << 20) + ((k as u64) << 16), len)
        };
        let readable: Vec<_> = readable.iter().enumerate().map(place(1 << 60)).collect();
        let writable: Vec<_> = writable.iter().enumerate().map(place(1 << 61)).collect();
        match self.rig.queue.submit(&readable, &writable, token) {
            Ok(slot) => {
                assert!(expected, "taken although it should not fit");
                assert!(slot < self.options.size.get());
                assert!(self.open.values().all(|sent| sent.slot != slot), "slot {slot} twice");
                let sent = Sent {
                    slot,
                    readable,
                    writable,
                };
                self.open.insert(token, sent);
                self.collected.push(token);
                self.next_token += 1;
            }
            Err((error, back)) => {
                assert!(!expected, "{error}");
                assert_eq!(back, token);
            }
        }
    }

    /// A token has come back, honestly or not.
    fn came_back(&mut self, token: u32, slot: u16, written: Option<u32>) -> Sent {
        assert!(self.returned.insert(token), "token {token} twice");
        let sent = self.open.remove(&token).expect("a token that is out");
        assert_eq!(slot, sent.slot);
        assert_eq!(written.is_some(), self.options.used_len_valid);
        assert!(written.unwrap_or(0) <= sent.writable_bytes());
        sent
    }

    fn next_honest(&mut self, token: u32, slot: u16, written: Option<u32>) {
        let (expected, len) = self.posted.pop_front().expect("a completion");
        assert_eq!(token, expected);
        if let Some(written) = written {
            assert_eq!(written, len);
        }
        self.came_back(token, slot, written);
    }

    fn honest_step(&mut self, step: &QueueStep) {
        match step {
            QueueStep::Submit(readable, writable) => self.submit(readable, writable),
            QueueStep::GiveUp(segments) => self.give_up(*segments),
            QueueStep::Publish => {
                let nothing = self.collected.is_empty();
                let doorbell = self.rig.queue.publish();
                assert!(!nothing || doorbell == Notification::NotNeeded);
                self.shown.extend(self.collected.drain(..));
            }
            QueueStep::Take => {
                let found = self.rig.device.take_all();
                assert_eq!(found.len(), self.shown.len());
                for chain in found {
                    let token = self.shown.pop_front().unwrap();
                    let sent = &self.open[&token];
                    let expected = Found {
                        head: sent.slot,
                        readable: sent.readable.clone(),
                        writable: sent.writable.clone(),
                        indirect: self.options.indirect_entries > 0,
                    };
                    assert_eq!(chain, expected);
                    self.taken.push(token);
                }
            }
            QueueStep::Complete(which, share) => {
                if self.taken.is_empty() {
                    return;
                }
                let token = self.taken.remove(which % self.taken.len());
                let sent = &self.open[&token];
                let len = match sent.writable_bytes() {
                    u32::MAX => *share,
                    bytes => share % (bytes + 1),
                };
                let index = self.rig.device.posted.wrapping_add(self.written.len() as u16);
                self.rig.device.write_element(index, u32::from(sent.slot), len);
                self.written.push((token, len));
            }
            QueueStep::Post => {
                let index = self.rig.device.posted.wrapping_add(self.written.len() as u16);
                self.rig.device.write_used_index(index);
                let due = self.rig.device.interrupt_due();
                if !self.written.is_empty() {
                    assert!(due || !self.armed, "an interrupt was asked for");
                    self.armed = false;
                }
                self.posted.extend(self.written.drain(..));
            }
            QueueStep::Pop => match self.rig.queue.pop_used().unwrap() {
                Some(used) => self.next_honest(used.token, used.slot, used.written),
                None => assert!(self.posted.is_empty()),
            },
            QueueStep::Drain => {
                let mut back = Vec::new();
                let count = drain(&mut self.rig.queue, |used| back.push(used)).unwrap();
                assert_eq!(count, back.len());
                for used in back {
                    self.next_honest(used.token, used.slot, used.written);
                }
                assert!(self.posted.is_empty());
                self.armed = true;
            }
            QueueStep::Suppress => {
                self.rig.queue.suppress_interrupts();
                self.armed = false;
            }
            QueueStep::Arm => {
                let waiting = self.rig.queue.arm_interrupts();
                assert_eq!(waiting, !self.posted.is_empty());
                self.armed = !waiting;
            }
            QueueStep::ArmDevice => {
                let waiting = self.rig.device.arm_notifications();
                assert_eq!(waiting, !self.shown.is_empty());
                if !waiting && !self.collected.is_empty() {
                    assert!(matches!(self.rig.queue.publish(), Notification::Needed { .. }));
                    self.shown.extend(self.collected.drain(..));
                }
            }
            QueueStep::SuppressDevice => self.rig.device.suppress_notifications(),
        }
    }

    fn give_up(&mut self, segments: u8) {
        let before = self.rig.queue.state();
        if let Ok(mut chain) = self.rig.queue.chain() {
            for k in 0..segments {
                let _ = chain.readable(segment(0xBAD, u32::from(k)));
                let _ = chain.writable(segment(0xBAD, u32::from(k)));
            }
        }
        assert_eq!(self.rig.queue.state(), before);
    }

    /// Conservation of descriptors and of chains.
    fn check(&self) {
        let state = self.rig.queue.state();
        assert_eq!(usize::from(state.free) + self.occupied(), usize::from(state.size));
        assert_eq!(usize::from(state.in_flight), self.open.len());
        assert_eq!(self.returned.len() + self.open.len(), self.next_token as usize);
        if state.fault.is_none() {
            assert_eq!(usize::from(state.unpublished), self.collected.len());
        }
    }

    /// Takes every token back and starts over.
    fn recover(&mut self) {
        for token in self.rig.restart() {
            assert!(self.returned.insert(token), "token {token} twice");
            self.open.remove(&token).expect("a token that is out");
        }
        assert!(self.open.is_empty(), "tokens lost");
        self.collected.clear();
        self.check();
    }
}

/// A step with a device that writes arbitrary values.
#[derive(Clone, Debug)]
enum Wild {
    Submit(Vec<u32>, Vec<u32>),
    GiveUp(u8),
    Publish,
    /// Writes elements from the current ring position on.
    Elements(Vec<(Id, u32)>),
    /// Moves the used index by that much.
    Move(u16),
    Flags(u16),
    Event(u16),
    Pop,
    Drain,
    Suppress,
    Arm,
    Recover,
}

/// An id a liar may come up with.
#[derive(Clone, Debug)]
enum Id {
    /// That of the n-th chain the driver has open, published or not.
    Open(usize),
    Any(u32),
}

fn wild() -> impl Strategy<Value = Wild> {
    let id = prop_oneof![
        30 => any::<usize>().prop_map(Id::Open),
        2 => (0u32..16).prop_map(Id::Any),
        1 => any::<u32>().prop_map(Id::Any),
    ];
    let short = || vec(1u32..3000, 0..3);
    let len = prop_oneof![10 => Just(0u32), 4 => 0u32..6000, 1 => any::<u32>()];
    let distance = prop_oneof![30 => 0u16..3, 2 => 0u16..20, 1 => any::<u16>()];
    prop_oneof![
        12 => (short(), short()).prop_map(|(readable, writable)| Wild::Submit(readable, writable)),
        1 => (lengths(), lengths()).prop_map(|(readable, writable)| Wild::Submit(readable, writable)),
        1 => (0u8..4).prop_map(Wild::GiveUp),
        6 => Just(Wild::Publish),
        8 => vec((id, len), 1..5).prop_map(Wild::Elements),
        8 => distance.prop_map(Wild::Move),
        1 => any::<u16>().prop_map(Wild::Flags),
        1 => any::<u16>().prop_map(Wild::Event),
        8 => Just(Wild::Pop),
        2 => Just(Wild::Drain),
        1 => Just(Wild::Suppress),
        1 => Just(Wild::Arm),
        2 => Just(Wild::Recover),
    ]
}

impl World {
    fn wild_step(&mut self, step: &Wild) {
        let fault = self.rig.queue.fault();
        match step {
            Wild::Submit(readable, writable) => match fault {
                None => self.submit(readable, writable),
                Some(fault) => {
                    let refused = self.rig.queue.submit(&[segment(1, 1)], &[], 7);
                    assert_eq!(refused, Err((ChainError::Broken(fault), 7)));
                }
            },
            Wild::GiveUp(segments) => self.give_up(*segments),
            Wild::Publish => {
                let doorbell = self.rig.queue.publish();
                assert!(fault.is_none() || doorbell == Notification::NotNeeded);
                self.collected.clear();
            }
            Wild::Elements(elements) => {
                let mut index = self.rig.device.posted;
                let mut slots: Vec<_> = self.open.values().map(|sent| u32::from(sent.slot)).collect();
                slots.sort_unstable();
                for (id, len) in elements {
                    let id = match *id {
                        Id::Any(id) => id,
                        Id::Open(_) if slots.is_empty() => 0,
                        Id::Open(n) => slots[n % slots.len()],
                    };
                    self.rig.device.write_element(index, id, *len);
                    index = index.wrapping_add(1);
                }
            }
            Wild::Move(distance) => {
                let index = self.rig.device.posted.wrapping_add(*distance);
                self.rig.device.write_used_index(index);
            }
            Wild::Flags(flags) => self.rig.device.set_used_flags(*flags),
            Wild::Event(event) => self.rig.device.set_avail_event(*event),
            Wild::Pop => match self.rig.queue.pop_used() {
                Ok(Some(used)) => self.came_back_wildly(used.token, used.slot, used.written),
                Ok(None) => {}
                Err(found) => assert!(fault.is_none_or(|fault| fault == found)),
            },
            Wild::Drain => {
                let mut back = Vec::new();
                let result = drain(&mut self.rig.queue, |used| back.push(used));
                if let Ok(count) = result {
                    assert_eq!(count, back.len());
                }
                assert!(fault.is_none() || back.is_empty());
                for used in back {
                    self.came_back_wildly(used.token, used.slot, used.written);
                }
            }
            Wild::Suppress => self.rig.queue.suppress_interrupts(),
            Wild::Arm => assert!(self.rig.queue.arm_interrupts() || fault.is_none()),
            Wild::Recover => self.recover(),
        }
    }

    fn came_back_wildly(&mut self, token: u32, slot: u16, written: Option<u32>) {
        assert!(!self.collected.contains(&token), "never published, and yet completed");
        self.came_back(token, slot, written);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_device_and_the_driver_agree(options in options(), steps in vec(step(), 1..200)) {
        let mut world = World::new(options);
        for step in &steps {
            world.honest_step(step);
            world.check();
        }
        // In the end everything comes back.
        for step in [QueueStep::Publish, QueueStep::Take] {
            world.honest_step(&step);
        }
        while !world.taken.is_empty() {
            world.honest_step(&QueueStep::Complete(7, 3));
        }
        for step in [QueueStep::Post, QueueStep::Drain] {
            world.honest_step(&step);
        }
        world.check();
        prop_assert!(world.open.is_empty());
    }

    #[test]
    fn a_device_that_lies_causes_only_typed_errors(options in options(), steps in vec(wild(), 1..200)) {
        let mut world = World::new(options);
        for step in &steps {
            world.wild_step(step);
            world.check();
        }
        world.recover();
    }
}
