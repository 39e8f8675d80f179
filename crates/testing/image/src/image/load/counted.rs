//! What a request costs on each of several queues, in instructions of the boot hart, which has all of them and is alone.

use alloc::format;
use alloc::vec::Vec;

use bare_image::memory::DmaMemory;
use bare_image::report::record;
use board_qemu_virt::counters;
use guest_protocol::Record;
use image_blk::SECTOR_BYTES;
use virtio_blk::proto::Sector;

use super::worker::Queue;
use super::{Load, RESET_MILLIS, Routes};
use crate::image::buffer::Buffer;
use crate::image::selftest::TestResult;
use crate::image::session::{Failure, Request};

/// Requests of a batch.
const BATCH: usize = 32;
/// Batches of each queue. The first ones fill caches of chains, and are not counted.
const BATCHES: usize = 4;
/// After this time the device has completed a batch.
const MOMENT_MILLIS: u64 = 20;

impl Load<'_> {
    /// Reads by each queue in turn, without interrupts, and counts: with one queue, and with all. The counts are exact where QEMU counts
    /// instructions.
    pub(crate) fn count(mut self) -> TestResult {
        let all = self.queues;
        for queues in [1, all] {
            self.queues = queues;
            self.count_each()?;
        }
        Ok(format!("with one queue and with {all}"))
    }

    fn count_each(&mut self) -> Result<(), Failure> {
        let transport = self.disk.transport.take().ok_or("the disk is in use")?;
        let (control, mut queues) = self.start(transport, &Routes::polled())?;
        if queues.len() != usize::from(self.queues) {
            return Err(format!("the device has {} queues", queues.len()).into());
        }
        let outcome = queues.iter_mut().try_for_each(|queue| self.count_queue(queue));
        let limit = counters::now().after(self.board.timebase.ticks_from_millis(RESET_MILLIS));
        let mut wait = || counters::now() < limit;
        let mut reset = control.shut_down(&mut wait).map_err(|(error, _)| error)?;
        for queue in queues {
            let released = reset.release(queue, &mut DmaMemory, |_| ());
            released.map_err(|_| "a queue does not belong to the device")?;
        }
        let finished = reset.finish(&mut DmaMemory);
        let (transport, _) = finished.map_err(|_| "not all queues came back")?;
        self.disk.transport = Some(transport);
        outcome
    }

    fn count_queue(&self, queue: &mut Queue) -> Result<(), Failure> {
        let bytes = (queue.limits().block_bytes as usize).max(SECTOR_BYTES);
        let buffers = (0..BATCH).map(|_| Buffer::allocate(bytes));
        let mut buffers: Vec<Buffer> = buffers.collect::<Result<_, _>>()?;
        let (mut submit, mut poll) = (0, 0);
        for _ in 0..BATCHES {
            let before = counters::instructions_retired();
            for number in 0..BATCH {
                let buffer = buffers.pop().ok_or("a buffer is lost")?;
                let request = Request::read(Sector(0), buffer, number);
                queue.submit(request).map_err(|rejected| rejected.error)?;
            }
            submit = counters::instructions_retired() - before;
            queue.notify();
            let moment = counters::now().after(self.board.timebase.ticks_from_millis(MOMENT_MILLIS));
            self.board.interrupts.sleep_until(moment);
            let mut done = Vec::with_capacity(BATCH);
            let before = counters::instructions_retired();
            queue.poll(|completion| done.push(completion))?;
            poll = counters::instructions_retired() - before;
            if done.len() != BATCH {
                return Err("the device has not completed a batch in time".into());
            }
            buffers.extend(done.into_iter().filter_map(|completion| completion.buffer));
        }
        record(Record::Cost {
            queues: self.queues.into(),
            number: queue.index().0.into(),
            requests: BATCH as u64,
            submit,
            poll,
        });
        Ok(())
    }
}
