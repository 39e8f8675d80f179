//! No driver at all: a request is put into an array, and handed back from there.
//!
//! What is counted of it is the work of the benchmark itself, which is in the brackets of every contender: to walk over the
//! buffers, to make requests of them and to put them back. The array takes five instructions of it, which every driver needs that owns
//! its requests.

use alloc::vec::Vec;

use guest_protocol::Case;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Completion, Operation};

use super::batch::Batch;
use super::buffers::Buffer;
use super::contender::{Contender, Events};
use super::workload::Workload;

/// The array, and the requests that go into it.
pub(crate) struct Null<B: Buffer> {
    batch: Batch<B>,
    /// A place for each request: its buffer, while it is in, and its token.
    kept: Vec<(Option<B>, u32)>,
}

impl<B: Buffer> Null<B> {
    pub(crate) fn new() -> Self {
        Self {
            batch: Batch::new(),
            kept: Vec::new(),
        }
    }
}

impl<B: Buffer> Contender for Null<B> {
    const STAGES: [Option<&'static str>; 3] = [Some("submit"), None, Some("pop")];

    fn prepare(&mut self, workload: &Workload) {
        self.batch.prepare(workload);
        self.kept.clear();
        self.kept.resize_with(workload.depth, || (None, 0));
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        workload.case("null", "polled", "", B::NAME)
    }

    #[inline(never)]
    fn submit(&mut self) {
        for (place, request) in self.kept.iter_mut().zip(self.batch.requests(|_| false)) {
            *place = request.into_parts();
        }
    }

    fn publish(&mut self) {}

    fn is_completed(&self) -> bool {
        true
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        for (buffer, token) in &mut self.kept {
            self.batch.put_back(Completion {
                operation: Operation::Read(Sector(0)),
                buffer: buffer.take(),
                token: *token,
                bytes: 0,
                result: Ok(Answer::Done),
            });
        }
        self.kept.len()
    }

    fn events(&self) -> Events {
        Events::default()
    }
}
