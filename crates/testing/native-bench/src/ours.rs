//! This driver.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use virtio_blk::proto::Sector;
use virtio_blk::{Chains, Disk, DiskOptions, Request};
use virtio_core::{DeviceType, DmaBuffer, DmaSegments, PollLimit, RawSegments, Segment};
use virtio_vhost_user::{SharedMemory, VhostUser};

use crate::{Choice, Contender, MAX_DEPTH, QUEUE_SIZE, REQUEST_BYTES};

/// Eight bytes that stand for a buffer.
type Handle = RawSegments<&'static [Segment; 1]>;

/// The driver on its disk.
pub struct Ours {
    disk: Box<Disk<VhostUser, Handle, u32, { QUEUE_SIZE as usize }>>,
    /// The buffers that are not in flight, and which each of them is.
    free: Vec<(Handle, u32)>,
}

impl Ours {
    /// Starts the driver.
    ///
    /// # Errors
    ///
    /// There is no back-end, or its device does not come up.
    pub fn start(choice: Choice, socket: &Path) -> Result<Self> {
        let mut memory = SharedMemory::new(64 << 20)?;
        let transport = VhostUser::connect(socket, DeviceType::BLOCK, &memory)?;
        let chains = match choice {
            Choice::OursDirect => Chains::Direct,
            Choice::OursIndirect => Chains::Indirect,
            Choice::Ours | Choice::VirtioDriver => Chains::default(),
        };
        let options = DiskOptions {
            chains,
            ..DiskOptions::default()
        };
        let started = Disk::start(transport, &mut memory, &options, &mut PollLimit::default());
        let disk = started.map_err(|failed| anyhow!("the disk does not start: {failed}"))?;
        let free: Result<_> = (0..MAX_DEPTH as u32)
            .map(|number| Ok((handle(&mut memory)?, number)))
            .collect();
        Ok(Self {
            disk: Box::new(disk),
            free: free?,
        })
    }
}

/// A buffer that stays for ever, and the handle that stands for it.
fn handle(memory: &mut SharedMemory) -> Result<Handle> {
    let buffer = DmaBuffer::allocate(memory, REQUEST_BYTES, REQUEST_BYTES).context("no memory for buffers")?;
    let segment = *buffer.segments().first().context("the buffer is empty")?;
    let segments = Box::leak(Box::new([segment]));
    // The memory keeps its bytes as long as the region of this buffer is not returned to it.
    // SAFETY: the buffer is DMA memory of the device, stays for ever, and is reached by this handle alone. The list is in leaked
    // memory, so it answers the same after a move.
    Ok(unsafe { RawSegments::new(&*segments) })
}

/// `count` reads into buffers that are free.
fn reads(free: &mut Vec<(Handle, u32)>, count: usize) -> impl Iterator<Item = Request<Handle, u32>> {
    (0..count).map(|_| {
        let Some((buffer, number)) = free.pop() else {
            stop("more requests than buffers");
        };
        Request::read(Sector(u64::from(number) * 8), buffer, number)
    })
}

impl Contender for Ours {
    fn submit(&mut self, count: usize) {
        for read in reads(&mut self.free, count) {
            if let Err(rejected) = self.disk.submit(read) {
                stop(rejected.error);
            }
        }
    }

    fn publish(&mut self) {
        self.disk.notify();
    }

    fn start(&mut self, count: usize) {
        if let Err(stopped) = self.disk.submit_all(reads(&mut self.free, count)) {
            stop(stopped.rejected.error);
        }
    }

    fn notifies(&self) -> u64 {
        self.disk.counters().queue.notifies
    }

    fn complete(&mut self) -> usize {
        let free = &mut self.free;
        let taken = self.disk.poll(|completion| {
            if let Err(error) = completion.result {
                stop(error);
            }
            if let Some(buffer) = completion.buffer {
                free.push((buffer, completion.token));
            }
        });
        match taken {
            Ok(count) => count as usize,
            Err(fault) => stop(fault),
        }
    }

    fn completed(&mut self) -> usize {
        let state = self.disk.queue().ring_state();
        usize::from(state.used_index.wrapping_sub(state.used_seen))
    }
}

#[cold]
#[inline(never)]
pub(crate) fn stop(why: impl std::fmt::Display) -> ! {
    eprintln!("error: {why}");
    std::process::exit(1);
}
