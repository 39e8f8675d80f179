//! Requests come in, wait for their turn, and are sorted by what they ask for.
//!
//! Transfers run side by side. Opens, closes and control requests run alone: they wait for everything that came before,
//! and everything that comes after waits for them. The first of them that is not answered is the barrier.
//!
//! A request that comes is put behind those that wait, and [`take_turns`](BlockDriver::take_turns) alone admits requests, in
//! order. None is admitted, and no barrier begins, while the device is not live: what there is to be asked of it is not known
//! then.

use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use zerocopy::IntoBytes;

use crate::barrier::Barrier;
use crate::bounds::{capacity, plan};
use crate::jobs::{Caller, JobId, Kind, Stage};
use crate::recovery::Health;
use crate::transfer::{Direction, Durability, Transfer};
use crate::{BlockDevice, BlockDriver, DiskInfo, Kernel, Micros};

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
        if let Barrier::None = self.barrier {
            self.barrier = Barrier::Lifted(id);
        }
        self.take_turns(kernel, now);
        true
    }

    /// Admits the requests whose turn it is, and lets the barrier run if everything ahead of it is done.
    #[inline]
    pub(crate) fn take_turns(&mut self, kernel: &mut K, now: Micros) {
        // Mostly no request waits.
        if !matches!(self.barrier, Barrier::None) {
            self.take_turns_in_order(kernel, now);
        }
    }

    fn take_turns_in_order(&mut self, kernel: &mut K, now: Micros) {
        // Each round admits a request that waits, or begins the barrier.
        for _ in 0..=2 * JOBS {
            let (id, is_barrier) = match self.barrier {
                Barrier::None | Barrier::Runs(_) => return,
                Barrier::Lifted(id) => (id, false),
                Barrier::Waits(id) => (id, true),
            };
            let disk = match (self.health, self.device.info()) {
                (Health::Dead, _) => None,
                (Health::Good, Some(disk)) => Some(disk),
                // It is reset soon.
                (Health::Good, None) | (Health::Resetting { .. }, _) => return,
            };
            if !is_barrier {
                self.barrier = Barrier::lifted(self.jobs.after(id));
                self.admit(kernel, now, id, disk);
                continue;
            }
            // The write cache is not switched under a flush.
            let flushing = self.write_back.in_background() && self.jobs[id].request.request == IoctlCode::DIOCSETWC;
            if self.jobs.first() != Some(id) || flushing {
                return;
            }
            self.begin_exclusive(kernel, now, id, disk);
        }
    }

    /// No barrier is ahead of `id` any more. There is no `disk` if the device was given up.
    fn admit(&mut self, kernel: &mut K, now: Micros, id: JobId, disk: Option<DiskInfo>) {
        let Some(direction) = self.jobs[id].kind.direction() else {
            self.jobs[id].stage = Stage::Exclusive;
            self.barrier = Barrier::Waits(id);
            return;
        };
        if !self.opens.was_opened(self.jobs[id].request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        let prepared = match disk {
            Some(disk) => self.prepare(kernel, id, direction, &disk),
            None if self.table.get(self.jobs[id].request.minor).is_none() => Err(Errno::ENXIO.into()),
            None => Err(Errno::EIO.into()),
        };
        match prepared {
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
    fn prepare(
        &mut self,
        kernel: &mut K,
        id: JobId,
        direction: Direction,
        disk: &DiskInfo,
    ) -> Result<Transfer, Status> {
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
        let extent = self.table.on_disk(request.minor, capacity(disk));
        let elements = self.jobs.elements_mut(id, count);
        let plan = plan(request.position, elements, disk, extent)?;
        // Whether that takes a flush is known when the data is written.
        let durable = direction == Direction::Write && request.flags.contains(BdevFlags::FORCEWRITE);
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
