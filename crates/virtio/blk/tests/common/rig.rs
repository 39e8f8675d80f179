//! A device, the driver on it, and a list of what is owed to whom.

use std::collections::BTreeSet;

use virtio_blk::proto::Sector;
use virtio_blk::{
    Answer, Completion, Counters, Disk, Interrupt, IoError, Operation, Options, Request, SectorRange, StartError,
    SubmitError,
};
use virtio_blk_model::{Model, ModelConfig, ModelDma};
use virtio_core::DmaSegments;
use virtio_mmio::MmioTransport;
use virtqueue::DeviceFault;

use super::{Hooked, Scatter, pattern};

pub(crate) type TestTransport = MmioTransport<Hooked>;
pub(crate) type TestDisk<const N: usize> = Disk<TestTransport, Scatter, u32, N>;
pub(crate) type TestRequest = Request<Scatter, u32>;

/// `sectors` sectors from `first` on.
pub(crate) fn range(first: u64, sectors: u64) -> SectorRange {
    SectorRange {
        first: Sector(first),
        sectors,
    }
}

/// A request that is over, its buffer already given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) owner: u32,
    pub(crate) operation: Operation,
    pub(crate) bytes: u64,
    pub(crate) result: Result<Answer, IoError>,
    /// What was in the buffer.
    pub(crate) content: Vec<u8>,
}

/// Who waits for a request, and the memory the buffers come from.
struct Ledger {
    dma: ModelDma,
    next_owner: u32,
    waiting: BTreeSet<u32>,
    settled: u64,
}

impl Ledger {
    fn settle(&mut self, completion: Completion<Scatter, u32>) -> Outcome {
        let Completion {
            operation,
            buffer,
            owner,
            bytes,
            result,
        } = completion;
        assert!(self.waiting.remove(&owner), "owner {owner} came back without being out");
        self.settled += 1;
        let content = buffer.as_ref().map(Scatter::content).unwrap_or_default();
        if let Some(buffer) = buffer {
            buffer.release(&mut self.dma);
        }
        Outcome {
            owner,
            operation,
            bytes,
            result,
            content,
        }
    }
}

/// The whole arrangement, with a queue of at most `N` descriptors.
pub(crate) struct Rig<const N: usize> {
    pub(crate) model: Model,
    pub(crate) registers: Hooked,
    pub(crate) disk: TestDisk<N>,
    ledger: Ledger,
}

impl<const N: usize> Rig<N> {
    /// A live device.
    pub(crate) fn new(config: ModelConfig) -> Self {
        Self::with(config, &Options::default())
    }

    /// A live device, started with `options`.
    pub(crate) fn with(config: ModelConfig, options: &Options) -> Self {
        let model = Model::new(config);
        let transport = Self::probe(&model);
        Self::on(model, transport, options).unwrap_or_else(|error| panic!("bring-up failed: {error}"))
    }

    /// The transport of a device nobody has touched.
    pub(crate) fn probe(model: &Model) -> TestTransport {
        let registers = Hooked::new(model.registers());
        virtio_mmio::probe(registers)
            .device()
            .expect("the model shows a device")
    }

    /// Starts the device behind a transport.
    pub(crate) fn on(
        model: Model,
        transport: TestTransport,
        options: &Options,
    ) -> Result<Self, StartError<TestTransport>> {
        let mut dma = model.dma();
        let registers = transport.access().clone();
        let disk = TestDisk::<N>::start(transport, &mut dma, options)?;
        let ledger = Ledger {
            dma,
            next_owner: 100,
            waiting: BTreeSet::new(),
            settled: 0,
        };
        Ok(Self {
            model,
            registers,
            disk,
            ledger,
        })
    }

    /// A buffer in pieces of these lengths.
    pub(crate) fn buffer(&mut self, lengths: &[usize]) -> Scatter {
        Scatter::new(&mut self.ledger.dma, lengths)
    }

    /// A request to read into pieces of these lengths.
    pub(crate) fn read_request(&mut self, first: u64, lengths: &[usize]) -> impl FnOnce(u32) -> TestRequest + use<N> {
        let buffer = self.buffer(lengths);
        move |owner| Request::read(Sector(first), buffer, owner)
    }

    /// A request to write `content` from pieces of these lengths.
    pub(crate) fn write_request(
        &mut self,
        first: u64,
        content: &[u8],
        lengths: &[usize],
    ) -> impl FnOnce(u32) -> TestRequest + use<N> {
        let mut buffer = self.buffer(lengths);
        buffer.fill(content);
        move |owner| Request::write(Sector(first), buffer, owner)
    }

    fn new_owner(&mut self) -> u32 {
        self.ledger.next_owner += 1;
        self.ledger.next_owner
    }

    /// Submits, if the driver will take it. Otherwise makes sure that the request came back whole.
    pub(crate) fn try_submit(&mut self, make: impl FnOnce(u32) -> TestRequest) -> Result<u32, SubmitError> {
        let owner = self.new_owner();
        let request = make(owner);
        let operation = request.operation();
        let before = (*self.disk.counters(), self.disk.queue().ring_state());
        match self.disk.submit(request) {
            Ok(()) => {
                self.ledger.waiting.insert(owner);
                Ok(owner)
            }
            Err(rejected) => {
                let after = (*self.disk.counters(), self.disk.queue().ring_state());
                assert_eq!(after.0.device_requests, before.0.device_requests);
                let full = u64::from(rejected.error == SubmitError::QueueFull);
                assert_eq!(after.0.queue_full, before.0.queue_full + full);
                assert_eq!(after.1, before.1, "the ring is as before");
                assert_eq!(rejected.request.operation(), operation);
                let (buffer, returned) = rejected.request.into_parts();
                assert_eq!(returned, owner);
                let needs_buffer = matches!(
                    operation,
                    Operation::Read(_) | Operation::Write(_) | Operation::Append(_) | Operation::ReportZones(_)
                );
                assert_eq!(buffer.is_some(), needs_buffer);
                if let Some(buffer) = buffer {
                    buffer.release(&mut self.ledger.dma);
                }
                Err(rejected.error)
            }
        }
    }

    /// Submits; the owner.
    pub(crate) fn submit(&mut self, make: impl FnOnce(u32) -> TestRequest) -> u32 {
        self.try_submit(make).expect("the request is taken")
    }

    /// Polls once.
    pub(crate) fn poll(&mut self) -> Result<Vec<Outcome>, DeviceFault> {
        let (disk, ledger) = (&mut self.disk, &mut self.ledger);
        let mut outcomes = Vec::new();
        let count = disk.poll(|completion| outcomes.push(ledger.settle(completion)));
        count.map(|count| {
            assert_eq!(count as usize, outcomes.len());
            outcomes
        })
    }

    /// Polls once and asks for interrupts.
    pub(crate) fn drain(&mut self) -> Result<Vec<Outcome>, DeviceFault> {
        let (disk, ledger) = (&mut self.disk, &mut self.ledger);
        let mut outcomes = Vec::new();
        let count = disk.drain(|completion| outcomes.push(ledger.settle(completion)));
        count.map(|count| {
            assert_eq!(count as usize, outcomes.len());
            outcomes
        })
    }

    /// Follows up an interrupt.
    pub(crate) fn interrupt(&mut self) -> Result<(Interrupt, Vec<Outcome>), DeviceFault> {
        let (disk, ledger) = (&mut self.disk, &mut self.ledger);
        let mut outcomes = Vec::new();
        let seen = disk.on_interrupt(|completion| outcomes.push(ledger.settle(completion)));
        seen.map(|seen| {
            assert_eq!(seen.completions as usize, outcomes.len());
            (seen, outcomes)
        })
    }

    /// Takes note of a completion that was received elsewhere.
    pub(crate) fn keep(&mut self, completion: Completion<Scatter, u32>) -> Outcome {
        self.ledger.settle(completion)
    }

    /// Notifies, lets the device work and polls until nothing is in flight.
    pub(crate) fn settle(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.disk.notify();
        for _ in 0..2_000 {
            if self.disk.queue().in_flight() == 0 {
                assert!(self.ledger.waiting.is_empty(), "an owner was forgotten");
                return outcomes;
            }
            self.model.expect_notified();
            self.model.process(usize::MAX);
            outcomes.extend(self.poll().expect("the device keeps to the rules"));
        }
        panic!("requests that never end: {:?}", self.disk);
    }

    /// One request from beginning to end.
    pub(crate) fn run(&mut self, make: impl FnOnce(u32) -> TestRequest) -> Outcome {
        let owner = self.submit(make);
        let mut outcomes = self.settle();
        assert_eq!(outcomes.len(), 1, "one request, one completion");
        let outcome = outcomes.remove(0);
        assert_eq!(outcome.owner, owner);
        outcome
    }

    /// One request that goes well; its answer.
    pub(crate) fn good(&mut self, make: impl FnOnce(u32) -> TestRequest) -> Answer {
        self.run(make).result.expect("the request goes well")
    }

    /// Writes `content` from one piece.
    pub(crate) fn write(&mut self, first: u64, content: &[u8]) {
        self.write_from(first, content, &[content.len()]);
    }

    /// Writes `content` from pieces of these lengths.
    pub(crate) fn write_from(&mut self, first: u64, content: &[u8], lengths: &[usize]) {
        let request = self.write_request(first, content, lengths);
        let outcome = self.run(request);
        assert_eq!(outcome.result, Ok(Answer::Done));
        assert_eq!(outcome.bytes, content.len() as u64);
        assert_eq!(outcome.content, content, "a write leaves its buffer alone");
    }

    /// Reads into one piece.
    pub(crate) fn read(&mut self, first: u64, bytes: usize) -> Vec<u8> {
        self.read_into(first, &[bytes])
    }

    /// Reads into pieces of these lengths.
    pub(crate) fn read_into(&mut self, first: u64, lengths: &[usize]) -> Vec<u8> {
        let request = self.read_request(first, lengths);
        let outcome = self.run(request);
        assert_eq!(outcome.result, Ok(Answer::Done));
        assert_eq!(outcome.bytes, outcome.content.len() as u64);
        outcome.content
    }

    /// Shows that the disk works.
    pub(crate) fn works(&mut self) {
        let content = pattern(7, 1024);
        if !self.disk.limits().read_only {
            self.write(8, &content);
            assert_eq!(self.model.read_disk(8, 2), content);
        }
        self.model.write_disk(9, &content[..512]);
        assert_eq!(self.read(9, 512), content[..512]);
    }

    /// A request the driver refuses; nothing of it reaches the device.
    pub(crate) fn refused(&mut self, make: impl FnOnce(u32) -> TestRequest) -> SubmitError {
        let chains = self.model.counters().chains;
        let error = self.try_submit(make).expect_err("the request is refused");
        assert!(!self.disk.notify(), "nothing to notify of");
        assert_eq!(self.model.process(usize::MAX), 0, "nothing to do for the device");
        assert_eq!(self.model.counters().chains, chains);
        error
    }

    /// Shuts down with requests in flight. Returns the transport, the counters and what was aborted.
    pub(crate) fn abandon(self) -> (TestTransport, Counters, Vec<Outcome>) {
        let Self {
            model,
            disk,
            mut ledger,
            ..
        } = self;
        let mut outcomes = Vec::new();
        let mut dma = model.dma();
        let (transport, counters) = disk
            .shut_down(&mut dma, |completion| outcomes.push(ledger.settle(completion)))
            .map_err(|(timeout, _)| timeout)
            .expect("the device resets");
        assert!(ledger.waiting.is_empty(), "owners were lost: {:?}", ledger.waiting);
        assert_eq!(model.allocations(), 0, "memory was lost");
        let kinds = virtio_blk::OperationKind::ALL.iter();
        let operations: u64 = kinds.map(|&kind| counters.of(kind).operations).sum();
        assert_eq!(operations, ledger.settled, "every request that was taken is counted");
        (transport, counters, outcomes)
    }

    /// Shuts down with nothing in flight; the driver has kept to all rules and returned all memory.
    pub(crate) fn finish(self) -> Counters {
        let model = self.model.clone();
        let (_, counters, aborted) = self.abandon();
        assert_eq!(aborted, [], "nothing was in flight");
        model.assert_clean();
        counters
    }
}
