//! Reads whose ends an interrupt tells, on `virtio-drivers`. Tasks are numbers here.

use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Hal};

/// What the device uses while a request is in flight. It stays where it is in a box of its own.
struct Slot {
    request: BlkReq,
    response: BlkResp,
    data: Box<[u8]>,
    task: u32,
}

/// The disk, behind a lock of the kernel.
pub struct KernelDisk<H: Hal, T: Transport> {
    disk: VirtIOBlk<H, T>,
    /// By the token of the request.
    slots: [Option<Box<Slot>>; 16],
}

impl<H: Hal, T: Transport> KernelDisk<H, T> {
    /// The disk on any transport.
    pub fn on(transport: T) -> Result<Self, Error> {
        let slots = [const { None }; 16];
        VirtIOBlk::new(transport).map(|disk| Self { disk, slots })
    }

    /// Begins to read. The data comes back by an interrupt.
    pub fn read(&mut self, first: usize, data: Box<[u8]>, task: u32) -> Result<(), Error> {
        let mut slot = Box::new(Slot {
            request: BlkReq::default(),
            response: BlkResp::default(),
            data,
            task,
        });
        let Slot {
            request,
            data,
            response,
            ..
        } = &mut *slot;
        // SAFETY: the slot is kept, and not looked at, until the device is done. If this kernel drops the disk before, it is not.
        let token = unsafe { self.disk.read_blocks_nb(first, request, data, response) }?;
        self.slots[usize::from(token)] = Some(slot);
        Ok(())
    }

    /// The handler of the interrupt.
    pub fn interrupt(&mut self, mut wake: impl FnMut(u32, Box<[u8]>, Result<(), Error>)) {
        self.disk.ack_interrupt();
        while let Some(token) = self.disk.peek_used() {
            // A token that no request has: the device is broken, and the queue goes no further.
            let Some(mut slot) = self.slots.get_mut(usize::from(token)).and_then(Option::take) else {
                break;
            };
            let Slot {
                request,
                data,
                response,
                ..
            } = &mut *slot;
            // SAFETY: this is what the request with this token was made of.
            let result = unsafe { self.disk.complete_read_blocks(token, request, data, response) };
            wake(slot.task, slot.data, result);
        }
    }
}
