//! Random interleavings of an honest driver with an honest device, and with one that writes anything at all.
#![cfg(not(miri))]

mod common;

use std::collections::{HashMap, HashSet};

use common::{Device, Found, Rig, direct, segment};
use proptest::collection::vec;
use proptest::prelude::*;
use virtio_core::Segment;
use virtqueue::{ChainError, Doorbell, QueueOptions, RingFormat};

const CAPACITY: usize = 16;

fn options() -> impl Strategy<Value = QueueOptions> {
    (0u32..5, any::<bool>(), 0u16..6, any::<bool>(), any::<bool>()).prop_map(
        |(shift, event_idx, indirect_entries, used_len_valid, legacy)| QueueOptions {
            event_idx,
            indirect_entries,
            used_len_valid,
            format: if legacy { RingFormat::Legacy } else { RingFormat::Modern },
            ..direct(1 << shift)
        },
    )
}

/// One step of either side.
#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<u32>, Vec<u32>),
    /// A chain begun and dropped.
    GiveUp(u8),
    Publish,
    /// The device takes what it sees.
    Take,
    /// It completes the n-th chain it has, in ring positions not published yet, with that share of the length.
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (lengths(), lengths()).prop_map(|(readable, writable)| Step::Submit(readable, writable)),
        1 => (0u8..4).prop_map(Step::GiveUp),
        4 => Just(Step::Publish),
        4 => Just(Step::Take),
        8 => (any::<usize>(), any::<u32>()).prop_map(|(which, share)| Step::Complete(which, share)),
        4 => Just(Step::Post),
        6 => Just(Step::Pop),
        1 => Just(Step::Drain),
        1 => Just(Step::Suppress),
        1 => Just(Step::Arm),
        1 => Just(Step::ArmDevice),
        1 => Just(Step::SuppressDevice),
    ]
}

/// What the driver sent.
#[derive(Clone, Debug)]
struct Sent {
    token: u32,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

/// Everything both sides know, for comparison.
struct World {
    options: QueueOptions,
    rig: Rig<u32, CAPACITY>,
    tokens: u32,
    /// Submitted, not published, in order.
    collected: Vec<(u16, Sent)>,
    /// Published, not seen by the device, in order.
    shown: Vec<(u16, Sent)>,
    /// With the device.
    taken: Vec<(u16, Sent)>,
    /// Written into the used ring: head, token, bytes.
    written: Vec<(u16, u32, u32)>,
    /// How many of them the used index covers.
    posted: usize,
    returned: HashSet<u32>,
}

impl World {
    fn new(options: QueueOptions) -> Self {
        Self {
            options,
            rig: Rig::new(options),
            tokens: 0,
            collected: Vec::new(),
            shown: Vec::new(),
            taken: Vec::new(),
            written: Vec::new(),
            posted: 0,
            returned: HashSet::new(),
        }
    }

    fn is_indirect(&self) -> bool {
        self.options.indirect_entries > 0
    }

    /// Descriptors that chains with owners occupy.
    fn occupied(&self) -> usize {
        let of = |sent: &Sent| {
            if self.is_indirect() {
                1
            } else {
                sent.readable.len() + sent.writable.len()
            }
        };
        let open = self.collected.iter().chain(&self.shown).chain(&self.taken);
        let written: usize = self.written.iter().map(|&(_, token, _)| self.descriptors[&token]).sum();
        open.map(|(_, sent)| of(sent)).sum::<usize>() + written
    }
}
