//! The property of the driver's own tests, on devices that others wrote: any requests leave the disk as they would leave a list of
//! sectors, and a device that is killed among them takes nothing with it that it had answered.
//!
//! `FOREIGN_DEVICE` in the environment names the only device to use, `PROPTEST_CASES` says how many cases each gets.

#[path = "../../../virtio/blk/tests/common/buffers.rs"]
mod buffers;
mod devices;
#[allow(dead_code, reason = "each test uses its own part")]
#[path = "../../../virtio/blk/tests/common/steps.rs"]
mod steps;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use buffers::{Scatter, pattern};
use devices::{DAEMON, MMIO, MODEL, PCI, is_wanted};
use foreign_devices::device::{Daemon, Device, QemuMmio, QemuPci, SECTORS, Software};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use steps::{Kind, Reference, Rules, TestOperation, step};
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Completion, Disk, DiskOptions, IoError, Request, SectorRange, SubmitError};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_core::{Dma, PollLimit};

const CAPACITY: u64 = SECTORS as u64;

/// How long the device may answer nothing before its requests count as lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a failure may be made smaller. Each attempt may wait for a lost request.
const SHRINK: Duration = Duration::from_secs(60);

type TestDisk<D> = Disk<<D as Device>::Transport, Scatter, u32, 64>;

/// What the disk should hold, and the requests that are not answered, by their tokens.
struct Book<'r> {
    reference: &'r mut Reference,
    in_flight: Vec<(u32, TestOperation)>,
}

impl Book<'_> {
    /// A request came back.
    fn check(&mut self, done: Completion<Scatter, u32>, memory: &mut impl Dma) -> Result<(), TestCaseError> {
        let position = self.in_flight.iter().position(|(token, _)| *token == done.token);
        let Some(position) = position else {
            let text = format!("request {} was answered twice, or never made", done.token);
            return Err(TestCaseError::fail(text));
        };
        let (token, step) = self.in_flight.swap_remove(position);
        let found = done.buffer.as_ref().map(Scatter::content).unwrap_or_default();
        if let Some(buffer) = done.buffer {
            buffer.release(memory);
        }
        let (first, sectors) = (step.first, step.sectors());
        match (step.kind, done.result) {
            // The device was killed: it has done the request, or not, or a part of it.
            (Kind::Write | Kind::Zeroes { .. } | Kind::Discard | Kind::Erase, Err(IoError::Aborted)) => {
                self.reference.fill(first, sectors, None);
            }
            (_, Err(IoError::Aborted))
            | (Kind::Identify, Ok(Answer::Id(_)))
            | (Kind::Lifetime, Ok(Answer::Lifetime(_))) => {}
            (Kind::Identify | Kind::Lifetime, other) => prop_assert!(false, "{:?}: {:?}", step, other),
            (kind, result) => {
                prop_assert_eq!(result, Ok(Answer::Done), "{:?}", step);
                prop_assert_eq!(done.bytes, sectors * 512);
                match kind {
                    Kind::Read => {
                        let agrees = self.reference.agrees(first, &found);
                        prop_assert!(agrees, "read something else at {first}");
                    }
                    Kind::Write => self.reference.write(first, &content(&step, token)),
                    Kind::Zeroes { .. } => self.reference.fill(first, sectors, Some(vec![0; 512])),
                    Kind::Discard | Kind::Erase => self.reference.fill(first, sectors, None),
                    Kind::Flush | Kind::Identify | Kind::Lifetime => {}
                }
            }
        }
        Ok(())
    }
}

/// What a step writes.
fn content(step: &TestOperation, token: u32) -> Vec<u8> {
    pattern(u64::from(token), step.bytes() as usize)
}

/// A run of steps on a device.
struct Run<'r, D: Device> {
    disk: TestDisk<D>,
    memory: D::Memory,
    book: Book<'r>,
}

fn range(step: &TestOperation) -> SectorRange {
    SectorRange {
        first: Sector(step.first),
        sectors: step.lengths.len() as u64,
    }
}

impl<D: Device> Run<'_, D> {
    fn rules(&self) -> Rules {
        let limits = self.disk.limits();
        Rules {
            capacity: CAPACITY,
            block: u64::from(limits.block_bytes),
            read_only: false,
            max_segments: u64::from(limits.max_segments),
            size_max: u64::from(limits.max_segment_bytes),
            flush: limits.flush,
            lifetime: limits.lifetime,
            discard: limits.discard.is_some(),
            zeroes: limits.write_zeroes.is_some(),
            erase: limits.secure_erase.is_some(),
        }
    }

    fn request(&mut self, step: &TestOperation, token: u32) -> Request<Scatter, u32> {
        let mut buffer = || Scatter::new(&mut self.memory, &step.lengths);
        match step.kind {
            Kind::Read => Request::read(Sector(step.first), buffer(), token),
            Kind::Write => {
                let mut buffer = buffer();
                buffer.fill(&content(step, token));
                Request::write(Sector(step.first), buffer, token)
            }
            Kind::Discard => Request::discard(range(step), token),
            Kind::Zeroes { may_unmap } => Request::write_zeroes(range(step), may_unmap, token),
            Kind::Erase => Request::secure_erase(range(step), token),
            Kind::Flush => Request::flush(token),
            Kind::Identify => Request::identify(token),
            Kind::Lifetime => Request::lifetime(token),
        }
    }

    fn submit(&mut self, step: &TestOperation, token: u32) -> Result<(), SubmitError> {
        let request = self.request(step, token);
        self.disk.submit(request).map_err(|rejected| {
            let (buffer, returned) = rejected.request.into_parts();
            assert_eq!(returned, token);
            if let Some(buffer) = buffer {
                buffer.release(&mut self.memory);
            }
            rejected.error
        })
    }

    fn step(&mut self, step: &TestOperation, token: u32) -> Result<(), TestCaseError> {
        let verdict = self.rules().verdict(step);
        if verdict.is_ok() && self.book.in_flight.iter().any(|(_, other)| step.overlaps(other)) {
            // The order of overlapping requests in flight is undefined.
            self.settle()?;
        }
        let mut taken = self.submit(step, token);
        if taken == Err(SubmitError::QueueFull) {
            prop_assert!(!self.book.in_flight.is_empty(), "an empty queue is not full");
            self.settle()?;
            taken = self.submit(step, token);
        }
        prop_assert_eq!(taken, verdict, "{:?}", step);
        if taken.is_ok() {
            self.book.in_flight.push((token, step.clone()));
        }
        if step.notify {
            self.disk.notify();
        }
        if step.poll {
            self.poll()?;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<bool, TestCaseError> {
        let mut back = Vec::new();
        let polled = self.disk.poll(|done| back.push(done));
        prop_assert!(polled.is_ok(), "the device breaks the rules: {polled:?}");
        let found = !back.is_empty();
        back.into_iter()
            .try_for_each(|done| self.book.check(done, &mut self.memory))?;
        Ok(found)
    }

    /// Waits until every request is answered.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.disk.notify();
        let mut last = Instant::now();
        while !self.book.in_flight.is_empty() {
            if self.poll()? {
                last = Instant::now();
            }
            prop_assert!(
                last.elapsed() < PATIENCE,
                "{} requests are lost",
                self.book.in_flight.len()
            );
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// Makes the steps on a device from a start of it to its end, which is a kill among them or one after all were answered.
fn life<D: Device>(
    device: &mut D,
    reference: &mut Reference,
    first_token: u32,
    steps: &[TestOperation],
    is_killed: bool,
) -> Result<(), TestCaseError> {
    let mut memory = device.memory();
    let transport = device
        .connect()
        .map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
    let options = DiskOptions::default();
    let disk = TestDisk::<D>::start(transport, &mut memory, &options, &mut PollLimit::default());
    let disk = disk.map_err(|error| TestCaseError::fail(format!("the device does not start: {}", error.error)))?;
    let mut run = Run::<D> {
        disk,
        memory,
        book: Book {
            reference,
            in_flight: Vec::new(),
        },
    };
    for (token, step) in (first_token..).zip(steps) {
        run.step(step, token)?;
    }
    if is_killed {
        run.disk.notify();
        device.kill();
    } else {
        run.settle()?;
    }
    let Run {
        disk,
        mut memory,
        mut book,
    } = run;
    let mut back = Vec::new();
    let stopped = disk.shut_down(&mut memory, &mut PollLimit::default(), |done| back.push(done));
    let (transport, _) = stopped.map_err(|(error, _)| TestCaseError::fail(format!("no stop: {error}")))?;
    drop(transport);
    back.into_iter().try_for_each(|done| book.check(done, &mut memory))?;
    prop_assert!(book.in_flight.is_empty(), "{} requests are lost", book.in_flight.len());
    drop(memory);
    if !is_killed {
        device.kill();
    }
    let again = device.start_again();
    prop_assert!(again.is_ok(), "{again:?}");
    Ok(())
}

/// One device after the other on the same disk. Some are killed.
fn lives<D: Device>(device: D, cases: u32) -> Result<(), TestError<(Vec<TestOperation>, bool)>> {
    let steps = (prop::collection::vec(step(CAPACITY), 1..40), prop::bool::weighted(0.3));
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_time: SHRINK.as_millis() as u32,
        ..ProptestConfig::with_cases(cases)
    };
    let state = RefCell::new((device, Reference::new(CAPACITY), 1));
    TestRunner::new(config).run(&steps, |(steps, is_killed)| {
        let (device, reference, token) = &mut *state.borrow_mut();
        let first_token = *token;
        *token += steps.len() as u32;
        let lived = life(device, reference, first_token, &steps, is_killed);
        if lived.is_err() {
            // The next, shorter life knows nothing of this one.
            reference.forget();
            device.kill();
            device
                .start_again()
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        }
        lived
    })
}

fn holds(device: impl Device, cases: u32) {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(cases);
    if let Err(error) = lives(device, cases) {
        panic!("{error}");
    }
}

#[test]
fn any_requests_leave_the_disk_of_the_storage_daemon_right() {
    if is_wanted(DAEMON) {
        holds(Daemon::start().unwrap(), 60);
    }
}

#[test]
fn any_requests_leave_a_disk_of_qemu_over_mmio_right() {
    for (name, legacy) in MMIO.into_iter().zip([false, true]) {
        if is_wanted(name) {
            holds(QemuMmio::start(legacy).unwrap(), 10);
        }
    }
}

#[test]
fn any_requests_leave_a_disk_of_qemu_over_pci_right() {
    for (name, legacy) in PCI.into_iter().zip([false, true]) {
        if is_wanted(name) {
            holds(QemuPci::start(legacy).unwrap(), 10);
        }
    }
}

#[test]
fn any_requests_leave_the_disk_of_the_model_right() {
    if is_wanted(MODEL) {
        holds(Software::new(FaultScript::new()), 100);
    }
}

#[test]
fn requests_that_are_answered_and_not_done_are_found() {
    if is_wanted(MODEL) {
        let script = (2..200).fold(FaultScript::new(), |script, nth| script.at(nth, FaultKind::Status(0)));
        let error = lives(Software::new(script), 60).unwrap_err().to_string();
        assert!(error.contains("read something else"), "{error}");
    }
}

#[test]
fn a_request_that_is_answered_twice_is_found() {
    if is_wanted(MODEL) {
        // In a device that is killed, or has no third request, no poll reads the second answer. Others of the 60 do.
        let script = FaultScript::new().at(2, FaultKind::Twice);
        let error = lives(Software::new(script), 60).unwrap_err().to_string();
        assert!(error.contains("breaks the rules"), "{error}");
    }
}
