//! What comes back when a device is shut down with requests in it: which, how they ended, in which order, and again.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Access, Rig, Scatter, TestDisk, every_ring, narrow, pattern, range, register};
use proptest::prelude::*;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Completion, DiskOptions, IoError, Liveness, Request, SubmitError};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{CompletionOrder, Model, ModelConfig, ModelDma, UsedLength, feature};
use virtio_core::PollLimit;

type TestCompletion = Completion<Scatter, u32>;

/// Submits a read of one sector each; their tokens.
fn reads<const N: usize>(rig: &mut Rig<N>, sectors: core::ops::Range<u64>) -> Vec<u32> {
    sectors.map(|sector| rig.submit_read(sector, &[512])).collect()
}

#[test]
fn requests_finished_but_not_polled_keep_their_results() {
    every_ring(|config| {
        for order in [CompletionOrder::InOrder, CompletionOrder::Reverse] {
            for finished in [0, 3, 5] {
                let mut rig = Rig::<16>::new(ModelConfig {
                    order,
                    ..config.clone()
                });
                let content = pattern(8, 5 * 512);
                rig.model.write_disk(0, &content);
                let tokens = reads(&mut rig, 0..5);
                rig.disk.notify();
                rig.model.process(finished);
                let model = rig.model.clone();
                let (_, counters, outcomes) = rig.abandon();
                assert_eq!(outcomes.len(), 5);
                for (n, outcome) in outcomes.iter().enumerate() {
                    let sector = tokens.iter().position(|&token| token == outcome.token).unwrap();
                    let done = n < finished;
                    let expected = if done { Ok(Answer::Done) } else { Err(IoError::Aborted) };
                    assert_eq!(
                        (outcome.result, sector < finished),
                        (expected, done),
                        "{n} of {finished}"
                    );
                    if done {
                        assert_eq!(outcome.content, content[sector * 512..][..512]);
                    }
                }
                let errors = counters.queue.of(virtio_blk::OperationKind::Read).errors;
                assert_eq!(errors, 5 - finished as u64);
                model.assert_clean();
            }
        }
    });
}

#[test]
fn aborted_requests_come_back_in_order_of_submission() {
    every_ring(|config| {
        let mut rig = Rig::<32>::new(ModelConfig {
            order: CompletionOrder::Shuffled(3),
            ..config
        });
        // Free slots in another order than that of their numbers.
        for _ in 0..5 {
            reads(&mut rig, 0..7);
            rig.settle();
        }
        let mut tokens = reads(&mut rig, 0..4);
        rig.disk.notify();
        tokens.extend(reads(&mut rig, 4..7));
        let (_, _, aborted) = rig.abandon();
        let back: Vec<u32> = aborted.iter().map(|outcome| outcome.token).collect();
        assert_eq!(back, tokens);
    });
}

#[test]
fn a_transfer_of_which_parts_were_not_sent_is_aborted() {
    every_ring(|config| {
        let mut rig = Rig::<4>::new(narrow(config));
        rig.submit_write(0, &pattern(1, 8 * 512), &[8 * 512]);
        rig.disk.notify();
        let sent = rig.model.process(usize::MAX) as u64;
        assert!(sent < 8);
        let (_, _, aborted) = rig.abandon();
        assert_eq!((aborted.len(), aborted[0].result), (1, Err(IoError::Aborted)));
        assert_eq!(aborted[0].bytes, sent * 512, "what was written is told");
    });
}

#[test]
fn completions_before_a_lie_keep_their_results() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.model.set_fault(FaultScript::new().at(2, FaultKind::UsedId(77)));
        let tokens = reads(&mut rig, 0..5);
        rig.serve();
        let (_, counters, outcomes) = rig.abandon();
        let back: Vec<u32> = outcomes.iter().map(|outcome| outcome.token).collect();
        assert_eq!(back, tokens);
        for (n, outcome) in outcomes.iter().enumerate() {
            let expected = if n < 2 { Ok(Answer::Done) } else { Err(IoError::Aborted) };
            assert_eq!(outcome.result, expected);
        }
        assert_eq!(counters.queue.faults, 1);
    });
}

/// A disk, and everything it takes.
fn everything(dma: &mut ModelDma) -> Vec<Request<Scatter, u32>> {
    let written = |dma: &mut ModelDma, seed, lengths: &[usize]| {
        let mut buffer = Scatter::new(dma, lengths);
        buffer.fill(&pattern(seed, lengths.iter().sum()));
        buffer
    };
    vec![
        Request::write(Sector(3), written(dma, 1, &[512, 512]), 0),
        Request::flush(1),
        // The same sectors again: a caller that does not keep the order has the wrong content.
        Request::write(Sector(3), written(dma, 2, &[1024]), 2),
        Request::discard(range(20, 4), 3),
        Request::write_zeroes(range(4, 1), true, 4),
        Request::secure_erase(range(30, 2), 5),
        Request::identify(6),
        Request::lifetime(7),
        Request::read(Sector(3), Scatter::new(dma, &[700, 324]), 8),
    ]
}

#[test]
fn every_completion_makes_the_same_request_again() {
    let model = Model::new(ModelConfig::modern().offer(feature::SECURE_ERASE | feature::LIFETIME));
    let mut dma = model.dma();
    let transport = Rig::<32>::probe(&model);
    let mut disk =
        TestDisk::<32>::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default()).unwrap();
    let requests = everything(&mut dma);
    let operations: Vec<_> = requests.iter().map(Request::operation).collect();
    for request in requests {
        disk.submit(request).unwrap();
    }
    disk.notify();
    // The device does nothing, is reset, and gets the same once more.
    let mut aborted: Vec<TestCompletion> = Vec::new();
    let (transport, _) = disk
        .shut_down(&mut dma, &mut PollLimit::default(), |completion| {
            aborted.push(completion);
        })
        .map_err(|(timeout, _)| timeout)
        .unwrap();
    let mut disk =
        TestDisk::<32>::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default()).unwrap();
    for completion in aborted {
        assert_eq!(completion.result, Err(IoError::Aborted));
        disk.submit(completion.into_request()).unwrap();
    }
    disk.notify();
    model.process(usize::MAX);
    let mut back = Vec::new();
    disk.poll(|completion| {
        assert!(completion.result.is_ok(), "{completion:?}");
        back.push((completion.token, completion.operation));
        if let Some(buffer) = completion.buffer {
            if completion.token == 8 {
                assert_eq!(buffer.content(), [&pattern(2, 1024)[..512], &[0; 512]].concat());
            }
            buffer.release(&mut dma);
        }
    })
    .unwrap();
    let expected: Vec<_> = (0..).zip(operations).collect();
    assert_eq!(back, expected);
    disk.shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!())
        .map_err(|_| ())
        .unwrap();
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

#[test]
fn a_device_that_died_shows_in_one_register_read() {
    for (status, expected) in [
        (0x0F, Liveness::Live),
        (0x4F, Liveness::NeedsReset),
        (0x8F, Liveness::Failed),
        (0x00, Liveness::Reset),
        (0x0B, Liveness::Reset),
        // All bits are no end of the device, as long as other registers answer.
        (0xFF, Liveness::NeedsReset),
        (u32::MAX, Liveness::NeedsReset),
    ] {
        let mut rig = Rig::<16>::new(ModelConfig::modern());
        assert_eq!(rig.disk.liveness(), Liveness::Live);
        reads(&mut rig, 0..1);
        rig.disk.notify();
        let looks = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&looks);
        rig.registers.hook(move |access| {
            let is_status = access == Access::Read(register::STATUS);
            count.fetch_add(u32::from(is_status), Ordering::Relaxed);
            is_status.then_some(status)
        });
        // Polling alone does not tell.
        assert_eq!(rig.poll(), Ok(vec![]));
        assert_eq!(looks.load(Ordering::Relaxed), 0);
        assert_eq!(rig.disk.liveness(), expected);
        assert_eq!(rig.disk.liveness().is_live(), expected == Liveness::Live);
        assert_eq!(looks.load(Ordering::Relaxed), 2, "one read each");
        rig.registers.unhook();
        rig.settle();
        rig.finish();
    }
}

#[test]
fn a_device_that_is_gone_answers_no_register() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    rig.registers
        .hook(|access| matches!(access, Access::Read(_)).then_some(u32::MAX));
    assert_eq!(rig.disk.liveness(), Liveness::Gone);
    rig.registers.unhook();
    rig.settle();
    rig.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 }) })]

    /// Overlapping writes, served in order, with resets in between: what comes back aborted is submitted again as it comes,
    /// and in the end the disk is as if there had been no reset.
    #[test]
    fn requests_repeated_after_resets_leave_the_disk_as_without(
        one_part_at_a_time in any::<bool>(),
        used_length in prop::sample::select(UsedLength::ALL.to_vec()),
        steps in prop::collection::vec((0u64..8, 1usize..4, 0usize..4, any::<bool>(), prop::bool::weighted(0.2)), 1..40),
    ) {
        let config = ModelConfig { used_length, ..ModelConfig::modern() };
        let model = Model::new(if one_part_at_a_time { narrow(config) } else { config });
        let mut dma = model.dma();
        let mut disk = TestDisk::<16>::start(Rig::<16>::probe(&model), &mut dma, &DiskOptions::default(), &mut PollLimit::default()).unwrap();
        let mut expected = vec![0; 12 * 512];
        let mut queue = VecDeque::new();
        let (mut submitted, mut completed) = (0, 0);
        for (seed, (first, sectors, serve, poll, reset)) in steps.into_iter().enumerate() {
            let content = pattern(seed as u64 + 1, sectors * 512);
            expected[first as usize * 512..][..content.len()].copy_from_slice(&content);
            let mut buffer = Scatter::new(&mut dma, &[content.len()]);
            buffer.fill(&content);
            queue.push_back(Request::write(Sector(first), buffer, seed as u32));
            submitted += 1;
            completed += push(&mut disk, &mut queue, &model, serve, poll, &mut dma);
            if reset {
                let mut again = Vec::new();
                let (transport, _) = disk
                    .shut_down(&mut dma, &mut PollLimit::default(), |completion| match completion.result {
                        Ok(_) => {
                            completed += 1;
                            completion.buffer.unwrap().release(&mut model.dma());
                        }
                        Err(error) => {
                            assert_eq!(error, IoError::Aborted);
                            again.push(completion.into_request());
                        }
                    })
                    .map_err(|(timeout, _)| timeout)
                    .unwrap();
                disk = TestDisk::<16>::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default()).unwrap();
                for request in again.into_iter().rev() {
                    queue.push_front(request);
                }
            }
        }
        while completed < submitted {
            completed += push(&mut disk, &mut queue, &model, usize::MAX, true, &mut dma);
        }
        disk.shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!()).map_err(|_| ()).unwrap();
        prop_assert_eq!(model.allocations(), 0);
        prop_assert_eq!(model.read_disk(0, 12), expected);
        model.assert_clean();
    }
}

/// Submits as much as there is room for, lets the device serve some, and polls. Returns how many requests are over.
fn push(
    disk: &mut TestDisk<16>,
    queue: &mut VecDeque<Request<Scatter, u32>>,
    model: &Model,
    serve: usize,
    poll: bool,
    dma: &mut ModelDma,
) -> usize {
    while let Some(request) = queue.pop_front() {
        if let Err(rejected) = disk.submit(request) {
            assert_eq!(rejected.error, SubmitError::QueueFull);
            queue.push_front(rejected.request);
            break;
        }
    }
    disk.notify();
    model.process(serve);
    let mut over = 0;
    if poll {
        disk.poll(|completion| {
            assert_eq!(completion.result, Ok(Answer::Done));
            over += 1;
            completion.buffer.unwrap().release(dma);
        })
        .unwrap();
    }
    over
}
