//! A device, a disk on it that tasks share, and an executor whose every step the test chooses.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod drops;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mutex::raw_impls::cs::CriticalSectionRawMutex;
use mutex::{ConstInit, ScopedRawMutex};
use virtio_blk_async::{AsyncDisk, BounceDisk, mutex};
pub(crate) use virtio_blk_model::pattern;
use virtio_blk_model::{Model, ModelConfig, ModelRegisters};
use virtio_bounce::BouncePool;
use virtio_core::{InterruptSource, PollLimit};
use virtio_mmio::MmioTransport;

pub(crate) type TestTransport = MmioTransport<ModelRegisters>;

/// Requests in flight at most.
pub(crate) const SLOTS: usize = 16;
/// Blocks of the pool.
pub(crate) const BLOCKS: usize = 4;
/// Bytes of each: few for Miri, which is slow.
pub(crate) const BLOCK_BYTES: usize = if cfg!(miri) { 512 } else { 4096 };

pub(crate) type LockedDisk<M, const LIMIT: usize> = AsyncDisk<M, TestTransport, SLOTS, LIMIT>;
pub(crate) type TestDisk = LockedDisk<CriticalSectionRawMutex, BLOCKS>;

/// A disk on `model` that asks for interrupts.
pub(crate) fn start(model: &Model) -> TestDisk {
    start_with(model, BLOCK_BYTES)
}

/// The same with another lock, and bounce buffers of that number and size.
pub(crate) fn start_with<M: ScopedRawMutex + ConstInit, const LIMIT: usize>(
    model: &Model,
    block_bytes: usize,
) -> LockedDisk<M, LIMIT> {
    let pool = BouncePool::allocate(&mut model.dma(), block_bytes).expect("the model has memory");
    let disk = AsyncDisk::new(bring_up(model), pool);
    disk.listen().expect("a live device");
    disk
}

/// A disk that was just started.
pub(crate) fn bring_up(model: &Model) -> BounceDisk<TestTransport, SLOTS> {
    let transport = virtio_mmio::probe(model.registers())
        .device()
        .expect("the model is a device");
    restart(model, transport)
}

/// The same, on that transport.
pub(crate) fn restart(model: &Model, transport: TestTransport) -> BounceDisk<TestTransport, SLOTS> {
    BounceDisk::start(
        transport,
        &mut model.dma(),
        &Default::default(),
        &mut PollLimit::default(),
    )
    .expect("the model comes up")
}

/// A device of which many are made: with a small disk and little memory.
pub(crate) fn small() -> ModelConfig {
    ModelConfig {
        capacity: 256,
        memory_bytes: if cfg!(miri) { 64 << 10 } else { 256 << 10 },
        ..ModelConfig::modern()
    }
}

/// A device with a disk.
pub(crate) fn rig(config: ModelConfig) -> (Model, TestDisk) {
    let model = Model::new(config);
    let disk = start(&model);
    (model, disk)
}

/// What the interrupt controller and the handler do.
pub(crate) fn interrupt<M: ScopedRawMutex, const LIMIT: usize>(model: &Model, disk: &LockedDisk<M, LIMIT>) {
    if model.interrupt_line() {
        let _ = disk.on_interrupt(InterruptSource::Line);
    }
}

/// Answers up to `limit` requests, and interrupts.
pub(crate) fn serve<M: ScopedRawMutex, const LIMIT: usize>(
    model: &Model,
    disk: &LockedDisk<M, LIMIT>,
    limit: usize,
) -> usize {
    let answered = model.process(limit);
    interrupt(model, disk);
    answered
}

/// Stops the disk. All memory has come back, and the driver has kept to all rules.
pub(crate) fn finish<M: ScopedRawMutex, const LIMIT: usize>(model: &Model, disk: LockedDisk<M, LIMIT>) {
    let mut dma = model.dma();
    let stopped = disk
        .stop(&mut dma, &mut PollLimit::default())
        .expect("the device resets");
    assert!(stopped.is_some());
    let pool = disk.into_pool().expect("it is stopped");
    pool.release(&mut dma).expect("every bounce buffer has come back");
    assert_eq!(model.allocations(), 0, "memory was lost");
    model.assert_clean();
}

/// What a waker sets.
pub(crate) struct Alarm {
    woken: AtomicBool,
    count: AtomicU32,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is polled when the test says so.
pub(crate) struct Task<'f, R> {
    /// Not there once it is over.
    future: Option<Pin<Box<dyn Future<Output = R> + 'f>>>,
    alarm: Arc<Alarm>,
    result: Option<R>,
}

impl<'f, R> Task<'f, R> {
    pub(crate) fn new(future: impl Future<Output = R> + 'f) -> Self {
        Self {
            future: Some(Box::pin(future)),
            alarm: Arc::new(Alarm {
                woken: AtomicBool::new(true),
                count: AtomicU32::new(0),
            }),
            result: None,
        }
    }

    /// Polls it. Returns whether it is over.
    pub(crate) fn poll(&mut self) -> bool {
        self.alarm.woken.store(false, Ordering::Release);
        let Some(future) = &mut self.future else {
            return true;
        };
        let waker = Waker::from(Arc::clone(&self.alarm));
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.future = None;
            self.result = Some(result);
        }
        self.is_over()
    }

    /// Polls it if it was woken. Returns whether it was.
    pub(crate) fn poll_if_woken(&mut self) -> bool {
        let polls = !self.is_over() && self.is_woken();
        if polls {
            self.poll();
        }
        polls
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.alarm.woken.load(Ordering::Acquire)
    }

    /// How often it was woken.
    pub(crate) fn wakes(&self) -> u32 {
        self.alarm.count.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.future.is_none()
    }

    pub(crate) fn result(self) -> R {
        self.result.expect("the task is over")
    }
}

/// Runs one future to its end, and polls it only when it is woken.
pub(crate) fn block_on<R, M: ScopedRawMutex, const LIMIT: usize>(
    model: &Model,
    disk: &LockedDisk<M, LIMIT>,
    future: impl Future<Output = R>,
) -> R {
    let mut task = Task::new(future);
    while !task.is_over() {
        if !task.poll_if_woken() {
            assert!(serve(model, disk, 1) > 0 || task.is_woken(), "a wake-up is lost");
        }
    }
    task.result()
}
