//! Requests come in, wait for their turn, and are sorted by what they ask for.
//!
//! Transfers run side by side. Opens, closes and control requests run alone: they wait for everything that came before,
//! and everything that comes after waits for them. The first of them that is not answered is the fence.

use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use zerocopy::IntoBytes;

use crate::bounds::plan;
use crate::jobs::{Caller, JobId, Kind, Stage};
use crate::recovery::Health;
use crate::transfer::{Direction, Durability, Transfer};
use crate::{BlockDevice, BlockDriver, Kernel, Micros};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// A message came. Whether it was a request.
    pub(crate) fn receive(&mut self, kernel: &mut K, now: Micros, status: IpcStatus, message: &Message) -> bool {
        // The reincarnation server takes any answer it does not expect for a request of its own, and so on for ever.
        if status.is_notification() || message.source == Endpoint::RS {
            return false;
        }
        let Some(kind) = Kind::of(message.kind) else {
            if message.kind != MessageType::CDEV_OPEN {
                return false;
            }
            let refusal = CdevReply::refuse(&message.payload::<CdevOpen>());
            let refusal = Message::with_payload(MessageType::CDEV_REPLY, &refusal);
            kernel.reply(message.source, status, &refusal);
            return true;
        };
        let request = message.payload::<BdevRequest>();
        let caller = Caller {
            endpoint: message.source,
            status,
            id: request.id,
        };
        self.counters.requests += 1;
        let Some(id) = self.jobs.push(caller, kind, request) else {
            self.counters.no_room += 1;
            self.send_reply(kernel, caller, Errno::ERESTART.into());
            return true;
        };
        self.counters.max_jobs = self.counters.max_jobs.max(self.jobs.len());
        if self.fence.is_some() {
            self.waiting.get_or_insert(id);
        } else {
            self.admit(kernel, now, id);
            self.take_turns(kernel, now);
        }
        true
    }

    /// Lets the fence run if everything ahead of it is done, and those behind it come forward once it is gone.
    #[inline]
    pub(crate) fn take_turns(&mut self, kernel: &mut K, now: Micros) {
        // Mostly there are only transfers.
        if self.fence.is_some() || self.waiting.is_some() {
            self.take_turns_in_order(kernel, now);
        }
    }

    fn take_turns_in_order(&mut self, kernel: &mut K, now: Micros) {
        // Each round takes one out of those that wait, or starts the fence.
        for _ in 0..=2 * JOBS {
            if let Some(fence) = self.fence {
                // Not while the device is out of order either: what would be asked of it would be a guess.
                let resetting = matches!(self.health, Health::Resetting { .. });
                // The write cache is not switched under a flush.
                let flushing =
                    self.write_back.in_background() && self.jobs[fence].request.request == IoctlCode::DIOCSETWC;
                if self.running.is_some() || self.jobs.first() != Some(fence) || resetting || flushing {
                    return;
                }
                self.begin_exclusive(kernel, now, fence);
            } else if let Some(id) = self.waiting {
                self.waiting = self.jobs.after(id);
                self.admit(kernel, now, id);
            } else {
                return;
            }
        }
    }

    /// Nothing that excludes others is ahead of `id` any more.
    fn admit(&mut self, kernel: &mut K, now: Micros, id: JobId) {
        let Some(direction) = self.jobs[id].kind.direction() else {
            self.jobs[id].stage = Stage::Exclusive;
            self.fence = Some(id);
            return;
        };
        if !self.opens.was_opened(self.jobs[id].request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        match self.prepare(kernel, id, direction) {
            Ok(transfer) => {
                let job = &mut self.jobs[id];
                job.stage = Stage::Transfer;
                job.transfer = transfer;
                match direction {
                    Direction::Read => self.counters.reads += 1,
                    Direction::Write => {
                        self.counters.writes += 1;
                        self.writes += 1;
                    }
                }
                self.busy = true;
            }
            Err(status) => self.answer(kernel, now, id, status),
        }
    }

    /// Fetches the vector, if there is one, and checks the transfer. The error is the answer.
    fn prepare(&mut self, kernel: &mut K, id: JobId, direction: Direction) -> Result<Transfer, Status> {
        let job = &mut self.jobs[id];
        let (request, granter) = (job.request, job.caller.endpoint);
        let count = if job.kind.has_vector() {
            let count = usize::try_from(request.count).map_or(MAX_ELEMENTS, |count| count.min(MAX_ELEMENTS));
            let elements = self.jobs.elements_mut(id, count);
            kernel
                .copy_from(granter, request.grant, 0, elements.as_mut_bytes())
                .map_err(|_| Errno::EINVAL)?;
            let mut sum = 0_u64;
            for element in elements.iter_mut() {
                *element = MapElement::granted(element.grant(), element.bytes);
                // The sum is one of signed numbers, and only its sign after each element counts.
                sum = sum.wrapping_add(element.bytes);
                if sum > i64::MAX as u64 {
                    return Err(Errno::EINVAL.into());
                }
            }
            if let Some(ticket) = self.jobs[id].traced {
                self.trace.set_size(ticket, sum as u32);
            }
            count
        } else {
            let bytes = u64::try_from(request.count).map_err(|_| Errno::EINVAL)?;
            job.single = MapElement::granted(request.grant, bytes);
            1
        };
        let disk = self.device.info();
        let extent = self.table.get(request.minor);
        let elements = self.jobs.elements_mut(id, count);
        let plan = plan(request.position, elements, &disk, extent)?;
        let durable = direction == Direction::Write
            && request.flags.contains(BdevFlags::FORCEWRITE)
            && disk.can_flush
            && self.device.write_cache();
        Ok(Transfer {
            direction,
            durability: if durable { Durability::Wanted } else { Durability::Given },
            elements: plan.elements,
            first: plan.first,
            bytes: plan.bytes,
            ..Transfer::NONE
        })
    }
}
