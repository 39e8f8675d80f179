//! The device at work: from the doorbell to the interrupt.

use std::sync::Arc;

use crate::chain::ChainRules;
use crate::config::{CompletionOrder, DoorbellWish, Service, UsedLength};
use crate::device::{Device, USED_BUFFER};
use crate::faults::{Completion, Interrupt, RequestInfo, Verdict};
use crate::init::{DRIVER_OK, FAILED, NEEDS_RESET};
use crate::ring::{Ring, Taken};
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
        if self.has(FAILED) {
            self.log.report("INIT-D-19", "notification after FAILED");
        } else if !self.has(DRIVER_OK) {
            self.log.report("INIT-D-20", "notification before DRIVER_OK");
        }
        let with_data = self.accepts(feature::NOTIFICATION_DATA);
        let (index, data) = if with_data {
            (value & 0xFFFF, value >> 16)
        } else {
            (value, 0)
        };
        let memory = Arc::clone(&self.memory);
        let Some(ring) = self
            .queues
            .get_mut(index as usize)
            .and_then(|queue| queue.ring.as_mut())
        else {
            self.log.report(
                "MMIO-N-08",
                format!("notification {value:#x} names no queue that is ready"),
            );
            return;
        };
        if !ring.owes_notification(&memory) {
            self.counters.unneeded_notifies += 1;
        }
        ring.look(&memory, &mut self.log);
        let published = ring.notified(&memory);
        if with_data && data != u32::from(published) {
            let what = format!("notification data {data:#x}, but the available index is {published:#x}");
            self.log.report("NOTF-N-02", what);
        }
        if self.config.service == Service::OnNotify {
            self.process(index as u16, usize::MAX);
        }
    }

    fn works(&self) -> bool {
        self.has(DRIVER_OK) && !self.has(NEEDS_RESET) && self.reset_reads == 0
    }

    /// Serves up to `limit` requests of a queue; returns how many chains it took.
    pub(crate) fn process(&mut self, index: u16, limit: usize) -> usize {
        self.with_ring(index, |device, ring| device.serve_ring(ring, limit))
            .unwrap_or(0)
    }

    /// Takes up to `limit` chains and keeps them; returns how many.
    pub(crate) fn hold(&mut self, index: u16, limit: usize) -> usize {
        self.with_ring(index, |device, ring| {
            let taken = device.take_some(ring, limit);
            let count = taken.len();
            ring.held.extend(taken);
            device.rearm(ring);
            count
        })
        .unwrap_or(0)
    }

    /// Serves what is held; returns how many.
    pub(crate) fn complete_held(&mut self, index: u16) -> usize {
        self.with_ring(index, |device, ring| {
            let taken = std::mem::take(&mut ring.held);
            let count = taken.len();
            device.serve_all(ring, taken);
            if device.config.coalesce_interrupts {
                device.tell(ring, Interrupt::AsAsked);
            }
            count
        })
        .unwrap_or(0)
    }

    /// Works on a ring outside of its queue, so that the rest of the device can be used meanwhile.
    fn with_ring<T>(&mut self, index: u16, work: impl FnOnce(&mut Self, &mut Ring) -> T) -> Option<T> {
        if !self.works() {
            return None;
        }
        let mut ring = self.queues.get_mut(usize::from(index))?.ring.take()?;
        let result = work(self, &mut ring);
        if let Some(queue) = self.queues.get_mut(usize::from(index)) {
            queue.ring = Some(ring);
        }
        Some(result)
    }

    fn serve_ring(&mut self, ring: &mut Ring, limit: usize) -> usize {
        let memory = Arc::clone(&self.memory);
        ring.doorbell_off(&memory);
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
                // Asking for notifications and looking once more, or a request could slip in unseen.
                let more = self.rearm(ring);
                if !more || count == limit {
                    break;
                }
            }
        }
        if self.config.coalesce_interrupts && count > 0 {
            self.tell(ring, Interrupt::AsAsked);
        }
        if self.accepts(feature::NOTIFY_ON_EMPTY) && count > 0 && ring.pending(&memory) == 0 {
            self.interrupt(USED_BUFFER);
        }
        count
    }

    fn rearm(&mut self, ring: &mut Ring) -> bool {
        match self.config.doorbell {
            DoorbellWish::WhenIdle => ring.doorbell_on(&self.memory),
            DoorbellWish::Never => ring.pending(&self.memory) > 0,
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
        self.put_in_order(&mut all);
        all
    }

    fn put_in_order(&mut self, all: &mut [Taken]) {
        if self.accepts(feature::IN_ORDER) {
            return;
        }
        match self.config.order {
            CompletionOrder::InOrder => (),
            CompletionOrder::Reverse => all.reverse(),
            CompletionOrder::Shuffled(seed) => {
                for i in (1..all.len()).rev() {
                    self.shuffle = (self.shuffle ^ seed)
                        .wrapping_mul(0x5851_F42D_4C95_7F2D)
                        .wrapping_add(1);
                    let other = (self.shuffle >> 33) as usize % (i + 1);
                    all.swap(i, other);
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
        let memory = Arc::clone(&self.memory);
        let number = self.requests;
        if self.config.one_data_descriptor && !self.fits_one_data_descriptor(&taken) {
            ring.give_back(&memory, taken.head, 0);
            self.tell(ring, Interrupt::AsAsked);
            return;
        }
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
                // A failure of which the driver cannot hear is none that it could tell.
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
            copies: 1,
            extra_index: 0,
            interrupt: Interrupt::AsAsked,
        };
        let mut completion = right;
        self.faults.before_completion(&info, &mut completion);
        Ring::check_unchanged(&taken, &memory, &mut self.log);
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
            ring.give_back(&memory, taken.head, len);
        } else {
            ring.give_back_wrongly(&memory, id, len, copies, extra_index);
        }
        let wrong = completion.interrupt != Interrupt::AsAsked;
        if wrong || !self.config.coalesce_interrupts {
            self.tell(ring, completion.interrupt);
        }
    }

    /// The length that is reported of a chain into which `written` bytes of data were written.
    fn used_length(&self, info: &RequestInfo, written: u32) -> u32 {
        match self.config.used_length {
            UsedLength::Exact => written + 1,
            UsedLength::None => 0,
            UsedLength::One => 1,
            UsedLength::DataOnly => written,
            UsedLength::TooMuch => (info.writable_bytes + info.data_bytes + 1024) as u32,
        }
    }

    /// Interrupts the driver, if it wants to be.
    fn tell(&mut self, ring: &mut Ring, how: Interrupt) {
        let wanted = ring.driver_wants_interrupt(&self.memory);
        let sent = match how {
            Interrupt::AsAsked => wanted,
            Interrupt::Always => true,
            Interrupt::Never => false,
        };
        if sent {
            self.interrupt(USED_BUFFER);
        } else {
            self.counters.interrupts_suppressed += 1;
        }
    }
}
