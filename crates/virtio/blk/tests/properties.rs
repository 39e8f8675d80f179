//! Any requests on any device against a disk that is a list of sectors.

mod common;

use common::{Rig, TestCompletion, TestRequest, pattern, range};
use proptest::prelude::*;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Operation, Request, SubmitError};
use virtio_blk_model::{CompletionOrder, Limits, Model, ModelConfig, Service, UsedLength, feature};
use virtio_core::Transport;

const CAPACITY: u64 = 96;

/// What the disk should hold; `None` where nothing is known.
struct Reference {
    sectors: Vec<Option<Vec<u8>>>,
}

impl Reference {
    fn new() -> Self {
        Self {
            sectors: vec![Some(vec![0; 512]); CAPACITY as usize],
        }
    }

    fn write(&mut self, first: u64, content: &[u8]) {
        for (n, sector) in content.chunks(512).enumerate() {
            self.sectors[first as usize + n] = Some(sector.to_vec());
        }
    }

    fn fill(&mut self, first: u64, sectors: u64, content: Option<Vec<u8>>) {
        self.sectors[first as usize..][..sectors as usize].fill(content);
    }

    /// Whether `content` is what should be at `first`.
    fn agrees(&self, first: u64, content: &[u8]) -> bool {
        let known = &self.sectors[first as usize..];
        let mut pairs = known.iter().zip(content.chunks(512));
        pairs.all(|(known, found)| known.as_ref().is_none_or(|known| known == found))
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write,
    Discard,
    Zeroes { may_unmap: bool },
    Erase,
    Flush,
    Identify,
    Lifetime,
}

#[derive(Clone, Debug)]
struct TestOperation {
    kind: Kind,
    first: u64,
    /// Of transfers, the pieces; of ranges, their sum is the number of sectors.
    lengths: Vec<usize>,
    /// Whether to notify and to poll after this step.
    notify: bool,
    poll: bool,
}

impl TestOperation {
    fn bytes(&self) -> u64 {
        self.lengths.iter().map(|&len| len as u64).sum()
    }

    /// The sectors of a legal step.
    fn sectors(&self) -> u64 {
        match self.kind {
            Kind::Read | Kind::Write => self.bytes() / 512,
            Kind::Discard | Kind::Zeroes { .. } | Kind::Erase => self.lengths.len() as u64,
            Kind::Flush | Kind::Identify | Kind::Lifetime => 0,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.first.saturating_add(other.sectors())
            && other.first < self.first.saturating_add(self.sectors())
    }
}

#[derive(Clone, Debug)]
struct World {
    legacy: bool,
    withdrawn: u64,
    queue_size: u32,
    seg_max: u32,
    size_max: u32,
    one_data_descriptor: bool,
    block_size: u32,
    max_sectors: u32,
    alignment: u32,
    order: CompletionOrder,
    used_length: UsedLength,
    service: Service,
    read_only: bool,
}

impl World {
    fn config(&self) -> ModelConfig {
        let base = if self.legacy {
            ModelConfig::legacy()
        } else {
            ModelConfig::modern()
        };
        let limits = Limits {
            max_sectors: self.max_sectors,
            max_segments: 1,
            alignment: self.alignment,
        };
        let read_only = if self.read_only { feature::RO } else { 0 };
        ModelConfig {
            queue_size_max: self.queue_size,
            seg_max: self.seg_max,
            size_max: self.size_max,
            one_data_descriptor: self.one_data_descriptor,
            block_size: self.block_size,
            discard: limits,
            write_zeroes: limits,
            secure_erase: limits,
            order: self.order,
            used_length: self.used_length,
            service: self.service,
            capacity: CAPACITY,
            ..base
                .offer(feature::SIZE_MAX | feature::SECURE_ERASE | feature::LIFETIME | read_only)
                .withdraw(self.withdrawn)
        }
    }

    fn offers(&self, bit: u64) -> bool {
        self.withdrawn & bit == 0
    }

    /// Data segments that the device takes in one request, as far as it says so.
    fn data_segments(&self) -> u64 {
        if self.offers(feature::SEG_MAX) {
            u64::from(self.seg_max)
        } else {
            1
        }
    }

    /// What the driver has to say to a step, apart from a full queue. The rules once more, in other words.
    fn verdict(&self, step: &TestOperation, max_segments: u64) -> Result<(), SubmitError> {
        let block = if self.offers(feature::BLK_SIZE) {
            u64::from(self.block_size)
        } else {
            512
        };
        let writes = !matches!(step.kind, Kind::Read | Kind::Flush | Kind::Identify | Kind::Lifetime);
        if writes && self.read_only {
            return Err(SubmitError::ReadOnly);
        }
        let needed = match step.kind {
            Kind::Discard => feature::DISCARD,
            Kind::Zeroes { .. } => feature::WRITE_ZEROES,
            Kind::Erase => feature::SECURE_ERASE,
            Kind::Flush => feature::FLUSH,
            Kind::Lifetime => feature::LIFETIME,
            Kind::Read | Kind::Write | Kind::Identify => 0,
        };
        let range = matches!(step.kind, Kind::Discard | Kind::Zeroes { .. } | Kind::Erase);
        if !self.offers(needed) || range && u64::from(self.max_sectors) * 512 < block {
            return Err(SubmitError::Unsupported);
        }
        if matches!(step.kind, Kind::Flush | Kind::Identify | Kind::Lifetime) {
            return Ok(());
        }
        let bytes = if range { step.sectors() * 512 } else { step.bytes() };
        if bytes == 0 {
            return Err(SubmitError::Empty);
        }
        let start = u128::from(step.first) * 512;
        if bytes % block != 0 || start % u128::from(block) != 0 {
            return Err(SubmitError::Misaligned {
                block_bytes: block as u32,
            });
        }
        if start + u128::from(bytes) > u128::from(CAPACITY) * 512 {
            return Err(SubmitError::OutOfRange {
                capacity: Sector(CAPACITY),
            });
        }
        if !range && self.worst_block(step, block) > max_segments {
            return Err(SubmitError::TooScattered);
        }
        Ok(())
    }

    /// The most pieces of at most `size_max` bytes that any one block lies in.
    fn worst_block(&self, step: &TestOperation, block: u64) -> u64 {
        let blocks = (0..step.bytes() / block).map(|n| {
            let (begin, end) = (n * block, (n + 1) * block);
            let mut position = 0;
            let mut pieces = 0;
            for &len in &step.lengths {
                let (from, to) = (position.max(begin), (position + len as u64).min(end));
                if from < to {
                    pieces += (to - from).div_ceil(u64::from(self.size_max));
                }
                position += len as u64;
            }
            pieces
        });
        blocks.max().unwrap_or(0)
    }
}

fn world() -> impl Strategy<Value = World> {
    let bits = [
        feature::INDIRECT_DESC,
        feature::EVENT_IDX,
        feature::FLUSH,
        feature::DISCARD,
        feature::WRITE_ZEROES,
        feature::SECURE_ERASE,
        feature::LIFETIME,
        feature::BLK_SIZE,
        feature::CONFIG_WCE,
        feature::SEG_MAX,
    ];
    let withdrawn =
        (0u8..4, 0u8..4, prop::sample::subsequence(bits[2..].to_vec(), 0..3)).prop_map(move |(a, b, more)| {
            let mut sum: u64 = more.into_iter().sum();
            if a % 2 == 0 {
                sum |= bits[0];
            }
            if b % 2 == 0 {
                sum |= bits[1];
            }
            sum
        });
    let order = prop_oneof![
        Just(CompletionOrder::InOrder),
        Just(CompletionOrder::Reverse),
        any::<u64>().prop_map(CompletionOrder::Shuffled),
    ];
    let service = prop_oneof![3 => Just(Service::Manual), 1 => Just(Service::OnNotify)];
    let limits = (
        prop::sample::select(vec![1u32, 2, 3, 7, 254]),
        prop::sample::select(vec![128u32, 511, 512, 1000, 4096, 1 << 20]),
        prop::sample::select(vec![512u32, 512, 1024, 4096]),
        prop::sample::select(vec![1u32, 3, 8, 10, 1 << 16]),
        prop::sample::select(vec![0u32, 1, 8, 64]),
        prop::bool::weighted(0.3),
    );
    let ring = (
        any::<bool>(),
        withdrawn,
        prop::sample::select(vec![4u32, 8, 16, 64]),
        order,
        (service, prop::sample::select(UsedLength::ALL.to_vec())),
        prop::bool::weighted(0.1),
    );
    (ring, limits).prop_map(
        |(
            (legacy, withdrawn, queue_size, order, (service, used_length), read_only),
            (seg_max, size_max, block_size, max_sectors, alignment, one_data_descriptor),
        )| World {
            legacy,
            // The device that takes one data descriptor does not say so.
            withdrawn: withdrawn | if one_data_descriptor { feature::SEG_MAX } else { 0 },
            one_data_descriptor,
            queue_size,
            seg_max,
            size_max,
            block_size,
            max_sectors,
            alignment,
            order,
            used_length,
            service,
            read_only,
        },
    )
}

/// Pieces that add up to whole sectors most of the time.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let piece = prop_oneof![
        4 => (1usize..9).prop_map(|n| n * 512),
        2 => 1usize..1500,
        1 => Just(0),
    ];
    (
        prop::collection::vec(piece, 0..8),
        prop::sample::select(vec![512usize, 4096, 4096, 1]),
    )
        .prop_map(|(mut lengths, unit)| {
            let total: usize = lengths.iter().sum();
            lengths.push(total.next_multiple_of(unit) - total);
            lengths
        })
}

fn step() -> impl Strategy<Value = TestOperation> {
    let kind = prop_oneof![
        6 => Just(Kind::Read),
        6 => Just(Kind::Write),
        1 => Just(Kind::Discard),
        2 => any::<bool>().prop_map(|may_unmap| Kind::Zeroes { may_unmap }),
        1 => Just(Kind::Erase),
        1 => Just(Kind::Flush),
        1 => Just(Kind::Identify),
        1 => Just(Kind::Lifetime),
    ];
    let first = prop_oneof![
        8 => (0u64..12).prop_map(|n| n * 8),
        6 => 0u64..CAPACITY,
        1 => CAPACITY - 4..CAPACITY + 4,
        1 => any::<u64>(),
        1 => u64::MAX - 3..=u64::MAX,
    ];
    let range_length = prop_oneof![3 => (0usize..4).prop_map(|n| n * 8), 1 => 0usize..30];
    (kind, first, lengths(), range_length, any::<bool>(), any::<bool>()).prop_map(
        |(kind, first, lengths, sectors, notify, poll)| TestOperation {
            lengths: if matches!(kind, Kind::Discard | Kind::Zeroes { .. } | Kind::Erase) {
                vec![512; sectors]
            } else {
                lengths
            },
            kind,
            first,
            notify,
            poll,
        },
    )
}

/// A run in progress.
struct Run<T: Transport + 'static> {
    rig: Rig<64, T>,
    reference: Reference,
    in_flight: Vec<(u32, TestOperation)>,
}

impl<T: Transport + 'static> Run<T> {
    fn request(&mut self, step: &TestOperation, seed: u64) -> Box<dyn FnOnce(u32) -> TestRequest> {
        let (first, sectors) = (step.first, step.lengths.len() as u64);
        match step.kind {
            Kind::Read => Box::new(self.rig.read_request(first, &step.lengths)),
            Kind::Write => {
                let content = pattern(seed, step.bytes() as usize);
                Box::new(self.rig.write_request(first, &content, &step.lengths))
            }
            Kind::Discard => Box::new(move |token| Request::discard(range(first, sectors), token)),
            Kind::Zeroes { may_unmap } => {
                Box::new(move |token| Request::write_zeroes(range(first, sectors), may_unmap, token))
            }
            Kind::Erase => Box::new(move |token| Request::secure_erase(range(first, sectors), token)),
            Kind::Flush => Box::new(Request::flush),
            Kind::Identify => Box::new(Request::identify),
            Kind::Lifetime => Box::new(Request::lifetime),
        }
    }

    /// Notes in the reference what a request that was taken will do.
    fn expect(&mut self, step: &TestOperation, seed: u64) {
        match step.kind {
            Kind::Write => self.reference.write(step.first, &pattern(seed, step.bytes() as usize)),
            Kind::Zeroes { .. } => self.reference.fill(step.first, step.sectors(), Some(vec![0; 512])),
            Kind::Discard | Kind::Erase => self.reference.fill(step.first, step.sectors(), None),
            Kind::Read | Kind::Flush | Kind::Identify | Kind::Lifetime => (),
        }
    }

    fn check(&mut self, outcome: TestCompletion) -> Result<(), TestCaseError> {
        let position = self.in_flight.iter().position(|(token, _)| *token == outcome.token);
        let (_, step) = self.in_flight.swap_remove(position.expect("one that is in_flight"));
        prop_assert_eq!(outcome.bytes, step.sectors() * 512);
        match (step.kind, outcome.result) {
            (Kind::Identify, Ok(Answer::Id(_))) | (Kind::Lifetime, Ok(Answer::Lifetime(_))) => (),
            (Kind::Identify | Kind::Lifetime, other) => prop_assert!(false, "{other:?}"),
            (_, result) => prop_assert_eq!(result, Ok(Answer::Done)),
        }
        if let Operation::Read(first) = outcome.operation {
            prop_assert!(
                self.reference.agrees(first.get(), &outcome.content),
                "read something else at {first}"
            );
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        for outcome in self.rig.settle() {
            self.check(outcome)?;
        }
        prop_assert!(self.in_flight.is_empty());
        Ok(())
    }

    fn step(&mut self, world: &World, step: &TestOperation, seed: u64) -> Result<(), TestCaseError> {
        // How many more the queue has room for is the driver's business.
        let max_segments = u64::from(self.rig.disk.limits().max_segments);
        prop_assert!(max_segments <= world.data_segments());
        let verdict = world.verdict(step, max_segments);
        if verdict.is_ok() && self.in_flight.iter().any(|(_, other)| step.overlaps(other)) {
            // The order of overlapping requests in flight is undefined.
            self.settle()?;
        }
        let mut taken = {
            let request = self.request(step, seed);
            self.rig.try_submit(request)
        };
        if taken == Err(SubmitError::QueueFull) {
            prop_assert!(!self.in_flight.is_empty(), "an empty queue is not full");
            prop_assert_eq!(verdict, Ok(()));
            self.settle()?;
            let request = self.request(step, seed);
            taken = self.rig.try_submit(request);
        }
        prop_assert_eq!(taken.map(|_| ()), verdict, "{:?}", step);
        if let Ok(token) = taken {
            self.expect(step, seed);
            self.in_flight.push((token, step.clone()));
        }
        if step.notify {
            self.rig.disk.notify();
        }
        if step.poll {
            self.rig.model.process(usize::MAX);
            let outcomes = self.rig.poll().expect("the device keeps to the rules");
            for outcome in outcomes {
                self.check(outcome)?;
            }
        }
        Ok(())
    }
}

/// Everything that should be on the disk is there.
fn same(model: &Model, reference: &Reference) -> bool {
    (0..CAPACITY).all(|sector| reference.agrees(sector, &model.read_disk(sector, 1)))
}

/// Runs `steps`, and looks at the disk.
fn check_steps<T: Transport + 'static>(
    rig: Rig<64, T>,
    world: &World,
    steps: &[TestOperation],
) -> Result<(), TestCaseError> {
    let mut run = Run {
        rig,
        reference: Reference::new(),
        in_flight: Vec::new(),
    };
    for (seed, step) in steps.iter().enumerate() {
        run.step(world, step, seed as u64 + 1)?;
    }
    run.settle()?;
    let model = run.rig.model.clone();
    run.rig.finish();
    prop_assert!(same(&model, &run.reference));
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        // Miri takes a minute for a few.
        ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { cases })
    }
}

proptest! {
    #![proptest_config(config(500))]

    // Shows INIT-D-21, LEG-D-29.
    #[test]
    fn the_disk_is_what_the_requests_made_of_it(
        world in world(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps(Rig::new(world.config()), &world, &steps)?;
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn the_disk_is_the_same_over_pci(
        world in world(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check_steps(Rig::on_pci(world.config()).0, &world, &steps)?;
    }
}
