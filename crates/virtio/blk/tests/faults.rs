//! A device that misbehaves: the right error, no panic, nothing lost, and a fresh start on the same transport.

mod common;

use common::{Rig, TestCompletion, every_ring, pattern, range};
use proptest::prelude::*;
use virtio_blk::proto::StatusError;
use virtio_blk::{Answer, DeviceFault, DiskOptions, IoError, OperationKind, Request, SubmitError};
use virtio_blk_model::faults::{FaultKind, FaultScript, NoFaults};
use virtio_blk_model::{CompletionOrder, ModelConfig, feature};
use virtio_core::{DeviceStatus, Features, InterruptSource};

/// Shuts down, starts again, and shows that the disk works. Returns what was aborted. `lied`: the device has returned
/// other requests than it has served.
fn starts_again<const N: usize>(rig: Rig<N>, lied: bool) -> Vec<TestCompletion> {
    let model = rig.model.clone();
    let (transport, _, aborted) = rig.abandon();
    assert!(aborted.iter().all(|outcome| outcome.result.is_err()));
    model.set_fault(NoFaults);
    // The model takes the consequences of its own lies for violations of the driver.
    let consequences = ["RING-N-14", "INIT-D-21", "INIT-D-22", "FEAT-D-15"];
    let wrong = model.take_violations();
    assert!(
        wrong.is_empty() || lied && wrong.iter().all(|violation| consequences.contains(&violation.id)),
        "{wrong:?}"
    );
    let mut rig = Rig::<N>::on(model, transport, &DiskOptions::default()).expect("the device comes up again");
    let content = pattern(99, 1024);
    rig.write(30, &content);
    assert_eq!(rig.read(30, 1024), content);
    rig.finish();
    aborted
}

/// One request that meets `fault`: how it ends.
fn end_of(
    config: ModelConfig,
    fault: FaultKind,
    make: impl FnOnce(&mut Rig<16>) -> u32,
) -> Result<Result<Answer, IoError>, DeviceFault> {
    let mut rig = Rig::<16>::new(config);
    rig.model.set_fault(FaultScript::new().at(0, fault));
    let token = make(&mut rig);
    rig.serve();
    let end = rig.poll();
    match end {
        Ok(outcomes) => {
            assert_eq!(outcomes.len(), 1);
            assert_eq!(outcomes[0].token, token);
            let result = outcomes[0].result;
            let errors = u64::from(result.is_err());
            let of = rig.disk.counters().queue.of(outcomes[0].operation.kind());
            assert_eq!((of.operations, of.errors), (1, errors));
            assert_eq!(rig.disk.counters().queue.faults, 0);
            // No restart is needed.
            rig.write(0, &pattern(5, 512));
            rig.finish();
            Ok(result)
        }
        Err(fault) => {
            broken_for_good(&mut rig, fault);
            assert_eq!(starts_again(rig, true)[0].token, token);
            Err(fault)
        }
    }
}

/// After a fault nothing is taken, nothing is told, and the answer stays the same.
fn broken_for_good<const N: usize>(rig: &mut Rig<N>, fault: DeviceFault) {
    assert_eq!(rig.disk.queue().fault(), Some(fault));
    assert_eq!(rig.try_submit_read(0, &[512]), Err(SubmitError::Broken(fault)));
    let notifies = rig.model.counters().notifies;
    assert!(!rig.disk.notify());
    assert_eq!(rig.poll(), Err(fault));
    assert_eq!(rig.drain(), Err(fault));
    assert_eq!(rig.interrupt().err(), Some(fault));
    assert_eq!(rig.model.counters().notifies, notifies);
    assert_eq!(rig.disk.counters().queue.faults, 1, "it happened once");
    assert_eq!(rig.disk.counters().interrupts.spurious, 0);
    let dump = rig.disk.dump().to_string();
    assert!(dump.contains(&fault.to_string()), "{dump}");
}

fn read(rig: &mut Rig<16>) -> u32 {
    rig.submit_read(0, &[512])
}

fn write(rig: &mut Rig<16>) -> u32 {
    rig.submit_write(0, &pattern(1, 512), &[512])
}

fn identify(rig: &mut Rig<16>) -> u32 {
    rig.submit(Request::identify)
}

fn lifetime(rig: &mut Rig<16>) -> u32 {
    rig.submit(Request::lifetime)
}

#[test]
fn every_status_has_its_error() {
    every_ring(|config| {
        for status in (0..=u8::MAX).step_by(if cfg!(miri) { 51 } else { 1 }) {
            let expected = match status {
                0 => Ok(Answer::Done),
                1 => Err(StatusError::Io),
                2 => Err(StatusError::Unsupported),
                3 => Err(StatusError::ZoneInvalidCommand),
                4 => Err(StatusError::ZoneUnalignedWritePointer),
                5 => Err(StatusError::ZoneOpenResource),
                6 => Err(StatusError::ZoneActiveResource),
                0xFF => Err(StatusError::NotWritten),
                _ => Err(StatusError::Unknown(status)),
            };
            let end = end_of(config.clone(), FaultKind::Status(status), write);
            assert_eq!(end, Ok(expected.map_err(IoError::Device)), "status {status}");
        }
    });
}

#[test]
fn a_status_that_was_not_written_is_no_success() {
    every_ring(|config| {
        let not_written = Ok(Err(IoError::Device(StatusError::NotWritten)));
        for request in [read, write, identify] {
            assert_eq!(end_of(config.clone(), FaultKind::NoStatus, request), not_written);
        }
        let range = |rig: &mut Rig<16>| rig.submit(|token| Request::write_zeroes(range(0, 1), false, token));
        assert_eq!(end_of(config.clone(), FaultKind::NoStatus, range), not_written);
        // Not even in a slot where the last request went well.
        let mut rig = Rig::<16>::new(config);
        rig.model.set_fault(FaultScript::new().at(1, FaultKind::NoStatus));
        rig.write(0, &pattern(1, 512));
        let again = rig.run(Request::flush);
        assert_eq!(again.result, Err(IoError::Device(StatusError::NotWritten)));
        rig.finish();
    });
}

#[test]
fn lengths_decide_nothing() {
    every_ring(|config| {
        let config = config.offer(feature::LIFETIME);
        for fault in [0, 1, 6, 20, 511, 512, 513, 514, 1024, u32::MAX].map(FaultKind::UsedLen) {
            for request in [read, write, identify, lifetime] {
                let end = end_of(config.clone(), fault, request);
                assert!(matches!(end, Ok(Ok(_))), "{fault:?}: {end:?}");
            }
        }
    });
}

#[test]
fn ids_that_are_not_in_flight_stop_the_queue() {
    every_ring(|config| {
        for id in [16, 17, 1 << 16, u32::MAX] {
            let end = end_of(config.clone(), FaultKind::UsedId(id), read);
            assert_eq!(end, Err(DeviceFault::IdOutOfRange { id }));
        }
        for id in [1, 2, 15] {
            // In the middle of a chain, or nowhere.
            let end = end_of(config.clone(), FaultKind::UsedId(id), read);
            assert_eq!(end, Err(DeviceFault::NotInFlight { id }));
        }
    });
}

#[test]
fn an_index_that_runs_ahead_stops_the_queue() {
    every_ring(|config| {
        for step in [1, 2, 15, 0x7FFF, 0x8000, 0xFFFE] {
            let end = end_of(config.clone(), FaultKind::IndexJump(step), read);
            let index = 1_u16.wrapping_add(step);
            assert_eq!(end, Err(DeviceFault::IndexJump { index, outstanding: 1 }));
        }
    });
}

#[test]
fn a_request_returned_in_place_of_another_fails() {
    every_ring(|config| {
        let indirect = config.offered.contains(Features::INDIRECT_DESC);
        let mut rig = Rig::<16>::new(config);
        let first = read(&mut rig);
        let second = read(&mut rig);
        let head_of_second = if indirect { 1 } else { 3 };
        rig.model
            .set_fault(FaultScript::new().at(0, FaultKind::UsedId(head_of_second)));
        rig.disk.notify();
        rig.model.process(1);
        let outcomes = rig.poll().unwrap();
        assert_eq!(outcomes[0].token, second);
        // The status byte shows that it was never carried out.
        assert_eq!(outcomes[0].result, Err(IoError::Device(StatusError::NotWritten)));
        rig.model.process(1);
        let id = head_of_second;
        assert_eq!(rig.poll(), Err(DeviceFault::NotInFlight { id }));
        let aborted = starts_again(rig, true);
        assert_eq!(aborted.len(), 1);
        assert_eq!(aborted[0].token, first);
    });
}

#[test]
fn a_request_returned_twice_is_completed_once() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.model.set_fault(FaultScript::new().at(0, FaultKind::Twice));
        let first = read(&mut rig);
        let second = read(&mut rig);
        rig.disk.notify();
        rig.model.process(1);
        let (disk_fault, mut completions) = (DeviceFault::NotInFlight { id: 0 }, Vec::new());
        let end = rig.disk.poll(|completion| completions.push(completion));
        assert_eq!(end, Err(disk_fault));
        assert_eq!(completions.len(), 1);
        let outcome = rig.keep(completions.remove(0));
        assert_eq!((outcome.token, outcome.result), (first, Ok(Answer::Done)));
        broken_for_good(&mut rig, disk_fault);
        let aborted = starts_again(rig, true);
        assert_eq!((aborted.len(), aborted[0].token), (1, second));
    });
}

#[test]
fn a_lost_request_is_aborted_by_the_shutdown() {
    every_ring(|config| {
        for late in [false, true] {
            let mut rig = Rig::<16>::new(config.clone());
            rig.model.set_fault(FaultScript::new().at(1, FaultKind::Lost));
            let tokens: Vec<u32> = (0..4).map(|n| rig.submit_write(n, &pattern(n, 512), &[512])).collect();
            rig.serve();
            let outcomes = rig.poll().unwrap();
            let back: Vec<u32> = outcomes.iter().map(|outcome| outcome.token).collect();
            assert_eq!(back, [tokens[0], tokens[2], tokens[3]]);
            assert_eq!(rig.disk.queue().in_flight(), 1);
            if late {
                rig.model.complete_held();
                assert_eq!(rig.poll().unwrap()[0].token, tokens[1]);
                assert_eq!(rig.model.read_disk(1, 1), pattern(1, 512));
            }
            let aborted = starts_again(rig, false);
            assert_eq!(aborted.len(), usize::from(!late));
        }
    });
}

// Shows INIT-D-04.
#[test]
fn a_breakdown_is_reported_and_survived() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        rig.model.set_fault(FaultScript::new().at(1, FaultKind::BreakDown));
        let tokens: Vec<u32> = (0..3).map(|_| read(&mut rig)).collect();
        rig.serve();
        assert!(rig.model.status().contains(DeviceStatus::DEVICE_NEEDS_RESET));
        let (seen, outcomes) = rig.interrupt().unwrap();
        assert!(seen.config.unwrap().needs_reset);
        assert_eq!(outcomes[0].token, tokens[0]);
        let aborted = starts_again(rig, false);
        let mut back: Vec<u32> = aborted.iter().map(|outcome| outcome.token).collect();
        back.sort_unstable();
        assert_eq!(back, tokens[1..]);
        assert!(aborted.iter().all(|outcome| outcome.result == Err(IoError::Aborted)));
    });
}

#[test]
fn missing_and_superfluous_interrupts_do_no_harm() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        rig.drain().unwrap();
        let script = FaultScript::new()
            .at(0, FaultKind::NoInterrupt)
            .at(1, FaultKind::ForcedInterrupt);
        rig.model.set_fault(script);
        read(&mut rig);
        rig.serve();
        assert!(!rig.model.interrupt_line());
        assert_eq!(rig.poll().unwrap().len(), 1, "polling finds it");
        read(&mut rig);
        rig.serve();
        assert_eq!(rig.poll().unwrap().len(), 1);
        assert!(rig.model.interrupt_line());
        assert_eq!(rig.interrupt().unwrap().0.completions, 0);
        assert_eq!(rig.finish().interrupts.spurious, 1);
    });
}

#[test]
fn an_error_in_the_middle_of_a_transfer_ends_it_once() {
    every_ring(|config| {
        for (queue_size_max, sent, good) in [(64, 8, 7), (4, 4, 3)] {
            let config = ModelConfig {
                queue_size_max,
                size_max: 512,
                seg_max: 1,
                ..config.clone().withdraw(feature::INDIRECT_DESC).offer(feature::SIZE_MAX)
            };
            for order in [CompletionOrder::InOrder, CompletionOrder::Reverse] {
                let mut rig = Rig::<64>::new(ModelConfig {
                    order,
                    ..config.clone()
                });
                rig.model.set_fault(FaultScript::new().at(3, FaultKind::Status(1)));
                let outcome = rig.run_read(0, &[8 * 512]);
                assert_eq!(outcome.result, Err(IoError::Device(StatusError::Io)));
                assert_eq!(outcome.bytes, good * 512, "what succeeded is told");
                let of = rig.disk.counters().queue.of(OperationKind::Read);
                assert_eq!((of.operations, of.bytes, of.errors), (1, good * 512, 1));
                assert_eq!(rig.disk.counters().queue.device_requests, sent);
                rig.write(0, &pattern(2, 512));
                rig.finish();
            }
        }
    });
}

#[test]
fn the_first_of_several_errors_is_told() {
    let config = ModelConfig {
        size_max: 512,
        seg_max: 1,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let mut rig = Rig::<64>::new(config);
    let script = FaultScript::new()
        .at(1, FaultKind::Status(2))
        .at(2, FaultKind::Status(1))
        .at(3, FaultKind::NoStatus);
    rig.model.set_fault(script);
    let outcome = rig.run_read(0, &[4 * 512]);
    assert_eq!(outcome.result, Err(IoError::Device(StatusError::Unsupported)));
    assert_eq!(outcome.bytes, 512);
    rig.finish();
}

#[test]
fn a_fault_while_parts_wait_loses_nothing() {
    every_ring(|config| {
        let config = ModelConfig {
            queue_size_max: 4,
            size_max: 512,
            seg_max: 1,
            ..config.offer(feature::SIZE_MAX)
        };
        let mut rig = Rig::<4>::new(config);
        rig.model.set_fault(FaultScript::new().at(2, FaultKind::UsedId(99)));
        let token = rig.submit_write(0, &pattern(1, 8 * 512), &[8 * 512]);
        rig.disk.notify();
        let fault = loop {
            rig.model.process(1);
            match rig.poll() {
                Ok(outcomes) => assert_eq!(outcomes, []),
                Err(fault) => break fault,
            }
        };
        broken_for_good(&mut rig, fault);
        let aborted = starts_again(rig, true);
        assert_eq!((aborted.len(), aborted[0].token), (1, token));
        assert_eq!((aborted[0].bytes, aborted[0].result), (1024, Err(IoError::Aborted)));
    });
}

fn any_fault() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        any::<u8>().prop_map(FaultKind::Status),
        Just(FaultKind::NoStatus),
        Just(FaultKind::Lost),
        (0u32..20).prop_map(FaultKind::UsedId),
        any::<u32>().prop_map(FaultKind::UsedId),
        (0u32..2000).prop_map(FaultKind::UsedLen),
        any::<u32>().prop_map(FaultKind::UsedLen),
        Just(FaultKind::LenTooLong),
        Just(FaultKind::Twice),
        (0u16..20).prop_map(FaultKind::IndexJump),
        any::<u16>().prop_map(FaultKind::IndexJump),
        Just(FaultKind::NoInterrupt),
        Just(FaultKind::ForcedInterrupt),
        Just(FaultKind::BreakDown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 300 }) })]

    #[test]
    fn no_request_is_lost_under_any_faults(
        faults in prop::collection::vec((0u64..24, any_fault()), 1..6),
        legacy in any::<bool>(),
        withdrawn in prop::sample::select(vec![0, feature::INDIRECT_DESC, feature::EVENT_IDX]),
        queue_size_max in prop::sample::select(vec![4u32, 8, 16]),
        sizes in prop::collection::vec(1usize..12, 1..10),
        seed in any::<u64>(),
    ) {
        let base = if legacy { ModelConfig::legacy() } else { ModelConfig::modern() };
        let config = ModelConfig {
            queue_size_max,
            size_max: 512,
            seg_max: 2,
            order: CompletionOrder::Shuffled(seed),
            ..base.withdraw(withdrawn).offer(feature::SIZE_MAX)
        };
        let mut rig = Rig::<16>::new(config);
        let script = faults.into_iter().fold(FaultScript::new(), |script, (at, kind)| script.at(at, kind));
        rig.model.set_fault(script);
        for (n, sectors) in sizes.into_iter().enumerate() {
            let request = rig.read_request(n as u64, &[sectors * 512]);
            if let Err(error) = rig.try_submit(request) {
                prop_assert!(matches!(error, SubmitError::QueueFull | SubmitError::Broken(_)));
            }
            rig.serve();
            // Completions that come before a fault in the same call count as well.
            let mut completions = Vec::new();
            let end = if n % 2 == 0 {
                rig.disk.on_interrupt(InterruptSource::Line, |completion| completions.push(completion)).map(|_| ())
            } else {
                rig.disk.poll(|completion| completions.push(completion)).map(|_| ())
            };
            prop_assert_eq!(end.err(), rig.disk.queue().fault());
            for completion in completions {
                rig.keep(completion);
            }
        }
        starts_again(rig, true);
    }
}
