//! The requests of a batch and their buffers, as a program has them that drives a disk.

use alloc::vec::Vec;

use bare_image::report::stop;
use virtio_blk::proto::Sector;
use virtio_blk::{Completion, Request};

use super::buffers::Buffer;
use super::workload::{SECTOR_BYTES, Workload};

/// A batch that is made again and again.
pub(crate) struct Batch<B> {
    workload: Workload,
    /// The buffers of the batch; those in flight are with the driver.
    buffers: Vec<Option<B>>,
    /// Those of other workloads, so that going back to one takes no time.
    others: Vec<(Workload, Vec<Option<B>>)>,
}

impl<B: Buffer> Batch<B> {
    /// One without requests.
    pub(crate) fn new() -> Self {
        Self {
            workload: Workload::reads(0),
            buffers: Vec::new(),
            others: Vec::new(),
        }
    }

    /// What its requests are.
    pub(crate) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Makes it one of that workload. Nothing is in flight.
    pub(crate) fn prepare(&mut self, workload: &Workload) {
        if self.workload == *workload {
            return;
        }
        let known = self.others.iter().position(|(other, _)| other == workload);
        let buffers = match known {
            Some(place) => self.others.swap_remove(place).1,
            None => (0..workload.depth).map(|_| Some(B::allocate(workload))).collect(),
        };
        let before = core::mem::replace(&mut self.buffers, buffers);
        self.others.push((self.workload, before));
        self.workload = *workload;
    }

    /// Its requests, each with its buffer. The token is the number of the request.
    #[inline(always)]
    pub(crate) fn requests(&mut self, writes: impl Fn(usize) -> bool) -> impl Iterator<Item = Request<B, u32>> {
        let sectors = (self.workload.bytes / SECTOR_BYTES) as u64;
        let mut sector = 0;
        self.buffers.iter_mut().enumerate().map(move |(index, place)| {
            let Some(buffer) = place.take() else { missing() };
            let first = Sector(sector);
            sector += sectors;
            match writes(index) {
                true => Request::write(first, buffer, index as u32),
                false => Request::read(first, buffer, index as u32),
            }
        })
    }

    /// Puts the buffer of a request back.
    #[inline(always)]
    pub(crate) fn put_back(&mut self, completion: Completion<B, u32>) {
        if let Err(error) = completion.result {
            stop("run", "failed", &error);
        }
        if let Some(place) = self.buffers.get_mut(completion.token as usize) {
            *place = completion.buffer;
        }
    }
}

#[cold]
fn missing() -> ! {
    stop("run", "no-buffer", &"a request came back without its buffer")
}
