//! The adapter on the service's disk, step by step.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::disk_control::QueueFlags;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::{Endpoint, GrantId, Instant, Message, MessageType};
use minix_blockdriver::{BlockDevice as _, BlockDriver, DriverOptions};
use minix_virtio_blk::disk::{DiskMemory, ListTable, VirtioDisk};
use minix_virtio_blk::serve::JOBS;
use virtio_core::{DmaBuffer, DmaSegments as _, QueueSize};

use crate::kernel::{AnsweringKernel, GRANT_BYTES};

/// Descriptors of the queue at most, as the service has.
const QUEUE: u32 = 128;

/// Pages of memory that requests name by grants: those of the longest vector for each request of the deepest batch, with a page
/// between two.
const PAGES: usize = 2 * 64 + 2 * JOBS;

/// What requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read a page.
    Read,
    /// Write a page.
    Write,
    /// Read to a vector of scattered pages.
    Gather,
}

/// Requests that are made at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What they do.
    pub operation: Operation,
    /// How many there are.
    pub depth: usize,
    /// Pages of each. More than one only in a vector.
    pub pages: usize,
}

/// The path of requests, from their messages to the replies.
pub struct Path {
    driver: BlockDriver<VirtioDisk<Transport, DmaMemory>, AnsweringKernel, JOBS>,
    kernel: AnsweringKernel,
    now: Instant,
    messages: Vec<Message>,
}

impl Path {
    /// Starts the device and opens the disk.
    pub fn start(transport: Transport) -> Box<Self> {
        let lists = Box::leak(Box::new(ListTable::new()));
        let memory = Box::leak(Box::new(DiskMemory::new()));
        let Some(queue) = QueueSize::at_most(QUEUE) else {
            stop("init", "no-queue", &"that is no size of a queue");
        };
        let disk = match VirtioDisk::start(transport, DmaMemory, queue, lists, memory) {
            Ok(disk) => disk,
            Err(error) => stop("init", "no-disk", &error),
        };
        let pages = match DmaBuffer::allocate(&mut DmaMemory, PAGES * GRANT_BYTES as usize, 4096) {
            Ok(buffer) => Box::leak(Box::new(buffer)),
            Err(error) => stop("init", "no-memory", &error),
        };
        let memory = pages.segments()[0].addr.get();
        let mut path = Box::new(Self {
            driver: BlockDriver::new(disk, DriverOptions::default()),
            // SAFETY: the pages are memory of their own, which no code uses.
            kernel: unsafe { AnsweringKernel::new(memory) },
            now: Instant::from_micros(1),
            messages: Vec::new(),
        });
        let open = BdevRequest {
            access: BdevAccess::READ | BdevAccess::WRITE,
            ..BdevRequest::default()
        };
        path.messages.push(message(MessageType::BDEV_OPEN, &open));
        path.decode();
        // The partition table is read.
        while path.kernel.replies == 0 {
            path.submit();
        }
        path
    }

    /// Makes the messages of a batch. Nothing is in flight.
    pub fn prepare(&mut self, batch: &Batch) {
        self.now = self.now.after(core::time::Duration::from_micros(10));
        let kind = match batch.operation {
            Operation::Read => MessageType::BDEV_READ,
            Operation::Write => MessageType::BDEV_WRITE,
            Operation::Gather => MessageType::BDEV_GATHER,
        };
        let count = match batch.operation {
            Operation::Gather => batch.pages as i32,
            Operation::Read | Operation::Write => GRANT_BYTES as i32,
        };
        let requests = (0..batch.depth).map(|nth| {
            // All over the disk, none beside another one.
            let place = (nth * 37 % JOBS) * 129;
            BdevRequest {
                id: nth as i32,
                position: place as u64 * GRANT_BYTES,
                count,
                grant: GrantId(2 * nth as i32),
                ..BdevRequest::default()
            }
        });
        self.messages = requests.map(|request| message(kind, &request)).collect();
    }

    /// Hands the messages to the driver, which checks them.
    #[inline(never)]
    pub fn decode(&mut self) {
        self.kernel.replies = 0;
        for message in &self.messages {
            let how = IpcStatus::new(IpcCall::SENDREC, false);
            self.driver.on_message(&mut self.kernel, self.now, how, message);
        }
    }

    /// Gives the device the requests.
    #[inline(never)]
    pub fn submit(&mut self) {
        self.driver.poll(&mut self.kernel, self.now);
    }

    /// Whether the device has completed all that it was given.
    pub fn is_completed(&self) -> bool {
        let ring = self.driver.device().ring();
        ring.flags.contains(QueueFlags::LIVE) && ring.used_index.wrapping_sub(ring.used_seen) == ring.chains
    }

    /// Takes what is completed, and answers. Returns the replies.
    #[inline(never)]
    pub fn complete(&mut self) -> usize {
        self.driver.poll(&mut self.kernel, self.now);
        if self.kernel.errors > 0 {
            stop("run", "failed", &"a request was answered with an error");
        }
        self.kernel.replies
    }

    /// Looks at a device that has completed nothing.
    #[inline(never)]
    pub fn poll(&mut self) {
        self.driver.poll(&mut self.kernel, self.now);
    }

    /// Instructions of the kernel since this was last asked.
    pub fn take_kernel_instructions(&mut self) -> u64 {
        self.kernel.take_instructions()
    }

    /// How often the device was notified.
    pub fn notifies(&self) -> u64 {
        self.driver.device().totals().notifies
    }
}

fn message(kind: MessageType, request: &BdevRequest) -> Message {
    let mut message = Message::with_payload(kind, request);
    message.source = Endpoint(10);
    message
}
