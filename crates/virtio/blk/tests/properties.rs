//! Any requests on any device against a disk that is a list of sectors.

mod common;

use common::steps::{Kind, Reference, Rules, TestOperation, step};
use common::{Rig, TestCompletion, TestRequest, pattern, range};
use proptest::prelude::*;
use virtio_blk::{Answer, Operation, Request, SubmitError};
use virtio_blk_model::{CompletionOrder, Limits, Model, ModelConfig, Service, UsedLength, feature};
use virtio_core::Transport;

const CAPACITY: u64 = 96;

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

    /// The rules of the device, with as many segments as the driver says.
    fn rules(&self, max_segments: u64) -> Rules {
        let block = if self.offers(feature::BLK_SIZE) {
            u64::from(self.block_size)
        } else {
            512
        };
        let ranges = u64::from(self.max_sectors) * 512 >= block;
        Rules {
            capacity: CAPACITY,
            block,
            read_only: self.read_only,
            max_segments,
            size_max: u64::from(self.size_max),
            flush: self.offers(feature::FLUSH),
            lifetime: self.offers(feature::LIFETIME),
            discard: ranges && self.offers(feature::DISCARD),
            zeroes: ranges && self.offers(feature::WRITE_ZEROES),
            erase: ranges && self.offers(feature::SECURE_ERASE),
        }
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
        let verdict = world.rules(max_segments).verdict(step);
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
        reference: Reference::new(CAPACITY),
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
        steps in prop::collection::vec(step(CAPACITY), 1..40),
    ) {
        check_steps(Rig::new(world.config()), &world, &steps)?;
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn the_disk_is_the_same_over_pci(
        world in world(),
        steps in prop::collection::vec(step(CAPACITY), 1..40),
    ) {
        check_steps(Rig::on_pci(world.config()).0, &world, &steps)?;
    }
}
