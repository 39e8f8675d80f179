//! A device and its one queue together, for most users.

use core::fmt;

use virtio_blk_proto::BlkConfig;
use virtio_core::{ConfigError, DeviceGone, Dma, DmaSegments, Features, InterruptSource, ResetError, Transport, Wait};
use virtqueue::DeviceFault;

use crate::{
    BatchStopped, Class, Completion, ConfigChange, DeviceControl, DiskCounters, DiskOptions, Dump, InitError,
    Interrupt, Limits, Liveness, Rejected, Request, RequestQueue, StartError, Vectors, WriteCache, WriteCacheError,
    ZoneTable,
};

/// A live block device with one request queue.
///
/// See [`RequestQueue`] for the type parameters. [`DeviceControl::start`] starts several queues, and control half and queues for use
/// on different harts.
// In this order in memory: the table of the chains, which is long, comes last, so that the offset of a load or store reaches
// everything else.
#[repr(C)]
pub struct Disk<T: Transport, B, K, const N: usize> {
    control: DeviceControl<T>,
    queue: RequestQueue<T::Notifier, B, K, N>,
}

impl<T: Transport, B: DmaSegments, K, const N: usize> Disk<T, B, K, N> {
    /// Brings a device up whose interrupts come over a line, or that is polled; see [`DeviceControl::start`].
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(
        transport: T,
        dma: &mut (impl Dma + ?Sized),
        options: &DiskOptions,
        wait: &mut dyn Wait,
    ) -> Result<Self, StartError<T>> {
        Self::start_with_vectors(transport, dma, options, Vectors::NONE, wait)
    }

    /// Brings a device up whose queue and configuration have interrupt vectors, which the transport has set up; see
    /// [`DeviceControl::start`].
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start_with_vectors(
        transport: T,
        dma: &mut (impl Dma + ?Sized),
        options: &DiskOptions,
        vectors: Vectors<'_>,
        wait: &mut dyn Wait,
    ) -> Result<Self, StartError<T>> {
        let (mut control, mut place) = (DeviceControl::new(transport, options), None);
        let started = control.bring_up(dma, options, N, vectors, wait, &mut place);
        match (started, place) {
            (Ok(()), Some(parts)) => Ok(Self {
                queue: RequestQueue::new(parts, &control.limits),
                control,
            }),
            (started, _) => Err(control.failed(started.err().unwrap_or(InitError::NoQueue))),
        }
    }

    /// The control half.
    pub fn control(&self) -> &DeviceControl<T> {
        &self.control
    }

    /// The data half.
    pub fn queue(&self) -> &RequestQueue<T::Notifier, B, K, N> {
        &self.queue
    }

    /// The configuration as last read.
    pub fn config(&self) -> BlkConfig {
        self.control.config()
    }

    /// The features in force.
    pub fn accepted_features(&self) -> Features {
        self.control.accepted_features()
    }

    /// The limits of the disk.
    pub fn limits(&self) -> &Limits {
        self.queue.limits()
    }

    /// What was counted so far.
    pub fn counters(&self) -> DiskCounters {
        DiskCounters {
            queue: self.queue.counters(),
            interrupts: self.control.interrupt_counters(),
        }
    }

    /// Takes a request; see [`RequestQueue::submit`].
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    #[cfg_attr(not(optimize_for_size), inline(always))]
    pub fn submit(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        self.queue.submit(request)
    }

    /// Takes a batch of requests and notifies the device; see [`RequestQueue::submit_all`].
    ///
    /// # Errors
    ///
    /// See [`BatchStopped`].
    #[inline]
    pub fn submit_all(&mut self, requests: impl IntoIterator<Item = Request<B, K>>) -> Result<u32, BatchStopped<B, K>> {
        self.queue.submit_all(requests)
    }

    /// Takes a request that is right for its zones; see [`RequestQueue::submit_to_zones`].
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub fn submit_to_zones(&mut self, zones: &mut ZoneTable<'_>, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        self.queue.submit_to_zones(zones, request)
    }

    /// Takes a request of that class; see [`RequestQueue::submit_as`].
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub fn submit_as(&mut self, class: Class, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        self.queue.submit_as(class, request)
    }

    /// Takes a request that is a barrier; see [`RequestQueue::submit_barrier`].
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::submit_barrier`].
    pub fn submit_barrier(&mut self, request: Request<B, K>) -> Result<(), Rejected<B, K>> {
        self.queue.submit_barrier(request)
    }

    /// Publishes the submitted requests; see [`RequestQueue::notify`].
    #[inline]
    pub fn notify(&mut self) -> bool {
        self.queue.notify()
    }

    /// Polls for completions; see [`RequestQueue::poll`].
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::poll`].
    #[inline]
    pub fn poll(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.queue.poll(each)
    }

    /// Takes completions and asks for an interrupt at the next one; see [`RequestQueue::drain`].
    ///
    /// # Errors
    ///
    /// See [`RequestQueue::poll`].
    pub fn drain(&mut self, each: impl FnMut(Completion<B, K>)) -> Result<u32, DeviceFault> {
        self.queue.drain(each)
    }

    /// Asks the device not to interrupt for completions; see [`RequestQueue::suppress_interrupts`].
    pub fn suppress_interrupts(&mut self) {
        self.queue.suppress_interrupts();
    }

    /// Follows an interrupt by `source` up: completions, configuration changes, acknowledgement.
    ///
    /// The device is acknowledged after configuration and rings were looked at, as the specification wants it
    /// (`MMIO-D-31`). Where a change or a completion may have come in between, which will not interrupt again, they are looked at
    /// once more then (`MMIO-N-12`); a vector needs neither. All of it reads a bounded number of registers:
    /// [`DiskOptions::config_limit`] for the configuration, and one or two besides. An interrupt without a cause is counted and harmless (`RING-D-16`).
    ///
    /// # Errors
    ///
    /// Those of [`RequestQueue::poll`]; the interrupt is acknowledged all the same.
    pub fn on_interrupt(
        &mut self,
        source: InterruptSource,
        mut each: impl FnMut(Completion<B, K>),
    ) -> Result<Interrupt, DeviceFault> {
        let queue = &mut self.queue;
        let returned = queue.returned();
        let mut drained = None;
        let mut seen = self.control.follow_up(source, |config| {
            if let Some(config) = config {
                queue.take_config(config);
            }
            drained = match drained {
                None => Some(queue.drain(&mut each)),
                // The first look has asked for an interrupt, so the second has nothing to do unless something came in between.
                Some(Ok(first)) if queue.needs_poll() => {
                    Some(queue.drain(&mut each).map(|second| first.wrapping_add(second)))
                }
                done => done,
            };
            matches!(drained, Some(Err(_))) || queue.returned() != returned
        });
        let drained = drained.unwrap_or(Ok(0));
        seen.completions = drained.unwrap_or(0);
        drained.map(|_| seen)
    }

    /// Acknowledges an interrupt by `source` and follows nothing of it up: for a device that is to be reset. Its finished requests
    /// come back from [`shut_down`](Self::shut_down).
    pub fn dismiss_interrupt(&mut self, source: InterruptSource) {
        let causes = self.control.interrupt_causes(source);
        self.control.acknowledge_interrupt(source, causes);
    }

    /// Reads the configuration again and puts it into force: how a driver that only polls sees a resize, or a device
    /// that asks for a reset. [`on_interrupt`](Self::on_interrupt) does it by itself.
    ///
    /// It takes a dozen or two register reads, so call it now and then, not with every [`poll`](Self::poll). Requests
    /// in flight go on as [`RequestQueue::set_limits`] tells.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unstable`] if the configuration never stood still within the [limit](DiskOptions::config_limit) chosen at
    /// start; the former limits stay in force. [`ConfigError::Gone`] if there is no device any more; polls say so from now on.
    pub fn refresh_config(&mut self) -> Result<ConfigChange, ConfigError> {
        let read = self.control.refresh_config();
        self.queue.take_config(&read);
        read
    }

    /// Whether there is a volatile write cache; see [`DeviceControl::write_cache`].
    ///
    /// # Errors
    ///
    /// [`DeviceGone`] if there is no device any more.
    pub fn write_cache(&self) -> Result<WriteCache, DeviceGone> {
        self.control.write_cache()
    }

    /// Switches the write cache.
    ///
    /// After switching to write-through, flush before earlier writes count as durable (`BLK-D-23`).
    ///
    /// # Errors
    ///
    /// See [`WriteCacheError`]; nothing has changed then.
    pub fn set_write_cache(&mut self, mode: WriteCache) -> Result<(), WriteCacheError> {
        if self.queue.in_flight() > 0 {
            return Err(WriteCacheError::Busy);
        }
        let switched = self.control.set_write_cache(mode);
        if let Err(WriteCacheError::Gone) = switched {
            self.queue.device_gone();
        }
        switched
    }

    /// Whether the device is still alive, by one register read; see [`DeviceControl::liveness`].
    pub fn liveness(&self) -> Liveness {
        self.control.liveness()
    }

    /// Registers and queue state, to print.
    pub fn dump(&self) -> Dump<'_, T> {
        let odd_lengths = self.queue.counters().odd_lengths;
        Dump::new(
            &self.control,
            self.queue.ring_state(),
            self.queue.in_flight(),
            odd_lengths,
        )
    }

    /// Resets the device, hands every request still in flight to `each`, and returns all memory.
    ///
    /// Every token comes back exactly once, here or by completion. First come the requests that the device had
    /// finished before the reset, with their results; then the others as [aborted](crate::IoError::Aborted), in the order in
    /// which they were submitted. [`Completion::into_request`] makes the same request again. Returns the transport, on which the device
    /// can be started again, and the counters. `dma` is the platform that the memory came from; `wait` is asked between two looks
    /// at the status.
    ///
    /// A device that is gone uses no memory either, so the answer is the same. A start on its transport says
    /// [`InitError::Gone`](crate::InitError::Gone).
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] with the disk, if `wait` gave up: the device may still be using the memory. Try again later.
    #[expect(
        clippy::result_large_err,
        reason = "the disk must not be lost, and there is no heap to box it on"
    )]
    pub fn shut_down(
        mut self,
        dma: &mut (impl Dma + ?Sized),
        wait: &mut dyn Wait,
        each: impl FnMut(Completion<B, K>),
    ) -> Result<(T, DiskCounters), (ResetError, Self)> {
        match self.control.reset(wait) {
            Ok(()) | Err(ResetError::Gone) => {}
            Err(ResetError::TimedOut) => return Err((ResetError::TimedOut, self)),
        }
        // SAFETY: the device this queue was started on has just reported that it is reset, or its transport that it is gone.
        let queue = unsafe { self.queue.take_apart(dma, each) };
        let interrupts = self.control.interrupt_counters();
        Ok((self.control.into_transport(), DiskCounters { queue, interrupts }))
    }
}

impl<T: Transport, B, K, const N: usize> fmt::Debug for Disk<T, B, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("control", &self.control)
            .field("queue", &self.queue)
            .finish()
    }
}
