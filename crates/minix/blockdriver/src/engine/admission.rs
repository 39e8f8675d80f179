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
use crate::device::{BlockDevice, Direction, TransferLimits};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::protocol::request::{Caller, Kind};
use crate::transfer::Transfer;
use crate::transfer::plan::{Demand, Planned, cut_elements, plan};

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
        self.take_request(kernel, now, kind, status, message);
        true
    }

    /// Takes a request to a block driver.
    // The calls come last, so that one that is admitted at once, the common case, needs no room on the stack.
    #[inline(never)]
    fn take_request(&mut self, kernel: &mut K, now: Instant, kind: Kind, status: IpcStatus, message: &Message) {
        let BdevRequest { id, minor, .. } = message.payload();
        let caller = Caller {
            endpoint: message.source,
            status,
            id,
        };
        let Some(id) = self.intake.push(now, caller, kind, minor) else {
            return self.refuse(kernel, caller);
        };
        // Mostly it is a transfer, nothing is to be waited for, and the device works.
        match (kind.direction(), self.device.limits()) {
            (Some(direction), Some(limits)) if !self.intake.any_waits() && self.health.is_good() => {
                if kind.has_vector() || self.trace.is_on() {
                    self.intake.set_request(id, message);
                    self.admit_transfer(kernel, now, id, direction);
                } else {
                    self.admit_single(kernel, now, id, direction, &message.payload(), &limits);
                }
            }
            _ => self.wait_for_turn(kernel, now, id, message),
        }
    }

    /// There is no room for a request. Its client sends it again.
    #[cold]
    fn refuse(&mut self, kernel: &mut K, caller: Caller) {
        self.counters.no_room += 1;
        self.send_reply(kernel, caller, Errno::ERESTART.into());
    }

    #[cold]
    #[inline(never)]
    fn wait_for_turn(&mut self, kernel: &mut K, now: Instant, id: JobId, message: &Message) {
        self.intake.set_request(id, message);
        let job = &self.intake[id];
        if job.kind == Kind::Ioctl && Self::is_answered_at_once(job.request.request) {
            return self.answer_at_once(kernel, now, id);
        }
        self.intake.wait(id);
        self.take_turns_in_order(kernel, now);
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
                        self.admit_transfer(kernel, now, id, direction);
                    }
                }
                Turn::Barrier(id) => {
                    // The write cache is not switched under a flush.
                    let request = self.intake[id].request.request;
                    let switches = request == IoctlCode::DIOCSETWC || request == IoctlCode::DIOCSCACHE;
                    if self.intake.first() != Some(id) || switches && self.write_back.in_background() {
                        return;
                    }
                    self.begin_barrier(kernel, now, id, disk);
                }
            }
        }
    }

    /// Checks a transfer whose request is kept.
    #[inline(never)]
    fn admit_transfer(&mut self, kernel: &mut K, now: Instant, id: JobId, direction: Direction) {
        let minor = self.intake[id].minor;
        if !self.partitions.was_opened(minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        if self.trace.is_on() {
            self.begin_trace(now, id);
        }
        if self.is_broken() {
            let exists = self.partitions.exists(minor);
            let error = if exists { Errno::EIO } else { Errno::ENXIO };
            return self.answer(kernel, now, id, error.into());
        }
        if self.intake[id].kind.has_vector() {
            self.admit_vector(kernel, now, id, direction);
        } else {
            self.admit_kept_single(kernel, now, id, direction);
        }
    }

    #[cold]
    #[inline(never)]
    fn admit_kept_single(&mut self, kernel: &mut K, now: Instant, id: JobId, direction: Direction) {
        let request = self.intake[id].request;
        match self.device.limits() {
            Some(limits) => self.admit_single(kernel, now, id, direction, &request, &limits),
            None => self.answer(kernel, now, id, Errno::EIO.into()),
        }
    }

    /// Checks a transfer of one element.
    #[inline(always)]
    fn admit_single(
        &mut self,
        kernel: &mut K,
        now: Instant,
        id: JobId,
        direction: Direction,
        request: &BdevRequest,
        limits: &TransferLimits,
    ) {
        if !self.partitions.was_opened(request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        let Ok(bytes) = u64::try_from(request.count) else {
            return self.answer(kernel, now, id, Errno::EINVAL.into());
        };
        let extent = self.partitions.extent(request.minor, limits.capacity);
        match plan(request.position, Demand::of_one(bytes), limits, extent) {
            Ok(planned) => {
                self.intake[id].single = MapElement::granted(request.grant, planned.bytes.into());
                self.enter(id, direction, request.flags, planned, 1);
            }
            Err(status) => self.answer(kernel, now, id, status),
        }
    }

    /// Fetches a vector, and checks the transfer.
    #[inline(always)]
    fn admit_vector(&mut self, kernel: &mut K, now: Instant, id: JobId, direction: Direction) {
        let (count, demand) = match self.fetch_vector(kernel, id) {
            Ok(fetched) => fetched,
            Err(status) => return self.answer(kernel, now, id, status),
        };
        let Some(limits) = self.device.limits() else {
            return self.answer(kernel, now, id, Errno::EIO.into());
        };
        let BdevRequest {
            position, minor, flags, ..
        } = self.intake[id].request;
        let extent = self.partitions.extent(minor, limits.capacity);
        match plan(position, demand, &limits, extent) {
            Ok(planned) => {
                // Mostly all of it is left.
                let elements = match planned.bytes {
                    bytes if demand.is_more_than(bytes) => {
                        cut_elements(self.intake.elements_mut(id, count), bytes.into())
                    }
                    _ => count as u8,
                };
                self.enter(id, direction, flags, planned, elements);
            }
            Err(status) => self.answer(kernel, now, id, status),
        }
    }

    /// A transfer has passed its checks.
    #[inline(always)]
    fn enter(&mut self, id: JobId, direction: Direction, flags: BdevFlags, planned: Planned, elements: u8) {
        // Whether that takes a flush is known when the data is written.
        let forced = direction == Direction::Write && flags.contains(BdevFlags::FORCEWRITE);
        let transfer = Transfer::new(direction, planned.first, planned.bytes, elements);
        self.intake
            .set_transfer(id, if forced { transfer.forced() } else { transfer });
        match direction {
            Direction::Read => self.counters.reads += 1,
            Direction::Write => self.counters.writes += 1,
        }
        self.scheduler.admitted(&self.intake, id);
    }

    /// Fetches the elements of a vector, and finds what they ask for. The error is the answer.
    #[inline(always)]
    fn fetch_vector(&mut self, kernel: &mut K, id: JobId) -> Result<(usize, Demand), Status> {
        let job = &self.intake[id];
        let (granter, grant, count) = (job.caller.endpoint, job.request.grant, job.request.count);
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
