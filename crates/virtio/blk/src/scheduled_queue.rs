//! A queue with two classes of requests: the foreground goes ahead, the background is not starved, and neighbours go as one.

use core::fmt;

use heapless::Deque;
use virtio_core::{Dma, DmaSegments, QueueNotifier};
use virtqueue::DeviceFault;

use crate::joined::{self, Joined, Run, Tag};
use crate::{
    Class, Completion, ForeignQueue, IoError, QueueCounters, Rejected, Request, RequestQueue, ResetDevice, SubmitError,
};

/// The queue below a [`ScheduledQueue`].
pub type QueueBelow<D, B, K, const N: usize, const M: usize> = RequestQueue<D, Joined<B, K, M>, Tag<K>, N>;

/// How a [`ScheduledQueue`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SchedulerOptions {
    /// After so many requests of the foreground in a row, one of the background has its turn. That bounds how long it waits. At least
    /// one. Requests that go as one count as one.
    pub foreground_in_a_row: u16,
    /// Requests of the background with the queue at most, so that one of the foreground finds a device with little to do; at least
    /// one. One that takes several device requests counts as one, and the foreground waits until the last of them is sent: keep
    /// those of the background short.
    pub background_in_flight: u16,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            foreground_in_a_row: 16,
            background_in_flight: 4,
        }
    }
}

/// A request in a line, and whether it may be joined with others.
type Waiting<B, K> = (Request<B, K>, bool);

/// A queue in which requests of the [foreground](Class::Foreground) go ahead of those of the [background](Class::Background).
///
/// Requests wait here, up to `L` in each class, and go to the queue below as it has room. Up to `M` transfers of one class that
/// wait behind each other and follow each other on the disk go as one device request. If that fails, each is sent again alone, so
/// that no request fails because of another one.
///
/// Nothing keeps the order of requests, as the device keeps none (`BLK-N-30`): a request that must come after another one is
/// submitted when that one has completed.
///
/// The layer is optional. Make it of a queue that was started with the buffers [`Joined`] and the tokens [`Tag`]:
///
/// ```
/// use virtio_blk::{Class, DeviceControl, DiskOptions, QueueBelow, Request, ScheduledQueue, SchedulerOptions, Vectors};
/// use virtio_blk::proto::Sector;
/// # use virtio_blk_model::{Model, ModelConfig, ModelRegisters};
/// use virtio_core::{Dma, DmaBuffer, PollLimit, Transport};
/// # let model = Model::new(ModelConfig::modern());
/// # let transport = virtio_mmio::probe(model.registers()).device().unwrap();
/// # let (mut dma, mut wait) = (model.dma(), PollLimit::default());
/// # type Mmio = virtio_mmio::MmioTransport<ModelRegisters>;
///
/// // A ring of 16, up to four transfers in a device request, 32 requests waiting in each class.
/// let mut place: [Option<QueueBelow<<Mmio as Transport>::Notifier, DmaBuffer, u32, 16, 4>>; 1] = [None];
/// let options = DiskOptions::default();
/// let control = DeviceControl::start(transport, &mut dma, &options, Vectors::NONE, &mut wait, &mut place).unwrap();
/// let queue = place[0].take().expect("the device has one");
/// let mut queue = ScheduledQueue::<_, _, _, 16, 4, 32>::new(queue, SchedulerOptions::default());
///
/// for token in 0..4 {
///     let buffer = DmaBuffer::allocate(&mut dma, 512, 512)?;
///     queue.submit(Class::Background, Request::read(Sector(token.into()), buffer, token)).expect("there is room");
/// }
/// queue.notify();
/// assert_eq!(model.process(usize::MAX), 1, "they go as one");
/// queue.poll(|done| {
///     assert!(done.result.is_ok());
///     dma.release(done.buffer.expect("a read has a buffer").into_region());
/// })?;
///
/// let mut reset = control.shut_down(&mut wait).map_err(|(error, _)| error)?;
/// queue.release(&mut reset, &mut dma, |_| unreachable!("nothing is in flight")).expect("it is of this device");
/// # reset.finish(&mut dma).unwrap();
/// # model.assert_clean();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ScheduledQueue<D, B, K, const N: usize, const M: usize, const L: usize> {
    queue: QueueBelow<D, B, K, N, M>,
    lines: Lines<B, K, L>,
    /// The run that the queue had no room for.
    held: Option<Request<Joined<B, K, M>, Tag<K>>>,
    options: SchedulerOptions,
    /// Requests of the foreground since the last one of the background.
    in_a_row: u16,
    /// Transfers that went along with others.
    joined: u64,
}

/// The lines of both classes.
struct Lines<B, K, const L: usize>([Line<B, K, L>; 2]);

impl<B, K, const L: usize> Lines<B, K, L> {
    fn of(&mut self, class: Class) -> &mut Line<B, K, L> {
        let [foreground, background] = &mut self.0;
        match class {
            Class::Foreground => foreground,
            Class::Background => background,
        }
    }
}

/// The requests of one class.
struct Line<B, K, const L: usize> {
    waiting: Deque<Waiting<B, K>, L>,
    /// Requests in flight that went along with others, and may come back here.
    reserved: usize,
    /// Device requests in flight.
    in_flight: u16,
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize, const M: usize, const L: usize>
    ScheduledQueue<D, B, K, N, M, L>
{
    /// Puts the layer above a queue.
    pub fn new(queue: QueueBelow<D, B, K, N, M>, options: SchedulerOptions) -> Self {
        let line = || Line {
            waiting: Deque::new(),
            reserved: 0,
            in_flight: 0,
        };
        Self {
            queue,
            lines: Lines([line(), line()]),
            held: None,
            options,
            in_a_row: 0,
            joined: 0,
        }
    }

    /// The queue below, to look at.
    pub fn queue(&self) -> &QueueBelow<D, B, K, N, M> {
        &self.queue
    }

    /// Transfers that went along with others in their device requests.
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// Takes a request into the line of its class. It goes to the device with the next [`notify`](Self::notify).
    ///
    /// # Errors
    ///
    /// [`SubmitError::QueueFull`] if the line is full; else those of [`RequestQueue::submit`].
    pub fn submit(&mut self, class: Class, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        if let Err(error) = self.queue.check(request.operation(), request.segments()) {
            return Err(Rejected { error, request });
        }
        let line = self.lines.of(class);
        if line.waiting.len() + line.reserved >= L {
            let error = SubmitError::QueueFull;
            return Err(Rejected { error, request });
        }
        // There is room for it.
        let _ = line.waiting.push_back((request, true));
        Ok(())
    }

    /// Submits as many requests as the queue has room for, and notifies the device if it asks for that. Returns whether it did.
    ///
    /// A request that waited while the disk became smaller may be refused now. It comes back from the next [`poll`](Self::poll), and
    /// those after it wait. If nothing is in flight, no interrupt announces that: ask [`needs_poll`](Self::needs_poll) before
    /// waiting for one.
    pub fn notify(&mut self) -> bool {
        self.send(&mut None::<fn(Completion<B, K>)>);
        self.queue.notify()
    }

    /// Whether a [poll](Self::poll) may find or do anything; `false` is certain.
    pub fn needs_poll(&self) -> bool {
        // With nothing in flight there is room, so a run is held because it was refused.
        self.queue.needs_poll() || self.held.is_some() && self.queue.in_flight() == 0
    }

    /// Hands every finished request to `each`, and gives the device more. Returns how many there were.
    ///
    /// # Errors
    ///
    /// Those of [`RequestQueue::poll`].
    pub fn poll(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.collect(each, |queue, each| queue.poll(each))
    }

    /// Like [`poll`](Self::poll), and then asks the device for an interrupt at the next completion; see [`RequestQueue::drain`].
    ///
    /// # Errors
    ///
    /// Those of [`RequestQueue::poll`].
    pub fn drain(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.collect(each, |queue, each| queue.drain(each))
    }

    /// Follows up an interrupt by the vector of the queue; see [`RequestQueue::on_interrupt`].
    ///
    /// # Errors
    ///
    /// Those of [`RequestQueue::poll`].
    pub fn on_interrupt(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.collect(each, |queue, each| queue.on_interrupt(each))
    }

    fn collect(
        &mut self,
        mut each: impl FnMut(Completion<B, K>),
        collect: impl FnOnce(
            &mut QueueBelow<D, B, K, N, M>,
            &mut dyn FnMut(Completion<Joined<B, K, M>, Tag<K>>),
        ) -> Result<u32, DeviceFault>,
    ) -> Result<u32, DeviceFault> {
        let mut count = 0;
        let mut each = |completion| {
            count += 1;
            each(completion);
        };
        let lines = &mut self.lines;
        let collected = collect(&mut self.queue, &mut |completion| {
            settle(lines, completion, &mut each);
        });
        self.send(&mut Some(&mut each));
        self.queue.notify();
        collected.map(|_| count)
    }

    /// Submits as many requests as the queue has room for. Requests that it does not take any more, because the disk has changed, go to `each`;
    /// without `each` they wait for the next poll.
    fn send(&mut self, each: &mut Option<impl FnMut(Completion<B, K>)>) {
        while let Some(request) = self.held.take().or_else(|| self.next_run()) {
            let class = request.token.class;
            match self.queue.submit_as(class, request) {
                Ok(()) => {}
                Err(Rejected { error, request }) => match (error, &mut *each) {
                    (SubmitError::QueueFull | SubmitError::Broken(_) | SubmitError::Stopped, _) | (_, None) => {
                        self.held = Some(request);
                        return;
                    }
                    (_, Some(each)) => settle(&mut self.lines, request.complete(0, Err(IoError::Aborted)), each),
                },
            }
        }
    }

    /// The next device request, with the requests that can go along with it.
    fn next_run(&mut self) -> Option<Request<Joined<B, K, M>, Tag<K>>> {
        let class = self.next_class()?;
        self.in_a_row = match class {
            Class::Foreground => self.in_a_row.saturating_add(1),
            Class::Background => 0,
        };
        let line = self.lines.of(class);
        let (request, may_join) = line.waiting.pop_front()?;
        let mut run = Run::new(class, request, may_join);
        let mut count = 1;
        while let Some(&(ref next, true)) = line.waiting.front()
            && run.can_take(next, self.queue.limits())
            && let Some((next, _)) = line.waiting.pop_front()
        {
            run.take(next);
            count += 1;
        }
        line.in_flight += 1;
        if count > 1 {
            line.reserved += count;
            self.joined += count as u64;
        }
        Some(run.into_request())
    }

    /// The class that has its turn, if a request of it waits.
    fn next_class(&mut self) -> Option<Class> {
        let foreground = !self.lines.of(Class::Foreground).waiting.is_empty();
        let line = self.lines.of(Class::Background);
        let background = !line.waiting.is_empty() && line.in_flight < self.options.background_in_flight.max(1);
        match (foreground, background) {
            (true, true) if self.in_a_row >= self.options.foreground_in_a_row.max(1) => Some(Class::Background),
            (true, _) => Some(Class::Foreground),
            (false, true) => Some(Class::Background),
            (false, false) => None,
        }
    }

    /// Takes the queue apart after a reset of the device, as [`ResetDevice::release`] does. After the requests that were with the
    /// device, those that waited here come back as [aborted](IoError::Aborted), the foreground first. So do those
    /// that went as one in a device request that failed.
    ///
    /// # Errors
    ///
    /// [`ForeignQueue`] with everything, if the queue does not belong to that start of that device.
    #[expect(clippy::result_large_err, reason = "there is no heap to box the queue on")]
    pub fn release<T>(
        self,
        reset: &mut ResetDevice<T>,
        dma: &mut (impl Dma + ?Sized),
        mut each: impl FnMut(Completion<B, K>),
    ) -> Result<QueueCounters, ForeignQueue<Self>> {
        let released = reset.release(self.queue, dma, |completion| joined::complete(completion, &mut each));
        let counters = match released {
            Ok(counters) => counters,
            Err(ForeignQueue(queue)) => return Err(ForeignQueue(Self { queue, ..self })),
        };
        if let Some(request) = self.held {
            joined::complete(request.complete(0, Err(IoError::Aborted)), &mut each);
        }
        for line in self.lines.0 {
            for (request, _) in line.waiting {
                each(request.complete(0, Err(IoError::Aborted)));
            }
        }
        Ok(counters)
    }
}

/// Hands over the result of a device request. The requests of one that failed for several go back to their line, to be sent
/// again one by one.
fn settle<B: DmaSegments, K, const M: usize, const L: usize>(
    lines: &mut Lines<B, K, L>,
    completion: Completion<Joined<B, K, M>, Tag<K>>,
    each: &mut impl FnMut(Completion<B, K>),
) {
    let line = lines.of(completion.token.class);
    line.in_flight = line.in_flight.saturating_sub(1);
    let count = completion.buffer.as_ref().map_or(1, Joined::count);
    if count > 1 {
        line.reserved = line.reserved.saturating_sub(count);
    }
    if count == 1 || completion.result.is_ok() {
        joined::complete(completion, each);
        return;
    }
    joined::take_apart(completion.operation, completion.buffer, completion.token, |request| {
        // There is room, which was reserved.
        let _ = line.waiting.push_front((request, false));
    });
}

impl<D, B, K, const N: usize, const M: usize, const L: usize> fmt::Debug for ScheduledQueue<D, B, K, N, M, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.lines.0.each_ref().map(|line| line.waiting.len());
        f.debug_struct("ScheduledQueue")
            .field("waiting", &waiting)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
