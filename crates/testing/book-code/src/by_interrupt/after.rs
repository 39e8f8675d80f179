//! Reads whose ends an interrupt tells, on `virtio-blk`. Tasks are numbers here.

use virtio_blk::proto::Sector;
use virtio_blk::{Answer, DeviceFault, Disk, DiskOptions, IoError, Request, StartError, SubmitError};
use virtio_core::{Direction, Dma, DmaMap, InterruptSource, Mapped, PollLimit, Transport};

/// Memory of the heap, by the hook of the kernel: `LinearMap`, or `HalMap` of a kernel with a `Hal`.
type Buffer<M> = Mapped<Box<[u8]>, M>;

/// The disk, behind a lock of the kernel.
pub struct KernelDisk<T: Transport, M: DmaMap> {
    disk: Disk<T, Buffer<M>, u32, 16>,
    map: M,
}

impl<T: Transport, M: DmaMap + Clone> KernelDisk<T, M> {
    /// The disk on any transport.
    pub fn on(transport: T, dma: &mut dyn Dma, map: M) -> Result<Self, StartError<T>> {
        let mut disk = Disk::start(transport, dma, &DiskOptions::default(), &mut PollLimit::default())?;
        // From now on completions interrupt. A fault at this point shows again in the next call.
        let _ = disk.drain(|_| ());
        Ok(Self { disk, map })
    }

    /// Begins to read. The data comes back by an interrupt.
    pub fn read(&mut self, first: u64, data: Box<[u8]>, task: u32) -> Result<(), SubmitError> {
        let buffer = Mapped::new(data, Direction::FromDevice, self.map.clone());
        let buffer = buffer.map_err(|_| SubmitError::BadSegment)?;
        self.disk.submit(Request::read(Sector(first), buffer, task))?;
        self.disk.notify();
        Ok(())
    }

    /// The handler of the interrupt.
    pub fn interrupt(
        &mut self,
        mut wake: impl FnMut(u32, Option<Box<[u8]>>, Result<Answer, IoError>),
    ) -> Result<(), DeviceFault> {
        let each = |done: virtio_blk::Completion<_, _>| wake(done.token, done.buffer.map(Mapped::unmap), done.result);
        self.disk.on_interrupt(InterruptSource::Line, each).map(drop)
    }
}
