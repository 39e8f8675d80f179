//! The device at work: from the doorbell to the interrupt.

use crate::chain::ChainRules;
use crate::config::{CompletionOrder, Notifications, Service, UsedLength};
use crate::device::{Device, USED_BUFFER};
use crate::faults::{Completion, Interrupt, RequestInfo, Verdict};
use crate::ring::{Ring, Taken};
use crate::wire::status::{DRIVER_OK, FAILED, NEEDS_RESET};
use crate::wire::{answer, feature, kind};

impl Device {
    pub(crate) fn chain_rules(&self) -> ChainRules {
        ChainRules {
            indirect: self.accepts(feature::INDIRECT_DESC),
            in_order: self.accepts(feature::IN_ORDER),
            framed: self.config.is_legacy() && !self.accepts(feature::ANY_LAYOUT),
        }
    }

    /// A write to QueueNotify.
    pub(crate) fn doorbell(&mut self, value: u32) {
        self.counters.notifies += 1;
        let id = if self.has(FAILED) { "INIT-D-19" } else { "INIT-D-20" };
        let live = self.has(DRIVER_OK) && !self.has(FAILED);
        let what = format_args!("notification at status {:#x}", self.status);
        self.log.require(live, id, what);
        let with_data = self.accepts(feature::NOTIFICATION_DATA);
        let (index, data) = if with_data {
            (value & 0xFFFF, value >> 16)
        } else {
            (value, 0)
        };
        let queue = self.queues.get_mut(index as usize);
        let Some(ring) = queue.and_then(|queue| queue.ring.as_mut()) else {
            let what = format_args!("notification {value:#x} names no queue that is ready");
            return self.log.report("MMIO-N-08", what);
        };
        self.counters.unneeded_notifies += u64::from(!ring.owes_notification());
        ring.look(&mut self.log);
        let published = u32::from(ring.notified());
        let what = format_args!("notification data {data:#x}, but the available index is {published:#x}");
        self.log.require(!with_data || data == published, "NOTF-N-02", what);
        if self.config.service == Service::OnNotify {
            self.process(usize::MAX);
        }
    }

    /// Serves up to `limit` requests; returns how many chains it took.
    pub(crate) fn process(&mut self, limit: usize) -> usize {
        self.each_ring(|device, ring| device.serve_ring(ring, limit))
    }

    /// Serves up to `limit` requests of one queue; returns how many chains it took.
    pub(crate) fn process_queue(&mut self, queue: u16, limit: usize) -> usize {
        self.each_ring(|device, ring| match ring.index == queue {
            true => device.serve_ring(ring, limit),
            false => 0,
        })
    }

    /// Takes up to `limit` chains and keeps them; returns how many.
    pub(crate) fn hold(&mut self, limit: usize) -> usize {
        self.each_ring(|device, ring| {
            let taken = device.take_some(ring, limit);
            let count = taken.len();
            ring.held.extend(taken);
            device.rearm(ring);
            count
        })
    }

    /// Serves what is held; returns how many.
    pub(crate) fn complete_held(&mut self) -> usize {
        self.each_ring(|device, ring| {
            let taken = std::mem::take(&mut ring.held);
            let count = taken.len();
            device.serve_all(ring, taken);
            if device.config.coalesce_interrupts {
                device.tell(ring, Interrupt::AsAsked);
            }
            count
        })
    }

    /// Works on the ring of each queue outside of it, so that the rest of the device can be used meanwhile. Nothing is done
    /// if the device does not work.
    fn each_ring(&mut self, mut work: impl FnMut(&mut Self, &mut Ring) -> usize) -> usize {
        let works = self.has(DRIVER_OK) && !self.has(NEEDS_RESET) && self.reset_reads == 0;
        let count = if works { self.queues.len() } else { 0 };
        let mut total = 0;
        for index in 0..count {
            if let Some(mut ring) = self.queues[index].ring.take() {
                total += work(self, &mut ring);
                self.queues[index].ring = Some(ring);
            }
        }
        total
    }

    fn serve_ring(&mut self, ring: &mut Ring, limit: usize) -> usize {
        ring.disable_notifications();
        let mut count = 0;
        loop {
            let taken = self.take_some(ring, limit - count);
            let none = taken.is_empty();
            count += taken.len();
            self.serve_all(ring, taken);
            if self.has(NEEDS_RESET) {
                break;
            }
            if none || count == limit {
                // Ask for notifications and look once more, or a request could slip in unseen.
                let more = self.rearm(ring);
                if !more || count == limit {
                    break;
                }
            }
        }
        if self.config.coalesce_interrupts && count > 0 {
            self.tell(ring, Interrupt::AsAsked);
        }
        count
    }

    /// Asks for notifications, as the configuration has it; whether there are requests already.
    fn rearm(&mut self, ring: &mut Ring) -> bool {
        match self.config.notifications {
            Notifications::WhenIdle => ring.enable_notifications(),
            Notifications::Never => ring.pending() > 0,
        }
    }

    fn take_some(&mut self, ring: &mut Ring, limit: usize) -> Vec<Taken> {
        let rules = self.chain_rules();
        let mut all = Vec::new();
        while all.len() < limit {
            match ring.take(&self.arena, rules, &mut self.log) {
                Ok(Some(taken)) => {
                    self.counters.chains += 1;
                    self.counters.indirect_chains += u64::from(taken.walk.indirect);
                    self.counters.longest_chain = self.counters.longest_chain.max(taken.walk.elements.len());
                    all.push(taken);
                }
                Ok(None) => break,
                Err(_) => {
                    self.break_down();
                    break;
                }
            }
        }
        // Nothing overtakes a barrier (`LEG-N-18`).
        let mut rest = &mut all[..];
        while let Some(barrier) = rest.iter().position(|taken| self.is_barrier(taken)) {
            let (before, from) = rest.split_at_mut(barrier);
            self.reorder(before);
            rest = &mut from[1..];
        }
        self.reorder(rest);
        all
    }

    /// Brings chains into the order in which they are to be carried out.
    fn reorder(&mut self, chains: &mut [Taken]) {
        match self.config.order {
            _ if self.accepts(feature::IN_ORDER) => (),
            CompletionOrder::InOrder => (),
            CompletionOrder::Reverse => chains.reverse(),
            CompletionOrder::Shuffled(seed) => {
                for i in (1..chains.len()).rev() {
                    self.shuffle = (self.shuffle ^ seed)
                        .wrapping_mul(0x5851_F42D_4C95_7F2D)
                        .wrapping_add(1);
                    let other = (self.shuffle >> 33) as usize % (i + 1);
                    chains.swap(i, other);
                }
            }
        }
    }

    fn serve_all(&mut self, ring: &mut Ring, taken: Vec<Taken>) {
        for taken in taken {
            if self.has(NEEDS_RESET) {
                ring.held.push(taken);
            } else {
                self.serve(ring, taken);
            }
        }
    }

    fn serve(&mut self, ring: &mut Ring, taken: Taken) {
        let number = self.requests;
        let Some((info, request)) = self.parse(number, ring.index, &taken) else {
            self.break_down();
            ring.held.push(taken);
            return;
        };
        self.requests += 1;
        *self.counters.requests.entry(info.kind).or_default() += 1;
        let verdict = self.faults.before_service(&info);
        let (status, written) = match verdict {
            Verdict::Serve => self.execute(&request, &taken, false),
            Verdict::Half(status) => (status, self.execute(&request, &taken, true).1),
            Verdict::Answer(status) => {
                let failed = info.kind == kind::FLUSH && status != answer::OK;
                // Without the status of the flush the driver could not report the loss.
                if failed && self.config.failed_flush_forgets && !ring.lied {
                    self.disk.forget_dirty();
                }
                (status, 0)
            }
            Verdict::Swallow => {
                self.execute(&request, &taken, false);
                ring.swallowed.push(taken);
                return;
            }
            Verdict::Lose => {
                ring.held.push(taken);
                return;
            }
            Verdict::BreakDown => {
                self.break_down();
                ring.held.push(taken);
                return;
            }
        };
        self.counters.errors += u64::from(status != 0);
        let right = Completion {
            id: u32::from(taken.head),
            len: self.used_length(&info, written),
            status: Some(status),
            append_sector: None,
            copies: 1,
            extra_index: 0,
            interrupt: Interrupt::AsAsked,
        };
        let mut completion = right;
        self.faults.before_completion(&info, &mut completion);
        let what = format_args!("the chain at descriptor {} was changed while in flight", taken.head);
        let unchanged = taken.walk.unchanged(&self.memory);
        self.log.require(unchanged, "INIT-D-21", what);
        if let Some(sector) = completion.append_sector {
            self.write_answer(&taken, 0, &sector.to_le_bytes());
        }
        if let Some(status) = completion.status {
            self.write_status_byte(&taken, status);
        }
        let Completion {
            id,
            len,
            copies,
            extra_index,
            ..
        } = completion;
        if id == right.id && copies == 1 && extra_index == 0 {
            ring.put_used(taken.head, len);
        } else {
            ring.put_used_wrongly(id, len, copies, extra_index);
        }
        let wrong = completion.interrupt != Interrupt::AsAsked;
        if wrong || !self.config.coalesce_interrupts {
            self.tell(ring, completion.interrupt);
        }
    }

    /// The reported length of a chain into which `written` bytes of data were written.
    fn used_length(&self, info: &RequestInfo, written: u32) -> u32 {
        match self.config.used_length {
            UsedLength::Exact => written + 1,
            UsedLength::None => 0,
            UsedLength::One => 1,
            UsedLength::DataOnly => written,
            UsedLength::TooMuch => (info.writable_bytes + info.data_bytes + 1024) as u32,
        }
    }

    /// Interrupts the driver, if it asked for it.
    fn tell(&mut self, ring: &mut Ring, how: Interrupt) {
        let wanted = ring.driver_wants_interrupt();
        if how == Interrupt::Always || how == Interrupt::AsAsked && wanted {
            self.interrupt(USED_BUFFER);
        }
    }

    /// Takes memory back, unless it is still exposed to the device (`INIT-D-22`).
    pub(crate) fn release(&mut self, start: u64, len: u64) {
        let what = format_args!("{len} bytes at {start:#x} were released while the device may use them");
        let exposed = self.exposes(start, len);
        self.log.require(!exposed, "INIT-D-22", what);
        let what = format_args!("memory at {start:#x} was released that the driver does not hold");
        let held = self.arena.release(start);
        self.log.require(held, "INIT-D-22", what);
    }

    pub(crate) fn exposes(&self, start: u64, len: u64) -> bool {
        let overlaps = |addr: u64, bytes: u64| addr < start + len && start < addr.saturating_add(bytes);
        // Until the driver sees the end of a reset, the device may use everything.
        let resetting = self.was_reset && !self.reset_seen;
        let rules = self.chain_rules();
        let mut rings = self.queues.iter().filter_map(|queue| queue.ring.as_ref());
        resetting
            || rings.any(|ring| {
                let mut elements = ring.exposed(&self.arena, rules).into_iter();
                ring.parts().iter().any(|&(addr, bytes)| overlaps(addr, bytes))
                    || elements.any(|e| overlaps(e.addr, u64::from(e.len)))
            })
    }
}
