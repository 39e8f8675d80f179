//! The crate `virtio-driver`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use memmap2::MmapMut;
use rustix::fs::{MemfdFlags, memfd_create};
use virtio_driver::{
    QueueNotifier, VhostUser, VirtioBlkFeatureFlags, VirtioBlkQueue, VirtioBlkTransport, VirtioFeatureFlags,
};

use crate::ours::stop;
use crate::{Contender, MAX_DEPTH, QUEUE_SIZE, REQUEST_BYTES};

/// The other driver on its disk.
pub struct Other {
    queue: VirtioBlkQueue<'static, u32>,
    doorbell: Box<dyn QueueNotifier>,
    /// The buffers that are not in flight.
    free: Vec<u32>,
    notifies: u64,
    memory: MmapMut,
    // Behind the queue, whose memory it maps.
    _transport: Box<VirtioBlkTransport>,
    _file: File,
}

impl Other {
    /// Starts the driver as its documentation has it, with what it supports of the ring, and polls.
    ///
    /// # Errors
    ///
    /// There is no back-end, or its device does not come up.
    pub fn start(socket: &Path) -> Result<Self> {
        let features = VirtioFeatureFlags::VERSION_1 | VirtioFeatureFlags::RING_EVENT_IDX;
        let blk = VirtioBlkFeatureFlags::SIZE_MAX | VirtioBlkFeatureFlags::SEG_MAX | VirtioBlkFeatureFlags::BLK_SIZE;
        let socket = socket.to_str().context("the path of the socket is not UTF-8")?;
        let mut transport: Box<VirtioBlkTransport> = Box::new(VhostUser::new(socket, features.bits() | blk.bits())?);
        let mut queues = VirtioBlkQueue::setup_queues(&mut *transport, 1, QUEUE_SIZE)?;
        let mut queue = queues.pop().context("the device has no queue")?;
        queue.set_used_notif_enabled(false);

        let file = File::from(memfd_create("native-bench", MemfdFlags::CLOEXEC)?);
        let bytes = MAX_DEPTH * REQUEST_BYTES;
        file.set_len(bytes as u64)?;
        // SAFETY: no other program changes the size of the file, which only the device gets to know.
        let memory = unsafe { MmapMut::map_mut(&file) }?;
        transport.map_mem_region(memory.as_ptr() as usize, bytes, file.as_raw_fd(), 0)?;
        Ok(Self {
            queue,
            doorbell: transport.get_submission_notifier(0),
            free: (0..MAX_DEPTH as u32).collect(),
            notifies: 0,
            memory,
            _transport: transport,
            _file: file,
        })
    }
}

impl Contender for Other {
    fn submit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(number) = self.free.pop() else {
                stop("more requests than buffers");
            };
            let place = number as usize * REQUEST_BYTES;
            // SAFETY: the offset is inside the mapping, because `free` holds numbers below the depth only.
            let buffer = unsafe { self.memory.as_mut_ptr().add(place) };
            // SAFETY: the part of the mapping is as long, and is used by this request alone until it is back in `free`.
            let submitted = unsafe { self.queue.read_raw(place as u64, buffer, REQUEST_BYTES, number) };
            if let Err(error) = submitted {
                stop(error);
            }
        }
    }

    fn publish(&mut self) {
        if self.queue.avail_notif_needed() {
            if let Err(error) = self.doorbell.notify() {
                stop(error);
            }
            self.notifies += 1;
        }
    }

    fn notifies(&self) -> u64 {
        self.notifies
    }

    fn complete(&mut self) -> usize {
        let mut count = 0;
        for completion in self.queue.completions() {
            if completion.ret != 0 {
                stop("a request of virtio-driver failed");
            }
            self.free.push(completion.context);
            count += 1;
        }
        count
    }

    fn completed(&mut self) -> usize {
        self.queue.completions().size_hint().0
    }
}
