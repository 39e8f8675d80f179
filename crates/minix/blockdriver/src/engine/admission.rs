//! Requests come in, wait for their turn, and are checked.
//!
//! No request is admitted, and no barrier begins, while the device is not live: what the disk is like then is not known.

use minix_abi::bdev::{BdevFlags, BdevRequest, MAX_ELEMENTS};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::MapElement;
use minix_abi::{Endpoint, Errno, Instant, Message, MessageType, Status};
use zerocopy::IntoBytes;

use super::health::DeviceState;
use super::intake::Turn;
use super::job::JobId;
use crate::device::{BlockDevice, Bounds, Direction, DiskInfo};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::protocol::request::{Caller, Kind};
use crate::transfer::Transfer;
use crate::transfer::plan::{Demand, cut_elements, plan};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Takes a message. Returns whether it was a request to a block driver; if not, nothing has happened.
    ///
    /// What needs no device is answered at once. The device gets the rest with the next [`poll`](Self::poll), so that
    /// several messages can be taken before.
    pub fn on_message(&mut self, kernel: &mut K, now: Instant, status: IpcStatus, message: &Message) -> bool {
        // The reincarnation server takes any answer it does not expect for a request of its own, and so on for ever.
        if status.is_notification() || message.source == Endpoint::RS {
            return false;
        }
        let Some(kind) = Kind::of(message.kind) else {
            return refuse_character_device(kernel, status, message);
        };
        let request = message.payload::<BdevRequest>();
        let caller = Caller {
            endpoint: message.source,
            status,
            id: request.id,
        };
        self.counters.requests += 1;
        let Some(id) = self.intake.push(caller, kind, request) else {
            self.counters.no_room += 1;
            self.send_reply(kernel, caller, Errno::ERESTART.into());
            return true;
        };
        self.counters.max_jobs = self.counters.max_jobs.max(self.intake.len());
        // Mostly it is a transfer, nothing is to be waited for, and the device works.
        match (kind.direction(), self.device.info()) {
            (Some(direction), Some(disk)) if !self.intake.any_waits() && self.health.is_good() => {
                let bounds = disk.bounds();
                self.admit_transfer(kernel, now, id, direction, Some(bounds));
            }
            _ => {
                self.intake.wait(id);
                self.take_turns_in_order(kernel, now);
            }
        }
        true
    }

    /// Admits the requests whose turn it is, and lets the barrier run if everything ahead of it is done.
    #[inline]
    pub(crate) fn take_turns(&mut self, kernel: &mut K, now: Instant) {
        // Mostly no request waits.
        if self.intake.any_waits() {
            self.take_turns_in_order(kernel, now);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_turns_in_order(&mut self, kernel: &mut K, now: Instant) {
        // Each round admits a request that waits, or begins the barrier.
        for _ in 0..=2 * JOBS {
            let Some(turn) = self.intake.turn() else { return };
            let disk = match (self.health.state(), self.device.info().copied()) {
                (DeviceState::Dead, _) => None,
                (DeviceState::Good, Some(disk)) => Some(disk),
                // It is reset soon.
                (DeviceState::Good, None) | (DeviceState::Resetting(_), _) => return,
            };
            match turn {
                Turn::Admit(id) => {
                    if let Some(direction) = self.intake.admit(id) {
                        let bounds = disk.as_ref().map(DiskInfo::bounds);
                        self.admit_transfer(kernel, now, id, direction, bounds);
                    }
                }
                Turn::Barrier(id) => {
                    // The write cache is not switched under a flush.
                    let switches = self.intake[id].request.request == IoctlCode::DIOCSETWC;
                    if self.intake.first() != Some(id) || switches && self.write_back.in_background() {
                        return;
                    }
                    self.begin_barrier(kernel, now, id, disk);
                }
            }
        }
    }

    /// Checks a transfer. There are no `bounds` if the device was given up.
    #[inline(always)]
    fn admit_transfer(
        &mut self,
        kernel: &mut K,
        now: Instant,
        id: JobId,
        direction: Direction,
        bounds: Option<Bounds>,
    ) {
        let minor = self.intake[id].request.minor;
        if !self.partitions.was_opened(minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        let prepared = match bounds {
            Some(bounds) => self.prepare(kernel, id, direction, bounds),
            None if !self.partitions.exists(minor) => Err(Errno::ENXIO.into()),
            None => Err(Errno::EIO.into()),
        };
        match prepared {
            Ok(transfer) => {
                self.intake.set_transfer(id, transfer);
                match direction {
                    Direction::Read => self.counters.reads += 1,
                    Direction::Write => self.counters.writes += 1,
                }
                self.scheduler.admitted(&self.intake, id);
            }
            Err(status) => self.answer(kernel, now, id, status),
        }
    }

    /// Fetches the vector, if there is one, and checks the transfer. The error is the answer.
    #[inline(always)]
    fn prepare(&mut self, kernel: &mut K, id: JobId, direction: Direction, bounds: Bounds) -> Result<Transfer, Status> {
        let job = &mut self.intake[id];
        let request = job.request;
        let (count, demand) = if job.kind.has_vector() {
            self.fetch_vector(kernel, id)?
        } else {
            let bytes = u64::try_from(request.count).map_err(|_| Errno::EINVAL)?;
            job.single = MapElement::granted(request.grant, bytes);
            (1, Demand::of_one(bytes))
        };
        let extent = self.partitions.extent(request.minor, bounds.capacity);
        let planned = plan(request.position, demand, bounds, extent)?;
        // Mostly all of it is left.
        let elements = match planned.bytes {
            bytes if demand.is_more_than(bytes) => cut_elements(self.intake.elements_mut(id, count), bytes.into()),
            _ => count as u8,
        };
        let transfer = Transfer::new(direction, planned.first, planned.bytes, elements);
        // Whether that takes a flush is known when the data is written.
        let forced = direction == Direction::Write && request.flags.contains(BdevFlags::FORCEWRITE);
        Ok(if forced { transfer.forced() } else { transfer })
    }

    /// Fetches the elements of a vector, and finds what they ask for.
    #[inline(never)]
    fn fetch_vector(&mut self, kernel: &mut K, id: JobId) -> Result<(usize, Demand), Status> {
        let job = &self.intake[id];
        let (request, granter) = (&job.request, job.caller.endpoint);
        let (count, grant) = (request.count, request.grant);
        let count = usize::try_from(count).map_or(MAX_ELEMENTS, |count| count.min(MAX_ELEMENTS));
        let elements = self.intake.elements_mut(id, count);
        kernel
            .copy_from(granter, grant, 0, elements.as_mut_bytes())
            .map_err(|_| Errno::EINVAL)?;
        let demand = Demand::of(elements);
        let sum = demand.sum().ok_or(Errno::EINVAL)?;
        if let Some(ticket) = self.intake[id].traced {
            self.trace.set_size(ticket, sum as u32);
        }
        Ok((count, demand))
    }
}

/// Answers what a character device is asked; of other messages nothing is known. Whether it was answered.
#[cold]
fn refuse_character_device<K: Kernel>(kernel: &mut K, status: IpcStatus, message: &Message) -> bool {
    if message.kind != MessageType::CDEV_OPEN {
        return false;
    }
    let refusal = CdevReply::refuse(&message.payload::<CdevOpen>());
    let refusal = Message::with_payload(MessageType::CDEV_REPLY, &refusal);
    kernel.reply(message.source, status, &refusal);
    true
}
