//! A device, the driver on it, and a list of the requests in flight.

use std::collections::BTreeSet;

use virtio_blk::proto::Sector;
use virtio_blk::{
    Answer, Completion, Disk, DiskCounters, DiskOptions, Interrupt, IoError, Operation, Request, SectorRange,
    StartError, SubmitError,
};
use virtio_blk_model::{Model, ModelBar, ModelConfig, ModelDma, ModelFunction, PciForm};
use virtio_core::{DmaSegments, Interface, InterruptSource, PollLimit, Transport};
use virtio_mmio::MmioTransport;
use virtio_pci::{PciFunction, PciTransport};
use virtqueue::DeviceFault;

use super::{Hooked, Scatter, pattern};

pub(crate) type TestTransport = MmioTransport<Hooked>;
pub(crate) type TestPci = PciTransport<ModelFunction, ModelBar>;
pub(crate) type TestDisk<const N: usize, T = TestTransport> = Disk<T, Scatter, u32, N>;
pub(crate) type TestRequest = Request<Scatter, u32>;

/// `sectors` sectors from `first` on.
pub(crate) fn range(first: u64, sectors: u64) -> SectorRange {
    SectorRange {
        first: Sector(first),
        sectors,
    }
}

/// The default options but for `change`.
pub(crate) fn options(change: impl FnOnce(&mut DiskOptions)) -> DiskOptions {
    let mut options = DiskOptions::default();
    change(&mut options);
    options
}

/// A request that is over, its buffer released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestCompletion {
    pub(crate) token: u32,
    pub(crate) operation: Operation,
    pub(crate) bytes: u64,
    pub(crate) result: Result<Answer, IoError>,
    /// What was in the buffer.
    pub(crate) content: Vec<u8>,
}

/// Who waits for a request, and the memory the buffers come from.
struct Outstanding {
    dma: ModelDma,
    next_token: u32,
    waiting: BTreeSet<u32>,
    settled: u64,
}

impl Outstanding {
    fn settle(&mut self, completion: Completion<Scatter, u32>) -> TestCompletion {
        let Completion {
            operation,
            buffer,
            token,
            bytes,
            result,
        } = completion;
        assert!(self.waiting.remove(&token), "token {token} came back without being out");
        self.settled += 1;
        let content = buffer.as_ref().map(Scatter::content).unwrap_or_default();
        if let Some(buffer) = buffer {
            buffer.release(&mut self.dma);
        }
        TestCompletion {
            token,
            operation,
            bytes,
            result,
            content,
        }
    }
}

/// The whole arrangement, with a queue of at most `N` descriptors.
pub(crate) struct Rig<const N: usize, T: Transport = TestTransport> {
    pub(crate) model: Model,
    pub(crate) registers: Hooked,
    pub(crate) disk: TestDisk<N, T>,
    outstanding: Outstanding,
}

impl<const N: usize> Rig<N> {
    /// A live device.
    pub(crate) fn new(config: ModelConfig) -> Self {
        Self::with(config, &DiskOptions::default())
    }

    /// A live device, started with `options`.
    pub(crate) fn with(config: ModelConfig, options: &DiskOptions) -> Self {
        let model = Model::new(config);
        let transport = Self::probe(&model);
        Self::on(model, transport, options).unwrap_or_else(|error| panic!("bring-up failed: {error}"))
    }

    /// The transport of a fresh device.
    pub(crate) fn probe(model: &Model) -> TestTransport {
        let registers = Hooked::new(model.registers());
        virtio_mmio::probe(registers)
            .device()
            .expect("the model shows a device")
    }

    /// Starts the device of a transport.
    pub(crate) fn on(
        model: Model,
        transport: TestTransport,
        options: &DiskOptions,
    ) -> Result<Self, StartError<TestTransport>> {
        Self::on_within(model, transport, options, PollLimit::default())
    }

    /// Starts the device of a transport, and waits that often for its resets.
    pub(crate) fn on_within(
        model: Model,
        transport: TestTransport,
        options: &DiskOptions,
        waits: PollLimit,
    ) -> Result<Self, StartError<TestTransport>> {
        let registers = transport.access().clone();
        Self::start(model, registers, transport, options, waits)
    }
}

impl<const N: usize> Rig<N, TestPci> {
    /// A live device on a PCI bus, in a form that fits its interface, with three vectors that are not used yet.
    pub(crate) fn on_pci(config: ModelConfig) -> (Self, ModelFunction) {
        let form = match config.interface {
            Interface::Legacy => PciForm::Legacy,
            Interface::Modern => PciForm::Transitional,
        };
        let model = Model::new(config);
        let function = model.on_pci(form, 3);
        let transport = pci_transport(&function);
        let rig = Self::on_transport(model, transport, &DiskOptions::default());
        (rig.unwrap_or_else(|error| panic!("bring-up failed: {error}")), function)
    }

    /// Starts the device of a transport.
    pub(crate) fn on_transport(
        model: Model,
        transport: TestPci,
        options: &DiskOptions,
    ) -> Result<Self, StartError<TestPci>> {
        let registers = Hooked::new(model.registers());
        Self::start(model, registers, transport, options, PollLimit::default())
    }
}

/// The transport of a device that was put on a PCI bus.
pub(crate) fn pci_transport(function: &ModelFunction) -> TestPci {
    // SAFETY: a model, which uses no memory but its own.
    let handle = unsafe { PciFunction::new(function.clone(), function.address()) };
    virtio_pci::probe(handle, &mut function.clone()).expect("the model shows a device")
}

impl<const N: usize, T: Transport> Rig<N, T> {
    fn start(
        model: Model,
        registers: Hooked,
        transport: T,
        options: &DiskOptions,
        mut waits: PollLimit,
    ) -> Result<Self, StartError<T>> {
        let mut dma = model.dma();
        let disk = TestDisk::<N, T>::start(transport, &mut dma, options, &mut waits)?;
        let outstanding = Outstanding {
            dma,
            next_token: 100,
            waiting: BTreeSet::new(),
            settled: 0,
        };
        Ok(Self {
            model,
            registers,
            disk,
            outstanding,
        })
    }

    /// A buffer in pieces of these lengths.
    pub(crate) fn buffer(&mut self, lengths: &[usize]) -> Scatter {
        Scatter::new(&mut self.outstanding.dma, lengths)
    }

    /// A request to read into pieces of these lengths.
    pub(crate) fn read_request(
        &mut self,
        first: u64,
        lengths: &[usize],
    ) -> impl FnOnce(u32) -> TestRequest + use<N, T> {
        let buffer = self.buffer(lengths);
        move |token| Request::read(Sector(first), buffer, token)
    }

    /// A request to write `content` from pieces of these lengths.
    pub(crate) fn write_request(
        &mut self,
        first: u64,
        content: &[u8],
        lengths: &[usize],
    ) -> impl FnOnce(u32) -> TestRequest + use<N, T> {
        let mut buffer = self.buffer(lengths);
        buffer.fill(content);
        move |token| Request::write(Sector(first), buffer, token)
    }

    fn new_token(&mut self) -> u32 {
        self.outstanding.next_token += 1;
        self.outstanding.next_token
    }

    /// Submits a request that is a barrier.
    pub(crate) fn submit_barrier(&mut self, make: impl FnOnce(u32) -> TestRequest) -> u32 {
        let token = self.new_token();
        self.disk.submit_barrier(make(token)).expect("the device has barriers");
        self.outstanding.waiting.insert(token);
        token
    }

    /// Submits, if the driver will take it. Otherwise makes sure that the request came back whole.
    pub(crate) fn try_submit(&mut self, make: impl FnOnce(u32) -> TestRequest) -> Result<u32, SubmitError> {
        let token = self.new_token();
        let request = make(token);
        let operation = request.operation();
        let before = (self.disk.counters(), self.disk.queue().ring_state());
        match self.disk.submit(request) {
            Ok(()) => {
                self.outstanding.waiting.insert(token);
                Ok(token)
            }
            Err(rejected) => {
                let after = (self.disk.counters(), self.disk.queue().ring_state());
                assert_eq!(after.0.queue.device_requests, before.0.queue.device_requests);
                let full = u64::from(rejected.error == SubmitError::QueueFull);
                assert_eq!(after.0.queue.queue_full, before.0.queue.queue_full + full);
                assert_eq!(after.1, before.1, "the ring is as before");
                assert_eq!(rejected.request.operation(), operation);
                let (buffer, returned) = rejected.request.into_parts();
                assert_eq!(returned, token);
                let needs_buffer = matches!(
                    operation,
                    Operation::Read(_) | Operation::Write(_) | Operation::Append(_) | Operation::ReportZones(_)
                );
                assert_eq!(buffer.is_some(), needs_buffer);
                if let Some(buffer) = buffer {
                    buffer.release(&mut self.outstanding.dma);
                }
                Err(rejected.error)
            }
        }
    }

    /// Submits; the token.
    pub(crate) fn submit(&mut self, make: impl FnOnce(u32) -> TestRequest) -> u32 {
        self.try_submit(make).expect("the request is taken")
    }

    /// A request for a test to submit. It has to come back, by completion or to [`drop_request`](Self::drop_request).
    pub(crate) fn prepare(&mut self, make: impl FnOnce(u32) -> TestRequest) -> TestRequest {
        let token = self.new_token();
        self.outstanding.waiting.insert(token);
        make(token)
    }

    /// Such requests to read one sector each, from the first one on.
    pub(crate) fn prepare_reads(&mut self, count: u32) -> std::vec::IntoIter<TestRequest> {
        let read = |first| {
            let make = self.read_request(first, &[512]);
            self.prepare(make)
        };
        let reads: Vec<_> = (0..u64::from(count)).map(read).collect();
        reads.into_iter()
    }

    /// Takes note of a request that was made and is not submitted.
    pub(crate) fn drop_request(&mut self, request: TestRequest) {
        let (buffer, token) = request.into_parts();
        assert!(self.outstanding.waiting.remove(&token));
        if let Some(buffer) = buffer {
            buffer.release(&mut self.outstanding.dma);
        }
    }

    pub(crate) fn submit_read(&mut self, first: u64, lengths: &[usize]) -> u32 {
        let request = self.read_request(first, lengths);
        self.submit(request)
    }

    pub(crate) fn submit_write(&mut self, first: u64, content: &[u8], lengths: &[usize]) -> u32 {
        let request = self.write_request(first, content, lengths);
        self.submit(request)
    }

    pub(crate) fn try_submit_read(&mut self, first: u64, lengths: &[usize]) -> Result<u32, SubmitError> {
        let request = self.read_request(first, lengths);
        self.try_submit(request)
    }

    /// Notifies, and lets the device serve all it has.
    pub(crate) fn serve(&mut self) {
        self.disk.notify();
        self.model.process(usize::MAX);
    }

    /// Takes completions by `take`: its answer, and what came back.
    fn take<V>(
        &mut self,
        take: impl FnOnce(&mut TestDisk<N, T>, &mut dyn FnMut(Completion<Scatter, u32>)) -> Result<V, DeviceFault>,
    ) -> Result<(V, Vec<TestCompletion>), DeviceFault> {
        let (disk, outstanding) = (&mut self.disk, &mut self.outstanding);
        let mut outcomes = Vec::new();
        let answer = take(disk, &mut |completion| outcomes.push(outstanding.settle(completion)))?;
        Ok((answer, outcomes))
    }

    /// Polls once.
    pub(crate) fn poll(&mut self) -> Result<Vec<TestCompletion>, DeviceFault> {
        let (count, outcomes) = self.take(|disk, each| disk.poll(each))?;
        assert_eq!(count as usize, outcomes.len());
        Ok(outcomes)
    }

    /// Polls once and asks for interrupts.
    pub(crate) fn drain(&mut self) -> Result<Vec<TestCompletion>, DeviceFault> {
        let (count, outcomes) = self.take(|disk, each| disk.drain(each))?;
        assert_eq!(count as usize, outcomes.len());
        Ok(outcomes)
    }

    /// Follows up an interrupt.
    pub(crate) fn interrupt(&mut self) -> Result<(Interrupt, Vec<TestCompletion>), DeviceFault> {
        let (seen, outcomes) = self.take(|disk, each| disk.on_interrupt(InterruptSource::Line, each))?;
        assert_eq!(seen.completions as usize, outcomes.len());
        Ok((seen, outcomes))
    }

    /// Takes note of a completion that was received elsewhere.
    pub(crate) fn keep(&mut self, completion: Completion<Scatter, u32>) -> TestCompletion {
        self.outstanding.settle(completion)
    }

    /// Notifies, lets the device work and polls until nothing is in flight.
    pub(crate) fn settle(&mut self) -> Vec<TestCompletion> {
        let mut outcomes = Vec::new();
        self.disk.notify();
        for _ in 0..2_000 {
            if self.disk.queue().in_flight() == 0 {
                assert!(self.outstanding.waiting.is_empty(), "an token was forgotten");
                return outcomes;
            }
            self.model.expect_notified();
            self.model.process(usize::MAX);
            outcomes.extend(self.poll().expect("the device keeps to the rules"));
        }
        panic!("requests that never end: {:?}", self.disk);
    }

    /// One request from beginning to end.
    pub(crate) fn run(&mut self, make: impl FnOnce(u32) -> TestRequest) -> TestCompletion {
        let token = self.submit(make);
        let mut outcomes = self.settle();
        assert_eq!(outcomes.len(), 1, "one request, one completion");
        let outcome = outcomes.remove(0);
        assert_eq!(outcome.token, token);
        outcome
    }

    pub(crate) fn run_read(&mut self, first: u64, lengths: &[usize]) -> TestCompletion {
        let request = self.read_request(first, lengths);
        self.run(request)
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
        let outcome = self.run_read(first, lengths);
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

    pub(crate) fn refused_read(&mut self, first: u64, lengths: &[usize]) -> SubmitError {
        let request = self.read_request(first, lengths);
        self.refused(request)
    }

    pub(crate) fn refused_write(&mut self, first: u64, content: &[u8], lengths: &[usize]) -> SubmitError {
        let request = self.write_request(first, content, lengths);
        self.refused(request)
    }

    /// Neither a read nor a write of these pieces is taken.
    pub(crate) fn refuses_transfers(&mut self, first: u64, lengths: &[usize], error: SubmitError) {
        let content = pattern(1, lengths.iter().sum());
        let answers = [
            self.refused_read(first, lengths),
            self.refused_write(first, &content, lengths),
        ];
        assert_eq!(answers, [error, error], "{lengths:?} at {first}");
    }

    /// Shuts down with requests in flight. Returns the transport, the counters and what was aborted.
    pub(crate) fn abandon(self) -> (T, DiskCounters, Vec<TestCompletion>) {
        let Self {
            model,
            disk,
            mut outstanding,
            ..
        } = self;
        let mut outcomes = Vec::new();
        let mut dma = model.dma();
        let (transport, counters) = disk
            .shut_down(&mut dma, &mut PollLimit::default(), |completion| {
                outcomes.push(outstanding.settle(completion));
            })
            .map_err(|(timeout, _)| timeout)
            .expect("the device resets");
        assert!(
            outstanding.waiting.is_empty(),
            "tokens were lost: {:?}",
            outstanding.waiting
        );
        assert_eq!(model.allocations(), 0, "memory was lost");
        let kinds = virtio_blk::OperationKind::ALL.iter();
        let operations: u64 = kinds.map(|&kind| counters.queue.of(kind).operations).sum();
        assert_eq!(
            operations, outstanding.settled,
            "every request that was taken is counted"
        );
        (transport, counters, outcomes)
    }

    /// Shuts down with nothing in flight; the driver has kept to all rules and returned all memory.
    pub(crate) fn finish(self) -> DiskCounters {
        let model = self.model.clone();
        let (_, counters, aborted) = self.abandon();
        assert_eq!(aborted, [], "nothing was in flight");
        model.assert_clean();
        counters
    }
}
