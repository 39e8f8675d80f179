//! Several queues of a device, apart from its control half: how they are started, and how they end.

use virtio_core::{Dma, DmaError, DmaSegments, QueueNotifier, ResetError, Transport, Wait};

use crate::queue_parts::{QueueParts, QueuePlaces};
use crate::shared_config::SharedConfig;
use crate::{DeviceControl, DeviceQueue, DiskOptions, Limits, RequestQueue, ResetDevice, StartError, Vectors};

impl<T: Transport> DeviceControl<T> {
    /// Brings a device up with several request queues: initialisation, features, configuration, queues.
    ///
    /// As many queues are started as there are `queues`, but not more than the device has. The places are emptied first, and
    /// the queues put into them from the first on; those that are left stay empty. Each queue can be given to another hart. A
    /// device without MQ has one queue (`BLK-N-01`).
    ///
    /// Interrupts are suppressed at first; [`RequestQueue::drain`] asks for them. `vectors` are those that the transport has set
    /// up, [`Vectors::NONE`] if interrupts come over a line. `wait` says how long to wait for a reset: one at the beginning, another
    /// one if a later step fails.
    ///
    /// ```
    /// use virtio_blk::{DeviceControl, DeviceQueue, DiskOptions, Request, Vectors};
    /// # use virtio_blk_model::{Model, ModelConfig, feature};
    /// use virtio_core::{DmaBuffer, PollLimit};
    ///
    /// # let model = Model::new(ModelConfig { queues: 4, ..ModelConfig::modern().offer(feature::MQ) });
    /// # let transport = virtio_mmio::probe(model.registers()).device().expect("the model is a device");
    /// # let mut dma = model.dma();
    /// # type Transport = virtio_mmio::MmioTransport<virtio_blk_model::ModelRegisters>;
    /// let mut queues: [Option<DeviceQueue<Transport, DmaBuffer, u32, 16>>; 2] = [None, None];
    /// let mut wait = PollLimit::default();
    /// let options = DiskOptions::default();
    /// let control = DeviceControl::start(transport, &mut dma, &options, Vectors::NONE, &mut wait, &mut queues)
    ///     .expect("the device comes up");
    /// for (hart, place) in (0..).zip(&mut queues) {
    ///     let queue = place.as_mut().expect("the device has four");
    ///     queue.submit(Request::flush(hart)).expect("there is room");
    ///     queue.notify();
    /// }
    /// # model.process(usize::MAX);
    ///
    /// // At the end the device is reset once, and every queue comes back.
    /// let mut reset = control.shut_down(&mut wait).map_err(|(error, _)| error)?;
    /// for queue in queues.into_iter().flatten() {
    ///     reset.release(queue, &mut dma, |done| assert!(done.result.is_ok())).expect("it is of this device");
    /// }
    /// let (transport, interrupts) = reset.finish(&mut dma).expect("all queues are back");
    /// # assert_eq!(model.allocations(), 0);
    /// # model.assert_clean();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`InitError`](crate::InitError). The transport comes back, and all places are empty. The device then uses none of the memory, which was
    /// released; after [`InitError::Stuck`](crate::InitError::Stuck) it may, and the memory is leaked.
    pub fn start<B: DmaSegments, K, const N: usize>(
        transport: T,
        dma: &mut (impl Dma + ?Sized),
        options: &DiskOptions,
        vectors: Vectors<'_>,
        wait: &mut dyn Wait,
        queues: &mut [Option<DeviceQueue<T, B, K, N>>],
    ) -> Result<Self, StartError<T>> {
        let mut control = Self::new(transport, options);
        match control.bring_up(dma, options, N, vectors, wait, &mut CallersPlaces::new(queues)) {
            Ok(()) => Ok(control),
            Err(error) => Err(control.failed(error)),
        }
    }

    /// Resets the device and waits for that; between two looks at the status it asks `wait`. The device uses no memory and answers
    /// no request afterwards. Of a device that is gone the same is true without a reset. The queues give their requests and
    /// memory back by [`ResetDevice::release`].
    ///
    /// # Errors
    ///
    /// [`ResetError::TimedOut`] with the control half, if `wait` gave up: the device may still be using the memory. Try again later.
    #[expect(clippy::result_large_err, reason = "there is no heap to box the control half on")]
    pub fn shut_down(mut self, wait: &mut dyn Wait) -> Result<ResetDevice<T>, (ResetError, Self)> {
        match self.reset(wait) {
            Ok(()) | Err(ResetError::Gone) => Ok(ResetDevice::new(
                self.transport,
                self.shared,
                self.queues,
                self.interrupts,
            )),
            Err(ResetError::TimedOut) => Err((ResetError::TimedOut, self)),
        }
    }
}

/// Places of a caller, and how many of them are taken.
pub(crate) struct CallersPlaces<'p, D, B, K, const N: usize> {
    places: &'p mut [Option<RequestQueue<D, B, K, N>>],
    taken: usize,
}

impl<'p, D, B, K, const N: usize> CallersPlaces<'p, D, B, K, N> {
    /// All of `places`, which are emptied.
    pub(crate) fn new(places: &'p mut [Option<RequestQueue<D, B, K, N>>]) -> Self {
        places.iter_mut().for_each(|place| *place = None);
        Self { places, taken: 0 }
    }
}

impl<D: QueueNotifier, B: DmaSegments, K, const N: usize> QueuePlaces<D> for CallersPlaces<'_, D, B, K, N> {
    fn shared(dma: &mut (impl Dma + ?Sized)) -> Result<Option<SharedConfig>, DmaError> {
        SharedConfig::allocate(dma).map(Some)
    }

    fn count(&self) -> u16 {
        u16::try_from(self.places.len()).unwrap_or(u16::MAX)
    }

    fn put(&mut self, parts: QueueParts<D>, limits: &Limits) {
        if let Some(place) = self.places.get_mut(self.taken) {
            *place = Some(RequestQueue::new(parts, limits));
            self.taken += 1;
        }
    }

    unsafe fn release(&mut self, dma: &mut (impl Dma + ?Sized)) {
        for queue in self.places.iter_mut().filter_map(Option::take) {
            // SAFETY: the caller keeps the same contract. Nothing was submitted.
            unsafe { queue.take_apart(dma, |_| {}) };
        }
    }

    fn leak(&mut self) {
        self.places.iter_mut().for_each(|place| *place = None);
    }
}
